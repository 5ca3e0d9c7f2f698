"""Neurons with planes, counts and gains that every backend has to have, and layers of them."""

import torch

from fastsnn.firing import Plane, levels, powers, taken_back
from fastsnn.neurons import IF, Graded
from fastsnn.testing.cases import CONVOLUTIONS, LINEARS, Neurons, lattice, neuron_arguments, random_words

# every amplitude is worth a few units, so that potentials get to all planes
NEURONS = {
    "burst": Graded(levels(5)),
    "above": Graded(levels(3), comparator=">"),
    "bits": Graded(levels(15)),
    "snm": Graded((*levels(1), *taken_back(1, early=False))),
    "signed": Graded((*levels(1), *taken_back(1, early=True)), below=True),
    "capped": Graded((*levels(2), *taken_back(2, early=True)), below=True, most=4),
    "by-step": Graded((*levels(3), *taken_back(3, early=True)), below=True, most=9, by_step=True),
    "powers": Graded(powers(4, 0.75), single=True),
    "rounded": Graded(tuple(Plane(a, 4 * abs(a) - 2) for a in (4, 2, 1, -4, -2, -1)), single=True),
}
GAINS = {
    "leaky": IF(leak=0.9),
    "leaky-hard": IF("hard", ">", leak=0.75),
    "leaky-burst": Graded(levels(3), leak=0.75),
    "differential": Graded(powers(3, 0.75), single=True, differential=True),
    "differential-if": Graded(powers(1, 0.5), differential=True),
}
ALL = NEURONS | GAINS
# a threshold of 4 to 12 units is too much for neurons that have several of them in a step: thresholds are made smaller
SMALLER = 4


def rules(name, first=0):
    neuron = ALL[name]
    return neuron.firing.at(first).code, neuron.comparator


def numbers(g, T, shape, dtype, n):
    v, threshold, bias = neuron_arguments(g, n, T, shape, dtype)
    return v, (threshold / SMALLER if threshold.is_floating_point() else threshold // SMALLER), bias


def elementwise(op, name, T, dtype, seed=0, first=0):
    """Arguments of if_steps or if_constant."""
    g = torch.Generator().manual_seed(seed)
    shape = (2, 3, 43)
    current = lattice(g, (T, *shape) if op == "if_steps" else shape, -6, 10, dtype)
    n = Neurons("channel", "neuron", "channel") if seed % 2 else Neurons("one", "one", "step")
    more = () if op == "if_steps" else (T,)
    return (current, *numbers(g, T, shape, dtype, n), *more, *rules(name, first))


def layer(case, name, T, dtype, seed=0, first=0):
    """Arguments of conv_if for a case of CONVOLUTIONS, or of linear_if for one of LINEARS."""
    g = torch.Generator().manual_seed(seed)
    n = Neurons("channel", "neuron", "channel") if seed % 2 else Neurons("one", "channel", "step")
    if isinstance(case, str):
        batch, out, inputs = CONVOLUTIONS[case]
        words = [random_words(g, (batch, *i.sizes, i.channels), T) for i in inputs]
        weights = [lattice(g, (out, i.channels // i.groups, *i.kernel), -3, 4, dtype) for i in inputs]
        shape = (batch, *inputs[0].output(), out)
        geometry = [[number for i in inputs for number in i.geometry()[k]] for k in range(3)]
        more = (*geometry, [i.groups for i in inputs])
    else:
        batch, sizes, out = LINEARS[case]
        words = [random_words(g, (batch, k), T) for k in sizes]
        weights = [lattice(g, (out, k), -3, 4, dtype) for k in sizes]
        shape, more = (batch, out), ()
    v, threshold, bias = numbers(g, T, shape, weights[0].dtype, n)
    return (words, weights, v, threshold, bias, T, *more, *rules(name, first)), shape
