"""SpikingJelly's own networks, as they are and fused: the same spikes, times in turn.

python -m pytest benchmarks/bench_fused.py --benchmark-only
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import pytest
import torch
from rows import append
from timing import Busy, interleaved
from torch import Tensor, nn

import fastsnn

pytest.importorskip("spikingjelly", reason='SpikingJelly is not installed: pip install "fastsnn[peers]"')

T, BATCH, LEAST = 8, 4, 0.05
BASELINE = "SpikingJelly's network in step mode m, in inference mode"


def _zoo(module: str, name: str, **options: Any) -> nn.Module:
    return getattr(import_module(f"spikingjelly.activation_based.model.{module}"), name)(**options)


def _common() -> dict[str, Any]:
    surrogate = import_module("spikingjelly.activation_based.surrogate")
    return {"surrogate_function": surrogate.ATan(), "num_classes": 10}


def _neuron(name: str) -> type[nn.Module]:
    return getattr(import_module("spikingjelly.activation_based.neuron"), name)


def _vgg() -> nn.Module:
    return _zoo("spiking_vgg", "spiking_vgg11_bn", spiking_neuron=_neuron("IFNode"), **_common())


def _resnet() -> nn.Module:
    return _zoo("spiking_resnet", "spiking_resnet18", spiking_neuron=_neuron("LIFNode"), **_common())


def _sew() -> nn.Module:
    return _zoo("sew_resnet", "sew_resnet18", cnf="ADD", spiking_neuron=_neuron("IFNode"), **_common())


def _plif() -> nn.Module:
    return _zoo("parametric_lif_net", "CIFAR10Net", spiking_neuron=_neuron("ParametricLIFNode"))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "spiking_vgg11_bn": (_vgg, (3, 32, 32)),
    "spiking_resnet18": (_resnet, (3, 64, 64)),
    "sew_resnet18": (_sew, (3, 64, 64)),
    "plif_cifar10": (_plif, (3, 32, 32)),
}


def lively(model: nn.Module, x: Tensor) -> nn.Module:
    """Random weights of which neurons fire: batch norms shifted until they do in LEAST of all steps, on average."""
    import_module("spikingjelly.activation_based.functional").set_step_mode(model, "m")
    model.eval()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    while rate(model, x) < LEAST:
        for norm in norms:
            norm.bias.data += 0.2
    return model


def rate(model: nn.Module, x: Tensor) -> float:
    """Mean output of all layers of neurons, which are as many for each."""
    rates: list[float] = []
    base = import_module("spikingjelly.activation_based.neuron").BaseNode
    nodes = [module for module in model.modules() if isinstance(module, base)]
    hooks = [node.register_forward_hook(lambda _, __, out: rates.append(out.mean().item())) for node in nodes]
    try:
        with torch.inference_mode():
            run(model, x)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(rates) / len(rates)


def run(model: nn.Module, x: Tensor) -> Tensor:
    import_module("spikingjelly.activation_based.functional").reset_net(model)
    return model(x)


@pytest.mark.parametrize("name", NETWORKS)
def test_fused(benchmark, name: str) -> None:
    make, size = NETWORKS[name]
    torch.manual_seed(0)
    x = torch.rand(T, BATCH, *size)
    model = lively(make(), x)
    with torch.inference_mode():
        # in float64 no potential comes within rounding of a threshold: every output is the library's
        exact = fastsnn.fuse(model.double(), x.double(), precision="float64")
        if (exact(x.double()) - run(model, x.double())).abs().max() > 1e-9:
            raise AssertionError(f"{name}: the fused network is another one")
        rates = {layer: train.firing_rate() for layer, train in exact.spikes(x.double()).items()}
        fused = fastsnn.fuse(model.float(), x)
        differ = (fused(x) != run(model, x)).double().mean().item()
        runs = {"fused": partial(fused, x), "library": partial(run, model, x)}
        try:
            times = interleaved(runs, rounds=9)
        except Busy as busy:
            pytest.skip(str(busy))
    benchmark.pedantic(runs["fused"], rounds=1)
    row = {
        "case": "fused",
        "network": name,
        "weights": "random",
        "precision": "float32",
        "batch": BATCH,
        "T": T,
        "rate": sum(rates.values()) / len(rates),
        "outputs_differ": differ,
        "baseline": BASELINE,
        "fused_ms": times["fused"].least,
        "library_ms": times["library"].least,
        "ratio": times["library"].least / times["fused"].least,
    }
    benchmark.extra_info.update(row)
    append(row)
