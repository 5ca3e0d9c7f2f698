"""The machine code of every launch in `launches.py`, for GPUs that need not be there, and the tools that read it.

And every kind of launch passes its arguments to the launcher that Triton builds: tuples of tensors, and empty ones.
"""

import json
import shutil
import subprocess
import sys
from dataclasses import fields, replace

import launches
import machine_code
import passing
import pytest

from fastsnn import _env
from fastsnn.errors import BackendUnavailable
from fastsnn.testing import compiled
from fastsnn.testing.compiled import Figures, Promise, ctas, fits

EVERY = [
    pytest.param(named, capability, id=f"{named.name}-sm_{capability}")
    for named in launches.LAUNCHES
    for capability in launches.CAPABILITIES
]

GOOD = Figures(
    registers=128, shared=50 << 10, local=0, spills=0, warps=8, ctas_per_sm=2, instruction="HGMMA", serialized=False,
    a_from_registers=True, fused_multiply_adds=0, loop_instructions=150, loop_stores=0, wide_loads=15, loads=20,
    wide_stores=4, stores=5,
)  # fmt: skip
KEPT = Promise(
    instruction="HGMMA", least_ctas=2, most_registers=128, most_shared=50 << 10, most_loop=150, most_loop_stores=0,
    least_wide_loads=15, least_wide_stores=4, a_from_registers=True,
)  # fmt: skip
# a field of Promise -> figures that break it and nothing else, and what is said
BROKEN = [
    ("instruction", {"instruction": "HMMA"}, "tensor instruction HMMA, not HGMMA"),
    ("instruction", {"instruction": ""}, "tensor instruction none, not HGMMA"),
    ("instruction", {"instruction": "HGMMA+HMMA"}, "tensor instruction HGMMA+HMMA, not HGMMA"),
    ("least_ctas", {"ctas_per_sm": 1}, "1 CTAs on an SM, fewer than 2"),
    ("most_registers", {"registers": 129}, "129 registers, more than 128"),
    ("most_shared", {"shared": 51201}, "51201 bytes of shared memory, more than 51200"),
    ("most_loop", {"loop_instructions": 151}, "151 instructions in the loop, more than 150"),
    ("most_loop", {"loop_instructions": None}, "uncounted instructions in the loop, more than 150"),
    ("most_loop_stores", {"loop_stores": 1}, "1 stores to shared memory in the loop, more than 0"),
    ("least_wide_loads", {"wide_loads": 14}, "14 16-byte loads of 20, fewer than 15"),
    ("least_wide_stores", {"wide_stores": 3}, "3 16-byte stores of 5, fewer than 4"),
    ("a_from_registers", {"a_from_registers": False}, "the first operand of tensor instructions is not from registers"),
    ("a_from_registers", {"a_from_registers": None}, "the first operand of tensor instructions is not from registers"),
    ("local", {"spills": 2}, "0 bytes of local memory, 2 instructions on it"),
    ("local", {"local": 8}, "8 bytes of local memory, 0 instructions on it"),
    ("serialized", {"serialized": True}, "asynchronous tensor instructions wait for each other"),
    ("fused", {"fused_multiply_adds": 1}, "1 fused multiply-adds"),
]
# the versions of Triton whose launcher is known to look like that in `passing.py`
KNOWN = ("3.6",)
LISTING = """
.text.kernel:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
.L_x_0:
        /*0010*/                   STS [R2], R3 ;
.L_x_1:
        /*0020*/                   LDGSTS.E.BYPASS.128 [R4], desc[UR4][R6.64] ;
        /*0030*/                   HGMMA.64x128x16.F32 R24, R100, gdesc[UR12], R24, gsb0 ;
        /*0040*/              @!P0 BRA `(.L_x_1) ;
        /*0050*/               @P1 BRA `(.L_x_0) ;
.L_x_2:
        /*0060*/                   BRA `(.L_x_2);
"""


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> str:
    """Where all launches are compiled once."""
    return str(tmp_path_factory.mktemp("compiled"))


@pytest.fixture(scope="session")
def measured(folder) -> dict:
    found = machine_code.measure(folder)
    if "absent" in found:
        pytest.skip(found["absent"])
    return found


def rows_of(measured, named, capability) -> list[dict]:
    rows = [r for r in measured["rows"] if (r["name"], r["capability"]) == (named.name, capability)]
    assert rows and [r["error"] for r in rows if "error" in r] == []
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("named, capability", EVERY)
def test_the_machine_code_keeps_its_promises(measured, named, capability):
    rows = rows_of(measured, named, capability)
    found = [(fits(Figures(**r["figures"]), named.held_to(capability, i)), r["kernel"]) for i, r in enumerate(rows)]
    assert found == [([], r["kernel"]) for r in rows]


@pytest.mark.slow
@pytest.mark.parametrize("named, capability", EVERY)
def test_another_batch_size_compiles_nothing_new(measured, named, capability):
    first, *others = rows_of(measured, named, capability)[0]["codes"]
    assert others and others == [first] * len(others)


