"""Functions of means in the native module: bit by bit what the layer computes in PyTorch."""

import pytest
import torch
from sets import SETS, using

from fastsnn import _native
from fastsnn.ops._changes import changes, changes_by, takes
from fastsnn.ops._functions import PLAIN, WRITTEN_OUT
from fastsnn.program import FunctionLayer

pytestmark = pytest.mark.skipif(_native.reason() is not None, reason=str(_native.reason()))

EXPONENT = 18


def numbers(*shape, seed=0, spread=2**20):
    generator = torch.Generator().manual_seed(seed)
    return (spread * torch.randn(*shape, generator=generator)).round().int()


def layer(operator, inputs):
    places = [{"node": k} for k in range(len(inputs))]
    operator, more, named = operator if isinstance(operator, tuple) else (operator, [], {})
    made = FunctionLayer(
        "f", tuple(inputs[0].shape[2:]), (), [f"s{k}" for k in range(len(inputs))], operator, ([*places, *more], named)
    )
    made.exponent = EXPONENT
    return made


def count(begin, end):
    return torch.arange(begin, end + 1, dtype=torch.float64)


CASES = {
    "hardswish": ("aten.hardswish.default", [(5, 2, 3, 4, 7)]),
    "hardsigmoid": ("aten.hardsigmoid.default", [(9, 3, 11)]),
    "many": ("aten.hardswish.default", [(16, 2, 20, 20, 19)]),
    "product": ("aten.mul.Tensor", [(6, 2, 3, 5), (6, 2, 3, 5)]),
    "gate": ("aten.mul.Tensor", [(16, 3, 9, 7, 20), (16, 3, 1, 1, 20)]),
    "gate first": ("aten.mul.Tensor", [(4, 2, 1, 1, 600), (4, 2, 3, 2, 600)]),
    "one step": ("aten.mul.Tensor", [(1, 1, 2, 2, 3), (1, 1, 1, 1, 3)]),
    **{name: (f"aten.{name}.default", [(6, 2, 3, 5, 11)]) for name in WRITTEN_OUT if name != "gelu_tanh"},
    "gelu_tanh": (("aten.gelu.default", [], {"approximate": "tanh"}), [(6, 2, 3, 5, 11)]),
    "norm": (("aten.layer_norm.default", [[3]], {}), [(16, 2, 3, 700)]),
    "softmax": (("aten.softmax.int", [-1], {}), [(5, 2, 3, 7)]),
    "matrices": ("aten.matmul.default", [(6, 2, 3, 5), (6, 2, 4, 3)]),
    "no number": ("aten.log.default", [(6, 2, 3, 5)]),
    "no image of any": ("aten.log.default", [(6, 0, 3, 5)]),
    "no image": ("aten.mul.Tensor", [(4, 0, 2, 2, 3), (4, 0, 1, 1, 3)]),
}


@pytest.mark.parametrize("spread", [2**20, 2**29], ids=["usual", "saturating"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("isa", SETS)
def test_numbers_are_those_of_the_layer(isa, name, threads, spread):
    with using(isa):
        compare(name, threads, spread)


def compare(name, threads, spread):
    operator, shapes = CASES[name]
    inputs = [numbers(*shape, seed=k, spread=spread) for k, shape in enumerate(shapes)]
    made, T = layer(operator, inputs), len(inputs[0])
    wanted, after = made.over_time(inputs, count(0, T))
    assert made.known is None or takes(made.known, inputs)

    def run(inputs, steps, state):
        if made.known is None:
            return changes_by(made.values, inputs, steps, EXPONENT, state)
        return changes(made.known, inputs, steps, EXPONENT, state)

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        got, state = run(inputs, count(0, T), None)
        parts, between = [], None
        for begin, end in ((0, 1), (1, T)):
            if begin < end:
                part, between = run([x[begin:end] for x in inputs], count(begin, end), between)
                parts.append(part)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(got, wanted)
    assert all(torch.equal(a, b) for a, b in zip(state, after, strict=True))
    assert torch.equal(torch.cat(parts), wanted)


def test_a_difference_shows():
    x = numbers(5, 2, 3)
    wanted, _ = changes("hardswish", [x], count(0, 5), EXPONENT, None)
    for other in (changes("hardsigmoid", [x], count(0, 5), EXPONENT, None)[0],
                  changes("hardswish", [x + 1], count(0, 5), EXPONENT, None)[0],
                  changes("hardswish", [x], count(1, 6), EXPONENT, None)[0]):  # fmt: skip
        assert not torch.equal(other, wanted)


def test_what_has_no_kernel():
    x = numbers(2, 2, 3, 3, 4)
    assert layer("aten.log_sigmoid.default", [x]).known is None
    assert not takes("product", [x, x[..., :1]])
    assert not takes("product", [x, x[:, :, :1]])
    assert {*PLAIN.values(), *WRITTEN_OUT} == set(_native.load().Function.__members__)
