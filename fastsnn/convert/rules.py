"""What each ATen operator is in the graph, or why it has no spiking form: one small function for each kind."""

import operator as py
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fastsnn.convert import movement
from fastsnn.convert.graph import (
    Add,
    Affine,
    Conv,
    Graph,
    Head,
    Linear,
    MaxPool,
    Move,
    Neuron,
    Node,
    Payload,
    Refused,
    Window,
    channels_last,
    reduced,
)
from fastsnn.windows import Pooling, window_index

IDENTITY = {"clone", "contiguous", "alias", "detach", "dropout", "feature_dropout", "alpha_dropout", "_to_copy", "to"}
IDENTITY |= {"lift_fresh_copy", "native_dropout", "positive"}
MOVEMENT = {"view", "_unsafe_view", "reshape", "flatten", "unflatten", "transpose", "t", "permute", "movedim", "squeeze"}
MOVEMENT |= {"unsqueeze", "slice", "select", "narrow", "split", "split_with_sizes", "chunk", "unbind", "cat", "stack"}
MOVEMENT |= {"constant_pad_nd", "pad", "index_select", "index", "flip", "roll", "expand", "repeat", "swapaxes"}
MOVEMENT |= {"reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "pixel_shuffle", "pixel_unshuffle", "im2col"}
MOVEMENT |= {"replication_pad1d", "replication_pad2d", "replication_pad3d", "channel_shuffle", "tensor_split"}
MOVEMENT |= {"upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "repeat_interleave", "concat"}
SHAPELESS = "it changes the number of samples or mixes them"


class _Refusal(Exception):
    """Raised by a rule with the reason; becomes a Refused node."""


class _Call:
    """One operator being read: where its results go and what they are called."""

    def __init__(self, graph: Graph, node: torch.fx.Node, operator: str, name: str, origin: str) -> None:
        self.graph, self.node, self.operator, self.name, self.origin = graph, node, operator, name, origin

    def add(self, payload: Payload, *inputs: Node, shape: tuple[int, ...] | None = None, suffix: str = "") -> Node:
        shape = self.shape if shape is None else shape
        origin = f"{suffix[1:]} of {self.origin}" if suffix else self.origin
        return self.graph.add(self.name + suffix, payload, tuple(n.name for n in inputs), shape, origin)

    @property
    def logical(self) -> tuple[int, ...]:
        """Shape of the result as the module sees it, without the batch: (C, *S)."""
        value = self.node.meta["val"]
        value = value[0] if isinstance(value, list | tuple) else value
        return tuple(int(n) for n in value.shape[1:])

    @property
    def shape(self) -> tuple[int, ...]:
        return channels_last(self.logical)


def constant(value: Tensor) -> Tensor:
    """A parameter or buffer as the rules use it: on the CPU, float64 where it is real."""
    value = value.detach().cpu()
    return value.double() if value.is_floating_point() else value


def apply(
    graph: Graph, node: torch.fx.Node, operator: str, name: str, origin: str, args: tuple, kwargs: dict
) -> Any:
    """The value of one exported operator: a Node, a constant, or a list of them."""
    call = _Call(graph, node, operator, name, origin)
    nodes = [a for a in torch.utils._pytree.tree_leaves((args, kwargs)) if isinstance(a, Node)]
    if node.target is py.getitem:
        return args[0] if isinstance(args[0], Node) else args[0][args[1]]
    if not nodes:
        kwargs = {k: v for k, v in kwargs.items() if k not in ("device", "pin_memory")}
        return torch.utils._pytree.tree_map_only(Tensor, constant, node.target(*args, **kwargs))
    try:
        if operator in IDENTITY:
            return nodes[0]
        if operator in MOVEMENT:
            return _move(call, args, kwargs)
        if operator not in RULES:
            raise _Refusal(REASONS.get(operator, f"no spiking form is known for {operator}"))
        return RULES[operator](call, *args, **kwargs)
    except _Refusal as refusal:
        shape = call.shape if node.meta.get("val") is not None else ()
        return call.add(Refused(str(refusal)), *nodes, shape=shape)


def _constant(value: Any, what: str) -> Tensor:
    if isinstance(value, Node):
        raise _Refusal(f"{what} depends on the input")
    return value


def _per_sample(call: _Call, value: Any, logical: tuple[int, ...]) -> Tensor:
    """A constant that broadcasts with [B, *logical], channels last, cut down to where it varies."""
    value = torch.as_tensor(value, dtype=torch.float64)
    full = value.expand(movement.BATCH, *logical)
    if not torch.equal(full[0], full[1]):
        raise _Refusal("its constant differs from sample to sample")
    return reduced(full[0].movedim(0, -1) if len(logical) > 1 else full[0], channels_last(logical))


def _affine(call: _Call, x: Node, scale: Any = 1.0, shift: Any = 0.0, suffix: str = "") -> Node:
    logical = call.logical
    x = _spread(call, x, logical)
    scale, shift = _per_sample(call, scale, logical), _per_sample(call, shift, logical)
    return call.add(Affine(scale, shift), x, shape=channels_last(logical), suffix=suffix)


def _spread(call: _Call, x: Node, logical: tuple[int, ...]) -> Node:
    """x, broadcast to a larger shape by data movement where needed."""
    if x.shape == channels_last(logical):
        return x
    moves = movement.trace_movement(lambda ids: ids[0].expand(movement.BATCH, *logical), [x.shape])
    if moves is None:
        raise _Refusal(SHAPELESS)
    return call.add(Move(moves[0][0]), x, shape=moves[0][1], suffix=".expand")


def _move(call: _Call, args: tuple, kwargs: dict) -> Any:
    leaves, spec = torch.utils._pytree.tree_flatten((args, kwargs))
    nodes = [leaf for leaf in leaves if isinstance(leaf, Node)]
    moving = call.operator in ("cat", "stack", "concat")
    shifts = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point()] if moving else []

    def run(ids: list[Tensor], constants: bool = False) -> Any:
        numbers = iter(ids)
        new = [
            next(numbers)
            if isinstance(leaf, Node)
            else (leaf if constants else torch.zeros_like(leaf))
            if any(leaf is s for s in shifts)
            else leaf
            for leaf in leaves
        ]
        new_args, new_kwargs = torch.utils._pytree.tree_unflatten(new, spec)
        return call.node.target(*new_args, **new_kwargs)

    shapes = [n.shape for n in nodes]
    moves = movement.trace_movement(run, shapes)
    if moves is None:
        raise _Refusal(SHAPELESS)
    results = []
    for index, shape in moves:
        same = len(nodes) == 1 and shape == nodes[0].shape and movement.is_identity(index)
        results.append(nodes[0] if same else call.add(Move(index), *nodes, shape=shape))
    if any(s.any() for s in shifts):
        zeros = [torch.zeros_like(movement.numbered(shape, 0, 0)) for shape in shapes]
        results = [_affine(call, results[0], 1.0, run(zeros, constants=True), ".constant")]
    several = isinstance(call.node.meta["val"], list | tuple)
    return results if several else results[0]


def _conv(
    call: _Call, x: Node, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Node:  # fmt: skip
    weight = _constant(weight, "its weight")
    dims = weight.ndim - 2
    stride, dilation = _each(stride, dims), _each(dilation, dims)
    if padding == "valid":
        padding = 0
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        padding = tuple(t // 2 for t in total)
        if any(t % 2 for t in total):
            x = _pad_end(call, x, [t % 2 for t in total])
    padding = _each(padding, dims)
    shape = call.shape
    conv = Conv(weight, stride, padding, dilation, groups)
    if bias is None:
        return call.add(conv, x, shape=shape)
    out = call.add(conv, x, shape=shape, suffix=".weight")
    return _affine(call, out, 1.0, _column(_constant(bias, "its bias"), dims))


def _pad_end(call: _Call, x: Node, extra: list[int]) -> Node:
    pad = [p for e in reversed(extra) for p in (0, e)]
    moves = movement.trace_movement(lambda ids: torch.nn.functional.pad(ids[0], pad), [x.shape])
    if moves is None:
        raise _Refusal(SHAPELESS)
    return call.add(Move(moves[0][0]), x, shape=moves[0][1], suffix=".pad")


def _each(numbers: Any, dims: int) -> tuple[int, ...]:
    numbers = [numbers] if isinstance(numbers, int) else list(numbers)
    return tuple(numbers * dims if len(numbers) == 1 else numbers)


def _column(values: Tensor, dims: int) -> Tensor:
    """[C] as [C, 1, ...], to broadcast over (C, *S)."""
    return values.reshape(-1, *[1] * dims)


def _convolution(
    call: _Call, x: Node, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool,
    output_padding: Any, groups: int,
) -> Node:  # fmt: skip
    if transposed:
        raise _Refusal("transposed convolution is not supported; use nearest upsampling and a convolution")
    return _conv(call, x, weight, bias, stride, padding, dilation, groups)


def _linear(call: _Call, x: Node, weight: Any, bias: Any = None) -> Node:
    weight = _constant(weight, "its weight")
    if len(x.shape) == 1:
        shape = (weight.shape[0],)
        if bias is None:
            return call.add(Linear(weight), x, shape=shape)
        return _affine(call, call.add(Linear(weight), x, shape=shape, suffix=".weight"), 1.0, _constant(bias, "its bias"))
    if len(x.shape) > 4:
        raise _Refusal("a linear layer over more than 3 leading dimensions is not supported")
    # the features are the last logical dimension: a 1x1 convolution once they are moved to the channels
    moves = movement.trace_movement(lambda ids: ids[0].movedim(-1, 1), [x.shape])
    moved = call.add(Move(moves[0][0]), x, shape=moves[0][1], suffix=".in")
    dims = len(moved.shape) - 1
    ones, zeros = (1,) * dims, (0,) * dims
    shape = (*moved.shape[:-1], weight.shape[0])
    out = call.add(Conv(weight.reshape(*weight.shape, *ones), ones, zeros, ones, 1), moved, shape=shape)
    if bias is not None:
        out = call.add(
            Affine(torch.tensor(1.0).double(), _constant(bias, "its bias")), out, shape=shape, suffix=".bias"
        )
    back = movement.trace_movement(lambda ids: ids[0].movedim(1, -1), [shape])
    return call.add(Move(back[0][0]), out, shape=back[0][1], suffix=".out")


def _matmul(call: _Call, x: Any, y: Any) -> Node:
    if not isinstance(x, Node) or isinstance(y, Node) or y.ndim != 2:
        raise _Refusal("a product of two values that both depend on the input (as in attention) is not supported")
    return _linear(call, x, y.T)


def _addmm(call: _Call, bias: Any, x: Any, y: Any, beta: float = 1, alpha: float = 1) -> Node:
    if not isinstance(x, Node) or isinstance(y, Node) or isinstance(bias, Node):
        raise _Refusal("a product of two values that both depend on the input (as in attention) is not supported")
    return _linear(call, x, y.T * alpha, (bias * beta).expand(y.shape[1]))


def _batch_norm(call: _Call, x: Node, weight: Any, bias: Any, mean: Any, var: Any, *rest: Any) -> Node:
    # rest is (training, momentum, eps, cudnn) or (momentum, eps), by the operator's variant
    training, eps = (rest[0], rest[2]) if len(rest) == 4 else (False, rest[1])
    if mean is None or var is None or training:
        raise _Refusal(REASONS["_native_batch_norm_legit"])
    scale = torch.rsqrt(var + eps) * (1.0 if weight is None else weight)
    shift = (0.0 if bias is None else bias) - mean * scale
    dims = len(x.shape) - 1
    return _affine(call, x, _column(scale, dims), _column(shift, dims))


def _relu(call: _Call, x: Node) -> Node:
    return call.add(Neuron(), x)


def _clamp(call: _Call, x: Node, low: Any = None, high: Any = None) -> Node:
    if low is None and high is not None and isinstance(x.payload, Neuron):
        return _bounded(call, x, high)
    if low is None or isinstance(low, Node) or bool((torch.as_tensor(low) != 0).any()):
        raise _Refusal(f"a clamp has a spiking form only from 0 upwards, got a lower bound of {_short(low)}")
    return _bounded(call, x, high)


def _bounded(call: _Call, x: Node, high: Any) -> Node:
    if high is None:
        return call.add(Neuron(), x)
    if isinstance(high, Node):
        raise _Refusal("its upper bound depends on the input")
    bound = _per_sample(call, high, call.logical)
    if bound.ndim > 1 or not bool((bound > 0).all()):
        raise _Refusal(f"an upper bound must be positive, one or one a channel, got {_short(high)}")
    if isinstance(x.payload, Neuron):
        if x.payload.bound is not None:
            bound = torch.minimum(bound, x.payload.bound)
        return call.add(Neuron(bound), call.graph.nodes[x.inputs[0]])
    return call.add(Neuron(bound), x)


def _short(value: Any) -> str:
    return f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) and value.numel() > 1 else f"{value}"


def _hardtanh(call: _Call, x: Node, low: float = -1.0, high: float = 1.0) -> Node:
    return _clamp(call, x, low, high)


def _maximum(call: _Call, x: Any, y: Any) -> Node:
    node, other = (x, y) if isinstance(x, Node) else (y, x)
    return _clamp(call, node, other)


def _minimum(call: _Call, x: Any, y: Any) -> Node:
    node, other = (x, y) if isinstance(x, Node) else (y, x)
    return _clamp(call, node, None, other)


def _threshold(call: _Call, x: Node, threshold: float, value: float) -> Node:
    if threshold != 0 or value != 0:
        raise _Refusal(f"threshold({threshold}, {value}) is not a ReLU; only threshold(0, 0) is")
    return call.add(Neuron(), x)


def _leaky_relu(call: _Call, x: Node, slope: float = 0.01) -> Node:
    if slope != 0:
        raise _Refusal(f"leaky ReLU with slope {slope} has negative outputs, which one spike cannot carry")
    return call.add(Neuron(), x)


def _add(call: _Call, x: Any, y: Any, alpha: float = 1) -> Node:
    if isinstance(x, Node) and isinstance(y, Node):
        x, y = (_spread(call, n, call.logical) for n in (x, y))
        return call.add(Add((1.0, float(alpha))), x, y)
    if isinstance(x, Node):
        return _affine(call, x, 1.0, torch.as_tensor(y, dtype=torch.float64) * alpha)
    return _affine(call, y, alpha, x)


def _sub(call: _Call, x: Any, y: Any, alpha: float = 1) -> Node:
    return _add(call, x, y, -alpha)


def _rsub(call: _Call, x: Any, y: Any, alpha: float = 1) -> Node:
    return _add(call, y, x, -alpha)


def _mul(call: _Call, x: Any, y: Any) -> Node:
    if isinstance(x, Node) and isinstance(y, Node):
        raise _Refusal("a product of two values that both depend on the input (as in a gate) is not supported")
    return _affine(call, x, y) if isinstance(x, Node) else _affine(call, y, x)


def _div(call: _Call, x: Any, y: Any, rounding_mode: str | None = None) -> Node:
    if isinstance(y, Node) or rounding_mode is not None:
        raise _Refusal("a division by a value that depends on the input, or with rounding, is not supported")
    return _affine(call, x, 1.0 / torch.as_tensor(y, dtype=torch.float64))


def _neg(call: _Call, x: Node) -> Node:
    return _affine(call, x, -1.0)


def _pool_geometry(x: Node, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> Pooling:
    dims = len(x.shape) - 1
    kernel = _each(kernel, dims)
    stride = _each(stride, dims) if stride not in (None, [], ()) else kernel
    return Pooling(kernel, stride, _each(padding, dims), _each(dilation, dims), bool(ceil_mode))


def _max_pool(
    call: _Call, x: Node, kernel: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Node:
    return call.add(MaxPool(_pool_geometry(x, kernel, stride, padding, dilation, ceil_mode)), x)


def _avg_pool(
    call: _Call, x: Node, kernel: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Node:  # fmt: skip
    pooling = _pool_geometry(x, kernel, stride, padding, 1, ceil_mode)
    sizes = x.shape[:-1]
    index, out = window_index(sizes, pooling.kernel, pooling.stride, pooling.padding, pooling.dilation, pooling.ceil_mode)
    if divisor_override:
        divisor = torch.full((len(index), 1), float(divisor_override), dtype=torch.float64)
    elif count_include_pad:
        divisor = _padded_positions(sizes, out, pooling)[:, None]
    else:
        divisor = (index >= 0).sum(1, keepdim=True).double()
    return _window(call, x, index, 1.0 / divisor, pooling)


def _padded_positions(sizes: tuple[int, ...], out: tuple[int, ...], pooling: Pooling) -> Tensor:
    """Positions of each window inside input and padding: torch does not count what ceil_mode adds behind them."""
    count = torch.ones(1, dtype=torch.float64)
    for size, n, k, s, p in zip(sizes, out, pooling.kernel, pooling.stride, pooling.padding, strict=True):
        start = torch.arange(n) * s - p
        span = torch.clamp(start + k, max=size + p) - start
        count = (count[:, None] * span[None]).flatten()
    return count


def _window(call: _Call, x: Node, index: Tensor, weight: Tensor, pooling: Pooling | None = None) -> Node:
    """weight [P_out, 1]: the same for all positions of a window."""
    same = bool((weight == weight[0]).all())
    floor = pooling is not None and window_index(
        x.shape[:-1], pooling.kernel, pooling.stride, pooling.padding, pooling.dilation
    )[1] == call.shape[:-1]  # fmt: skip
    full = torch.where(index >= 0, weight, 0.0)
    return call.add(Window(index, full, pooling if same and floor else None), x)


def _adaptive_windows(x: Node, output: Any) -> tuple[Tensor, tuple[int, ...]]:
    """torch's adaptive windows, padded with -1 to one length."""
    sizes = x.shape[:-1]
    output = [s if o is None else o for s, o in zip(sizes, _each(output, len(sizes)), strict=True)]
    per_dim = []
    for size, out in zip(sizes, output, strict=True):
        spans = [(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]
        longest = max(b - a for a, b in spans)
        per_dim.append(torch.tensor([[*range(a, b), *[-1] * (longest - b + a)] for a, b in spans]))
    index = torch.zeros(1, 1, dtype=torch.int64)
    for size, positions in zip(sizes, per_dim, strict=True):
        outer, inner = index[:, None, :, None], positions[None, :, None, :]
        index = torch.where((outer < 0) | (inner < 0), -1, outer * size + inner).flatten(2).flatten(0, 1)
    return index, tuple(output)


def _adaptive_avg_pool(call: _Call, x: Node, output: Any) -> Node:
    index, out = _adaptive_windows(x, output)
    sizes, ones = x.shape[:-1], (1,) * len(out)
    even = all(s % o == 0 for s, o in zip(sizes, out, strict=True))
    kernel = tuple(s // o for s, o in zip(sizes, out, strict=True))
    pooling = Pooling(kernel, kernel, (0,) * len(out), ones) if even else None
    return _window(call, x, index, 1.0 / (index >= 0).sum(1, keepdim=True).double(), pooling)


def _adaptive_max_pool(call: _Call, x: Node, output: Any) -> list[Node]:
    sizes = x.shape[:-1]
    wanted = _each(output, len(sizes))
    if any(s % o for s, o in zip(sizes, wanted, strict=True)):
        raise _Refusal(f"adaptive max pooling of {list(sizes)} to {list(wanted)} has uneven windows")
    kernel = tuple(s // o for s, o in zip(sizes, wanted, strict=True))
    ones = (1,) * len(sizes)
    out = call.add(MaxPool(Pooling(kernel, kernel, (0,) * len(sizes), ones)), x)
    return [out, out]


def _mean(call: _Call, x: Node, dims: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Node:
    return _reduce(call, x, dims, mean=True)


def _sum(call: _Call, x: Node, dims: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Node:
    return _reduce(call, x, dims, mean=False)


def _reduce(call: _Call, x: Node, dims: Any, mean: bool) -> Node:
    logical_dims = len(x.shape) + 1
    dims = sorted(d % logical_dims for d in (dims if dims is not None else range(logical_dims)))
    if not dims or dims[0] < 2:
        raise _Refusal("a mean or sum over samples or channels is not supported, only over positions")
    sizes = x.shape[:-1]
    spatial = [d - 2 for d in dims]
    kept = [d for d in range(len(sizes)) if d not in spatial]
    grid = torch.arange(torch.Size(sizes).numel()).reshape(sizes)
    index = grid.permute(*kept, *spatial).reshape(torch.Size([sizes[d] for d in kept]).numel(), -1)
    weight = torch.full(index.shape, 1.0 / index.shape[1] if mean else 1.0, dtype=torch.float64)
    return call.add(Window(index, weight), x)


def _head(call: _Call, x: Node, dim: int, *rest: Any) -> Node:
    return call.add(Head(call.operator.strip("_"), dim % (len(x.shape) + 1)), x)


def _sigmoid(call: _Call, x: Node) -> Node:
    return call.add(Head("sigmoid", 0), x)


RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _conv),
    "convolution": _convolution,
    "linear": _linear,
    "matmul": _matmul,
    "mm": _matmul,
    "addmm": _addmm,
    "batch_norm": _batch_norm,
    "relu": _relu,
    "hardtanh": _hardtanh,
    "clamp": _clamp,
    "clip": _clamp,
    "clamp_min": lambda call, x, low: _clamp(call, x, low),
    "clamp_max": lambda call, x, high: _clamp(call, x, None, high),
    "relu6": lambda call, x: _clamp(call, x, 0.0, 6.0),
    "maximum": _maximum,
    "minimum": _minimum,
    "threshold": _threshold,
    "leaky_relu": _leaky_relu,
    "add": _add,
    "sub": _sub,
    "rsub": _rsub,
    "mul": _mul,
    "div": _div,
    "neg": _neg,
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d"), _max_pool),
    **dict.fromkeys(("max_pool2d_with_indices", "max_pool3d_with_indices"), _max_pool),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), _avg_pool),
    **dict.fromkeys((f"{u}adaptive_avg_pool{d}d" for u in ("", "_") for d in (1, 2, 3)), _adaptive_avg_pool),
    **dict.fromkeys((f"adaptive_max_pool{d}d" for d in (1, 2, 3)), _adaptive_max_pool),
    "mean": _mean,
    "sum": _sum,
    **dict.fromkeys(("softmax", "_softmax", "log_softmax", "_log_softmax"), _head),
    "sigmoid": _sigmoid,
}

_SMOOTH = "it is smooth and has negative or unbounded slopes; replace it by ReLU and fine-tune"
_NORM = "it normalises by statistics of the very sample, which a spiking layer cannot fold; use batch norm"
REASONS = {
    **dict.fromkeys(("silu", "gelu", "hardswish", "elu", "selu", "celu", "mish", "softplus", "tanh", "prelu"), _SMOOTH),
    "hardsigmoid": "a gate (squeeze-and-excitation) multiplies activations, which spikes cannot",
    **dict.fromkeys(("layer_norm", "native_layer_norm", "group_norm", "native_group_norm", "instance_norm"), _NORM),
    "scaled_dot_product_attention": "attention multiplies activations, which spikes cannot",
    "_native_batch_norm_legit": "batch norm without running statistics depends on the other samples of the batch",
    "lstm": "recurrent layers are not supported",
    "gru": "recurrent layers are not supported",
}
