"""What a reader has to know of a method before using it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """One method in a list of them; what is not said of it is what holds for most.

    title      what it does, in one line
    source     paper, with where its formulas are from where that is not the paper itself
    state      numbers that a neuron keeps from step to step
    data       what calibration needs: "none", or "images" (no labels)
    passes     how often calibration reads the images, with L neuron layers: "1", "L + 2"
    causal     whether a neuron's spike depends on nothing later than its own step
    bits       that one spike carries
    latency    steps of input that T steps of output take: "T", "T + 4"
    verified   which published or measured number this implementation was compared with; empty: none
    """

    title: str
    source: str
    state: str = "v"
    data: str = "images"
    passes: str = "1"
    causal: bool = True
    bits: float = 1
    latency: str = "T"
    verified: str = ""
