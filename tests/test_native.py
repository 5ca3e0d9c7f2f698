"""The native module: its kernels against plain torch, what is said when it is absent, and what it must not link."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fastsnn import _native
from fastsnn.errors import BackendUnavailable
from fastsnn.ops.pack import native
from fastsnn.spikes import word_dtype

ROOT = Path(__file__).resolve().parent.parent

needs_native = pytest.mark.skipif(_native.reason() is not None, reason=str(_native.reason()))
steps = pytest.mark.parametrize("T", [1, 7, 8, 9, 15, 16, 17, 31, 32], ids="T{}".format)
# 4097 is one neuron more than the block that the C++ loops keep in cache
shapes = pytest.mark.parametrize("shape", [(0,), (1,), (63,), (257,), (1000,), (4097,), (5, 13), (3, 0)], ids=str)


def spikes_of(T, shape):
    generator = torch.Generator().manual_seed(1000 * T + math.prod(shape))
    return torch.randint(0, 2, (T, *shape), generator=generator, dtype=torch.uint8)


def packed(spikes):
    """The definition in 64 bits, where no word overflows; narrowing it then keeps the low bits."""
    words = torch.zeros(spikes.shape[1:], dtype=torch.int64)
    for t, row in enumerate(spikes):
        words += row.to(torch.int64) << t
    return words.to(word_dtype(spikes.shape[0]))


@pytest.mark.skipif(os.environ.get("FASTSNN_NATIVE_MODULE") != "1", reason="only `make test` promises a native module")
def test_a_build_that_was_to_have_the_module_has_it():
    assert _native.reason() is None


@needs_native
@steps
@shapes
def test_pack_unpack_and_counts_match_plain_torch(T, shape):
    spikes = spikes_of(T, shape)
    given = spikes.clone()
    words = native.pack(spikes)
    assert words.dtype == word_dtype(T) and torch.equal(words, packed(spikes))
    assert torch.equal(spikes, given)

    given = words.clone()
    assert torch.equal(native.unpack(words, T), spikes)
    total = native.counts(words)
    assert total.dtype == torch.int32 and torch.equal(total, spikes.sum(0, dtype=torch.int32))
    assert torch.equal(words, given)


@needs_native
def test_hand_example():
    spikes = torch.tensor([[1, 0, 1], [0, 0, 1], [1, 0, 1]], dtype=torch.uint8)
    assert native.pack(spikes).tolist() == [0b101, 0, 0b111]
    assert native.counts(native.pack(spikes)).tolist() == [2, 0, 3]


@needs_native
@pytest.mark.parametrize("T", [8, 16, 32], ids="T{}".format)
def test_the_last_bit_of_a_word_is_a_spike_and_not_a_sign(T):
    words = native.pack(torch.ones(T, 3, dtype=torch.uint8))
    assert words.tolist() == [255 if T == 8 else -1] * 3
    assert native.counts(words).tolist() == [T] * 3

    only_last = torch.zeros(T, 2, dtype=torch.uint8)
    only_last[-1] = 1
    assert native.counts(native.pack(only_last)).tolist() == [1, 1]
    assert torch.equal(native.unpack(native.pack(only_last), T), only_last)


@needs_native
def test_fewer_steps_than_the_word_holds_can_be_unpacked():
    assert native.unpack(torch.tensor([0b110], dtype=torch.int32), 2).tolist() == [[0], [1]]


@needs_native
def test_the_module_names_its_compiler():
    assert isinstance(_native.load().compiler(), str)
    assert _native.load() is _native.load()


@pytest.fixture
def absent(monkeypatch):
    """None in sys.modules makes the import fail as it does when nothing was built."""
    monkeypatch.setitem(sys.modules, "fastsnn._cpu", None)
    _native._find.cache_clear()
    yield
    _native._find.cache_clear()


def test_an_absent_module_says_why_and_what_to_do(absent):
    with pytest.raises(BackendUnavailable) as caught:
        _native.load()
    assert str(caught.value) == _native.reason()
    for part in ("fastsnn._cpu", "pip install .", "C++17 compiler", "FASTSNN_NATIVE_MODULE"):
        assert part in str(caught.value)
    with pytest.raises(BackendUnavailable, match="native module"):
        native.counts(torch.zeros(3, dtype=torch.uint8))


@pytest.mark.skipif(not (ROOT / "csrc").is_dir(), reason="csrc is not beside the tests: an installed copy is tested")
def test_no_source_includes_a_torch_header():
    sources = [path for path in (ROOT / "csrc").rglob("*") if path.suffix in {".h", ".cpp", ".inc", ".cu", ".cuh"}]
    includes = [line for path in sources for line in path.read_text().splitlines() if line.lstrip().startswith("#inc")]
    assert includes
    assert not [line for line in includes if any(name in line for name in ("torch/", "ATen/", "c10/"))]


@needs_native
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_kernels_run_on_the_threads_of_torch():
    """One OpenMP library in a process with nothing else in it, hence one pool: two would fight for the processors."""
    if "clang" in _native.load().compiler():
        pytest.skip("clang's OpenMP is another library than the one that torch brings")
    code = (
        "from pathlib import Path; from fastsnn import _native; _native.load();"
        "names = {line.split()[-1] for line in Path('/proc/self/maps').read_text().splitlines()};"
        "print(sum(Path(n).name.startswith(('libgomp', 'libomp', 'libiomp')) for n in names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 1


@needs_native
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads an ELF file")
def test_the_module_links_no_torch_library():
    binary = Path(_native.load().__file__).read_bytes()
    assert not [name for name in (b"libtorch", b"libc10") if name in binary]
