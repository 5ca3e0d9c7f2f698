"""torch.export of converted and fused networks: a graph of registered operators, saved, loaded elsewhere, compiled."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

import fastsnn

LAYERS = (nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU())


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 10)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        return self.head((torch.relu(self.body(x) + x)).mean((2, 3)))


def converted(model: nn.Module | None = None, **options):
    model = model or nn.Sequential(*LAYERS, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 10))
    return fastsnn.convert(model.eval(), torch.rand(16, 3, 8, 8), timesteps=12, **options)


def close(snn, found: Tensor, wanted: Tensor) -> bool:
    """Whether logits differ by the head alone: one matrix on counts, or its layers on means, of the same spikes.

    A sum of n products in float32 is within n eps sum |w| of the exact one; layers of a head round twice more.
    """
    weight = snn.prepared().readout.weight.abs()
    bound = 2 * (weight.shape[1] + 2) * 2.0**-24 * weight.sum(1).max().item()
    return torch.allclose(found, wanted, rtol=2.0**-20, atol=bound)


def operators(program) -> set[str]:
    # what runs without gradients is a graph of its own
    graphs = [module.graph for module in program.graph_module.modules() if isinstance(module, torch.fx.GraphModule)]
    targets = [str(node.target) for graph in graphs for node in graph.nodes]
    return {target.split(".")[1] for target in targets if target.startswith("fastsnn.")}


@pytest.mark.parametrize("precision", ["int32", "int16", "float32"])
def test_the_graph_is_made_of_operators(precision, tmp_path):
    snn, x = converted(precision=precision, per_channel=False), torch.rand(5, 3, 8, 8)
    program = torch.export.export(snn, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    assert operators(program) == {"if_constant", "pool_lateral", "conv_if", "counts"}
    assert close(snn, program.module()(x), snn(x))
    assert close(snn, program.module()(x[:3]), snn(x[:3]))
    torch.export.save(program, tmp_path / "network.pt2")
    assert close(snn, torch.export.load(tmp_path / "network.pt2").module()(x), snn(x))


@pytest.mark.parametrize("options", [{}, {"method": "gn"}, {"method": "parallel"}, {"timesteps": 40}], ids=str)
def test_residual_networks_and_other_neurons(options):
    steps = options.pop("timesteps", None)
    snn, x = converted(Residual(), **options), torch.rand(4, 3, 8, 8)
    program = torch.export.export(snn, (x,), {"timesteps": steps} if steps else None)
    found = program.module()(x, timesteps=steps) if steps else program.module()(x)
    assert torch.allclose(found, snn(x, steps), rtol=0, atol=1e-5)


def test_a_run_after_an_export_is_as_before():
    snn, x = converted(), torch.rand(4, 3, 8, 8)
    before = snn(x)
    torch.export.export(snn, (x,))
    assert torch.equal(snn(x), before)


def test_fused_networks():
    model = nn.Sequential(fastsnn.nn.Conv2dIF(3, 4, 3), fastsnn.nn.PerStep(nn.Flatten()), fastsnn.nn.LinearIF(144, 5))
    x = torch.rand(7, 2, 3, 8, 8)
    fused = fastsnn.fuse(model, x)
    program = torch.export.export(fused, (x,))
    assert {"if_steps", "linear_if"} <= operators(program)
    assert torch.equal(program.module()(x), fused(x))


def test_potentials_of_fused_networks():
    neurons = pytest.importorskip("snntorch", reason="snnTorch is not installed").Leaky
    chain = (nn.Linear(6, 8), neurons(beta=0.9, init_hidden=True), nn.Linear(8, 4))
    model = nn.Sequential(*chain, neurons(beta=0.8, init_hidden=True, output=True))
    x = torch.rand(40, 3, 6)
    fused = fastsnn.fuse(model, x)
    program = torch.export.export(fused, (x,), dynamic_shapes=({1: torch.export.Dim.DYNAMIC},))
    other = torch.rand(40, 5, 6)
    for ours, wanted in zip(program.module()(other), fused(other), strict=True):
        assert torch.equal(ours, wanted)


def test_another_process_loads_it(tmp_path):
    snn, x = converted(), torch.rand(4, 3, 8, 8)
    torch.export.save(torch.export.export(snn, (x,)), tmp_path / "network.pt2")
    torch.save(x, tmp_path / "x.pt")
    program = (
        "import fastsnn, torch; x = torch.load('x.pt', weights_only=True); "
        "torch.save(torch.export.load('network.pt2').module()(x), 'y.pt')"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, timeout=300)
    assert close(snn, torch.load(tmp_path / "y.pt", weights_only=True), snn(x))


@pytest.mark.slow
def test_aotinductor(tmp_path):
    snn, x = (
        converted(nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Linear(8, 4))),
        torch.rand(4, 3, 8, 8),
    )
    program = torch.export.export(snn, (x,))
    package = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "network.pt2"))
    assert close(snn, torch._inductor.aoti_load_package(package)(x), snn(x))
