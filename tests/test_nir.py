"""NIR: round trips, files of other libraries, what cannot be said or run."""

import numpy as np
import pytest
import torch
from torch import nn

import fastsnn
from fastsnn.errors import ConversionError

nir = pytest.importorskip("nir", reason="nir is not installed")


class Residual(nn.Module):
    """A stem, a block with a shortcut, an average pool, a flattened head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.a, self.b = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.pool, self.fc, self.out = nn.AvgPool2d(2), nn.Linear(4 * 16, 12), nn.Linear(12, 5)

    def forward(self, x):
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.relu(self.b(torch.relu(self.a(x))) + x)
        return self.out(torch.relu(self.fc(self.pool(x).flatten(1))))


def converted(model: nn.Module, size: tuple[int, ...] = (2, 8, 8), **options):
    model(torch.randn(32, *size))
    return fastsnn.convert(model.eval(), torch.randn(32, *size), precision="float64", timesteps=12, **options)


@pytest.mark.parametrize("options", [{}, {"reset": "hard", "comparator": ">"}], ids=["soft", "hard"])
def test_a_round_trip_keeps_every_spike(tmp_path, options):
    snn, x = converted(Residual(), **options), torch.randn(6, 2, 8, 8, dtype=torch.float64)
    fastsnn.to_nir(snn, tmp_path / "network.nir")
    back = fastsnn.from_nir(tmp_path / "network.nir", precision="float64")
    wanted, found = snn.spikes(x), back.spikes(x, timesteps=12)
    assert list(found) == list(wanted)
    for name, train in wanted.items():
        assert 0 < train.firing_rate() < 1
        assert torch.equal(found[name].to_dense(), train.to_dense()), name
    # means over 12 steps of sums of 12 weights below 10
    assert torch.allclose(back(x, timesteps=12).mean(0), snn(x), rtol=0, atol=1e-12)


def test_a_pool_that_is_counted_is_one_node(tmp_path):
    class Pooled(Residual):
        """Windows that overlap, read by a convolution and by the shortcut beside it."""

        def forward(self, x):
            x = nn.functional.avg_pool2d(torch.relu(self.norm(self.stem(x))), 3, 1, 1)
            x = torch.relu(self.b(torch.relu(self.a(x))) + x)
            return self.out(torch.relu(self.fc(self.pool(x).flatten(1))))

    snn, x = converted(Pooled()), torch.randn(4, 2, 8, 8, dtype=torch.float64)
    graph = fastsnn.to_nir(snn, tmp_path / "network.nir")
    assert sum(isinstance(node, nir.SumPool2d) for node in graph.nodes.values()) == 1
    back = fastsnn.from_nir(tmp_path / "network.nir", precision="float64")
    found = back.spikes(x, timesteps=12)
    for name, train in snn.spikes(x).items():
        assert torch.equal(found[name].to_dense(), train.to_dense()), name


def test_one_dimension_and_leaky_neurons(tmp_path):
    x = torch.rand(30, 3, 2, 12, dtype=torch.float64)
    layers = (
        fastsnn.nn.Conv1dIF(2, 4, 3, stride=2, neurons=fastsnn.nn.LIF(0.8, 0.7)),
        fastsnn.nn.PerStep(nn.Flatten()),
        fastsnn.nn.LinearIF(20, 5, neurons=fastsnn.nn.LIF(0.9, reset="hard")),
    )
    model = nn.Sequential(*layers).double()
    model[0].linear.weight.data *= 4
    model[2].linear.weight.data *= 9
    fused = fastsnn.fuse(model, x, precision="float64")
    fastsnn.to_nir(fused, tmp_path / "network.nir")
    back = fastsnn.from_nir(tmp_path / "network.nir", precision="float64")
    assert 0 < fused(x).mean() < 1
    assert torch.equal(back(x), fused(x))


def test_what_is_written():
    graph = fastsnn.to_nir(converted(Residual()))
    kinds = [type(node).__name__ for node in graph.nodes.values()]
    assert kinds.count("IF") == 4 and "Flatten" in kinds and "Scale" in kinds and "BatchNorm2d" not in kinds
    neurons = next(node for node in graph.nodes.values() if isinstance(node, nir.IF))
    assert neurons.metadata == {"reset": "soft", "initial_potential": "0.5", "comparator": ">="}
    assert graph.check_types()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: converted(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2))), "1.*MaxPool|GateLayer"),
        (lambda: converted(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()), method="gn"), "neither IF nor LIF"),
        (lambda: converted(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()), method="parallel"), "neither IF nor LIF"),
        (lambda: converted(nn.Sequential(nn.Flatten(), nn.Linear(128, 3), nn.ReLU(), nn.Softmax(1))), "FunctionLayer"),
    ],
)
def test_what_nir_cannot_say_is_named(make, message):
    with pytest.raises(ConversionError, match=f"(?s)have no form in NIR:.*{message}"):
        fastsnn.to_nir(make())


def test_fixed_point_is_refused():
    snn = fastsnn.convert(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.rand(8, 4), timesteps=4)
    with pytest.raises(ConversionError, match="NIR has real numbers"):
        fastsnn.to_nir(snn)


def chain(*nodes):
    return nir.NIRGraph.from_list(*nodes)


def neurons(kind=nir.IF, size=3, **more):
    ones = np.ones(size)
    return kind(r=ones, v_threshold=ones, **more)


def test_pools_scales_and_sums():
    weight = np.random.default_rng(0).normal(size=(3, 2, 3, 3))
    shape = (3, 3, 3)
    nodes = {
        "input": nir.Input(np.array([2, 6, 6])),
        "conv": nir.Conv2d((6, 6), weight, 1, "same", 1, 1, np.array([0.1, 0.2, 0.3])),
        "pool": nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "scale": nir.Scale(np.full(shape, 0.5)),
        "both": nir.IF(r=np.ones(shape), v_threshold=np.full(shape, 0.25)),
        "output": nir.Output(np.array(shape)),
    }
    edges = [("input", "conv"), ("conv", "pool"), ("pool", "scale"), ("pool", "both"), ("scale", "both")]
    graph = nir.NIRGraph(nodes, [*edges, ("both", "output")])
    x = torch.rand(9, 2, 2, 6, 6, dtype=torch.float64)
    pooled = nn.functional.avg_pool2d(
        nn.functional.conv2d(x.flatten(0, 1), torch.tensor(weight), torch.tensor([0.1, 0.2, 0.3]), padding="same"), 2
    )
    v, wanted = torch.zeros(2, *shape, dtype=torch.float64), []
    for current in 1.5 * pooled.unflatten(0, (9, 2)):
        v = v + current
        wanted.append((v > 0.25).double())
        v = torch.where(v > 0.25, 0.0, v)
    found = fastsnn.from_nir(graph, precision="float64")(x)
    assert 0 < found.mean() < 1
    assert torch.equal(found, torch.stack(wanted))


@pytest.mark.parametrize(
    "graph, message",
    [
        (lambda: chain(nir.Affine(np.ones((3, 2)), np.ones(3)), nir.Threshold(np.ones(3))), r"threshold \(Threshold\)"),
        (lambda: chain(neurons(nir.LIF, tau=np.array([1e-3, 2e-3, 3e-3]), v_leak=np.zeros(3))), "differs from neuron"),
        (
            lambda: nir.NIRGraph(
                {
                    "input": nir.Input(np.array([3])),
                    "lif": neurons(),
                    "again": nir.Linear(np.eye(3)),
                    "output": nir.Output(np.array([3])),
                },
                [("input", "lif"), ("lif", "again"), ("again", "lif"), ("lif", "output")],
            ),
            "recurrent, which kernels do not run: again, lif, output",
        ),
    ],
    ids=["node", "leaks", "recurrent"],
)
def test_what_cannot_be_run_is_named(graph, message):
    with pytest.raises(ConversionError, match=message):
        fastsnn.from_nir(graph())


def test_bad_arguments_and_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file"):
        fastsnn.from_nir(tmp_path / "none.nir")
    (tmp_path / "text.nir").write_text("no graph")
    with pytest.raises(ValueError, match="is not a file of a NIR graph"):
        fastsnn.from_nir(tmp_path / "text.nir")
    with pytest.raises(TypeError, match=r"must be a nir.NIRGraph or the path of one, got int"):
        fastsnn.from_nir(3)
    with pytest.raises(ValueError, match="writer must be one of nir, snntorch, norse"):
        fastsnn.from_nir(chain(neurons()), writer="else")
    with pytest.raises(ValueError, match="dt must be above 0"):
        fastsnn.from_nir(chain(neurons()), dt=0)
    with pytest.raises(ValueError, match=r"should end in .nir"):
        fastsnn.to_nir(converted(Residual()), tmp_path / "network.txt")


def test_files_that_snntorch_writes(tmp_path):
    snn = pytest.importorskip("snntorch", reason="snnTorch is not installed")
    export = pytest.importorskip("snntorch.export_nir")
    sequential = nn.Sequential(
        nn.Linear(64, 6), snn.Leaky(beta=0.8 * torch.ones(6), threshold=torch.ones(6), init_hidden=True)
    )
    sequential[0].weight.data *= 9
    graph = export.export_to_nir(sequential, torch.rand(1, 64), ignore_dims=[0])
    nir.write(tmp_path / "network.nir", graph)
    x = torch.rand(20, 3, 64)
    fused = fastsnn.from_nir(tmp_path / "network.nir", writer="snntorch")
    for layer in sequential:
        if hasattr(layer, "reset_mem"):
            layer.reset_mem()
    with torch.no_grad():
        wanted = torch.stack([sequential(now) for now in x])
    assert 0 < wanted.mean() < 1
    assert torch.equal(fused(x), wanted)


def of_norse(tmp_path, cell: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """What a network of Norse that ends in a cell gives, read from the file that Norse writes and by itself."""
    norse, export = pytest.importorskip("norse.torch"), pytest.importorskip("norse.torch.utils.export_nir")
    model = norse.SequentialState(nn.Linear(16, 6), cell)
    model[0].weight.data *= 9
    nir.write(tmp_path / "network.nir", export.to_nir(model, torch.rand(16)))
    x, state, wanted = torch.rand(30, 3, 16), None, []
    with torch.no_grad():
        for now in x:
            out, state = model(now, state)
            wanted.append(out)
    return fastsnn.from_nir(tmp_path / "network.nir", writer="norse")(x), torch.stack(wanted)


def test_files_that_norse_writes(tmp_path):
    norse = pytest.importorskip("norse.torch", reason="Norse is not installed")
    for cell in (norse.LIFBoxCell, norse.LIFCell, norse.IAFCell):
        parameters = {norse.LIFBoxCell: norse.LIFBoxParameters, norse.LIFCell: norse.LIFParameters}
        make = parameters.get(cell, norse.IAFParameters)
        fields = {
            name: torch.full((6,), float(value)) for name, value in make()._asdict().items() if torch.is_tensor(value)
        }
        fields.pop("alpha", None)
        found, wanted = of_norse(tmp_path, cell(make(**fields)))
        assert 0 < wanted.mean() < 1
        assert torch.equal(found, wanted), cell


def test_integrators_that_norse_writes(tmp_path):
    norse = pytest.importorskip("norse.torch", reason="Norse is not installed")
    parameters = norse.LIBoxParameters(tau_mem_inv=torch.full((6,), 100.0), v_leak=torch.full((6,), 0.2))
    found, wanted = of_norse(tmp_path, norse.LIBoxCell(parameters))
    # some ten terms of sums of 16 weights below 3, in float32 and in another order
    assert torch.allclose(found, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["I", "LI", "CubaLI"])
def test_integrators_step_as_the_standard_says(kind):
    r, ones = np.array([1.0, 2.0, 0.5]), np.ones(3)
    rest = 0.3 * ones if kind == "CubaLI" else np.array([0.0, 0.3, -0.2])
    taus = {"LI": {"tau": 4e-4 * ones}, "CubaLI": {"tau_mem": 4e-4 * ones, "tau_syn": 2e-4 * ones, "w_in": 3 * ones}}
    more = taus.get(kind, {}) | ({} if kind == "I" else {"v_leak": rest})
    weight = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]])
    nodes = {
        "in": nir.Input(np.array([2])),
        "map": nir.Linear(weight),
        "end": getattr(nir, kind)(r=r, **more),
        "out": nir.Output(np.array([3])),
    }
    graph = nir.NIRGraph(nodes, [("in", "map"), ("map", "end"), ("end", "out")])
    x = torch.rand(20, 2, 2, dtype=torch.float64)
    found = fastsnn.from_nir(graph, precision="float64")(x)
    v, current = np.zeros((2, 3)) if kind == "I" else np.tile(rest, (2, 1)), np.zeros((2, 3))
    for t, now in enumerate(x.numpy() @ weight.T):
        if kind == "I":
            v = v + r * now
        elif kind == "LI":
            v = v + (rest - v + r * now) / 4
        else:
            current = current + (3 * now - current) / 2
            v = v + (rest - v + r * current) / 4
        assert np.allclose(found[t].numpy(), v, rtol=0, atol=1e-12)


@pytest.mark.parametrize("leak", [0.9, 1.0])
def test_a_round_trip_of_integrators(tmp_path, leak):
    layers = pytest.importorskip("sinabs.layers", reason="sinabs is not installed")
    spikes = {"spike_fn": pytest.importorskip("sinabs.activation").SingleSpike}
    tau = -1 / np.log(0.9)
    end = layers.ExpLeakSqueeze(batch_size=3, tau_mem=tau if leak < 1 else 1e30)
    model = nn.Sequential(nn.Linear(6, 8), layers.IAFSqueeze(batch_size=3, **spikes), nn.Linear(8, 4), end).double()
    model[0].weight.data *= 4
    x = torch.rand(20, 3, 6, dtype=torch.float64)
    fused = fastsnn.fuse(model, x, precision="float64")
    graph = fastsnn.to_nir(fused, tmp_path / "network.nir")
    assert [type(node).__name__ for node in graph.nodes.values()].count("LI" if leak < 1 else "I") == 1
    back = fastsnn.from_nir(tmp_path / "network.nir", precision="float64")
    # sums of 8 weights over 20 steps, in another order
    assert torch.allclose(back(x), fused(x), rtol=0, atol=1e-12) and fused(x).abs().max() > 0.1


def test_potentials_beside_spikes_have_no_node(tmp_path):
    snn = pytest.importorskip("snntorch", reason="snnTorch is not installed")
    model = nn.Sequential(nn.Linear(6, 4), snn.Leaky(beta=0.9, init_hidden=True, output=True))
    fused = fastsnn.fuse(model, torch.rand(9, 2, 6))
    with pytest.raises(
        ConversionError, match=r"PotentialLayer\): NIR gives spikes of neurons, and not their potential"
    ):
        fastsnn.to_nir(fused, tmp_path / "network.nir")
    assert not list(tmp_path.iterdir())
