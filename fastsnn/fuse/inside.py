"""A network whose own code handles the steps: the modules in it that take and give sequences are replaced."""

import copy

import torch
from torch import Tensor, nn

from fastsnn.errors import ConversionError
from fastsnn.fuse.network import FusedNetwork
from fastsnn.fuse.single import found, fused, library_of


def takes_sequences(model: nn.Module) -> bool:
    """Whether all neurons of a network say that they take all steps at once."""
    stepping = [each.module for each in found(model) if each.what.instead is None or hasattr(each.module, "step_mode")]
    return bool(stepping) and all(getattr(module, "step_mode", "s") == "m" for module in stepping)


def replaced(
    model: nn.Module, example: Tensor, precision: str
) -> tuple[nn.Module, dict[str, FusedNetwork], dict[str, str]]:
    """(a copy with the largest modules that can be fused replaced, these by path, and why others could not be).

    example   what the network's `forward` takes
    """
    copied = copy.deepcopy(model).eval()
    inputs = _inputs(copied, example)
    done: dict[str, FusedNetwork] = {}
    why: dict[str, str] = {}

    def visit(path: str, module: nn.Module) -> nn.Module:
        if not any(found(module)):
            return module
        x = inputs.get(path)
        reason = "it is not called with one sequence"
        if x is not None and x.ndim > 2:
            try:
                done[path] = fused(module, x[0], precision)
                return done[path]
            except ConversionError as error:
                reason = str(error)
        why[path] = reason
        for name, child in list(module.named_children()):
            setattr(module, name, visit(f"{path}.{name}" if path else name, child))
        return module

    return visit("", copied), done, why


def _inputs(model: nn.Module, example: Tensor) -> dict[str, Tensor]:
    """The tensor that each module is called with, where it is called once and with nothing else."""
    calls: dict[str, list[tuple]] = {}
    hooks = [
        module.register_forward_pre_hook(lambda _, args, path=path: calls.setdefault(path, []).append(args))
        for path, module in model.named_modules()
    ]
    try:
        with torch.no_grad():
            model(example)
    finally:
        for hook in hooks:
            hook.remove()
    for module in model.modules():
        library = library_of(module)
        if library is not None:
            # what stays should not go on from the example
            library.reset(module)
    return {
        path: args[0][0]
        for path, args in calls.items()
        if len(args) == 1 and len(args[0]) == 1 and isinstance(args[0][0], Tensor)
    }
