"""fastsnn.convert: the whole way from a trained network to a spiking one."""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fastsnn._files import require_file
from fastsnn.convert import parameters
from fastsnn.convert.calibrate import first_batch
from fastsnn.convert.encoded import encoded
from fastsnn.convert.finish import finish
from fastsnn.convert.fit import Wanted, again, fit, rereadable, same
from fastsnn.convert.graph import Neuron
from fastsnn.convert.maxpool import DEFAULT, apply_policy
from fastsnn.convert.moves import settled
from fastsnn.convert.parameters import Parameters, fingerprint
from fastsnn.convert.quantise import PRECISIONS, require_precision
from fastsnn.convert.report import describe
from fastsnn.errors import ConversionError
from fastsnn.methods import Method, build
from fastsnn.network import SpikingNetwork
from fastsnn.spikes import steps

log = logging.getLogger("fastsnn")


def convert(
    model: nn.Module,
    calibration: Any,
    *,
    method: str | Method | None = None,
    timesteps: int | None = None,
    max_pool: str | None = None,
    precision: str | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = False,
    **options: Any,
) -> SpikingNetwork:
    """Converts a trained network into a spiking one; the given model is left untouched.

    model        any module that torch.export can trace, with activations that become neurons; used in eval mode
    calibration  images as the model takes them: a tensor [N, C, ...], or an iterable of tensors or (images, labels)
                 batches such as a DataLoader; a few hundred are enough. Read once, but several times by methods that
                 correct layers. Or the path of a file that `snn.calibration.save` wrote for this very network: nothing
                 is calibrated then, and spikes are those of the network that it was saved from
    method       a name of `fastsnn.methods.METHODS`, or a `fastsnn.methods.Method`; None: "opi", or the file's
    timesteps    T of the network's calls, and the T that it is calibrated for; None: 16, or the file's
    max_pool     "lateral" (by what was emitted in sum), "gate" (by firing rate), "before" (the neuron), "average" or
                 "or": see `fastsnn.convert.maxpool`; None: "lateral", or the file's
    precision    "int32": fixed point, exact and the same everywhere, the default on a CPU; "int16": the same with
                 weights of about 12 bits, twice as fast, for layers whose range on the calibration images allows it;
                 "int8": the same with weights of 8 bits, the fast path of GPUs; "float16", the default on a GPU, and
                 "bfloat16": weights for tensor cores, sums and potentials in float32; "float32"; "float64". The report
                 says how many spikes rounding changed. "msat" takes "float32" and "float64" only.
    checkpoint   .safetensors file that calibration goes on from if it is there; written after each layer that a method
                 corrects, and in the end: it is then a file as `snn.calibration.save` writes
    options      of the method: threshold, per_channel, initial_potential, reset, comparator, seed, see `OPI`

    Returns a SpikingNetwork on the model's device; what was found is its `calibration`. Raises ConversionError, before
    calibration, that lists every node which has no spiking form, or where a file is of another network, method or T;
    ValueError or TypeError for bad arguments or calibration data.
    Source: Bu et al., AAAI 2022.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"convert: model must be a torch.nn.Module, got {type(model).__name__}")
    device, dtype = _placement(model)
    precision = default_precision(device) if precision is None else precision
    if precision not in PRECISIONS:
        raise ValueError(f"convert: precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    path = Path(calibration) if isinstance(calibration, str | Path) else None
    known = None if path is None else parameters.load(path)
    timesteps = (16 if known is None else known.timesteps) if timesteps is None else steps(timesteps)
    method = _method(method, options, known)
    require_precision(_named(method)[0], method.neuron, precision)
    if max_pool is None:
        max_pool = DEFAULT if known is None else known.max_pool
    writes = None if checkpoint is None else require_file(checkpoint, parameters.SUFFIX)
    rereadable(calibration, method)

    from fastsnn.convert.capture import capture  # torch.export takes a second to import

    if known is None:
        example, stream = first_batch(calibration)
        # an iterator is read once, and its first batch is out
        calibration = stream if hasattr(calibration, "__next__") else calibration
    else:
        example = torch.zeros(1, *known.input)
    asked = Parameters(fingerprint(model), _named(method), timesteps, max_pool, tuple(example.shape[1:]))
    if path is not None and known is not None:
        same(path, known, asked)
    captured = capture(model, example.to(device, dtype))
    graph = apply_policy(settled(encoded(captured.graph)), max_pool)
    bounds = {name: n.payload.bound for name, n in graph.nodes.items() if isinstance(n.payload, Neuron)}
    if not bounds:
        raise ConversionError(f"{type(model).__name__} has no activation that could become a spiking neuron")
    method.check(bounds)
    wanted = Wanted(graph, bounds, method, device)
    if known is None:
        program, seen = fit(wanted, calibration, asked, writes, progress)
        final, wide, differ = finish(program, precision, asked, device, seen.samples, progress)
        if writes is not None:
            asked.save(writes)
    else:
        asked = known
        final, wide, differ = finish(again(wanted, known), precision, known, device, None, progress)
    title = f"{type(model).__name__} -> {method}, T={timesteps}, {precision}"
    report = describe(final, graph, title, max_pool, wide, differ)
    log.info("%s", report)
    snn = SpikingNetwork(final, captured.rebuild, timesteps, precision, method, report)
    snn.calibration, snn.reading = asked, asked.reading
    return snn


def _method(method: str | Method | None, options: dict[str, Any], known: Parameters | None) -> Method:
    """The method that is asked for, or that of a calibration file."""
    if method is None and known is not None:
        name, kept = known.method
        return build(name, **kept | options)
    if method is None or isinstance(method, str):
        return build(method or "opi", **options)
    if not all(hasattr(method, member) for member in ("neuron", "check", "threshold", "initial_potential")):
        raise TypeError(f"convert: method must be a name or a fastsnn.methods.Method, got {type(method).__name__}")
    if options:
        raise TypeError(f"convert: options {sorted(options)} go to the method when it is built, not to convert")
    return method


def _named(method: Method) -> tuple[str, dict[str, Any]]:
    """What a calibration file says of a method: its name and what builds it, or all that it says of itself."""
    return getattr(method, "name", type(method).__name__), getattr(method, "options", {"method": str(method)})


def default_precision(device: torch.device) -> str:
    """What a conversion takes that names no precision: by where the model is."""
    return "float16" if device.type == "cuda" else "int32"


def _placement(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    tensors = [t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()]
    if not tensors:
        return torch.device("cpu"), torch.float32
    return tensors[0].device, tensors[0].dtype
