"""Sums of numbers of each step in the native module: the definition, on every instruction set."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sets import SETS, using
from sums import MOST

from fastsnn import _native
from fastsnn.ops._totals import Totals
from fastsnn.program import ScaleTerm
from fastsnn.program.fixed import saturated

pytestmark = pytest.mark.skipif(_native.reason() is not None, reason=str(_native.reason()))


def defined(shape, inputs, weights, shifts, others, narrow, bias, last=False):
    """The same in whole numbers of 64 bits, by the terms of a program."""
    total = torch.zeros(inputs[0].shape if inputs else narrow.shape, dtype=torch.int64)
    for x, weight, shift in zip(inputs, weights, shifts, strict=True):
        term = ScaleTerm("x", weight, shape)
        term.shift = shift
        total = total + term.exact(x.long())
    for other in [*others, *([] if narrow is None else [narrow])]:
        total = total + other
    return saturated((saturated(total) if last else total) + bias).int()


@pytest.mark.parametrize("name", SETS)
@given(
    data=st.data(),
    shape=st.sampled_from([(1,), (7,), (33,), (2, 5), (3, 2, 17), (40, 40)]),
    batch=st.integers(0, 3),
    terms=st.integers(0, 3),
    others=st.integers(0, 2),
    biased=st.booleans(),
    last=st.booleans(),
)
def test_sums_are_exact_and_saturate(name, data, shape, batch, terms, others, biased, last):
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    spreads = st.sampled_from([(), shape[-1:], shape, (1, shape[-1])[-len(shape) :], (*shape[:-1], 1)])

    def numbers(bits, *size):
        return torch.randint(1 - 2**bits, 2**bits, size, generator=generator, dtype=torch.int32)

    shifts = [data.draw(st.sampled_from([-2, 0, 1, 13, 30])) for _ in range(terms)]
    inputs = [numbers(30, batch, *shape) for _ in range(terms)]
    # what is not scaled down stays within 64 bits all the same
    weights = [numbers(30 if shift > 0 else 4, *data.draw(spreads)) for shift in shifts]
    more = [numbers(30, batch, *shape).long() for _ in range(others)]
    narrow = numbers(30, batch, *shape) if data.draw(st.booleans()) or not terms else None
    bias = numbers(30, *data.draw(spreads))
    out = torch.empty((batch, *shape), dtype=torch.int32)
    with using(name):
        Totals(shape, weights, shifts, bias)(inputs, more, narrow, biased, out, last)
    assert torch.equal(out, defined(shape, inputs, weights, shifts, more, narrow, bias if biased else 0, last))


def test_the_definition_tells_one_apart():
    x, weight, bias = torch.full((2, 9), 3), torch.tensor([5]), torch.zeros(1)
    out = torch.empty((2, 9), dtype=torch.int32)
    Totals((9,), [weight.int()], [1], bias.int())([x.int()], [], None, True, out)
    # 15 / 2, halves up
    assert out.unique().tolist() == [8]
    assert not torch.equal(out, defined((9,), [x], [weight + 1], [1], [], None, 0))


def test_they_saturate_at_the_end_and_not_before():
    x = torch.full((1, 3), MOST - 1, dtype=torch.int32)
    totals = Totals((3,), [torch.tensor(4, dtype=torch.int32)], [0], torch.zeros(1, dtype=torch.int32))
    out = totals([x], [-3 * x.long()], None, True, torch.empty_like(x))
    assert torch.equal(out, x)
    assert torch.equal(totals([x], [], x, True, torch.empty_like(x)), x), "five times the limit is the limit"
