"""The inline PTX that opens words, whose instructions are run here on every step and word width: no GPU is needed."""

import ast
import inspect
import re

import numpy as np
import pytest
import torch

tl = pytest.importorskip("triton.language")

from fastsnn.ops import _unpack_kernel  # noqa: E402
from fastsnn.ops._unpack_kernel import SPIKE, shift_table  # noqa: E402

KIND = {torch.uint8: tl.uint8, torch.int16: tl.int16, torch.int32: tl.int32}
OPERAND = {torch.int8: tl.int8, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}
EVERY = pytest.mark.parametrize("operand", OPERAND, ids=str)
WORDS = pytest.mark.parametrize("words", KIND, ids=str)
WRAP = 2**32 - 1


class Elements:
    """A tensor of a kernel: elements as bit patterns [n] (uint64), of a dtype of Triton's."""

    def __init__(self, bits, dtype):
        self.bits, self.dtype = bits.astype(np.uint64), dtype

    def to(self, dtype, bitcast):
        assert bitcast and dtype.primitive_bitwidth == self.dtype.primitive_bitwidth
        return Elements(self.bits, dtype)


class Machine:
    """Triton's language as the kernel sees it, where only inline assembly exists; remembers which it ran."""

    def __init__(self, edit=lambda asm: asm):
        self.ran, self.edit = set(), edit

    def __getattr__(self, name):
        return getattr(tl, name)

    def inline_asm_elementwise(self, asm, constraints, args, dtype, is_pure, pack):
        self.ran.add(asm)
        assert is_pure
        inputs = [register for x in args for register in registers(x, pack)]
        outputs = dtype.primitive_bitwidth * pack // 32
        assert constraints == ",".join(["=r"] * outputs + ["r"] * len(inputs))
        done = run(self.edit(asm), inputs, outputs)
        wide = np.stack(done, 1).astype(np.uint64)
        size, per = dtype.primitive_bitwidth, 32 // dtype.primitive_bitwidth
        bits = np.stack([(wide >> np.uint64(size * i)) & np.uint64(2**size - 1) for i in range(per)], 2)
        return Elements(bits.reshape(-1), dtype)