@pytest.mark.slow
def test_the_table_in_the_documentation_shows_these_figures(measured):
    if not machine_code.DOCS.is_file():
        pytest.skip(f"{machine_code.DOCS.name} is not beside the tests: an installed copy is tested")
    shown = machine_code.DOCS.read_text().split(machine_code.BEGIN)[1].split(machine_code.END)[0].strip().splitlines()
    names = {tuple(cell.strip() for cell in line.split("|")[1:7:5]) for line in shown if line.startswith("|")}
    wanted = {(named.name, str(capability)) for named in launches.LAUNCHES for capability in launches.CAPABILITIES}
    assert names - {("launch", "sm"), ("---", "---")} == wanted
    # another compiler gives registers out differently
    if shown[0] == machine_code.compiled_by(measured):
        assert shown == machine_code.table(measured).splitlines(), "run: python tests/gpu/machine_code.py --write-docs"


PROGRAM = """
import json, torch
from triton.runtime.driver import driver
from triton.runtime.jit import JITFunction
from fastsnn.ops.if_constant.triton_kernel import if_constant
from fastsnn.testing.compiled import compiling_for

before, run = dict(vars(driver)), JITFunction.run
torch.use_deterministic_algorithms(True)
code = {}
for capability in (90, 80, 90):
    with compiling_for(capability) as launches:
        one = torch.ones(())
        words, v = if_constant(torch.ones(600), one, one, None, 8, "soft", ">=")
    [launch] = launches
    code.setdefault(capability, set()).add(launch.code)
    untouched = bool((words == 255).all() and v.isnan().all())
restored = vars(driver) == before and JITFunction.run is run
print(json.dumps([untouched, restored, list(launch.grid), launch.constants["T"], list(map(len, code.values()))]))
"""


@pytest.mark.slow
def test_compiling_writes_nothing_and_leaves_triton_as_it_was(measured, tmp_path):
    command, env = [sys.executable, "-c", PROGRAM], machine_code.environment(str(tmp_path))
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    untouched, restored, grid, T, codes = json.loads(done.stdout)
    assert untouched and restored and grid == [2] and T == 8 and codes == [1, 1]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
def test_the_launcher_takes_the_arguments_of_every_kind_of_launch(measured, folder, tmp_path):
    import triton

    if not triton.__version__.startswith(KNOWN):
        pytest.skip(f"the launcher of Triton {triton.__version__} may be built otherwise")
    command, env = [sys.executable, passing.__file__, str(tmp_path)], machine_code.environment(folder)
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert sorted(line.split(": ")[0] for line in lines) == sorted(passing.NAMES)
    # a kernel at least in each, and the two of sums in parts
    kernels = dict(line.split(": ") for line in lines)
    assert all(kernels.values()) and kernels["linear f16 in 4 parts"] == "layer, neurons"


def test_names_of_launches_are_unique():
    names = [named.name for named in launches.LAUNCHES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("what, change, words", BROKEN, ids=lambda x: x if isinstance(x, str) and " " not in x else "")
def test_a_broken_promise_is_reported(what, change, words):
    assert fits(GOOD, KEPT) == []
    broken = replace(GOOD, **change)
    assert fits(broken, KEPT) == [words]
    default = {f.name: f.default for f in fields(Promise)}[what]
    waived = True if what in ("local", "serialized", "fused") else default
    assert fits(broken, replace(KEPT, **{what: waived})) == []


def test_every_field_of_a_promise_was_broken():
    assert {what for what, _, _ in BROKEN} == {f.name for f in fields(Promise)}


@pytest.mark.parametrize(
    "capability, registers, shared, warps, want",
    [
        (90, 128, 0, 8, 2),
        (90, 129, 0, 8, 1),
        (90, 168, 0, 4, 3),
        (90, 32, 0, 4, 16),
        (90, 32, 0, 1, 32),
        (90, 255, 227 << 10, 8, 1),
        (90, 255, (227 << 10) + 1, 8, 0),
        (90, 255, 0, 16, 0),
        (90, 64, 113 << 10, 4, 2),
        (90, 64, (113 << 10) + 1, 4, 1),
        (80, 64, 163 << 10, 4, 1),
        (80, 64, 81 << 10, 4, 2),
        (80, 64, (163 << 10) + 1, 4, 0),
    ],
)
def test_how_many_ctas_an_sm_holds(capability, registers, shared, warps, want):
    assert ctas(capability, registers, shared, warps) == want


def test_the_loop_is_the_innermost_with_a_tensor_instruction():
    found, loop = compiled._instructions(LISTING)
    assert len(found) == 7 and [compiled._opcode(i)[0] for i in loop] == ["LDGSTS", "HGMMA", "BRA"]
    assert compiled._instructions(LISTING.replace("HGMMA.64x128x16.F32", "FADD"))[1] is None


def test_interpreted_kernels_are_not_compiled(monkeypatch):
    monkeypatch.setattr(_env, "TRITON_INTERPRET", True)
    with pytest.raises(BackendUnavailable, match=r"kernels cannot be compiled: (kernels are interpreted|triton )"):
        with compiled.compiling_for(90):
            pass


def test_an_unknown_gpu_is_refused():
    with pytest.raises(BackendUnavailable, match=r"capability must be one of \(80, 90\), got 75"):
        with compiled.compiling_for(75):
            pass
