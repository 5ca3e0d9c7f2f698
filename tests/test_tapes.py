"""Runs on a CPU that are recorded: when they are, that they stay right for other images, and what refuses to be."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

import fastsnn
from fastsnn import _native, tapes
from fastsnn.ops._computed import computed
from fastsnn.tapes import Tapes, Watch

pytestmark = pytest.mark.skipif(_native.reason() is not None, reason=str(_native.reason()))


def images(n=3, seed=1):
    return torch.randn(n, 3, 9, 9, generator=torch.Generator().manual_seed(seed))


def network(*tail, **options):
    torch.manual_seed(0)
    body = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(3), nn.Conv2d(8, 9, 3), nn.ReLU(), nn.Flatten()
    return fastsnn.convert(
        nn.Sequential(*body, nn.Linear(9, 4), *tail).eval(), images(8), **{"timesteps": 6, **options}
    )


def runs(snn):
    return snn._graphs[1]


class Residual(nn.Module):
    """The image is read by a layer in the middle as well."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.skip = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3), nn.Conv2d(3, 8, 3)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        y = torch.relu(self.second(torch.relu(self.first(x))) + self.skip(x))
        return self.head(y.mean((2, 3)))


@pytest.fixture(scope="module", params=["int32", "int16", "float32", "float64"])
def snn(request):
    return network(precision=request.param)


@pytest.mark.parametrize("over_time", [False, True])
@pytest.mark.parametrize("T", [6, 40])
def test_a_recorded_run_is_right_for_other_images(snn, T, over_time):
    run = snn.logits_over_time if over_time else snn
    snn.forget()
    snn.graphs = False
    wanted = [run(images(seed=seed), T) for seed in range(4)]
    snn.graphs = True
    found = [run(images(seed=seed), T) for seed in range(4)]
    # none is overwritten by the next
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    # outputs at every step of more than one chunk are put together by torch
    assert runs(snn).refused == (["aten::cat"] if over_time and T == 40 else [])


def test_a_shape_is_recorded_when_it_comes_again():
    snn = network()
    kept = []
    for x in (images(3), images(3), images(2), images(3), images(2).double(), images(2)):
        snn(x)
        kept.append(len(runs(snn)))
    assert kept == [0, 1, 1, 1, 2, 2]
    snn(images(3), 7)
    assert len(runs(snn)) == 2, "another T"
    torch.set_num_threads(2)
    snn(images(3))
    assert len(runs(snn)) == 2, "another number of threads"
    assert torch.equal(snn(images(3)), snn(images(3)))
    assert len(runs(snn)) == 3


@pytest.mark.parametrize(
    "model", [Residual(), nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(196, 3), nn.Softmax(1))]
)
@pytest.mark.parametrize("method", ["opi", "ftbc", "srp", "m-ht"])
def test_whatever_is_recorded_is_right(model, method):
    torch.manual_seed(0)
    snn = fastsnn.convert(model.eval(), images(8), timesteps=5, method=method)
    for seed in range(4):
        snn.graphs = False
        wanted = snn(images(seed=seed))
        snn.graphs = True
        assert torch.equal(snn(images(seed=seed)), wanted)


@pytest.mark.parametrize("policy", ["lateral", "gate", "or"])
def test_max_pools_are_recorded(policy):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Flatten()
    snn = fastsnn.convert(nn.Sequential(*layers, nn.Linear(5, 3)).eval(), images(8), timesteps=40, max_pool=policy)
    snn.graphs = False
    wanted = [snn(images(seed=seed)) for seed in range(3)]
    snn.graphs = True
    assert all(torch.equal(snn(images(seed=seed)), logits) for seed, logits in enumerate(wanted))
    assert runs(snn).refused == [] and len(runs(snn)) == 1