def registers(x, pack):
    """Elements as the compiler hands them over: `pack` at a time, the first lowest, in the registers that they fill."""
    size = x.dtype.primitive_bitwidth
    per = 32 // size
    assert pack % per == 0
    each = x.bits.reshape(-1, pack // per, per)
    return [sum(each[:, i, j] << np.uint64(size * j) for j in range(per)) for i in range(pack // per)]


def run(asm, inputs, outputs):
    """Runs inline PTX on registers [n]: $0 .. are the outputs, the inputs follow."""
    known = {f"${outputs + i}": x for i, x in enumerate(inputs)}
    for instruction in re.sub(r"[{}]", "", asm).split(";"):
        name, _, operands = instruction.strip().partition(" ")
        if not name or name == ".reg":
            continue
        to, *given = [x.strip() for x in operands.split(",")]
        values = [known[x] if x in known else np.uint64(int(x, 0)) for x in given]
        known[to] = np.broadcast_to(INSTRUCTIONS[name](*values) & np.uint64(WRAP), inputs[0].shape)
    return [known[f"${i}"] for i in range(outputs)]


def shifted_left(low, high, by):
    return ((high << np.uint64(32) | low) << (by & np.uint64(31))) >> np.uint64(32)


def shifted_right(low, high, by):
    return (high << np.uint64(32) | low) >> (by & np.uint64(31))


def permuted(a, b, selector):
    both = b << np.uint64(32) | a
    result = np.uint64(0)
    for i in range(4):
        chosen = int(selector) >> (4 * i) & 15
        # the highest bit of a selector's digit would repeat the byte's sign
        assert chosen < 8
        result = result | ((both >> np.uint64(8 * chosen)) & np.uint64(255)) << np.uint64(8 * i)
    return result


def halves(function, kind):
    """An instruction on registers of two numbers of 16 bits, rounded once."""

    def both(*registers):
        result = np.uint64(0)
        for shift in (np.uint64(0), np.uint64(16)):
            numbers = [as_numbers(x >> shift & np.uint64(0xFFFF), kind) for x in registers]
            exact = torch.as_tensor(function(*numbers)).to(kind)
            result = result | exact.view(torch.int16).numpy().astype(np.uint16).astype(np.uint64) << shift
        return result

    return both


def as_numbers(bits, kind):
    return torch.from_numpy(np.atleast_1d(bits).astype(np.uint16).view(np.int16)).view(kind).double()


INSTRUCTIONS = {
    "shf.l.wrap.b32": shifted_left,
    "shf.r.wrap.b32": shifted_right,
    "prmt.b32": permuted,
    "and.b32": lambda a, b: a & b,
    "add.u32": lambda a, b: a + b,
    "mov.b32": lambda a: a,
    "add.rn.f16x2": halves(lambda a, b: a + b, torch.float16),
    "fma.rn.bf16x2": halves(lambda a, b, c: a * b + c, torch.bfloat16),
}


@pytest.fixture
def machine(monkeypatch):
    machine = Machine()
    monkeypatch.setattr(_unpack_kernel, "tl", machine)
    return machine


def some_words(dtype):
    """Bit patterns [n] of that width: all of them, or in 32 bits many; n divides by 4."""
    size = 8 * dtype.itemsize
    if size <= 16:
        return np.arange(2**size, dtype=np.uint64)
    edges = [0, WRAP, 2**31, 2**31 - 1, 2**31 + 1, 1, 0x80008000, 0x80808080, *(2**i for i in range(32))]
    rest = np.random.default_rng(0).integers(0, 2**32, 4096 - len(edges), dtype=np.uint64)
    return np.concatenate([np.array(edges, dtype=np.uint64), rest])


def opened(words, dtype, operand, shift):
    """`unpack` of bit patterns [n] by one entry of a shift table: numbers [n] float64."""
    shift = int(shift) & (2 ** (8 * dtype.itemsize) - 1)
    amounts = np.full(words.shape, shift, dtype=np.uint64)
    kind = KIND[dtype]
    got = _unpack_kernel.unpack.fn(Elements(words, kind), Elements(amounts, kind), OPERAND[operand], False)
    assert got.dtype == OPERAND[operand]
    return numbers(got, operand)


def numbers(elements, operand):
    if operand == torch.int8:
        return elements.bits.astype(np.uint8).view(np.int8).astype(np.float64)
    return as_numbers(elements.bits, operand).numpy()


def plain(words, t, operand):
    """What the kernel without inline assembly defines."""
    return (words >> np.uint64(t) & np.uint64(1)).astype(np.float64) * SPIKE[operand]


def tables(dtype, operand):
    """Each table that a run can have with such words, which may be wider than its steps need."""
    for steps in (1, 2, 4, 8, 16, 32):
        if steps <= 8 * dtype.itemsize:
            yield shift_table(steps, dtype, operand, False, torch.device("cpu"))


@EVERY
@WORDS
def test_every_bit_of_every_word_becomes_the_operand_that_it_stands_for(machine, words, operand):
    patterns = some_words(words)
    for table in tables(words, operand):
        assert table.dtype == words
        for t, shift in enumerate(table):
            assert np.array_equal(opened(patterns, words, operand, shift), plain(patterns, t, operand)), (len(table), t)


@EVERY
@WORDS
def test_a_table_that_is_off_by_one_or_one_for_the_plain_kernel_is_noticed(machine, words, operand):
    patterns = some_words(words)
    *_, table = tables(words, operand)
    for wrong in (table + 1, table - 1):
        for t, shift in enumerate(wrong):
            assert not np.array_equal(opened(patterns, words, operand, shift), plain(patterns, t, operand))
    if operand != torch.int8:
        shift = shift_table(len(table), words, operand, True, torch.device("cpu"))[0]
        assert not np.array_equal(opened(patterns, words, operand, shift), plain(patterns, 0, operand))


@EVERY
@WORDS
@pytest.mark.parametrize("mask, wrong", [("0x40004000", "0x4000"), ("0x01010101", "0x00010101"), ("prmt", "0x0000")])
def test_a_wrong_mask_or_selector_is_noticed(monkeypatch, words, operand, mask, wrong):
    def edit(asm):
        return re.sub(r"(prmt[^;]*), 0x\w+", rf"\1, {wrong}", asm) if mask == "prmt" else asm.replace(mask, wrong)

    changed = []
    monkeypatch.setattr(_unpack_kernel, "tl", Machine(lambda asm: changed.append(edit(asm) != asm) or edit(asm)))
    patterns = some_words(words)
    *_, table = tables(words, operand)
    same = [
        np.array_equal(opened(patterns, words, operand, x), plain(patterns, t, operand)) for t, x in enumerate(table)
    ]
    assert any(changed) != all(same)


@EVERY
@WORDS
@pytest.mark.parametrize("window", [2, 4, 9, 64])
def test_windows_add_up(machine, words, operand, window):
    """As many words as the largest window that a pooling has, all of them or half of them firing."""
    random = np.random.default_rng(1)
    size = 8 * words.itemsize
    patterns = random.integers(0, 2**size, (window, 64), dtype=np.uint64)
    patterns[:, :16] = 2**size - 1
    kind = KIND[words]
    *_, table = tables(words, operand)
    for t, shift in enumerate(table):
        amounts = Elements(np.full(64, int(shift) & (2**size - 1)), kind)
        total = None
        for line in patterns:
            seen = _unpack_kernel.unpack.fn(Elements(line, kind), amounts, OPERAND[operand], False)
            total = seen if total is None else _unpack_kernel.plus.fn(total, seen, OPERAND[operand], False)
        want = sum(plain(line, t, operand) for line in patterns)
        assert np.array_equal(numbers(total, operand), want)


def test_all_inline_assembly_of_the_module_was_run(machine):
    parsed = ast.walk(ast.parse(inspect.getsource(_unpack_kernel)))
    calls = [x for x in parsed if isinstance(x, ast.Call) and ast.unparse(x.func) == "tl.inline_asm_elementwise"]
    written = {ast.literal_eval(call.args[0]) for call in calls}
    for words in KIND:
        for operand in OPERAND:
            test_windows_add_up(machine, words, operand, 2)
    assert machine.ran == written and len(written) == 9


def test_the_emulated_instructions_do_what_is_known_of_them():
    one = np.array([0x80000001], dtype=np.uint64)
    assert shifted_left(one, one, np.uint64(1)) & np.uint64(WRAP) == 3
    assert shifted_right(one, one, np.uint64(33)) & np.uint64(WRAP) == 0xC0000000
    a, b = np.uint64(0x03020100), np.uint64(0x07060504)
    assert permuted(a, b, np.uint64(0x6420)) == 0x06040200 and permuted(a, b, np.uint64(0x3210)) == a
    for kind in (torch.float16, torch.bfloat16):
        assert torch.tensor(2.0, dtype=kind).view(torch.int16).item() == 0x4000
