"""Soft-reset integrate-and-fire neurons of each peer: threshold 1, from a half, in its documented interface.

All take currents with an axis of time and return spikes of 0 and 1 of the same shape; `begin` forgets what was.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor, nn

START = 0.5
# Norse's neurons leak: of the potential, what this is, at every step. Half a unit in the last place of float32.
LEAK = 2.0**-24


class Neuron(nn.Module):
    """What an opponent has in place of a ReLU.

    settings  what was set, in words, for the rows
    gain      factor that its currents need
    axis      of time, in its input and output
    """

    settings = ""
    gain = 1.0
    axis = 0

    def begin(self) -> None:
        """Starts again from a half."""
        raise NotImplementedError


class Torch(Neuron):
    settings = "a loop over the steps, in place: add, compare, subtract"

    def begin(self) -> None:
        self.v: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        layout = _layout(x[0])
        v = torch.full_like(x[0], START, memory_format=layout) if self.v is None else self.v
        out = torch.empty((len(x) * len(x[0]), *x.shape[2:]), dtype=x.dtype, device=x.device, memory_format=layout)
        out = out.unflatten(0, x.shape[:2])
        for current, spikes in zip(x, out, strict=True):
            v += current
            torch.ge(v, 1.0, out=spikes)
            v -= spikes
        self.v = v
        return out


class Functional(Neuron):
    settings = "a loop over the steps without assignment: add, compare, subtract"

    def begin(self) -> None:
        self.v: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        v = torch.full_like(x[0], START) if self.v is None else self.v
        out = []
        for current in x:
            v = v + current
            out.append((v >= 1.0).to(v.dtype))
            v = v - out[-1]
        self.v = v
        return _stacked(out)


class SpikingJelly(Neuron):
    """The version that is installed: 2.0.0 chooses its kernels itself, 0.0.0.0.14 takes CuPy's on a GPU if asked."""

    def __init__(self) -> None:
        super().__init__()
        neuron = import_module("spikingjelly.activation_based.neuron")
        self.node = neuron.IFNode(v_threshold=1.0, v_reset=None, step_mode="m")
        self.settings = "IFNode(v_threshold=1, v_reset=None, step_mode='m'), v = 0.5 after reset"
        if "cupy" in getattr(self.node, "supported_backends", ()):
            self.node.backend = "cupy" if torch.cuda.is_available() else "torch"
            self.settings += f", backend='{self.node.backend}'"

    def begin(self) -> None:
        self.node.reset()
        self.node.v = START

    def forward(self, x: Tensor) -> Tensor:
        return self.node(x)


class SnnTorch(Neuron):
    settings = (
        "Leaky(beta=1, threshold=1, reset_mechanism='subtract', surrogate_disable=True), mem from 0.5; its delayed "
        "reset is the default and gives the same spikes; it fires above 1, not at 1"
    )

    def __init__(self) -> None:
        super().__init__()
        leaky = import_module("snntorch").Leaky
        self.leaky = leaky(beta=1.0, threshold=1.0, reset_mechanism="subtract", surrogate_disable=True)

    def begin(self) -> None:
        self.v: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        v = torch.full_like(x[0], START) if self.v is None else self.v
        out = []
        for current in x:
            spikes, v = self.leaky(current, v)
            out.append(spikes)
        self.v = v
        return _stacked(out)


class Norse(Neuron):
    settings = (
        "LIFBoxCell(tau_mem_inv=2^-24, v_th=1, reset_method=reset_subtract, dt=1), v from 0.5, currents times 2^24 in "
        "the weights: its IAF has a hard reset only, so a leak of 2^-24 a step stands for none; it fires above 1, not "
        "at 1"
    )
    gain = 1 / LEAK

    def __init__(self) -> None:
        super().__init__()
        box = import_module("norse.torch.functional.lif_box")
        reset = import_module("norse.torch.functional.reset").reset_subtract
        p = box.LIFBoxParameters(tau_mem_inv=torch.tensor(LEAK), v_th=torch.tensor(1.0), reset_method=reset)
        self.cell = import_module("norse.torch").LIFBoxCell(p, dt=1.0)
        self.state = box.LIFBoxFeedForwardState

    def begin(self) -> None:
        self.now: Any = None

    def forward(self, x: Tensor) -> Tensor:
        state = self.state(v=torch.full_like(x[0], START)) if self.now is None else self.now
        out = []
        for current in x:
            spikes, state = self.cell(current, state)
            out.append(spikes)
        self.now = state
        return _stacked(out)


class Sinabs(Neuron):
    settings = (
        "IAF(spike_threshold=1, spike_fn=SingleSpike, reset_fn=MembraneSubtract(), min_v_mem=None), v_mem = 0.5; its "
        "default MultiSpike may fire several times a step, which is another network"
    )
    axis = 1

    def __init__(self) -> None:
        super().__init__()
        activation = import_module("sinabs.activation")
        self.iaf = import_module("sinabs.layers").IAF(
            spike_threshold=torch.tensor(1.0),
            spike_fn=activation.SingleSpike,
            reset_fn=activation.MembraneSubtract(),
            min_v_mem=None,
        )

    def begin(self) -> None:
        self.fresh = True

    def forward(self, x: Tensor) -> Tensor:
        if self.fresh:
            self.iaf.init_state_with_shape((x.shape[0], *x.shape[2:]))
            self.iaf.v_mem.fill_(START)
            self.fresh = False
        return self.iaf(x)


NEURONS: dict[str, type[Neuron]] = {
    "torch": Torch,
    "torch-compiled": Functional,
    "spikingjelly": SpikingJelly,
    "spikingjelly-0.0.0.0.14": SpikingJelly,
    "snntorch": SnnTorch,
    "norse": Norse,
    "sinabs": Sinabs,
}


def found(peer: str) -> tuple[Callable[[], Neuron] | None, str]:
    """(what makes its neurons, its name and version), or (None, why not)."""
    package = peer.split("-", 1)[0]
    try:
        NEURONS[peer]()
        return NEURONS[peer], f"{package} {version(package)}"
    except (ImportError, OSError, PackageNotFoundError) as error:
        return None, f"{package} does not load: {error}"


def _stacked(steps: list[Tensor]) -> Tensor:
    return steps[0].unsqueeze(0) if len(steps) == 1 else torch.stack(steps)


def _layout(x: Tensor) -> torch.memory_format:
    last = x.ndim == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format
