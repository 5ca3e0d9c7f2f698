"""The machine code of the CUDA kernels in `cuda_kernels.py`, for GPUs that need not be there, and what reads it."""

import re
import struct
from dataclasses import fields, replace

import cuda_kernels
import pytest

from fastsnn import _cuda
from fastsnn.errors import BackendUnavailable
from fastsnn.testing import nvrtc
from fastsnn.testing.compiled import ctas
from fastsnn.testing.nvrtc import Figures, Promise, blocks, fits

NEWEST = "newest"
EVERY = [
    pytest.param(named, architecture, id=f"{named.name}-sm_{architecture}")
    for named in cuda_kernels.KERNELS
    for architecture in (*(a for a in cuda_kernels.ARCHITECTURES if a >= named.least), NEWEST)
]
NAMED = {named.name: named for named in cuda_kernels.KERNELS}
UNPACK = NAMED["unpack<uint16_t, 16>"].kernel

GOOD = Figures(registers=128, stack=64, spills=100, shared=1024, warnings=(), cubin=5000)
KEPT = Promise(most_registers=128, most_stack=64, most_spills=100, most_shared=1024)
# a field of Figures -> a value that breaks a promise and nothing else, what is said, and a promise that allows it
BROKEN = [
    ("registers", 129, "129 registers, more than 128", {"most_registers": 129}),
    ("stack", 65, "65 bytes of stack, more than 64", {"most_stack": 65}),
    ("spills", 101, "101 bytes of spills, more than 100", {"most_spills": 101}),
    ("shared", 1025, "1025 bytes of shared memory, more than 1024", {"most_shared": 1025}),
]
LOG = """
pool/pool.cu(3): warning #177-D: variable "a" was declared but never referenced
  int a;
Remark: The warnings can be suppressed with "-diag-suppress <warning-number>"
nvrtc: warning: something is about to go
ptxas warning : Value of threads per SM is out of range
ptxas info    : 42 bytes gmem, 88 bytes cmem[4]
ptxas info    : Compiling entry function 'kernel' for 'sm_90'
ptxas info    : Function properties for kernel
ptxas         .     40 bytes stack frame, 44 bytes spill stores, 72 bytes spill loads
ptxas info    : Used 10 registers, used 1 barriers, 48 bytes cumulative stack size, 128 bytes smem
ptxas info    : Function properties for called
ptxas         .     8 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads
ptxas info    : Compile time = 348.0 ms
"""


@pytest.fixture(scope="module")
def compiler():
    if why := nvrtc.reason():
        pytest.skip(why)


@pytest.fixture(scope="module")
def measured(compiler) -> dict:
    return cuda_kernels.measure()


def row_of(measured, named, architecture) -> dict:
    known = sorted({row["architecture"] for row in measured["rows"]})
    architecture = known[-1] if architecture == NEWEST else architecture
    if architecture not in known:
        pytest.skip(f"the compiler no longer knows sm_{architecture}")
    [row] = [r for r in measured["rows"] if (r["name"], r["architecture"]) == (named.name, architecture)]
    assert "error" not in row, row["error"]
    return row


@pytest.mark.slow
@pytest.mark.parametrize("named, architecture", EVERY)
def test_the_machine_code_keeps_its_promises(measured, named, architecture):
    row = row_of(measured, named, architecture)
    assert fits(Figures(**row["figures"]), named.promise) == []
    assert row["blocks"] != 0


@pytest.mark.slow
def test_a_kernel_of_a_layer_shares_its_multiprocessor(measured):
    layers = [row for row in measured["rows"] if row["name"].startswith(("layer<", "products<"))]
    shared = [row["blocks"] for row in layers if row["blocks"] is not None]
    assert shared and min(shared) >= 2


@pytest.mark.slow
def test_the_table_in_the_documentation_shows_these_figures(measured):
    if not cuda_kernels.DOCS.is_file():
        pytest.skip(f"{cuda_kernels.DOCS.name} is not beside the tests: an installed copy is tested")
    text = cuda_kernels.DOCS.read_text()
    shown = text.split(cuda_kernels.BEGIN)[1].split(cuda_kernels.END)[0].strip().splitlines()
    names = {tuple(cell.strip() for cell in line.split("|")[1:3]) for line in shown if line.startswith("|")}
    names -= {("kernel", "sm"), ("---", "---")}
    assert {name for name, _ in names} == {f"`{name}`" for name in NAMED}
    assert {int(sm) for _, sm in names} >= set(cuda_kernels.ARCHITECTURES)
    # another compiler gives registers out differently, and may know newer GPUs
    if shown[0] == cuda_kernels.compiled_by(measured):
        assert shown == cuda_kernels.table(measured).splitlines(), "run: python tests/gpu/cuda_kernels.py --write-docs"


