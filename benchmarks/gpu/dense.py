"""The dense network that a spiking one came from, in the ways in which one would run it on a GPU."""

import copy
from collections.abc import Callable

import torch
from baselines import folded
from torch import Tensor, nn

from gpu.clock import Deadline, captured, limited

NAMES = {
    "eager32": "float32 (TF32 where torch uses it), eager",
    "eager16": "float16, channels last, eager",
    "compiled16": "float16, channels last, torch.compile",
    "graph16": "float16, channels last, eager, as one CUDA graph",
    "compiled_graph16": "float16, channels last, torch.compile, as one CUDA graph",
}
# seconds that the compiler may take
COMPILE = 90.0

Call = Callable[[Tensor], Tensor]


def networks(model: nn.Module, x: Tensor, deadline: Deadline, say: Callable[[str], None] = print) -> dict[str, Call]:
    """Ways to run the dense network on float32 images like x, by a name in NAMES; those that fail are left out.

    Batch norm is folded. The CPU has no float16 to speak of: there the types are float32 as well.
    """
    half = torch.float16 if x.is_cuda else torch.float32
    net32 = folded(copy.deepcopy(model)).to(x.device, memory_format=torch.channels_last)
    net16 = copy.deepcopy(net32).to(half)

    def eager32(image: Tensor) -> Tensor:
        return net32(image.to(memory_format=torch.channels_last))

    def eager16(image: Tensor) -> Tensor:
        return net16(image.to(half, memory_format=torch.channels_last))

    found: dict[str, Call] = {"eager32": eager32, "eager16": eager16}
    compiled = torch.compile(net16, dynamic=False) if x.is_cuda else None

    def compiled16(image: Tensor) -> Tensor:
        assert compiled is not None
        return compiled(image.to(half, memory_format=torch.channels_last))

    def graph(name: str, call: Call) -> None:
        try:
            with limited(30):
                found[name] = captured(call, x)
        except Exception as error:
            say(f"{name} left out: {type(error).__name__}: {str(error)[:200]}")

    graph("graph16", eager16)
    if compiled is not None:
        try:
            with limited(min(COMPILE, deadline.left)):
                for _ in range(3):
                    compiled16(x)
            found["compiled16"] = compiled16
        except Exception as error:
            say(f"compiled16 left out: {type(error).__name__}: {str(error)[:200]}")
        else:
            graph("compiled_graph16", compiled16)
    return found
