"""Which launches of the Triton kernels are compiled where there is no GPU, and what each is held to.

`machine_code.py` compiles them. Nothing here imports Triton.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from calls import (
    Call,
    adapting,
    constant,
    emitting,
    first,
    lateral,
    layer,
    packing,
    pooling,
    reading,
    restarting,
    steps,
)

from fastsnn.firing import levels, powers, taken_back
from fastsnn.neurons import Graded
from fastsnn.testing.compiled import Promise

CAPABILITIES = (90, 80)
PLAIN = Promise()
# launched one after the other: the batch size must not decide what is compiled
BATCHES = (256, 37, 1)


@dataclass(frozen=True)
class Named:
    """A launcher's call that is compiled.

    name      unique
    operands  what is read
    call      runs the launcher for a batch size, with tensors on the CPU
    promise   what its first kernel is held to; the others are held to PLAIN
    promises  by capability, where they differ
    batches   sizes for which the same kernels must do
    """

    name: str
    operands: str
    T: int
    call: Call
    promise: Promise = PLAIN
    promises: Mapping[int, Promise] = field(default_factory=dict)
    batches: tuple[int, ...] = BATCHES

    def held_to(self, capability: int, kernel: int = 0) -> Promise:
        """What a kernel promises, by its number in the order of launching."""
        return self.promises.get(capability, self.promise) if kernel == 0 else PLAIN


F16, BF16, F32, F64 = torch.float16, torch.bfloat16, torch.float32, torch.float64
I8, I16, I32 = torch.int8, torch.int16, torch.int32

# one pass over memory: it must read and write in pieces of 16 bytes, and leave room for 16 warps at once
PASS = Promise(instruction="", most_registers=128, least_ctas=4)
NEURONS = replace(PASS, least_wide_loads=16)
# of numbers of 64 bits, which fused multiply-adds are the way to do exactly
DIVIDING = replace(PASS, least_wide_loads=1, fused=True)
# a loop over steps, of which each reads one row; quotients that are rounded to the nearest are made of fused ones
ADAPTIVE = replace(PASS, least_wide_loads=0, fused=True)
# words of every plane, and counts, are in registers as well
GRADED = replace(PASS, most_registers=168, least_ctas=3)

# rules of neurons with several planes that count: of a cap that grows, or of gains and one plane a step
COUNTED = Graded((*levels(3), *taken_back(3, early=True)), below=True, most=9, by_step=True).firing.code
CHANGES = Graded(powers(2, 0.75), single=True, differential=True).firing.code

ELEMENTWISE = [
    Named("if_steps f32", "float32", 16, steps(F32, 16), NEURONS),
    Named("if_steps f32, channels, bias", "float32", 16, steps(F32, 16, True, "channel"), NEURONS),
    Named("if_steps f32, bias of steps", "float32", 16, steps(F32, 16, False, "step"), NEURONS),
    Named("if_steps f64", "float64", 16, steps(F64, 16), NEURONS),
    Named("if_steps i32", "int32", 8, steps(I32, 8), replace(PASS, least_wide_loads=8)),
    Named("if_steps i16", "int16", 32, steps(I16, 32), replace(PASS, least_wide_loads=32)),
    Named("if_steps i32, counted", "int32", 8, steps(I32, 8, rules=COUNTED), replace(GRADED, least_wide_loads=8)),
    Named("if_steps f32, changes", "float32", 16, steps(F32, 16, rules=CHANGES), replace(GRADED, least_wide_loads=16)),
    Named("if_constant f32", "float32", 16, constant(F32, 16), replace(PASS, least_wide_loads=1)),
    Named("if_constant i32", "int32", 32, constant(I32, 32), replace(PASS, least_wide_loads=1)),
    Named("pack", "uint8 spikes", 16, packing("pack", 16), PASS),
    Named("unpack", "int16 words", 16, packing("unpack", 16), PASS),
    Named("counts", "int32 words", 32, packing("counts", 32), PASS),
    Named("pool_or", "int16 words", 16, pooling("pool_or", 16), PASS),
    Named("pool_gate", "int16 words", 16, pooling("pool_gate", 16), PASS),
    Named("pool_counts", "uint8 words", 8, pooling("pool_counts", 8), PASS),
    Named("pool_lateral", "int16 words", 16, lateral(16, (1,)), PASS),
    Named("pool_lateral, 5 planes", "uint8 words", 8, lateral(8, (8, 4, 2, 1, -1)), PASS),
    Named("adaptive_steps f32", "float32, int16 words", 16, adapting(F32, 16), ADAPTIVE),
    Named("adaptive_steps f64, later", "float64, uint8 words", 8, adapting(F64, 8, 8), ADAPTIVE),
    Named("emit f32, ordered", "float32, int16 words", 16, emitting(F32, 16, "ordered"), DIVIDING),
    Named("emit f64, ordered", "float64, int32 words", 32, emitting(F64, 32, "ordered"), DIVIDING),
    Named("emit i32, random", "int32, int16 words", 16, emitting(I32, 16, "random"), DIVIDING),
    Named("restart f32", "float32, uint8 words", 4, restarting(F32, 4), replace(PASS, least_wide_loads=4)),
    Named("restart i32", "int32, uint8 words", 4, restarting(I32, 4), replace(PASS, least_wide_loads=4)),
    Named("readout f32", "float32", 16, reading(F32, 16, False), Promise(fused=True)),
    Named("readout f32, every step", "float32", 16, reading(F32, 16, True), Promise(fused=True)),
    Named("readout f64", "float64", 16, reading(F64, 16, False), Promise(fused=True)),
]


def tensor(hopper: str, ampere: str, loop: int | None = None, ctas: int = 1) -> dict[int, Promise]:
    """Promises of a layer: its instruction on either GPU, and on the newer one words that are opened in registers.

    loop  most instructions in its loop on the newer GPU, a tenth more than were found
    ctas  on an SM of the newer GPU
    """
    loops = {} if loop is None else {"most_loop": loop, "most_loop_stores": 0}
    return {
        90: Promise(instruction=hopper, a_from_registers=True, least_ctas=ctas, **loops),
        80: Promise(instruction=ampere),
    }


def floats(loop: int | None = None, ctas: int = 2) -> dict[int, Promise]:
    return tensor("HGMMA", "HMMA", loop, ctas)


def wholes(loop: int | None = None, ctas: int = 2) -> dict[int, Promise]:
    return tensor("IGMMA", "IMMA", loop, ctas)


WIDE, SMALL = (128, 128, 64, 8), (64, 64, 64, 4)

LAYERS = [
    Named("conv3x3 f16", "float16, int16 words", 16, layer(F16, 16, tile=WIDE), promises=floats(160)),
    Named("conv3x3 bf16, identity", "bfloat16, int16 words", 16, layer(BF16, 16, residual="identity", tile=WIDE),
          promises=floats(160)),
    Named("conv3x3 f16, stride 2, projection", "float16, int16 words", 8,
          layer(F16, 8, (128, 256), stride=2, residual="projection", tile=WIDE), promises=floats()),
    Named("conv1x1 f16", "float16, int32 words", 32, layer(F16, 32, kernel=1, tile=WIDE), promises=floats()),
    Named("conv3x3 i8", "int8, int16 words", 16, layer(I8, 16, tile=(128, 128, 128, 8)), promises=wholes(185)),
    Named("conv3x3 i32 of 2 planes", "int32, uint8 words", 8, layer(I32, 8, largest=20000, tile=(128, 64, 128, 8)),
          promises=wholes(135)),
    Named("conv3x3 i16", "int16, int16 words", 16, layer(I16, 16, largest=20000, tile=(128, 64, 128, 8)),
          promises=wholes(175)),
    Named("conv3x3 f32", "float32, int16 words", 16, layer(F32, 16, tile=(64, 64, 32, 4)), Promise(fused=True)),
    Named("linear f16", "float16, int16 words", 16, layer(F16, 16, (4096, 1024), kernel=0, tile=WIDE),
          promises=floats(145)),
    Named("linear f16 in 4 parts", "float16, int16 words", 16,
          layer(F16, 16, (4096, 1024), kernel=0, tile=(*SMALL, 3, 4)), promises=floats(150, 5)),
    Named("conv3x3 i8, counted", "int8, int16 words", 16, layer(I8, 16, size=8, rules=COUNTED), promises=wholes(190)),
    Named("conv3x3 f16, changes", "float16, int16 words", 16, layer(F16, 16, size=8, rules=CHANGES),
          promises=floats(160, 1)),
    Named("linear f16 in 4 parts, counted", "float16, int16 words", 16,
          layer(F16, 16, (4096, 1024), kernel=0, tile=(*SMALL, 3, 4), rules=COUNTED), promises=floats(150, 5)),
    Named("depthwise 3x3 f32", "float32, int16 words", 16, layer(F32, 16, groups=256), Promise(instruction="")),
    Named("depthwise 3x3 i8", "int8, int16 words", 16, layer(I8, 16, groups=256), Promise(instruction="")),
    Named("first layer in fixed point", "int32 image", 16, first(), Promise(instruction="", most_registers=128)),
    Named("conv3x3 f16, first layer", "float16, int16 words", 16, layer(F16, 16, (3, 64), size=32, tile=SMALL),
          promises=floats(None, 6)),
]  # fmt: skip

# hidden layers of ResNet-18 for images of 32x32: channels and size of a stage, its loops in int8 and float16, CTAs
STAGES = {1: (64, 32, 170, 195, 3), 2: (128, 16, 180, 160, 2), 3: (256, 8, 185, 160, 2), 4: (512, 4, 185, 160, 2)}
NETWORKS = [
    Named(f"ResNet-18 stage {stage} {name}", f"{operands}, int16 words", 16,
          layer(dtype, 16, (channels, channels), size=size), promises=promises)
    for stage, (channels, size, whole, real, ctas) in STAGES.items()
    for name, operands, dtype, promises in (
        ("i8", "int8", I8, wholes(whole, ctas)), ("f16", "float16", F16, floats(real, ctas)),
    )
] + [
    Named("ResNet-18 stage 3 i8, identity", "int8, int16 words", 16, layer(I8, 16, residual="identity", size=8),
          promises=wholes(185)),
    Named("ResNet-18 stage 3 i16, identity", "int16, int16 words", 16,
          layer(I16, 16, residual="identity", largest=20000, size=8), promises=wholes(190, 1)),
    Named("ResNet-18 stage 3 i8, identity, 8 steps", "int8, uint8 words", 8,
          layer(I8, 8, residual="identity", size=8), promises=wholes(140, 1)),
    Named("ResNet-18 stage 3 f16, identity, 8 steps", "float16, int16 words", 8,
          layer(F16, 8, residual="identity", size=8), promises=floats(170, 1)),
    Named("VGG-16 behind a pool of 2x2 i8", "int8, int16 words", 16, layer(I8, 16, (128, 256), size=16, pool=2),
          promises=wholes(470, 1)),
    Named("VGG-16 behind a pool of 2x2 f16", "float16, int16 words", 16, layer(F16, 16, (128, 256), size=16, pool=2),
          promises=floats(340)),
]  # fmt: skip

LAUNCHES = ELEMENTWISE + LAYERS + NETWORKS
