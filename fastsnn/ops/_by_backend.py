"""What does the same on each backend, by name: a module is imported when it is needed, and brings what it needs."""

# neurons without weights, as `_neurons.run`
NEURONS = {
    "native": "fastsnn.ops._neurons:run",
    "triton": "fastsnn.ops._neurons_triton:run",
    "cuda": "fastsnn.ops._neurons_cuda:run",
}
# exact first layers
FIXED = {
    "native": "fastsnn.ops._fixed:FixedConvolution",
    "triton": "fastsnn.ops._fixed_triton:FixedConvolution",
    "cuda": "fastsnn.ops._fixed_cuda:FixedConvolution",
}
# layers driven by spikes, on a GPU
PLANS = {"triton": "fastsnn.ops._layer_triton:TritonPlan", "cuda": "fastsnn.ops._layer_cuda:CudaPlan"}