class Smooth(nn.Module):
    """Functions that torch computes: in the middle, of the image as well, and behind the last neurons."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)
        self.still, self.head = nn.Conv2d(3, 8, 5), nn.Linear(8, 4)

    def forward(self, x):
        y = nn.functional.layer_norm(self.second(torch.relu(self.first(x))), [5, 5])
        y = torch.relu(y + self.still(x) * y.softmax(1) + 0.1)
        return self.head(nn.functional.layer_norm(y.mean((2, 3)), [8])).softmax(1)


@pytest.mark.parametrize("T", [6, 40])
@pytest.mark.parametrize("precision", ["int32", "float32"])
def test_what_torch_computes_is_computed_again(precision, T):
    torch.manual_seed(0)
    snn = fastsnn.convert(Smooth().eval(), images(8), timesteps=6, precision=precision)
    snn.graphs = False
    wanted = [snn(images(seed=seed), T) for seed in range(4)]
    snn.graphs = True
    found = [snn(images(seed=seed), T) for seed in range(4)]
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    # floating-point functions are no calls of kernels
    assert (runs(snn).refused == [] and len(runs(snn)) == 1) == (precision == "int32")
    assert not torch.equal(found[2], found[3])


def test_what_reads_a_recorded_call_is_seen():
    calls, watch, x = _native.load().Tape(), Watch([]), torch.ones(3)
    calls.start()
    try:
        with watch:
            (twice,) = computed(lambda: [2 * x])
            assert watch.refused == "" and any(twice.data_ptr() == t.data_ptr() for t in watch.memory)
            twice + 1
    finally:
        calls.stop()
    assert watch.refused == "aten::add"
    x.fill_(4)
    calls.run([], [])
    assert len(calls) == 1 and twice.tolist() == [8, 8, 8]


def test_each_step_of_a_head_in_torch_is_not_recorded():
    snn = network(nn.Softmax(1))
    for seed in range(3):
        assert torch.equal(snn.logits_over_time(images(seed=seed))[-1], snn(images(seed=seed)))
    assert runs(snn).refused == ["aten::__rshift__"] and len(runs(snn)) == 1


def test_large_runs_are_not_recorded(monkeypatch):
    monkeypatch.setattr(tapes, "MOST_BYTES", 6000)
    snn = network()
    for _ in range(3):
        snn(images(8))
        snn(images(1), 32 * 8)
    assert len(runs(snn)) == 0 and not runs(snn).refused
    for _ in range(2):
        snn(images(1))
    assert len(runs(snn)) == 1


def test_few_runs_and_shapes_are_kept(monkeypatch):
    monkeypatch.setattr(tapes, "MOST", 2)
    monkeypatch.setattr(tapes, "MOST_SHAPES", 3)
    snn = network()
    for n in (1, 1, 2, 2, 1, 3, 3, 2, 4, 4, 4):
        snn(images(n))
    # 1 was used before 2 was, and 4 came when there was no room to remember it
    assert [key[0] for key in runs(snn)._kept.tapes] == [3, 2]


def test_what_runs_hold_is_bounded(monkeypatch):
    snn = network()
    for n in (1, 1, 2, 2):
        snn(images(n))
    small, large = (tape.bytes for tape in runs(snn)._kept.tapes.values())
    assert 0 < small < large
    monkeypatch.setattr(tapes, "ALL_BYTES", small + large)
    snn = network()
    for n in (1, 1, 2, 2, 3, 3):
        snn(images(n))
    assert [key[0] for key in runs(snn)._kept.tapes] == [3]


def test_threads_record_for_themselves():
    snn = network()
    wanted = [snn(images(seed=seed)) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            found = list(pool.map(lambda seed: snn(images(seed=seed)), range(8)))
            assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_other_weights_are_other_runs():
    snn, other = network(), network(initial_potential=0.0)
    for _ in range(3):
        before = snn(images())
    snn.load_state_dict(other.state_dict())
    assert torch.equal(snn(images()), other(images())) and not torch.equal(before, other(images()))
    snn.tune(images(), rounds=1, progress=False)
    for _ in range(3):
        assert torch.equal(snn(images()), other(images()))


def test_what_users_hold_is_not_written_to():
    snn = network(timesteps=40)
    for seed in range(2):
        snn(images(seed=seed))
    held = snn.spikes(images(seed=2))
    copies = {name: [words.clone() for words in train.words] for name, train in held.items()}
    for seed in range(3, 6):
        snn(images(seed=seed))
    assert len(runs(snn)) == 1
    for name, train in held.items():
        assert all(torch.equal(a, b) for a, b in zip(train.words, copies[name], strict=True))


def test_only_calls_of_this_thread_are_recorded():
    calls, words = _native.load().Tape(), torch.zeros(4, dtype=torch.uint8)
    found = torch.zeros(4, dtype=torch.int32)

    def count():
        _native.load().counts(words.data_ptr(), found.data_ptr(), 4, 1)

    calls.start()
    try:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(count).result()
        assert len(calls) == 0
        count()
    finally:
        calls.stop()
    count()
    assert len(calls) == 1
    words.fill_(3)
    calls.run([], [])
    assert found.tolist() == [2] * 4


OPERATORS = {
    "new memory": (lambda x: torch.empty(3), ""),
    "a view": (lambda x: x.t()[1:].unflatten(0, (1, -1)), ""),
    "constants": (lambda x: torch.ones(3) + torch.arange(3), ""),
    "nothing to do": (lambda x: x.contiguous().to(x.dtype), ""),
    "arithmetic": (lambda x: x + 1, "aten::add"),
    "of what kernels wrote": (lambda x: torch.empty(3) + 1, "aten::add"),
    "a copy": (lambda x: x.t().contiguous(), "aten::c"),
    "in place": (lambda x: x.add_(1), "aten::add_"),
    "a number": (lambda x: x.sum() > 3, "aten::sum"),
    "an item": (lambda x: x[0, 0].item(), "aten::"),
    "equal": (lambda x: torch.equal(x, x), "aten::equal"),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_what_is_seen_of_torch(name):
    function, refused = OPERATORS[name]
    x = torch.ones(2, 2)
    with torch.inference_mode(), Watch([x]) as watch:
        function(x)
    assert watch.refused.startswith(refused) and bool(watch.refused) == bool(refused)


def test_memory_of_constants_is_kept():
    with Watch([]) as watch:
        made = torch.ones(3) + 1
    assert any(tensor is made for tensor in watch.memory)


def test_the_runs_of_a_network_are_its_own():
    made = Tapes(lambda x: {"x": x}, lambda x, T, over_time, still: [still["x"] * T], lambda T: 1, lambda: None)
    for _ in range(3):
        assert torch.equal(made(torch.ones(2), 3, False)[0], torch.full((2,), 3.0))
    assert made.refused == ["aten::mul"]


def test_recording_imports_nothing(tmp_path):
    """torch.compile takes a second to import, and 100 MiB."""
    path = network().save(tmp_path / "n.safetensors")
    program = f"""
import sys, torch, fastsnn
snn, x = fastsnn.load({str(path)!r}), torch.rand(2, 3, 9, 9)
snn(x)
before = set(sys.modules)
snn(x)
print(len(snn._graphs[1]), sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "1 []\n"
