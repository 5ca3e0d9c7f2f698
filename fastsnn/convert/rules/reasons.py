"""Why an operator has no spiking form, in words that help."""

_SMOOTH = "it is smooth and has negative or unbounded slopes; replace it by ReLU and fine-tune"
_NORM = "it normalises by statistics of the very sample, which a spiking layer cannot fold; use batch norm"
REASONS = {
    **dict.fromkeys(("silu", "gelu", "hardswish", "elu", "selu", "celu", "mish", "softplus", "tanh"), _SMOOTH),
    "hardsigmoid": "a gate (squeeze-and-excitation) multiplies activations, which spikes cannot",
    **dict.fromkeys(("layer_norm", "native_layer_norm", "group_norm", "native_group_norm", "instance_norm"), _NORM),
    "scaled_dot_product_attention": "attention multiplies activations, which spikes cannot",
    "_native_batch_norm_legit": "batch norm without running statistics depends on the other samples of the batch",
    "head": "softmax and sigmoid are allowed only at the output; inside, they gate, which spikes cannot",
    "prelu": "its outputs may be negative, which one spike cannot carry; replace it by ReLU and fine-tune",
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), "recurrent layers are not supported"),
}
