"""Layers that are a function of means: what they give at each step, how much they multiply, and old files of them."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from fastsnn.program import FunctionLayer
from fastsnn.program.function import products
from fastsnn.saved.layers import described, rebuilt


def function(operator="silu", *more, sources=1, **options):
    arguments = ([*({"node": k} for k in range(sources)), *more], {})
    return FunctionLayer("f", (4, 3), (), [f"s{k}" for k in range(sources)], f"aten.{operator}", arguments, **options)


def over_time(layer, inputs, cuts=(), differential=False):
    """All steps, and in parts."""
    out, state, begin = [], None, 0
    for end in (*cuts, len(inputs[0])):
        steps = torch.arange(begin, end + 1, dtype=torch.float64)
        part, state = layer.over_time([x[begin:end] for x in inputs], steps, state, differential)
        out.append(part)
        begin = end
    return torch.cat(out)


def numbers(count=1, spread=2.0):
    generator = torch.Generator().manual_seed(3)
    return [spread * torch.randn(9, 2, 4, 3, generator=generator, dtype=torch.float64) for _ in range(count)]


def test_the_mean_of_what_it_gives_is_that_of_the_mean():
    n = torch.arange(1, 10, dtype=torch.float64).reshape(9, 1, 1, 1)
    x, y = numbers(2)
    for layer, inputs, f in (
        (function("silu.default"), [x], F.silu),
        (function("mul.Tensor", sources=2), [x, y], torch.mul),
    ):
        got = over_time(layer, inputs).cumsum(0) / n
        wanted = f(*(value.cumsum(0) / n for value in inputs))
        assert (got - wanted).abs().max() < 1e-12
        # changes of means: step t counts 1 / t
        changes = over_time(layer, [n * value for value in inputs], differential=True)
        assert ((changes / n).cumsum(0) - f(*(value.cumsum(0) for value in inputs))).abs().max() < 1e-12
        assert (over_time(layer, inputs, (2, 3)) - over_time(layer, inputs)).abs().max() < 1e-12


def test_sums_in_fixed_point_lose_nothing():
    layer = function("silu.default")
    layer.exponent = 20
    (x,) = ((value * 2**20).round().int() for value in numbers())
    n = torch.arange(1, 10, dtype=torch.float64).reshape(9, 1, 1, 1)
    got = over_time(layer, [x])
    assert got.dtype == torch.int32
    # the function of the mean is rounded once, whatever was given before
    wanted = (F.silu(x.long().cumsum(0) / (2.0**20 * n)) * (2.0**20 * n)).round().long()
    assert torch.equal(got.long().cumsum(0), wanted)
    assert torch.equal(over_time(layer, [x], (1, 4, 5)), got)
    assert (layer.dense([x[0].long()]) - 2**20 * F.silu(x[0] / 2.0**20)).abs().max() <= 0.5


def test_what_is_not_finite_at_first_is_nothing():
    x, y = numbers(2)
    y[:2] = 0
    n = torch.arange(1, 10, dtype=torch.float64).reshape(9, 1, 1, 1)
    got = over_time(function("div.Tensor", sources=2), [x, y])
    wanted = (x.cumsum(0) / y.cumsum(0)) * n
    assert torch.equal(got[:2], torch.zeros_like(got[:2])) and got.isfinite().all()
    assert ((got.cumsum(0) - wanted)[2:].abs() < 1e-10 * wanted[2:].abs().clamp(min=1)).all()


def test_steps_by_themselves():
    (x,) = numbers()
    assert torch.equal(over_time(function("silu.default", stepwise=True), [x], (4,)), F.silu(x))


def test_channels_are_where_an_operator_expects_them():
    (x,) = numbers()
    got = function("softmax.int", 1).dense([x[0]])
    # of two layouts in memory the exponentials may differ in their last bit
    assert (got - x[0].softmax(-1)).abs().max() < 1e-15 < (got - x[0].softmax(1)).abs().max()


@pytest.mark.parametrize("operator", ["sin_.default", "silu", "no_such.default", "from_file.default"])
def test_only_operators_that_compute(operator):
    with pytest.raises(TypeError):
        function(operator)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "sigmoid"])
def test_files_of_heads_are_read(name):
    data, _ = described(function("silu.default"), "0")
    old = {key: data[key] for key in ("name", "shape", "folded")}
    source = function("silu.default")
    layer = rebuilt(old | {"kind": "HeadLayer", "source": "f", "function": name, "dim": 1}, "0", {}, {"f": source})
    run = torch.sigmoid if name == "sigmoid" else partial(getattr(torch, name), dim=-1)
    (x,) = numbers()
    assert (layer.dense([x[0]]) - run(x[0])).abs().max() < 1e-14 and layer.sources == ("f",)


EINSUM = "nhid,ndjh->nhij"


def plain_attention(q, k, v):
    return (q @ k.mT).softmax(-1) @ v


@pytest.mark.parametrize(
    "operator, shapes, run",
    [
        ("mul.Tensor", [(3, 5), (3, 5)], torch.mul),
        ("bmm.default", [(3, 5), (5, 4)], torch.bmm),
        ("matmul.default", [(2, 3, 5), (2, 5, 4)], torch.matmul),
        ("scaled_dot_product_attention.default", [(2, 3, 5), (2, 7, 5), (2, 7, 5)], plain_attention),
        ("einsum.default", [(2, 3, 5), (5, 7, 2)], lambda x, y: torch.einsum(EINSUM, x, y)),
    ],
)
def test_products_are_counted(operator, shapes, run):
    values = [torch.ones(1, *shape) for shape in shapes]
    inner = [value.movedim(1, -1) if value.ndim > 2 else value for value in values]
    out = run(*values)
    with FlopCounterMode(display=False) as counter:
        run(*values)
    # two operations a multiplication; torch does not count those of single numbers
    wanted = counter.get_total_flops() // 2 if "mul" not in operator or "matmul" in operator else out.numel()
    shapes = [tuple(v.shape[1:]) for v in (*inner, out.movedim(1, -1))]
    got = products(f"aten.{operator}", [EINSUM], shapes[:-1], shapes[-1])
    assert got == wanted
