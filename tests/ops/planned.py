"""Layers of many shapes for the ways in which the native module finds its sums, and their plans."""

import torch

from fastsnn.ops._plan import Plan
from fastsnn.ops.conv_if import reference
from fastsnn.ops.conv_if.op import output_shape
from fastsnn.spikes import word_dtype
from fastsnn.testing.cases import random_words

UNIT = {torch.int16: 2**7, torch.int32: 2**14}


def layer(seed, dtype, size, kernel, channels, outputs, T, batch=2, stride=1, rate=1, inputs=1, padding=None):
    """A convolution's arguments: words with anything behind step T, of neurons that spike at a rate of 1 / 2^rate."""
    g = torch.Generator().manual_seed(seed)
    dims = len(size)
    padding = [k // 2 for k in kernel] if padding is None else padding
    words = []
    for _ in range(inputs):
        some = random_words(g, (batch, *size, channels), 32)
        for _ in range(rate - 1):
            some &= random_words(g, some.shape, 32)
        silent = torch.rand(some.shape, generator=g) < 0.4
        words.append(torch.where(silent, torch.zeros_like(some), some).to(word_dtype(T)))
    weight = [(torch.randint(-5, 8, (outputs, channels, *kernel), generator=g) * UNIT[dtype]).to(dtype) for _ in words]
    theta = (torch.randint(20, 60, (outputs,), generator=g) * UNIT[dtype]).to(dtype)
    bias = (torch.randint(-3, 4, (T, *[1] * (dims + 1), outputs), generator=g) * UNIT[dtype]).to(dtype)
    geometry = [stride] * dims * inputs, padding * inputs, [1] * dims * inputs, [1] * inputs, "soft", ">="
    return (words, weight, theta // 2, theta, bias, T, *geometry)


def plan_of(args, way):
    words, weights, v, theta, bias, _, *geometry = args
    *numbers, groups, reset, comparator = geometry
    dims = words[0].ndim - 2
    shape = output_shape(words[0], weights[0], *(n[:dims] for n in numbers))
    inputs = [w.shape[1:] for w in words]
    return Plan(inputs, weights, shape, theta, v, bias, *numbers, groups, reset, comparator, 0, way), shape


def same(args, plan, shape):
    got, want = plan(args[0], args[5]), reference.conv_if(*args, shape)
    return all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


SHAPES = {
    "several parts of the channels": {"size": (5, 7), "kernel": (3, 3), "channels": 300, "outputs": 40},
    "neighbours share a block": {"size": (6, 11), "kernel": (3, 3), "channels": 9, "outputs": 5},
    "positions that nobody reads": {"size": (7, 10), "kernel": (1, 1), "channels": 70, "outputs": 33, "stride": 3},
    "padding beyond the kernel": {"size": (3, 4), "kernel": (2, 2), "channels": 5, "outputs": 70, "padding": [3, 4]},
    "a whole row is a segment": {"size": (2, 150), "kernel": (3, 5), "channels": 17, "outputs": 20},
    "several images a band": {"size": (2, 2), "kernel": (3, 3), "channels": 130, "outputs": 64, "batch": 9},
    "deep": {"size": (2, 3, 4), "kernel": (2, 3, 1), "channels": 20, "outputs": 12},
    "one position": {"size": (1, 1), "kernel": (1, 1), "channels": 257, "outputs": 70, "batch": 5},
    "several inputs": {"size": (4, 5), "kernel": (3, 3), "channels": 33, "outputs": 34, "inputs": 3},
}


def same_on_threads(args, plan, shape):
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(same(args, plan, shape))
    return all(found)
