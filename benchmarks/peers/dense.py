"""The dense network that was converted, in the ways in which it runs fast: eager, compiled, in 8-bit integers."""

import copy
import warnings
from collections.abc import Callable
from functools import partial

import torch
from baselines import FORMATS
from checks import WrongResult, near
from timing import fastest
from torch import Tensor, nn

ENGINES = ("x86", "onednn")
# mean difference of 8-bit logits from float32's, in standard deviations of the latter
QUANTISED = 0.25


# a network, images as it wants them, and what was set, in words
Made = tuple[Callable[[Tensor], Tensor], Tensor, str]


def eager(model: nn.Module, x: Tensor) -> Made:
    """In float32, batch norm folded, in the faster memory format."""
    runs = {}
    for name, layout in FORMATS.items():
        net = copy.deepcopy(model).float().to(x.device).to(memory_format=layout)
        runs[name] = partial(net, x.to(memory_format=layout))
    best = fastest(runs)
    return *_parts(runs[best]), f"eager, float32, batch norm folded, {best.replace('_', ' ')}"


def compiled(model: nn.Module, x: Tensor) -> Made:
    """As `eager`, under torch.compile with weights frozen into the program; in the memory format that eager has."""
    net, image, how = eager(model, x)
    import torch._inductor.config as inductor

    torch._dynamo.reset()
    with inductor.patch(freezing=x.device.type == "cpu"):
        made = torch.compile(net, dynamic=False)
        made(image)
    return made, image, how.replace("eager", "torch.compile, weights frozen" if not x.is_cuda else "torch.compile")


def int8(model: nn.Module, calibration: Tensor, x: Tensor) -> Made:
    """Weights and activations of 8 bits by torch.ao.quantization, the faster engine of those whose logits are near."""
    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    net = torch.fx.symbolic_trace(copy.deepcopy(model).float())
    want = net(x)
    runs, refused = {}, []
    before = torch.backends.quantized.engine
    for engine in ENGINES:
        torch.backends.quantized.engine = engine
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            observed = prepare_fx(copy.deepcopy(net), get_default_qconfig_mapping(engine), (calibration[:1],))
            for batch in calibration.split(4):
                observed(batch)
            quantised = convert_fx(observed)
        for name, layout in FORMATS.items():
            run = partial(_with_engine, engine, quantised, x.to(memory_format=layout))
            try:
                near(run(), want, QUANTISED * want.std().item(), f"logits in 8 bits ({engine}) and in float32")
            except WrongResult as wrong:
                refused.append(str(wrong))
                continue
            runs[f"{engine}, {name.replace('_', ' ')}"] = run
    torch.backends.quantized.engine = before
    if not runs:
        # memory formats differ in time and not in what they compute
        raise WrongResult("; ".join(dict.fromkeys(refused)))
    best = fastest(runs)
    return *_parts(runs[best]), f"torch.ao.quantization of weights and activations, static, engine {best}"


def _with_engine(engine: str, net: nn.Module, x: Tensor) -> Tensor:
    torch.backends.quantized.engine = engine
    return net(x)


def _parts(run: partial) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """What a partial call calls, and the images that are its last argument."""
    *first, x = run.args
    return partial(run.func, *first) if first else run.func, x
