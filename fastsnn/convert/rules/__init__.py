"""What each ATen operator is in the graph, or why it has no spiking form."""

import operator as py
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from fastsnn.convert import movement
from fastsnn.convert.graph import Graph, Node, Refused
from fastsnn.convert.rules import (
    activation,
    arithmetic,
    einsum,
    function,
    linear,
    norms,
    pooling,
    rounding,
    transposed,
    upsampling,
)
from fastsnn.convert.rules.call import RANDOM, Call, Refusal, constant
from fastsnn.convert.rules.loose import Loose, applied, moved
from fastsnn.convert.rules.move import move
from fastsnn.convert.rules.reasons import REASONS

IDENTITY = {"clone", "contiguous", "alias", "detach", "_to_copy", "to"}
IDENTITY |= {"lift_fresh_copy", "positive"}
MOVEMENT = {
    "view",
    "_unsafe_view",
    "reshape",
    "flatten",
    "unflatten",
    "transpose",
    "t",
    "permute",
    "movedim",
    "squeeze",
}
MOVEMENT |= {"unsqueeze", "slice", "select", "narrow", "split", "split_with_sizes", "chunk", "unbind", "cat", "stack"}
MOVEMENT |= {"constant_pad_nd", "pad", "index_select", "index", "flip", "roll", "expand", "repeat", "swapaxes"}
MOVEMENT |= {"reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "pixel_shuffle", "pixel_unshuffle", "im2col"}
MOVEMENT |= {"replication_pad1d", "replication_pad2d", "replication_pad3d", "channel_shuffle", "tensor_split"}
MOVEMENT |= {"upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "repeat_interleave", "concat"}

# these read the shape of a value and nothing else of it
SHAPE_ONLY = {f"{kind}_like" for kind in ("zeros", "ones", "full", "empty")}
SHAPE_ONLY |= {f"new_{kind}" for kind in ("zeros", "ones", "full", "empty")}

RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), linear.conv),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), transposed.conv_transpose),
    "convolution": transposed.convolution,
    "linear": linear.linear,
    "matmul": linear.matmul,
    "mm": linear.matmul,
    "bmm": linear.matmul,
    "addmm": linear.addmm,
    "batch_norm": norms.batch_norm,
    "relu": activation.relu,
    "spiking": activation.spiking,
    "potential": activation.potential,
    "hardtanh": activation.hardtanh,
    "clamp": activation.clamp,
    "clip": activation.clamp,
    "clamp_min": lambda call, x, low: activation.clamp(call, x, low),
    "clamp_max": lambda call, x, high: activation.clamp(call, x, None, high),
    "relu6": lambda call, x: activation.clamp(call, x, 0.0, 6.0),
    **dict.fromkeys(("maximum", "max"), activation.maximum),
    **dict.fromkeys(("minimum", "min"), activation.minimum),
    "threshold": activation.threshold,
    "leaky_relu": activation.leaky_relu,
    "prelu": activation.prelu,
    "rrelu": activation.rrelu,
    "add": arithmetic.add,
    "sub": arithmetic.sub,
    "rsub": arithmetic.rsub,
    "mul": arithmetic.mul,
    "div": arithmetic.div,
    "neg": arithmetic.neg,
    **dict.fromkeys(rounding.SHIFTS, rounding.rounding),
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d"), pooling.max_pool),
    **dict.fromkeys(("max_pool2d_with_indices", "max_pool3d_with_indices"), pooling.max_pool),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), pooling.avg_pool),
    **dict.fromkeys((f"{u}adaptive_avg_pool{d}d" for u in ("", "_") for d in (1, 2, 3)), pooling.adaptive_avg_pool),
    **dict.fromkeys((f"adaptive_max_pool{d}d" for d in (1, 2, 3)), pooling.adaptive_max_pool),
    **dict.fromkeys(("upsample_linear1d", "upsample_trilinear3d"), upsampling.interpolate),
    **dict.fromkeys((f"upsample_{kind}2d" for kind in ("bilinear", "bicubic")), upsampling.interpolate),
    **dict.fromkeys((f"_upsample_{kind}2d_aa" for kind in ("bilinear", "bicubic")), upsampling.interpolate),
    "amax": pooling.max_over,
    "mean": pooling.mean_over,
    "sum": pooling.sum_over,
    **dict.fromkeys(function.ELEMENTWISE, function.function),
    **dict.fromkeys(("softmax", "_softmax", "log_softmax", "_log_softmax"), function.over),
    "glu": lambda call, x, dim=-1: function.over(call, x, dim),
    **dict.fromkeys(("linalg_vector_norm", "amin", "var", "std", "logsumexp", "cumsum"), function.over),
    "topk": function.largest,
    "layer_norm": norms.layer_norm,
    "rms_norm": norms.rms_norm,
    "group_norm": norms.group_norm,
    "instance_norm": norms.instance_norm,
    "scaled_dot_product_attention": function.attention,
    "einsum": einsum.einsum,
    **dict.fromkeys(("dropout", "native_dropout", "feature_dropout", "alpha_dropout"), activation.dropout),
}


