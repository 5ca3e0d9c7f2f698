"""What a converted network is once lowered: layers of summed linear terms, neurons and routes, ready to run."""

from fastsnn.program.function import FunctionLayer
from fastsnn.program.layers import (
    CountLayer,
    GateLayer,
    InputLayer,
    Layer,
    MaxPoolLayer,
    NeuronLayer,
    PlaneLayer,
    RouteLayer,
    ValueLayer,
)
from fastsnn.program.potential import PotentialLayer
from fastsnn.program.program import Program
from fastsnn.program.terms import ConvTerm, LinearTerm, ScaleTerm, Term, WindowTerm

__all__ = [
    "ConvTerm",
    "CountLayer",
    "FunctionLayer",
    "GateLayer",
    "InputLayer",
    "Layer",
    "LinearTerm",
    "MaxPoolLayer",
    "NeuronLayer",
    "PlaneLayer",
    "PotentialLayer",
    "Program",
    "RouteLayer",
    "ScaleTerm",
    "Term",
    "ValueLayer",
    "WindowTerm",
]
