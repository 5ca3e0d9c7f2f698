"""Smooth functions of fixed-point networks, each defined to the last bit: sums, products and quotients of 64 bits.

The native module has the same, in the same order (`csrc/fixed/changes_cpu.inc`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fastsnn.ops._series import exp, log1p, series

SQRT_HALF = 0.7071067811865476
# (1 + 2 z) exp(z^2) erfc(z) as a polynomial in (z - 3.75) / (z + 3.75), for z >= 0; the rest is below 2^-51
TAIL = (
    *(1.2375126308378264, -0.14024059858550603, 0.0035854154857820858, 0.0822767384871182, -0.1088039301545675),
    *(0.09230432122641373, -0.05869339838753183, 0.02836227675679642, -0.009746581196149294, 0.0017556295146556578),
    *(0.0002937214376388886, -0.0002901663121475416, 5.162599505048222e-05, 2.241004219151491e-05),
    *(-1.1399692190877396e-05, -1.008368052683104e-06, 1.6959634573796485e-06, -2.7737297073334052e-08),
    *(-2.1429002109385926e-07, 8.52358585779957e-09, 1.7548462963061632e-08),
)


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (exp(-x) + 1)


def silu(x: Tensor) -> Tensor:
    return x / (exp(-x) + 1)


def tanh(x: Tensor) -> Tensor:
    return 1 - 2 / (exp(x + x) + 1)


def elu(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, exp(x) - 1)


def mish(x: Tensor) -> Tensor:
    e = exp(x)
    w = e * (e + 2)
    return x * (w / (w + 2))


def softplus(x: Tensor) -> Tensor:
    return torch.where(x > 20, x, x.clamp(min=0) + log1p(exp(-x.abs())))


def gelu_tanh(x: Tensor) -> Tensor:
    # 2 sqrt(2 / pi)
    return x / (exp(x * (x * x * 0.044715 + 1) * -1.5957691216057308) + 1)


def gelu(x: Tensor) -> Tensor:
    z = x.abs() * SQRT_HALF
    above, twice = z + 3.75, z + z + 1
    # both quotients of one division
    share = 1 / (above * twice)
    tail = series((z - 3.75) * (twice * share), TAIL) * (above * share) * (exp(x * x * -0.5) * 0.5)
    small = x.abs() * tail
    return torch.where(x > 0, x - small, -small)


WRITTEN_OUT: dict[str, Callable[[Tensor], Tensor]] = {
    f.__name__: f for f in (sigmoid, silu, tanh, elu, mish, softplus, gelu_tanh, gelu)
}
# operators of ATen that are nothing but sums, products and quotients
PLAIN = {"aten.mul.Tensor": "product", "aten.hardswish.default": "hardswish", "aten.hardsigmoid.default": "hardsigmoid"}


def named(operator: Any, arguments: tuple[Sequence[Any], Mapping[str, Any]]) -> str | None:
    """What a function is called in the native module: None where that has none, or other settings than the usual ones.

    operator   of ATen, as torch has it
    arguments  those without a name, and those with one
    """
    name = str(operator)
    if name in PLAIN:
        return PLAIN[name]
    short = operator._schema.name.removeprefix("aten::")
    if name != f"aten.{short}.default" or short not in WRITTEN_OUT:
        return None
    known = operator._schema.arguments[1:]
    values = {**dict(zip((a.name for a in known), arguments[0][1:], strict=False)), **arguments[1]}
    unusual = {a.name: values[a.name] for a in known if values.get(a.name, a.default_value) != a.default_value}
    if short == "gelu" and unusual == {"approximate": "tanh"}:
        return "gelu_tanh"
    return None if unusual else short
