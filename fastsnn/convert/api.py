"""fastsnn.convert: the whole way from a trained network to a spiking one."""

import logging
from functools import partial
from typing import Any

import torch
from torch import nn

from fastsnn.convert.calibrate import Calibration, calibrate, first_batch
from fastsnn.convert.graph import Neuron
from fastsnn.convert.maxpool import apply_policy
from fastsnn.convert.measure import LayerError
from fastsnn.convert.mismatch import mismatch
from fastsnn.convert.narrow import HALVES, to_half, to_int8
from fastsnn.convert.quantise import PRECISIONS, to_precision
from fastsnn.convert.quantise16 import measure, to_int16
from fastsnn.convert.report import describe
from fastsnn.errors import ConversionError
from fastsnn.methods import Method, build
from fastsnn.network import SpikingNetwork, steps
from fastsnn.program import Program

log = logging.getLogger("fastsnn")

# images that the range of int16 is measured on
RANGE_IMAGES = 64


def convert(
    model: nn.Module,
    calibration: Any,
    *,
    method: str | Method = "opi",
    timesteps: int = 16,
    max_pool: str = "gate",
    precision: str | None = None,
    progress: bool = False,
    **options: Any,
) -> SpikingNetwork:
    """Converts a trained network into a spiking one; the given model is left untouched.

    model        any module that torch.export can trace, with ReLU-like activations; used in eval mode
    calibration  images as the model takes them: a tensor [N, C, ...], or an iterable of tensors or (images, labels)
                 batches such as a DataLoader; read once. A few hundred are enough.
    method       "opi", or a `fastsnn.methods.Method`
    timesteps    T of the network's calls, and the T that thresholds are chosen for
    max_pool     "gate" (by firing rate), "before" (the neuron), "average" or "or": see `fastsnn.convert.maxpool`
    precision    "int32": fixed point, exact and the same everywhere, the default on a CPU; "int16": the same with
                 weights of about 12 bits, twice as fast, for layers whose range on the calibration images allows it;
                 "int8": the same with weights of 8 bits, the fast path of GPUs; "float16", the default on a GPU, and
                 "bfloat16": weights for tensor cores, sums and potentials in float32; "float32"; "float64". The report
                 says how many spikes rounding changed.
    options      of the method: threshold, per_channel, initial_potential, reset, comparator, seed, see `OPI`

    Returns a SpikingNetwork on the model's device. Raises ConversionError, before calibration, that lists every node
    which has no spiking form; ValueError or TypeError for bad arguments or calibration data.
    Source: Bu et al., AAAI 2022.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"convert: model must be a torch.nn.Module, got {type(model).__name__}")
    device, dtype = _placement(model)
    precision = default_precision(device) if precision is None else precision
    if precision not in PRECISIONS:
        raise ValueError(f"convert: precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    timesteps = steps(timesteps)
    if isinstance(method, str):
        method = build(method, **options)
    elif not all(hasattr(method, member) for member in ("neuron", "check", "threshold", "initial_potential")):
        raise TypeError(f"convert: method must be a name or a fastsnn.methods.Method, got {type(method).__name__}")
    elif options:
        raise TypeError(f"convert: options {sorted(options)} go to the method when it is built, not to convert")

    from fastsnn.convert.capture import capture  # torch.export takes a second to import
    from fastsnn.convert.lower import lower

    example, stream = first_batch(calibration)
    captured = capture(model, example.to(device, dtype))
    graph = apply_policy(captured.graph, max_pool)
    bounds = {name: n.payload.bound for name, n in graph.nodes.items() if isinstance(n.payload, Neuron)}
    if not bounds:
        raise ConversionError(f"{type(model).__name__} has no activation that could become a spiking neuron")
    method.check(bounds)

    ones = {name: torch.ones(()) for name in bounds}
    bare = lower(graph, ones, method.neuron).to(device, torch.float32)
    found = calibrate(bare, stream, device, progress)
    units = {name: method.threshold(found.activations[name], bounds[name], timesteps).cpu() for name in bounds}
    program = lower(graph, units, method.neuron)
    _start(program, method, found, timesteps)
    final = to_precision(program, precision, found.peaks).to(device)
    wide: dict[str, str] = {}
    if precision == "int16":
        final, wide = to_int16(program, final, measure(final, found.samples[:RANGE_IMAGES], timesteps))
    elif precision == "int8":
        final, wide = to_int8(program, final)
    elif precision in HALVES:
        final, wide = to_half(final, precision)
    differ: dict[str, float] = {}
    if precision in ("int16", "int8", *HALVES):
        unrounded = to_precision(program, "float32", found.peaks).to(device)
        differ = mismatch(final, unrounded, found.samples, timesteps)
    title = f"{type(model).__name__} -> {method}, T={timesteps}, {precision}"
    report = describe(final, graph, title, max_pool, wide, differ)
    log.info("%s", report)
    return SpikingNetwork(final, captured.rebuild, timesteps, precision, method, report)


def default_precision(device: torch.device) -> str:
    """What a conversion takes that names no precision: by where the model is."""
    return "float16" if device.type == "cuda" else "int32"


def _placement(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    tensors = [t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()]
    if not tensors:
        return torch.device("cpu"), torch.float32
    return tensors[0].device, tensors[0].dtype


def _start(program: Program, method: Method, found: Calibration, T: int) -> None:
    """Sets the initial potentials, layer after layer: a measured one depends on those before it."""
    errors = LayerError(program, found.samples, T)
    for name, layer in program.neurons.items():
        start = method.initial_potential(layer.shape, partial(errors, name))
        layer.initial_potential = torch.as_tensor(start, dtype=torch.float64)
