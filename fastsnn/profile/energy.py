"""What an inference would cost in joules by a named model, for the spiking network and its two opponents.

A model is a handful of unit costs with a source. None of them is a measurement of this machine, and none says alone
whether spikes save energy: each is stated for the spiking network, for the dense network, and for the network with
activations of ceil(log2(T + 1)) bits, which tell as many levels apart as T binary steps do (Yan et al., 2024).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

PICO = 1e-12
# Horowitz, ISSCC 2014: pJ for one access of 64 bits to a memory of up to so many bytes
SRAM = ((8 * 2**10, 10.0), (32 * 2**10, 20.0), (2**20, 100.0))
ACCESS = 8


@dataclass(frozen=True)
class EnergyModel:
    """Unit costs in picojoules.

    mac          one multiplication with its addition
    accumulate   one addition that a spike causes; a neuron's update and a comparison are charged as one each
    source       where the costs are from
    word         bytes of a weight or number in memory; 0 where access to memory is not charged
    note         what a reader has to know besides

    Where memory is charged, sums stay in a register on both sides: a multiplication reads a weight and an activation, a
    synaptic operation reads a weight, and the update of a neuron reads and writes its potential. Each access costs what
    one of 64 bits costs in an SRAM that holds all weights, or all activations or potentials, of the layer (Horowitz
    2014: 10, 20, 100 pJ for 8 KB, 32 KB, 1 MB; larger ones are charged as 1 MB), in proportion to its bytes. Hardware
    that keeps no sum in a register, but updates a potential for each spike, pays more.

    Raises ValueError for costs that are negative, or a model without name or source.
    """

    name: str
    mac: float
    accumulate: float
    source: str
    word: int = 0
    note: str = ""

    def __post_init__(self) -> None:
        if not self.name or not self.source:
            raise ValueError(f"EnergyModel needs a name and a source, got {self.name!r} and {self.source!r}")
        if self.mac < 0 or self.accumulate < 0 or self.word < 0:
            raise ValueError(
                f"EnergyModel {self.name}: costs must not be negative, got mac={self.mac}, "
                f"accumulate={self.accumulate}, word={self.word}"
            )

    def quantised_mac(self, bits: int) -> float:
        """A multiplication by an activation of so many bits: shifted additions, one a bit, or one multiplier."""
        return min(self.mac, bits * self.accumulate)


HOROWITZ = "Horowitz, Computing's energy problem, ISSCC 2014 (45 nm)"
MODELS: dict[str, EnergyModel] = {
    model.name: model
    for model in (
        EnergyModel(
            "horowitz-fp32", 4.6, 0.9, HOROWITZ, note="float32: multiplication 3.7, addition 0.9 pJ; no memory"
        ),
        EnergyModel(
            "horowitz-int8", 0.23, 0.03, HOROWITZ, note="int8: multiplication 0.2, addition 0.03 pJ; no memory"
        ),
        EnergyModel("horowitz-fp32-memory", 4.6, 0.9, HOROWITZ, 4, "float32, every operand fetched from SRAM"),
        EnergyModel("horowitz-int8-memory", 0.23, 0.03, HOROWITZ, 1, "int8, every operand fetched from SRAM"),
        EnergyModel(
            "neuromorphic",
            12.5,
            0.077,
            "77 fJ a synaptic operation and 12.5 pJ a floating-point operation, as restated by Bu et al., ICLR 2022",
            note="two different machines; a multiplication with its addition is charged as one operation",
        ),
    )
}


def register(model: EnergyModel) -> None:
    """Adds a model to those that `profile` takes by name. Raises ValueError where the name is taken by another."""
    known = MODELS.get(model.name)
    if known is not None and known != model:
        raise ValueError(f"there is an energy model called {model.name!r} already: {known}")
    MODELS[model.name] = model


def chosen(models: Iterable[str | EnergyModel] | None) -> list[EnergyModel]:
    """Models by name, or as they are; None for all that are registered. Raises ValueError for an unknown name."""
    if models is None:
        return list(MODELS.values())
    found = []
    for model in [models] if isinstance(models, str | EnergyModel) else models:
        if isinstance(model, str) and model not in MODELS:
            raise ValueError(f"energy model must be one of {', '.join(MODELS)}, or an EnergyModel, got {model!r}")
        found.append(MODELS[model] if isinstance(model, str) else model)
    return found


@dataclass(frozen=True)
class Work:
    """What one layer does for one image (means over images are fractions).

    additions     synaptic operations at each step
    comparisons   of numbers that are no spikes
    macs          multiplications of numbers that are no spikes
    updates       neuron updates at each step
    dense_macs    multiplications of the same layer in the dense network
    weights       how many there are
    activations   numbers that the layer reads
    outputs       and that it holds
    image         whether it reads the image
    """

    additions: Sequence[float]
    comparisons: float
    macs: float
    updates: float
    dense_macs: float
    weights: int
    activations: int
    outputs: int
    image: bool


def bits(T: int) -> int:
    """Of an activation with T + 1 levels: ceil(log2(T + 1))."""
    return T.bit_length()


def access(numbers: int, word: float) -> float:
    """pJ for one number of `word` bytes out of a memory that holds so many."""
    size = numbers * word
    cost = next((cost for most, cost in SRAM if size <= most), SRAM[-1][1])
    return cost * word / ACCESS


def spiking(model: EnergyModel, layers: Sequence[Work], T: int) -> tuple[dict[str, float], list[float]]:
    """Joules of one image by part, and up to each of T steps; what is done once is spent at the first."""
    once = synaptic = updates = memory = 0.0
    steps = [0.0] * T
    for work in layers:
        weight, number = (access(n, model.word) for n in (work.weights, work.activations))
        # potentials and sums have 32 bits where weights have fewer
        state = access(work.outputs, max(model.word, 4) if model.word else 0)
        first = work.macs * model.mac + work.comparisons * model.accumulate
        fetched = work.macs * (weight + number) + work.comparisons * number
        once, memory = once + first, memory + fetched
        if T:
            steps[0] += first + fetched
        for t, additions in enumerate(work.additions):
            caused, updated = additions * model.accumulate, work.updates * model.accumulate
            moved = additions * weight + work.updates * 2 * state
            synaptic, updates, memory = synaptic + caused, updates + updated, memory + moved
            steps[t] += caused + updated + moved
    total, curve = 0.0, []
    for step in steps:
        total += step
        curve.append(total * PICO)
    parts = {"synaptic operations": synaptic, "multiplications": once, "neuron updates": updates, "memory": memory}
    return {name: cost * PICO for name, cost in parts.items()}, curve


def dense(model: EnergyModel, layers: Sequence[Work]) -> float:
    """Joules of one image in the dense network."""
    return PICO * sum(
        work.dense_macs * (model.mac + access(work.weights, model.word) + access(work.activations, model.word))
        for work in layers
    )


def quantised(model: EnergyModel, layers: Sequence[Work], T: int) -> float:
    """Joules of one image in the network with activations of bits(T) bits; the image itself has all of its bits."""
    few, total = bits(T), 0.0
    for work in layers:
        number = few / 8 if model.word and not work.image else model.word
        mac = model.mac if work.image else model.quantised_mac(few)
        total += work.dense_macs * (mac + access(work.weights, model.word) + access(work.activations, number))
    return PICO * total
