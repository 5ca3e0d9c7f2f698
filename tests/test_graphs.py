"""When runs are recorded, replayed or padded: with a recorder that needs no GPU, and with CUDA graphs on one."""

from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest
import torch
from torch import nn

import fastsnn
from fastsnn.graphs import MOST, Graphs

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


class Recorder:
    """Runs where a graph would be replayed, and keeps what was asked of it."""

    made: ClassVar[list] = []

    def __init__(self, run, x, T, over_time, pool):
        self.run, self.x, self.T, self.over_time = run, x.clone(), T, over_time
        self.replays = 0
        Recorder.made.append(self)

    def __call__(self, x):
        self.replays += 1
        n = len(x)
        self.x[:n] = x
        outputs = self.run(self.x, self.T, self.over_time)
        return [out[:, :n] if self.over_time else out[:n] for out in outputs]


@pytest.fixture
def graphs():
    Recorder.made = []

    def run(x, T, over_time):
        return [torch.stack([x * t for t in range(1, T + 1)])] if over_time else [x * T]

    return Graphs(run, Recorder)


def images(n, seed=0):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))


def test_a_shape_is_recorded_once(graphs):
    for seed in range(3):
        x = images(4, seed)
        assert torch.equal(graphs(x, 3, False)[0], x * 3)
    assert [(len(g.x), g.replays) for g in Recorder.made] == [(4, 3)]
    graphs(images(4), 5, False)
    graphs(images(4), 3, True)
    graphs(torch.randn(4, 3), 3, False)
    graphs(images(4).double(), 3, False)
    assert len(Recorder.made) == 5


def test_a_smaller_batch_is_padded_at_first_and_recorded_when_it_comes_again(graphs):
    graphs(images(8), 3, False)
    last = images(3, 1)
    (out,) = graphs(last, 3, False)
    assert torch.equal(out, last * 3) and len(Recorder.made) == 1
    (curve,) = Graphs(graphs._run, Recorder)(last, 2, True)
    assert curve.shape == (2, 3, 2)
    for _ in range(2):
        assert torch.equal(graphs(last, 3, False)[0], last * 3)
    assert [len(g.x) for g in Recorder.made] == [8, 3, 3]


def test_the_smallest_that_is_large_enough_is_padded(graphs):
    for n in (4, 8, 16):
        graphs(images(n), 3, False)
    graphs(images(5), 3, False)
    assert [g.replays for g in Recorder.made] == [1, 2, 1]


def test_only_so_many_are_kept_and_the_oldest_goes(graphs):
    for T in range(1, MOST + 1):
        graphs(images(4), T, False)
    graphs(images(4), 1, False)
    graphs(images(4), MOST + 1, False)
    assert len(graphs._kept) == MOST
    before = len(Recorder.made)
    graphs(images(4), 1, False)
    assert len(Recorder.made) == before
    graphs(images(4), 2, False)
    assert len(Recorder.made) == before + 1


def test_sizes_that_change_all_the_time_are_padded_once_there_is_no_room(graphs):
    graphs(images(64), 2, False)
    for _ in range(3):
        for n in range(1, 40):
            assert torch.equal(graphs(images(n), 2, False)[0], images(n) * 2)
    assert len(Recorder.made) == MOST


def test_threads_take_turns(graphs):
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda seed: graphs(images(4, seed), 2, False)[0], range(40)))
    assert all(torch.equal(out, images(4, seed) * 2) for seed, out in enumerate(results))
    assert len(Recorder.made) == 1


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 17, 3, stride=2), nn.ReLU(), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(17 * 9, 4)).eval()


def test_a_network_on_the_cpu_has_no_cuda_graphs(model):
    x = torch.randn(4, 3, 8, 8)
    snn = fastsnn.convert(model, x)
    snn(x)
    assert not isinstance(snn._graphs[1] if snn._graphs else None, Graphs)


@gpu
@pytest.mark.parametrize("precision", ["int32", "int8", "float16"])
def test_replayed_runs_are_those_without_graphs(model, precision):
    x = torch.randn(20, 3, 8, 8)
    snn = fastsnn.convert(model, x, precision=precision).cuda()
    x = x.cuda()
    snn.graphs = False
    want, curve = snn(x), snn.logits_over_time(x, 40)
    snn.graphs = True
    for _ in range(2):
        assert torch.equal(snn(x), want) and torch.equal(snn.logits_over_time(x, 40), curve)
        # padded to the batch that was recorded, then recorded itself
        torch.testing.assert_close(snn(x[:7]), want[:7])
    assert torch.equal(snn(x.flip(0)), want.flip(0))


@gpu
def test_streams_wait_for_each_other(model):
    x = torch.randn(64, 3, 8, 8)
    snn = fastsnn.convert(model, x, precision="int8").cuda()
    batches = [torch.randn(64, 3, 8, 8, device="cuda") for _ in range(8)]
    want = [snn(b) for b in batches]
    streams = [torch.cuda.Stream() for _ in batches]
    torch.cuda.synchronize()
    found = []
    for batch, stream in zip(batches, streams, strict=True):
        with torch.cuda.stream(stream):
            found.append(snn(batch))
    torch.cuda.synchronize()
    assert all(torch.equal(a, b) for a, b in zip(found, want, strict=True))


@gpu
def test_a_graph_of_the_users_own_holds_the_run(model):
    x = torch.randn(8, 3, 8, 8)
    snn = fastsnn.convert(model, x, precision="int8").cuda()
    x = x.cuda()
    want = snn(x)
    snn.graphs = False
    snn(x)
    snn.graphs = True
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = snn(x)
    graph.replay()
    assert torch.equal(out, want)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are not two GPUs")
def test_the_second_gpu_gives_what_the_first_does(model):
    x = torch.randn(8, 3, 8, 8)
    snn = fastsnn.convert(model, x, precision="int8")
    first = snn.to("cuda:0")(x.to("cuda:0")).cpu()
    assert torch.equal(snn.to("cuda:1")(x.to("cuda:1")).cpu(), first)
