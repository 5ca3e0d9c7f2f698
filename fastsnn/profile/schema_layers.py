"""What a profile says of each layer, and how a number that could not be had is written: see `profile.schema`."""

from typing import Any, TypedDict

from typing_extensions import TypeIs

# bins of equal width that rates from 0 to 1 are sorted into; the last one holds 1
BINS = 20


class NotMeasurable(TypedDict):
    """In place of a value that this machine, or this run, cannot give."""

    not_measurable: str


def unavailable(reason: str) -> NotMeasurable:
    return {"not_measurable": reason}


def missing(value: Any) -> TypeIs[NotMeasurable]:
    """Whether a value could not be measured."""
    return isinstance(value, dict) and "not_measurable" in value


class Spread(TypedDict):
    """Of a layer's neurons, each with its mean rate over all images and steps.

    histogram   neurons in each of BINS bins of rates from 0 to 1
    silent      neurons that never fired
    always      neurons that fired at every step of every image
    """

    std: float
    p5: float
    p50: float
    p95: float
    histogram: list[int]
    silent: int
    always: int


class Operations(TypedDict):
    """Additions that the spikes of one source cause in a layer: one for each connection that a spike reaches.

    kind     "synapses", "pooling" or "residual"
    by_step  at each of the T steps, over all images
    """

    kind: str
    source: str
    by_step: list[int]


class Macs(TypedDict):
    """Multiplications with additions of numbers that are no spikes, for one image.

    kind   "first layer" (the image), "readout" (the mean over time), "numbers" (that change from step to step), or
           "comparisons" (maxima of numbers, which cost what an addition does)
    once   for one time
    times  how often they are done: 1, or T
    """

    kind: str
    source: str
    once: int
    times: int


class Bytes(TypedDict):
    """Moved by one pass over `conditions.batch` images and all T steps, if everything is read and written once.

    weights           weights and biases, once for each chunk of at most 32 steps
    read, written     packed spikes, or numbers
    potentials        membrane potentials that are kept from chunk to chunk, written and read
    float_simulation  what a simulation in float32 moves that goes step by step and fuses the neuron's operations
    """

    weights: int
    read: int
    written: int
    potentials: int
    float_simulation: int


class Activation(TypedDict):
    """What a layer's spikes say (rate times threshold) against the dense activation.

    correlation  Pearson's, over all neurons and images
    error        root of the mean square difference, over that of the dense activation
    points       some pairs (dense, spiking)
    """

    correlation: float
    error: float
    points: list[tuple[float, float]]


class Raster(TypedDict):
    """Spikes of one image. neurons: which ones, by index into the flattened layer; steps: when each of them fired."""

    neurons: list[int]
    steps: list[list[int]]


class Layer(TypedDict):
    """One layer of the network as it runs.

    kind                     what it does, in words
    role                     "first" (neurons on the image), "spiking" (neurons on spikes), "pool", "route", "numbers"
                             (that change from step to step), "readout"
    shape                    of its result, (C, *S), without the batch
    neurons                  how many; 0 where it has none
    spikes                   at each step, over all images; empty where it has no neurons
    rate, spread, raster     None where it has no neurons
    dense_macs               multiplications of the same layer in a dense network, for one image: connections between
                             numbers that exist, as for the operations; of weights that are not zero
    dense_macs_with_borders  the same with those that only meet padding, as most tools count
    neuron_updates           neurons times T, for one image
    milliseconds             median of one pass of the timed batch; None where it was not timed by itself
    dense_milliseconds       of the same modules in the dense network
    """

    name: str
    kind: str
    role: str
    shape: list[int]
    neurons: int
    spikes: list[int]
    rate: float | None
    spread: Spread | None
    operations: list[Operations]
    macs: list[Macs]
    dense_macs: int
    dense_macs_with_borders: int
    neuron_updates: int
    bytes: Bytes
    milliseconds: float | None
    dense_milliseconds: float | None
    activation: Activation | NotMeasurable | None
    raster: Raster | None


def moved(layer: Layer) -> int:
    """Bytes that a layer moves in one pass, of all kinds; the float simulation is another network's."""
    found = layer["bytes"]
    return found["weights"] + found["read"] + found["written"] + found["potentials"]


def additions(layer: Layer) -> int:
    """Those that spikes of all sources cause in a layer, over all images and steps."""
    return sum(sum(operation["by_step"]) for operation in layer["operations"])