def test_names_of_kernels_are_unique():
    assert len(NAMED) == len(cuda_kernels.KERNELS)


def test_calls_are_no_larger_than_older_drivers_take():
    assert max(struct.calcsize(named.kernel.format) for named in cuda_kernels.KERNELS) <= 4096


def test_every_family_and_every_type_is_among_the_kernels():
    kernels = [named.kernel for named in cuda_kernels.KERNELS]
    assert {k.file for k in kernels} == {str(p.relative_to(_cuda.folder())) for p in _cuda.folder().glob("*/*.cu")}
    of = {k.function.partition("<")[0]: set() for k in kernels}
    for k in kernels:
        of[k.function.partition("<")[0]] |= set(k.function.rstrip(">").replace("<", ", ").split(", ")[1:])
    words = set(_cuda.WORDS.values())
    assert all(words <= types for name, types in of.items() if name != "fixed")
    assert {"float", "double", "int32_t", "int16_t", "true", "false"} <= of["neurons"]
    assert {"float", "double", "true", "false"} <= of["readout"]
    assert {"float", "double", "int32_t"} <= of["emit"] & of["restart"] and {"true", "false"} <= of["emit"]
    assert {"float", "double"} <= of["adaptive"]
    assert "GradedNeuronCall" in of["neurons"] and "GradedLayerCall" in of["layer"] & of["products"]
    assert {"float", "double", "Half", "BFloat", "int8_t", "int16_t", "int32_t", "int64_t", "32"} <= of["layer"]


@pytest.mark.parametrize("what, value, words, allowed", BROKEN, ids=[what for what, *_ in BROKEN])
def test_a_broken_promise_is_reported(what, value, words, allowed):
    assert fits(GOOD, KEPT) == []
    broken = replace(GOOD, **{what: value})
    assert fits(broken, KEPT) == [words]
    assert fits(broken, replace(KEPT, **allowed)) == []


def test_every_field_of_a_promise_was_broken():
    assert {name for *_, allowed in BROKEN for name in allowed} == {f.name for f in fields(Promise)}


def test_every_warning_breaks_a_promise():
    assert fits(replace(GOOD, warnings=("a", "b")), KEPT) == ["warning: a", "warning: b"]


def test_a_log_is_read():
    warnings = (
        'pool/pool.cu(3): warning #177-D: variable "a" was declared but never referenced',
        "nvrtc: warning: something is about to go",
        "ptxas warning : Value of threads per SM is out of range",
    )
    assert nvrtc.read(LOG, "kernel", 7) == Figures(10, 48, 128, 128, warnings, 7)
    plain = LOG.replace(", 48 bytes cumulative stack size, 128 bytes smem", "")
    assert nvrtc.read(plain, "kernel", 7) == Figures(10, 40, 128, 0, warnings, 7)


def test_a_log_without_the_kernel_is_refused():
    with pytest.raises(RuntimeError, match=r"does not say what registers other uses"):
        nvrtc.read(LOG, "other", 7)


def test_figures_are_those_of_the_text(compiler):
    name, bytes_of = UNPACK.name, "__shared__ int room[96]; room[threadIdx.x % 96] = threadIdx.x; __syncthreads();"
    changed = UNPACK.text.replace(
        "unpack<uint16_t, 16>(call);", f"{bytes_of} if (room[0] >= 0) unpack<uint16_t, 16>(call);"
    )
    plain, roomy = nvrtc.compiled(UNPACK, 90), nvrtc.compiled_text(changed, name, 90)
    assert (plain.shared, roomy.shared) == (0, 384) and plain.cubin > 1000
    few = nvrtc.compiled(replace(UNPACK, threads=1024, blocks=2), 90)
    assert few.registers <= 32 < plain.registers and few.stack > 0 and few.spills > 0
    assert fits(few, Promise(most_registers=32)) == [
        f"{few.stack} bytes of stack, more than 0",
        f"{few.spills} bytes of spills, more than 0",
    ]


def test_a_warning_is_found(compiler):
    text = UNPACK.text.replace("Word word[N_EACH];", "Word word[N_EACH]; int unused;")
    warnings = nvrtc.compiled_text(text, UNPACK.name, 90).warnings
    assert warnings and all("pack/pack.cu(" in w and '"unused" was declared but never' in w for w in warnings)
    assert nvrtc.compiled(UNPACK, 90).warnings == ()


