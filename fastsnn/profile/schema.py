"""What a profile is: the keys of its JSON, version 1, and how a number that could not be had is written.

Sizes are in bytes, times in milliseconds, energies in joules, rates in spikes a neuron and time-step. Counts are exact
integers. A value that could not be measured is `{"not_measurable": reason}`, never a guess and never 0.
"""

from typing import TypedDict

from fastsnn.profile.schema_layers import (
    BINS,
    Activation,
    Bytes,
    Layer,
    Macs,
    NotMeasurable,
    Operations,
    Raster,
    Spread,
    additions,
    missing,
    moved,
    unavailable,
)

__all__ = [
    "BINS",
    "SCHEMA",
    "VERSION",
    "Accuracy",
    "Activation",
    "Attained",
    "Bytes",
    "Conditions",
    "Curve",
    "Document",
    "Energy",
    "Layer",
    "Machine",
    "Macs",
    "Measured",
    "MeasuredEnergy",
    "Memory",
    "Modelled",
    "Network",
    "NotMeasurable",
    "Operations",
    "Peaks",
    "Percentiles",
    "Raster",
    "Roofline",
    "Spread",
    "Time",
    "Timed",
    "Totals",
    "additions",
    "missing",
    "moved",
    "unavailable",
]

SCHEMA, VERSION = "fastsnn.profile", 1


class Machine(TypedDict):
    """Where it ran. gpu and driver are None where the network ran on a CPU."""

    processor: str
    instruction_set: str | None
    cores: int
    memory_bytes: int | None
    system: str
    gpu: str | None
    driver: str | None
    versions: dict[str, str | None]


class Network(TypedDict):
    """What ran.

    source      "converted" (a SpikingNetwork), "fused" (a FusedNetwork), or "module" (a torch module that calls
                fastsnn.ops, or holds one of them)
    method      how it was converted, in words; None for others
    parameters  numbers among its weights and biases
    dense       the name of the dense network beside it, or None
    """

    name: str
    source: str
    method: str | None
    precision: str | None
    timesteps: int
    device: str
    parameters: int
    dense: str | None


class Conditions(TypedDict):
    """On what, and how. images and batches: how many were counted; batch: images of the timed batch."""

    images: int
    batches: int
    batch: int
    threads: int
    labelled: bool


class Totals(TypedDict):
    """Sums over the layers: spikes and operations over all images, the others for one image (bytes: for one pass).

    operations   by kind, see Operations
    macs         by kind, times included
    rate         mean over all neurons
    dense_flops  of the dense network itself, counted by PyTorch, for one image; two for each multiplication
    """

    neurons: int
    spikes: int
    rate: float
    silent: int
    operations: dict[str, int]
    macs: dict[str, int]
    dense_macs: int
    dense_macs_with_borders: int
    dense_flops: int | NotMeasurable
    neuron_updates: int
    bytes: int
    bytes_float_simulation: int


class Percentiles(TypedDict):
    p20: float
    p50: float
    p80: float


class Timed(TypedDict):
    """One of the runs that took turns. ratio: its median over that of "dense, eager"; None without a dense network."""

    name: str
    milliseconds: Percentiles | NotMeasurable
    images_a_second: float | None
    ratio: float | None


class Time(TypedDict):
    """rounds: how often each ran after warming up; by_steps: median of the spiking network at fewer steps, [T, ms]."""

    rounds: int
    warm_up: int
    runs: list[Timed]
    by_steps: list[tuple[int, float]]


class Memory(TypedDict):
    """What a run adds at its highest to what the process held before, by the name of the run; and how it was taken."""

    how: str
    peak_bytes: dict[str, int | NotMeasurable]


class Measured(TypedDict):
    """Energy of repeated runs. joules_an_image has the idle power times the time subtracted; gross has not."""

    name: str
    joules_an_image: float
    gross_joules: float
    idle_watts: float
    seconds: float
    images: int


class MeasuredEnergy(TypedDict):
    """how: the counter, in words; covers: which parts of the machine it counts."""

    how: str
    covers: str
    runs: list[Measured]


class Modelled(TypedDict):
    """Energy of one image by a named model, in joules, for the spiking network and its two opponents.

    parts            of the spiking network: "synaptic operations", "multiplications", "neuron updates", "memory"
    quantised        the network with activations of `bits` = ceil(log2(T + 1)) bits, which tell as many levels apart
    spiking_by_step  joules up to each step
    """

    model: str
    source: str
    costs: dict[str, float]
    assumptions: str
    spiking: float
    parts: dict[str, float]
    dense: float
    quantised: float
    bits: int
    spiking_by_step: list[float]


class Energy(TypedDict):
    measured: MeasuredEnergy | NotMeasurable
    modelled: list[Modelled]


class Curve(TypedDict):
    """Of one network: fractions of images classified correctly after each step, and what it had spent for an image.

    knee   the first step whose accuracy is within one standard error of the last one's
    """

    name: str
    accuracy: list[float]
    standard_error: float
    spikes: list[float]
    operations: list[float]
    joules: dict[str, list[float]]
    knee: int


class Accuracy(TypedDict):
    """dense: of the dense network on the same images; None without one."""

    images: int
    dense: float | None
    curves: list[Curve]


class Peaks(TypedDict):
    """Measured on this machine: bytes copied a second (read and written), additions of synapses a second."""

    bytes_a_second: float
    operations_a_second: float
    how: str


class Attained(TypedDict):
    """Of one layer. bound: "memory" or "additions", whichever allows less; share: attained of what that allows."""

    layer: str
    operations_a_second: float
    bytes_a_second: float
    intensity: float
    bound: str
    share: float


class Roofline(TypedDict):
    peaks: Peaks
    layers: list[Attained]


class Document(TypedDict):
    """The whole profile. partial: None, or what was not done; command: what was run, to be run again."""

    schema: str
    version: int
    created: str
    command: str
    partial: str | None
    notes: list[str]
    machine: Machine
    network: Network
    conditions: Conditions
    layers: list[Layer]
    totals: Totals
    time: Time | NotMeasurable
    memory: Memory | NotMeasurable
    energy: Energy
    accuracy: Accuracy | NotMeasurable
    roofline: Roofline | NotMeasurable
