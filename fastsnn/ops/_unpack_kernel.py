"""Bits of packed words as tensor-core operands: two to four instructions a register instead of four an element.

A spike is worth 1 in int8 and float32 operands and 2 in float16 and bfloat16, where one rotation puts the bit on the
exponent's highest bit (0x4000 is 2.0 in both) and one AND isolates it; sums are halved afterwards, which is exact.
"""

import torch
import triton
import triton.language as tl

from fastsnn.ops._step import HALVES

# what a spike is worth in each kind of operand
SPIKE = {torch.int8: 1, torch.float32: 1, torch.float16: 2, torch.bfloat16: 2}


def shift_table(
    steps: int, words: torch.dtype, operand: torch.dtype, plain: bool, device: torch.device
) -> torch.Tensor:
    """[steps] amounts by which `unpack` shifts or rotates words, in their dtype.

    plain  for the kernel without inline assembly
    """
    t = torch.arange(steps)
    if not plain and operand in HALVES:
        t = ((6 if words == torch.uint8 else 14) - t) % 32
    return t.to(words).to(device)


@triton.jit
def unpack(words, shift, OPERAND: tl.constexpr, PLAIN: tl.constexpr):
    """Bit t of each word as an operand of dtype OPERAND.

    words   uint8, int16 or int32
    shift   entries of `shift_table`, same shape. They have to be loaded from memory: a shift by an arange or a run-time
            scalar keeps the compiler from loading words straight into the operand's registers
    PLAIN   without inline assembly, which the interpreter does not have
    """
    if PLAIN or OPERAND == tl.float32:
        bit = ((words >> shift) & 1).to(tl.float32)
        if OPERAND == tl.int8 or OPERAND == tl.float32:
            return bit.to(OPERAND)
        else:
            return (bit * 2).to(OPERAND)
    elif OPERAND == tl.int8:
        if words.dtype == tl.uint8:
            return tl.inline_asm_elementwise(
                "{ .reg .b32 r; shf.r.wrap.b32 r, $1, $1, $2; and.b32 $0, r, 0x01010101; }",
                "=r,r,r",
                [words, shift],
                dtype=tl.int8,
                is_pure=True,
                pack=4,
            )
        elif words.dtype == tl.int16:
            return tl.inline_asm_elementwise(
                "{ .reg .b32 r, q; shf.r.wrap.b32 r, $1, $1, $3; shf.r.wrap.b32 q, $2, $2, $3;"
                " prmt.b32 r, r, q, 0x6420; and.b32 $0, r, 0x01010101; }",
                "=r,r,r,r,r",
                [words, shift],
                dtype=tl.int8,
                is_pure=True,
                pack=4,
            )
        else:
            return tl.inline_asm_elementwise(
                "{ .reg .b32 r, q, p; shf.r.wrap.b32 r, $1, $1, $5; shf.r.wrap.b32 q, $2, $2, $5;"
                " prmt.b32 r, r, q, 0x0040; shf.r.wrap.b32 q, $3, $3, $5; shf.r.wrap.b32 p, $4, $4, $5;"
                " prmt.b32 q, q, p, 0x0040; prmt.b32 r, r, q, 0x5410; and.b32 $0, r, 0x01010101; }",
                "=r,r,r,r,r,r,r,r,r",
                [words, shift],
                dtype=tl.int8,
                is_pure=True,
                pack=4,
            )
    else:
        if words.dtype == tl.uint8:
            bits = tl.inline_asm_elementwise(
                "{ .reg .b32 r; prmt.b32 r, $2, 0, 0x1404; shf.l.wrap.b32 r, r, r, $3; and.b32 $0, r, 0x40004000;"
                " prmt.b32 r, $2, 0, 0x3424; shf.l.wrap.b32 r, r, r, $3; and.b32 $1, r, 0x40004000; }",
                "=r,=r,r,r",
                [words, shift],
                dtype=tl.int16,
                is_pure=True,
                pack=4,
            )
        elif words.dtype == tl.int16:
            bits = tl.inline_asm_elementwise(
                "{ .reg .b32 r; shf.l.wrap.b32 r, $1, $1, $2; and.b32 $0, r, 0x40004000; }",
                "=r,r,r",
                [words, shift],
                dtype=tl.int16,
                is_pure=True,
                pack=2,
            )
        else:
            bits = tl.inline_asm_elementwise(
                "{ .reg .b32 r, q; shf.l.wrap.b32 r, $1, $1, $3; shf.l.wrap.b32 q, $2, $2, $3;"
                " prmt.b32 r, r, q, 0x5410; and.b32 $0, r, 0x40004000; }",
                "=r,r,r,r,r",
                [words, shift],
                dtype=tl.int16,
                is_pure=True,
                pack=2,
            )
        return bits.to(OPERAND, bitcast=True)


@triton.jit
def plus(a, b, OPERAND: tl.constexpr, PLAIN: tl.constexpr):
    """Sum of unpacked spikes, which is small and exact, for windows that a pooling adds up."""
    if PLAIN:
        return (a.to(tl.float32) + b.to(tl.float32)).to(OPERAND)
    elif OPERAND == tl.int8:
        return tl.inline_asm_elementwise("add.u32 $0, $1, $2;", "=r,r,r", [a, b], dtype=tl.int8, is_pure=True, pack=4)
    elif OPERAND == tl.float16:
        return tl.inline_asm_elementwise(
            "add.rn.f16x2 $0, $1, $2;", "=r,r,r", [a, b], dtype=tl.float16, is_pure=True, pack=2
        )
    elif OPERAND == tl.bfloat16:
        # an addition of its own came with sm_90
        return tl.inline_asm_elementwise(
            "{ .reg .b32 one; mov.b32 one, 0x3f803f80; fma.rn.bf16x2 $0, $1, one, $2; }",
            "=r,r,r",
            [a, b],
            dtype=tl.bfloat16,
            is_pure=True,
            pack=2,
        )
    else:
        return a + b
