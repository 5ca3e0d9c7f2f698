"""What a comparison is: the keys of its JSON, version 1.

Keys are added within a version, never changed or taken away. Times are in milliseconds an image, but for the seconds
that a conversion took.
"""

from typing import TypedDict

from fastsnn.profile.schema import Machine

SCHEMA, VERSION = "fastsnn.comparison", 1


class Row(TypedDict):
    """One method at one T, all of its own network. What a failed row lacks is None.

    label             what the caller calls the method and its options
    method, settings  its name, and the method with its options in words
    failed            why there is no result; None where there is one
    accuracy          fraction of the images that are right after T steps
    standard_error    of that, sqrt(p (1 - p) / images)
    input_steps       steps of input that T steps of output take; None where `latency` is no formula of T
    latency           the same in the words of the method's card
    causal, bits      from the card: bits that one spike carries
    spikes            an image, mean
    additions         that spikes cause, an image, mean: synapses, residual connections and pooling
    milliseconds      an image, median over rounds of the timed batch; with the 20th and 80th percentile
    seconds           that converting took
    """

    label: str
    method: str
    settings: str
    timesteps: int
    failed: str | None
    accuracy: float | None
    standard_error: float | None
    images: int
    input_steps: int | None
    latency: str
    causal: bool
    bits: float
    spikes: float | None
    additions: float | None
    milliseconds: float | None
    milliseconds_p20: float | None
    milliseconds_p80: float | None
    seconds: float | None


class Dense(TypedDict):
    """The network before conversion, on the same images.

    milliseconds     an image: in turn with every network, median over all these rounds
    how              what was timed, in words
    multiplications  an image, without those that only meet padding; None until a method has converted
    """

    name: str
    accuracy: float
    standard_error: float
    images: int
    milliseconds: float
    milliseconds_p20: float
    milliseconds_p80: float
    how: str
    parameters: int
    multiplications: int | None


class Conditions(TypedDict):
    """On what, and how. images: that accuracy and spikes are of; batch: images of the timed batch."""

    images: int
    calibration_images: int
    batch: int
    threads: int
    device: str
    precision: str
    max_pool: str | None


class Document(TypedDict):
    """A whole comparison.

    partial   what was not done, where it was interrupted; None where it is whole
    labels    of all methods, in the order in which they were given
    rows      in the order in which they were done: all methods at the least T first
    """

    schema: str
    version: int
    created: str
    command: str
    partial: str | None
    notes: list[str]
    machine: Machine
    conditions: Conditions
    labels: list[str]
    timesteps: list[int]
    dense: Dense
    rows: list[Row]
