"""SpikingJelly on a GPU, in every way that it offers there and that works."""

import copy
from collections.abc import Callable, Sequence

import torch
from networks import Network
from peers.jelly import Converted, found
from torch import Tensor

from gpu.clock import Deadline, limited

BACKENDS = ("torch", "cupy", "triton")
# seconds that any one way may take to get going
PATIENCE = 45.0

Call = Callable[[Tensor], Tensor]


def variants(
    net: Network,
    thresholds: Sequence[Tensor],
    T: int,
    x: Tensor,
    deadline: Deadline,
    good: Callable[[Tensor], bool],
    say: Callable[[str], None] = print,
) -> dict[str, Call]:
    """Ways to run it on float32 images like x, by what they are; nothing where it is not installed.

    good   whether logits of x are right; ways that give wrong ones, or fail, are said and left out
    """
    ann2snn, why = found()
    if ann2snn is None:
        say(f"SpikingJelly left out: {why}")
        return {}
    there = [theta.to(x.device) for theta in thresholds]
    result: dict[str, Call] = {}
    for dtype in (torch.float32, torch.float16) if x.is_cuda else (torch.float32,):
        for backend in BACKENDS:
            for compiled in (False, True) if x.is_cuda else (False,):
                name = f"{str(dtype).removeprefix('torch.')}, {backend}{', torch.compile' * compiled}"
                if not deadline.left:
                    say(f"SpikingJelly, {name}: left out for want of time")
                    continue
                try:
                    with limited(min(PATIENCE, deadline.left)):
                        run = _one(net, there, T, x, dtype, backend, compiled)
                        if run is None:
                            continue
                        if not good(run(x)):
                            say(f"SpikingJelly, {name}: left out, its logits are off")
                            continue
                        run(x)
                except Exception as error:
                    say(f"SpikingJelly, {name}: {type(error).__name__}: {str(error).splitlines()[:1]}")
                    continue
                result[name] = run
    return result


def _one(
    net: Network, thresholds: Sequence[Tensor], T: int, x: Tensor, dtype: torch.dtype, backend: str, compiled: bool
) -> Call | None:
    """One way, or None where its neurons have no such backend."""
    model = copy.deepcopy(net.model).to(x.device)
    run = Converted(model, net.calibration.to(x.device), thresholds, T)
    able = all(backend in getattr(node, "supported_backends", ("torch",)) for node in run.nodes)
    if not able:
        return None
    for node in run.nodes:
        if hasattr(node, "backend"):
            node.backend = backend
    run.net.to(dtype).to(memory_format=torch.channels_last)
    call = torch.compile(run, dynamic=False) if compiled else run
    return lambda image: call(image.to(dtype, memory_format=torch.channels_last)).float()