def apply(graph: Graph, node: torch.fx.Node, operator: str, name: str, origin: str, args: tuple, kwargs: dict) -> Any:
    """The value of one exported operator: a Node, a constant, or a list of them."""
    call = Call(graph, node, operator, name, origin)
    leaves = tree_leaves((args, kwargs))
    nodes = [leaf for leaf in leaves if isinstance(leaf, Node)]
    apart = [leaf for leaf in leaves if isinstance(leaf, Loose)]
    read = [*nodes, *(value.node for value in apart)]
    try:
        if operator.startswith("_assert"):
            return None
        if node.target is py.getitem:
            return _item(*args)
        drawn = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
        if drawn and operator not in RULES and operator not in REASONS:
            raise Refusal(RANDOM)
        if not read or operator in SHAPE_ONLY:
            return _constant(call, args, kwargs)
        if operator in IDENTITY:
            return _same((nodes or apart)[0], node)
        if any(isinstance(n.payload, Refused) for n in read) and (operator in MOVEMENT or operator in RULES):
            # it might convert if its inputs did
            raise Refusal("")
        if operator in MOVEMENT:
            return moved(call, args, kwargs) if apart else move(call, args, kwargs)
        if operator not in RULES:
            raise Refusal(REASONS.get(operator, f"no spiking form is known for {operator}"))
        if apart:
            return applied(call, RULES[operator], args, kwargs)
        return RULES[operator](call, *args, **kwargs)
    except Refusal as refusal:
        reason = str(refusal)
    except (ArithmeticError, AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        # a rule that meets arguments it was not written for must refuse, with all other refusals, and not end the list
        reason = f"{operator} with these arguments is not supported ({type(error).__name__}: {error})"
    shape = call.shape if node.meta.get("val") is not None else ()
    return call.add(Refused(reason), *read, shape=shape)


def _same(value: Node | Loose, node: torch.fx.Node) -> Node | Loose:
    """The value itself, of an operator that changes its memory or its floating dtype only."""
    dtype = node.meta["val"].dtype
    if not dtype.is_floating_point:
        raise Refusal(f"it rounds activations to {dtype}, which spikes cannot")
    return value


def _item(values: Any, index: int) -> Any:
    """Entry of an operator's results; a Node is the only result that a spiking form gives."""
    if not isinstance(values, Node):
        return values[index]
    if index and not isinstance(values.payload, Refused):
        raise Refusal("only the first result of this operator has a spiking form")
    return values


def _constant(call: Call, args: tuple, kwargs: dict) -> Any:
    """The value of an operator that reads only constants, or only the shape of a value."""
    kwargs = {k: v for k, v in kwargs.items() if k not in ("device", "pin_memory")}
    shaped = tree_map_only(Node, lambda n: movement.numbered(n.shape, 0, 0), (args, kwargs))
    shaped = tree_map_only(Loose, lambda value: value.ids, shaped)
    return tree_map_only(Tensor, constant, call.target(*shaped[0], **shaped[1]))
