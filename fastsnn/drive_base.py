"""What all drivers of a neuron layer have in common."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from fastsnn.currents import Results, Run
from fastsnn.program import NeuronLayer, Term

# of a layer in the native module (registers of a block, look at every word), on a GPU (backend, its own choice), of
# neurons without weights a backend; None for the usual one
Choice = Any


class Driver:
    """Runs a neuron layer: (words, potentials after the last step, or None where they need not be kept)."""

    # what it is in the report
    label = "each step"
    # whether of an input that is held it reads 32-bit numbers, and nothing else
    narrow = False
    # whether its words are in the memory that `Run.words` gives
    fills = False
    # terms that torch sums up once a run, whatever the number of steps
    constant: Sequence[Term] = ()

    def __init__(self, layer: NeuronLayer) -> None:
        self.layer = layer

    def __call__(
        self, run: Run, results: Results, T: int, v: Tensor | None, keep: bool
    ) -> tuple[Tensor, Tensor | None]:
        raise NotImplementedError

    def backend(self, batch: int, T: int) -> str | None:
        """Which one runs all T steps of a batch; None where the operators of each step are found one by one."""
        return None

    def choices(self, batch: int, T: int) -> tuple[Choice, ...]:
        """Ways to the same result that are worth measuring; the first is taken unless measured otherwise."""
        return (None,)

    def choose(self, choice: Choice) -> None:
        """Takes another way to the same result."""

    def remember(self, times: dict[Choice, float], batch: int, T: int) -> Choice:
        """Told what each choice took at a batch size; gives the one that runs of every batch size are to take."""
        return min(times, key=times.__getitem__)
