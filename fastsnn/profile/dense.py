"""The dense network that a spiking one is compared with: as fast as eager PyTorch runs it, compiled, and counted."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import Any, cast

import torch
from torch import Tensor, nn

from fastsnn.profile.schema import NotMeasurable, unavailable
from fastsnn.profile.turns import interleaved, percentiles, wait

EAGER, COMPILED = "dense, eager", "dense, compiled"
# of the largest output; folding a batch norm rounds differently, each layer by a few units in the last place
ROUNDING = 1e-3


@contextmanager
def evaluated(model: nn.Module) -> Iterator[nn.Module]:
    """The model in eval mode; afterwards every part of it is as it was."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield model
    finally:
        for module, training in modes.items():
            module.training = training


@torch.inference_mode()
def eager(model: nn.Module, x: Tensor) -> tuple[Callable[[], Any], str]:
    """The fastest way to run the model on x in eager PyTorch, and which it is, in words.

    Batch norms are folded where the model can be traced and the result stays the same; of two memory formats the faster
    one is taken for images [B, C, H, W].
    """
    net, how = _folded(model, x)
    runs: dict[str, Callable[[], Any]] = {"": partial(net, x)}
    if x.ndim == 4:
        # this overload of `to` is not in PyTorch's own types
        last = cast(Any, copy.deepcopy(net)).to(memory_format=torch.channels_last)
        runs[", channels last"] = partial(last, x.contiguous(memory_format=torch.channels_last))
    times = interleaved(runs, x.device, rounds=5, warm_up=1, budget=2.0)
    best = min(times, key=lambda name: min(times[name]))
    return runs[best], how + best


def _folded(model: nn.Module, x: Tensor) -> tuple[nn.Module, str]:
    from torch.fx.experimental.optimization import fuse  # with torch.compile's parts, which take a second to import

    try:
        folded = fuse(model)
        want, got = model(x), folded(x)
    except Exception:  # torch.fx raises many types; all mean that the module cannot be traced
        return model, "as it is"
    if not isinstance(want, Tensor) or (want - got).abs().max() > ROUNDING * want.abs().max():
        return model, "as it is"
    return folded, "batch norms folded"


@torch.inference_mode()
def compiled(model: nn.Module, x: Tensor) -> Callable[[], Any] | NotMeasurable:
    """The model under torch.compile, run once on x so that it is compiled; or why it cannot be."""
    run = torch.compile(copy.deepcopy(model))
    try:
        run(x)
    except Exception as error:  # compilers and their back ends raise many types
        reason = str(error).strip().splitlines()
        return unavailable(f"torch.compile: {type(error).__name__}: {reason[0] if reason else 'no reason given'}")
    return partial(run, x)


def flops(model: nn.Module, x: Tensor) -> int | NotMeasurable:
    """Floating-point operations of one image, two for each multiplication, counted by PyTorch."""
    from torch.utils.flop_counter import FlopCounterMode  # imports triton

    # inference mode would keep composite operators whole
    with torch.inference_mode(False), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(x[:1].clone())
    total = counter.get_total_flops()
    return total if total else unavailable("PyTorch counts no operation of this network")


@torch.inference_mode()
def call_milliseconds(model: nn.Module, x: Tensor, rounds: int) -> dict[str, list[float]]:
    """Of each module without children: the median time of each of its calls, in the order in which they come."""
    seconds: dict[str, list[list[float]]] = {}
    calls: dict[str, int] = {}
    begun = 0.0

    def enter(*_: Any) -> None:
        nonlocal begun
        wait(x.device)
        begun = perf_counter()

    def leave(path: str, *_: Any) -> None:
        wait(x.device)
        took = perf_counter() - begun
        of = seconds.setdefault(path, [])
        n = calls[path] = calls.get(path, 0) + 1
        if n > len(of):
            of.append([])
        of[n - 1].append(took)

    hooks = []
    try:
        for path, module in model.named_modules():
            if not any(module.children()):
                hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(partial(leave, path))]
        # the first one warms up
        for _ in range(rounds + 1):
            calls.clear()
            model(x)
    finally:
        for hook in hooks:
            hook.remove()
    return {path: [percentiles(of[1:])["p50"] for of in found if len(of) > 1] for path, found in seconds.items()}
