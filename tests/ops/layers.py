"""Layers for the tests of what runs them on a GPU: arguments of `conv_if`, with what the definition makes of them."""

import torch

from fastsnn.ops.conv_if import reference as conv_reference
from fastsnn.ops.conv_if.op import output_shape
from fastsnn.ops.linear_if import reference as linear_reference
from fastsnn.testing.cases import random_words
from fastsnn.testing.compare import membranes_close, spikes_equal

F16, BF16, F32 = torch.float16, torch.bfloat16, torch.float32
I8, I16, I32 = torch.int8, torch.int16, torch.int32
VALUES = {I8: I32, I16: I16, I32: I32, F16: F32, BF16: F32, F32: F32, torch.float64: torch.float64}


def convolution(
    g, dtype, channels=(12, 20), size=(4, 3), T=5, kernel=3, batch=2, stride=1, padding=1, groups=1, **more
):
    """Arguments of `conv_if` for one input, as a dictionary: whole weights of up to 3, or of eighths of that."""
    dims, (inputs, outputs) = len(size), channels
    weight = torch.randint(-3, 4, (outputs, inputs // groups, *[kernel] * dims), generator=g)
    unit = 1 / 8 if dtype.is_floating_point else 1
    values = VALUES[dtype]
    return {
        "words": [random_words(g, (batch, *size, inputs), T)],
        "weights": [(weight * unit).to(dtype)],
        "v": torch.tensor(3 * unit).to(values),
        "threshold": torch.tensor(9 * unit).to(values),
        "bias": None,
        "T": T,
        "stride": [stride] * dims,
        "padding": [padding] * dims,
        "dilation": [1] * dims,
        "groups": [groups],
        "reset": "soft",
        "comparator": ">=",
    } | more


def joined(first, *others):
    """Layers that drive the same neurons: one layer of as many inputs, with the neurons of the first."""
    lists = ("words", "weights", "stride", "padding", "dilation", "groups")
    return first | {name: [x for layer in (first, *others) for x in layer[name]] for name in lists}


def shape_of(layer):
    dims = layer["words"][0].ndim - 2
    if dims == 0:
        return len(layer["words"][0]), len(layer["weights"][0])
    geometry = (layer[name][:dims] for name in ("stride", "padding", "dilation"))
    return output_shape(layer["words"][0], layer["weights"][0], *geometry)


def moved(x, device):
    if isinstance(x, list):
        return [moved(y, device) for y in x]
    return x.to(device) if isinstance(x, torch.Tensor) else x


def wanted(layer):
    shape = shape_of(layer)
    if len(shape) == 2:
        names = ("words", "weights", "v", "threshold", "bias", "T", "reset", "comparator")
        return linear_reference.linear_if(*(layer[name] for name in names))
    return conv_reference.conv_if(*layer.values(), shape)


def check(got, want, T):
    spikes_equal(got[0].cpu(), want[0], T)
    membranes_close(got[1], want[1])
    assert got[1].dtype == want[1].dtype
    assert want[0].any(), "a layer that never fires shows nothing"


def identity(layer, value=2):
    """One more input of a layer: words of the output's size, each to its neuron."""
    shape = shape_of(layer)
    ones = [1] * (len(shape) - 2)
    words = random_words(torch.Generator().manual_seed(11), shape, layer["T"])
    weight = layer["weights"][0].new_full((shape[-1], 1, *ones), value)
    window = {"stride": ones, "padding": [0] * len(ones), "dilation": ones}
    return {"words": [words], "weights": [weight], **window, "groups": shape[-1:]}