@pytest.mark.parametrize(
    "file, before",
    [("pack/pack.cu", "    Word word[N_EACH];"), ("common/device.cuh", "FASTSNN_DEVICE int64_t thread() {")],
)
def test_a_text_that_does_not_compile_is_refused_with_its_place(compiler, file, before):
    lines = (_cuda.folder() / file).read_text().splitlines()
    [line, *_] = [number for number, text in enumerate(lines, 1) if before in text]
    text = UNPACK.text.replace(before, f"{before} nonsense;")
    place = rf'{re.escape(file)}\({line}\): error: identifier "nonsense" is undefined'
    with pytest.raises(RuntimeError, match=rf"{UNPACK.name} does not compile for sm_90: {place}"):
        nvrtc.compiled_text(text, UNPACK.name, 90)


def test_a_kernel_that_does_not_compile_has_a_row_that_says_so(compiler):
    wrong = replace(NAMED["counts<uint8_t, 16>"], kernel=replace(UNPACK, format="<q"))
    row = cuda_kernels.compile_one(wrong, 90)
    assert row["name"] == wrong.name and "static assertion failed" in row["error"]
    assert cuda_kernels.table({"nvrtc": "1.0", "rows": [row]}).endswith(f"| `{wrong.name}` | 90 | - | - | - | - |")
    with pytest.raises(AssertionError, match="static assertion failed"):
        row_of({"rows": [row]}, wrong, 90)


@pytest.mark.parametrize("file", sorted({named.kernel.file for named in cuda_kernels.KERNELS}))
def test_a_struct_that_python_packs_otherwise_is_refused(compiler, file):
    kernel = next(named.kernel for named in cuda_kernels.KERNELS if named.kernel.file == file)
    with pytest.raises(RuntimeError, match=r'static assertion failed with "as Python packs it"'):
        nvrtc.compiled(replace(kernel, format=kernel.format + "q"), 90)


def test_an_unknown_gpu_is_refused(compiler):
    with pytest.raises(RuntimeError, match=r"does not compile for sm_12: .*gpu-architecture"):
        nvrtc.compiled(UNPACK, 12)


def test_the_newest_gpu_comes_last(compiler):
    known = nvrtc.architectures()
    assert known == sorted(set(known)) and known[-1] >= 90 and float(nvrtc.version()) >= 12
    assert cuda_kernels.architectures()[-1] == known[-1]


@pytest.mark.parametrize(
    "registers, own, asked, threads", [(128, 0, 32 << 10, 256), (40, 1024, 0, 128), (32, 0, 0, 1024)]
)
def test_blocks_are_counted_with_all_their_shared_memory(registers, own, asked, threads):
    figures = replace(GOOD, registers=registers, shared=own)
    for architecture in (80, 90):
        assert blocks(figures, architecture, threads, asked) == ctas(
            architecture, registers, own + asked, threads // 32
        )
    assert blocks(figures, 75, threads, asked) is None


def test_a_block_that_asks_for_too_much_does_not_start():
    assert blocks(replace(GOOD, shared=0), 90, 256, (227 << 10) + 1) == 0


def test_the_newest_library_is_taken_and_no_other_kind(tmp_path):
    for name in (
        "cuda_nvrtc/lib/libnvrtc.so.9", "cuda_nvrtc/lib/libnvrtc-builtins.so.9.2",
        "cu13/lib/libnvrtc.so.13", "cu13/lib/libnvrtc.alt.so.13",
        "cu13/lib/libnvrtc-builtins.so.13.0", "cu13/lib/libnvrtc-builtins.alt.so.13.0",
        "cu14/lib/libnvrtc.so.14",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    lib = tmp_path / "cu13" / "lib"
    assert nvrtc.find([tmp_path]) == (lib / "libnvrtc-builtins.so.13.0", lib / "libnvrtc.so.13")
    assert nvrtc.find([tmp_path / "cu14"]) is None and nvrtc.find([]) is None


@pytest.mark.parametrize(
    "content, why",
    [(None, "is not among the Python packages: pip install nvidia-cuda-nvrtc"), (b"no library", "does not load: ")],
)
def test_without_a_compiler_the_reason_is_given(monkeypatch, tmp_path, content, why):
    if content is not None:
        lib = tmp_path / "cu13" / "lib"
        lib.mkdir(parents=True)
        for name in ("libnvrtc.so.13", "libnvrtc-builtins.so.13.0"):
            (lib / name).write_bytes(content)
    monkeypatch.setattr(nvrtc, "find_spec", lambda name: type("Spec", (), {"submodule_search_locations": [tmp_path]}))
    nvrtc._library.cache_clear()
    try:
        assert why in nvrtc.reason() and cuda_kernels.measure() == {"absent": nvrtc.reason()}
        with pytest.raises(BackendUnavailable, match="kernels cannot be compiled: NVIDIA's run-time compiler"):
            nvrtc.architectures()
    finally:
        nvrtc._library.cache_clear()
