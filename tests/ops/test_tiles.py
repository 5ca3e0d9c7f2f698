"""Which tiles a layer on a GPU may take, which it takes unasked, and how measured ones are kept."""

import json
import os
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastsnn import _env, _triton
from fastsnn.ops._tile_cache import TILES
from fastsnn.ops._tiles import Problem, Tile, choices, power, shared, tiles, usual
from fastsnn.testing.cases import random_words

CPU = torch.device("cpu")
# multiprocessors, and bytes of shared memory that a block may have
H200, MEMORY = 132, 227 * 2**10
CONVOLUTION = Problem(256 * 16 * 16 * 16, 256, 1, 2304, 8, 16)
KNOWN = Tile(64, 32, 32, 4, 2)

interpreted = pytest.mark.skipif(
    _triton.reason() is not None or not _env.TRITON_INTERPRET, reason="needs interpreted kernels"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(_env, "CACHE", str(tmp_path / "measured"))
    return tmp_path / "measured"


@pytest.fixture(autouse=True)
def forgotten():
    """Nothing that was read or stored in this process stays known."""
    TILES.forget()
    yield
    TILES.forget()


@st.composite
def problems(draw):
    steps = 2 ** draw(st.integers(0, 5))
    bits = draw(st.sampled_from([8, 16, 32]))
    whole = bits == 8 and draw(st.booleans())
    outputs, groups, length = (draw(st.integers(1, most)) for most in (3000, 64, 30_000))
    return Problem(draw(st.integers(1, 10**7)) * steps, outputs, groups, length, bits, steps, whole)


@given(problems(), st.sampled_from([1, 14, 108, H200]))
def test_every_tile_is_one_that_the_kernel_takes(problem, processors):
    found = choices(problem, processors, MEMORY)
    first = usual(problem, processors)
    assert first in found[:1] or shared(problem, first) > MEMORY
    assert len(set(found)) == len(found)
    for tile in found:
        assert shared(problem, tile) <= MEMORY
        for size in (tile.rows, tile.N, tile.K, tile.warps, tile.parts):
            assert size >= 1 and size == power(size)
        assert tile.rows >= max(16, problem.steps) and tile.N >= 16
        assert (32 if problem.bits == 8 else 16) <= tile.K <= 256
        assert tile.warps in (4, 8) and tile.stages >= 1
        assert tile.parts == 1 or not problem.whole
        # more numbers than a warp's registers hold would spill
        assert tile.rows * tile.N <= 256 * 128
        # parts without a slice of their own would be for nothing
        assert tile.parts == 1 or (tile.parts - 1) * tile.K < problem.length


@given(problems(), st.sampled_from([14, 108, H200]))
def test_the_usual_tile_gives_work_to_more_of_the_chip_than_the_largest(problem, processors):
    tile = usual(problem, processors)
    count = tiles(problem, tile.rows, tile.N) * tile.parts
    assert count >= tiles(problem, max(128, problem.steps), 128)
    # parts only fill what is empty
    assert tile.parts == 1 or count <= processors


def test_few_tiles_are_made_smaller_and_then_split():
    many = usual(CONVOLUTION, H200)
    assert (many.rows, many.N, many.K, many.parts) == (128, 128, 128, 1)
    few = usual(replace(CONVOLUTION, rows=4 * 4 * 16 * 16), H200)
    assert (few.rows, few.N, few.parts) == (64, 64, 1)
    one = usual(replace(CONVOLUTION, rows=256, length=9 * 512), H200)
    assert (one.rows, one.N) == (64, 64) and one.parts > 1
    assert usual(replace(CONVOLUTION, rows=256, length=9 * 512, whole=True), H200).parts == 1


def test_registers_are_kept_for_two_blocks_only_where_a_tile_is_small_enough():
    assert Tile(128, 128, 64, 8).registers == 128
    assert Tile(64, 64, 64, 4).registers is None and Tile(256, 128, 64, 8).registers is None


# --- the file


def test_a_stored_tile_is_found_by_another_process(folder):
    TILES.store("a", KNOWN, CPU)
    TILES.store("b", replace(KNOWN, parts=4), CPU)
    TILES.forget()
    assert TILES.find("a", CPU) == KNOWN and TILES.find("b", CPU).parts == 4
    assert TILES.find("c", CPU) is None
    [file] = folder.iterdir()
    assert "interpreter" in file.name and set(json.loads(file.read_text())) == {"a", "b"}


@pytest.mark.parametrize(
    "content",
    ["", "{", "[1, 2]", "3", "null", '{"a": 5}', '{"a": [64, 32]}', '{"a": [1, 2, 3, 4, 5, 6, 7]}', '{"a": null}',
     '{"a": ["64", "32", "32", "4"]}', '{"a": [64, 32, 0, 4]}', '{"a": [64.5, 32, 32, 4]}', b"\xff\xfe\x00"],
)  # fmt: skip
def test_a_broken_or_foreign_file_reads_as_empty_and_is_replaced(folder, content):
    path = TILES.path(CPU)
    folder.mkdir()
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert TILES.find("a", CPU) is None
    TILES.store("b", KNOWN, CPU)
    TILES.forget()
    assert TILES.find("b", CPU) == KNOWN


def test_a_folder_that_cannot_be_written_to_loses_nothing_in_this_process(folder):
    folder.write_text("a file where the folder should be")
    TILES.store("a", KNOWN, CPU)
    assert TILES.find("a", CPU) == KNOWN
    TILES.forget()
    assert TILES.find("a", CPU) is None


def not_replaced(*_):
    raise OSError("the name is taken")


def full(handle, mode):
    os.close(handle)
    return open("/dev/full", mode)


@pytest.mark.parametrize("name, broken", [("replace", not_replaced), ("fdopen", full)])
def test_a_file_is_replaced_as_a_whole_or_not_at_all(folder, monkeypatch, name, broken):
    TILES.store("a", KNOWN, CPU)
    [before] = folder.iterdir()
    text = before.read_text()
    with monkeypatch.context() as patch:
        patch.setattr(os, name, broken)
        TILES.store("b", KNOWN, CPU)
    # no temporary file stays
    assert list(folder.iterdir()) == [before] and before.read_text() == text
    assert TILES.find("b", CPU) == KNOWN


# --- what a plan takes


def plan_of(channels=32, outputs=20, dtype=torch.int8, kernel=3, size=4, largest=3, stride=1):
    from fastsnn.ops._layer_triton import TritonPlan

    g = torch.Generator().manual_seed(0)
    values = torch.float32 if dtype.is_floating_point else torch.int32
    weight = torch.randint(-largest, largest + 1, (outputs, channels, kernel, kernel), generator=g).to(dtype)
    out = (size - kernel) // stride + 1
    number = torch.tensor(9).to(values)
    return TritonPlan(
        [(size, size, channels)], [weight], (1, out, out, outputs), number, number * 0, None,
        [stride] * 2, [0, 0], [1, 1], [1], "soft", ">=",
    )  # fmt: skip


@interpreted
def test_the_key_tells_shapes_operands_and_planes_apart():
    plans = {
        "plain": plan_of(), "channels": plan_of(channels=33), "outputs": plan_of(outputs=21), "size": plan_of(size=5),
        "kernel": plan_of(kernel=2), "stride": plan_of(size=5, kernel=2, stride=2),
        "float": plan_of(dtype=torch.float16), "bfloat": plan_of(dtype=torch.bfloat16),
        "planes": plan_of(dtype=torch.int32, largest=300),
    }  # fmt: skip
    keys = {name: plan._key(plan.problem(2, 5)) for name, plan in plans.items()}
    keys |= {"batch": plans["plain"]._key(plans["plain"].problem(3, 5))}
    keys |= {"steps": plans["plain"]._key(plans["plain"].problem(2, 9))}
    assert len(set(keys.values())) == len(keys)
    assert keys["plain"] == plan_of()._key(plan_of().problem(2, 5))


@interpreted
@pytest.mark.parametrize("ran_before", [False, True])
def test_a_plan_takes_the_tile_that_was_stored_for_its_batch_and_the_usual_one_for_others(folder, launched, ran_before):
    plan = plan_of()
    words = random_words(torch.Generator().manual_seed(0), (3, 4, 4, 32), 5)
    if ran_before:
        plan([words[:2]], 5)
    plan.remember(KNOWN, 2, 5)
    for each in (plan, plan_of()):
        TILES.forget()
        for batch, tile in ((2, KNOWN), (3, usual(plan.problem(3, 5), 1))):
            each([words[:batch]], 5)
            used = launched[-1]
            assert (used["P"] * used["STEPS"], used["N"], used["K"]) == (tile.rows, tile.N, tile.K)
            assert (used["num_warps"], used["STAGES"], used["PARTS"]) == (tile.warps, tile.stages, tile.parts)
    plan.remember(None, 2, 5)
    plan_of()([words[:2]], 5)
    first = usual(plan.problem(2, 5), 1)
    assert (launched[-1]["K"], launched[-1]["STAGES"]) == (first.K, first.stages) != (KNOWN.K, KNOWN.stages)


@interpreted
def test_a_tile_that_a_plan_was_given_is_the_only_one(folder, launched):
    plan = plan_of()
    plan.tile = Tile(128, 16, 64, 4)
    plan.remember(KNOWN, 1, 5)
    plan([random_words(torch.Generator().manual_seed(0), (1, 4, 4, 32), 5)], 5)
    assert launched[-1]["K"] == 64 and launched[-1]["N"] == 16


@pytest.fixture
def launched(monkeypatch):
    """The constants of launches of the layer's kernel, which then do nothing."""
    from fastsnn.ops import _layer_kernel

    found = []

    class Recorder:
        def __getitem__(self, grid):
            return lambda *_, **constants: found.append(constants)

    monkeypatch.setattr(_layer_kernel, "layer", Recorder())
    return found
