"""A layer of spiking neurons on a GPU: weights made ready once, then run on words any number of times."""

from collections.abc import Sequence
from math import gcd, prod

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastsnn import _env, _gpu, _triton
from fastsnn.firing import firing_of
from fastsnn.ops import _layer_kernel, _taps_kernel, _three
from fastsnn.ops._graded_kernel import graded, planes_apart, within_a_step
from fastsnn.ops._inputs import sorted_inputs
from fastsnn.ops._neuron_kernel import NUMBERS
from fastsnn.ops._repeated import within_32_bits
from fastsnn.ops._spread_triton import spread, spread_bias, spread_start
from fastsnn.ops._step import HALVES
from fastsnn.ops._tile_cache import TILES
from fastsnn.ops._tiles import Problem, Tile, choices, power, usual
from fastsnn.ops._unpack_kernel import shift_table
from fastsnn.spikes import word_dtype

OPERANDS = {torch.int8: tl.int8, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16, torch.float32: tl.float32}
# neurons that a tile without matrix products holds
NEURONS = 512


class TritonPlan:
    """A layer of spiking neurons driven by convolutions of words, or by linear maps (no spatial dimensions).

    inputs .. comparator, bias_varies
                as in the native module's `Plan`; weights may also be int8 (values are int32), float16 or bfloat16
                (values are float32)
    tile        None takes what was measured for this shape and batch on this kind of GPU, or else the usual one
    proven      look at the numbers once, so that 32-bit sums and potentials are only widened where they can leave 32
                bits. That waits for the GPU; without it they are always widened

    Nothing is checked here: `conv_if` and `linear_if` have. A plan may run in several threads at once.
    """

    def __init__(
        self,
        inputs: Sequence[Sequence[int]],
        weights: Sequence[Tensor],
        shape: Sequence[int],
        threshold: Tensor,
        v: Tensor,
        bias: Tensor | None,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        groups: Sequence[int],
        reset: str,
        comparator: str,
        tile: Tile | None = None,
        bias_varies: bool = False,
        proven: bool = True,
    ) -> None:
        self.shape, self.dtype, self.tile = tuple(shape), threshold.dtype, tile
        self.out = tuple(_three.sizes(shape[1:-1]))
        self.number = NUMBERS[self.dtype]
        self.firing, self.strict = firing_of(reset), comparator == ">"
        self.wide = self.number == "i32" and (not proven or not within_32_bits(weights, bias, bias_varies))
        self.products, self.looks, self.groups = sorted_inputs(
            inputs, weights, stride, padding, dilation, groups, self.wide, proven
        )
        self.planes = len(self.products[0].weight) if self.products else 1
        self.pooled = any(max(p.pooled) > 1 for p in self.products)
        self.operand = self.products[0].weight.dtype if self.products else torch.float32
        self.wide_step = self.number == "i32" and not (proven and within_a_step(self.firing, threshold))
        self._threshold, self._v = spread(threshold, self.shape), spread_start(v, self.shape, self.firing)
        self._bias, self._varies = None if bias is None else spread_bias(bias, self.shape), bias_varies
        self._device = threshold.device
        self._tiles: dict[Problem, Tile] = {}
        self._tables: dict[tuple[int, torch.dtype], Tensor] = {}

    def problem(self, batch: int, T: int) -> Problem:
        """What decides the tile at a batch size."""
        steps = power(T)
        rows = batch * prod(self.out) * steps
        length = sum(p.length for p in self.products)
        bits = 8 * self.operand.itemsize
        channels = gcd(*(p.geometry[0] for p in self.products))
        own = self.shape[-1] // self.groups
        return Problem(rows, own, self.groups, length, bits, steps, self.planes > 4, channels)

    @property
    def label(self) -> str:
        """How it runs, for a report."""
        if not self.products:
            return "words"
        return f"{str(self.operand).removeprefix('torch.')} x {self.planes}, {self.tile or 'tiles by shape'}"

    def tiles(self, batch: int, T: int) -> tuple[Tile, ...]:
        """Tiles that are worth measuring at a batch size."""
        if not self.products:
            return ()
        return choices(self.problem(batch, T), _gpu.processors(self._device), _gpu.shared(self._device))

    def choices(self, batch: int, T: int) -> tuple[Tile | None, ...]:
        """Ways to the same result that are worth measuring: by shape, and tiles."""
        return (None, *self.tiles(batch, T))

    def choose(self, tile: Tile | None) -> None:
        """Takes a tile for every batch size; None leaves it to the shape."""
        self.tile = tile

    def remember(self, tile: Tile | None, batch: int, T: int) -> None:
        """Takes the tile for this shape and batch from now on, in later processes too; None is the usual one."""
        if self.products:
            problem = self.problem(batch, T)
            TILES.store(self._key(problem), tile or usual(problem, _gpu.processors(self._device)), self._device)
            self._tiles.pop(problem, None)

    def _key(self, problem: Problem) -> str:
        neurons = "" if self.firing.plain else f" {self.firing.at(0).code}"
        products = [p.geometry for p in self.products]
        return f"{problem} {self.operand} x {self.planes}: {products} {len(self.looks)}{neurons}"

    def tile_for(self, batch: int, T: int) -> Tile:
        """The tile that a launch takes."""
        if self.tile is not None:
            return self.tile
        problem = self.problem(batch, T)
        if problem not in self._tiles:
            known = TILES.find(self._key(problem), self._device)
            self._tiles[problem] = known or usual(problem, _gpu.processors(self._device))
        return self._tiles[problem]

    def __call__(
        self,
        words: Sequence[Tensor],
        T: int,
        v: Tensor | None = None,
        keep: bool = True,
        bias: Tensor | None = None,
        out: Tensor | None = None,
        first: int = 0,
    ) -> tuple[Tensor, Tensor | None]:
        """T steps: (words [B, *S', O], potentials after them, or None where they are not to be kept).

        words   [B, *S_i, C_i] each, packed, but that the channels of a position may be followed by unused ones
        v       contiguous potentials [B, *S', O] to go on from; None for those of a fresh run
        bias    in place of the plan's, spreads over [T, B, *S', O] from the right
        out     words to write to, packed like `words`
        first   steps of the run before these

        Words of neurons with several planes are [planes, B, *S', O], each plane packed; those that count go on from
        potentials and counts [2, B, *S', O], or start from potentials, and end with potentials and counts.
        """
        batch = words[0].shape[0]
        shape = (batch, *self.shape[1:])
        device = words[0].device
        firing = self.firing.at(first or self.firing.first)
        out = torch.empty(firing.words_of(shape), dtype=word_dtype(T), device=device) if out is None else out
        after = torch.empty(firing.state_of(shape), dtype=self.dtype, device=device) if keep else None
        positions = batch * prod(self.out)
        if positions == 0:
            return out, after
        # spread over all neurons even where there is one image: another kernel would have to be compiled for it
        start, per_start = self._v if v is None else spread_start(v, shape, firing, whole=True)
        given, per_bias, steps = self._bias or (start, "none", False)
        if bias is not None:
            given, per_bias, steps = self._spread_call(bias, shape, T)
        neurons = (*self._threshold[:1], start, given, given.numel() // T if steps else 0)
        pitch = _gpu.pitch(out if len(firing.planes) == 1 else out[0])
        apart, unit = planes_apart(out, firing, prod(self.out) * pitch)
        neuron = (self.number, per_bias, steps, prod(self.out), self.shape[-1], firing.reset == "hard", self.strict)
        rules = {
            "OUT": self.out,
            "OUTPUTS": self.shape[-1],
            "T": T,
            "WIDE": self.wide,
            "THRESHOLD": self._threshold[1],
            "START": per_start,
            "RULES": neuron,
            "GRADED": graded(firing, T, self.number, self.wide_step, unit),
            "enable_fp_fusion": False,
        }
        ends = (out, pitch, apart, out if after is None else after, positions)
        looks = (
            tuple(words[look.source] for look in self.looks),
            tuple(_gpu.pitch(words[look.source]) for look in self.looks),
            tuple(look.weight for look in self.looks),
        )
        rules["TAPS"] = tuple(look.geometry for look in self.looks)
        with _triton.on(words[0]):
            sums, parts = out, 0
            if self.products:
                tile = self.tile_for(batch, T)
                parts = tile.parts
                if parts > 1:
                    kind = torch.int32 if self.number != "f32" else torch.float32
                    sums = torch.empty((parts, T, positions, self.shape[-1]), dtype=kind, device=device)
                self._multiply(words, looks, neurons, (sums, *ends[1:]), rules, tile, keep)
                if parts == 1:
                    return out, after
            P, N, grid = self.neuron_grid(positions)
            _taps_kernel.neurons[grid](
                sums, *looks, *neurons, *ends, **rules, KEEP=keep, PARTS=parts, P=P, N=N, num_warps=4
            )
        return out, after

    def grid(self, tile: Tile, positions: int, steps: int) -> tuple[int, tuple[int, int]]:
        """(positions of a tile, how many tiles and parts) of a launch with matrix products."""
        P = max(tile.rows // steps, 1)
        own = self.shape[-1] // self.groups
        return P, (-(-positions // P) * -(-own // tile.N) * self.groups, tile.parts)

    def neuron_grid(self, positions: int) -> tuple[int, int, tuple[int]]:
        """(positions, channels of a tile, how many tiles) of a launch without."""
        N = min(power(self.shape[-1]), 128)
        P = NEURONS // 2 // N if len(self.looks) > 1 else NEURONS // N
        return P, N, (-(-positions // P) * -(-self.shape[-1] // N),)

    def _multiply(
        self,
        words: Sequence[Tensor],
        looks: tuple,
        neurons: tuple,
        ends: tuple,
        rules: dict,
        tile: Tile,
        keep: bool,
    ) -> None:
        steps = power(rules["T"])
        P, grid = self.grid(tile, ends[-1], steps)
        seen = [words[p.source] for p in self.products]
        _layer_kernel.layer[grid](
            tuple(seen),
            tuple(_gpu.pitch(w) for w in seen),
            tuple(p.weight for p in self.products),
            *looks,
            tuple(self._table(steps, w.dtype, w.device) for w in seen),
            *neurons,
            *ends,
            **rules,
            INPUTS=tuple(p.geometry for p in self.products),
            GROUPS=self.groups,
            PLANES=self.planes,
            OPERAND=OPERANDS[self.operand],
            KEEP=keep,
            PARTS=tile.parts,
            P=P,
            STEPS=steps,
            N=tile.N,
            K=tile.K,
            STAGES=tile.stages,
            PLAIN=_env.TRITON_INTERPRET,
            num_warps=tile.warps,
            maxnreg=tile.registers if self._capped(steps) else None,
        )

    def _capped(self, steps: int) -> bool:
        """Whether registers are kept so few that two blocks fit a multiprocessor: only where none then spill."""
        looked = bool(self.looks) and (self.number == "i16" or steps <= 8)
        few = steps <= 4 and self.operand in HALVES
        many = len(self.firing.planes) > (6 if self.firing.gains(1) is None else 3)
        if self.pooled or looked or few or many or _env.TRITON_INTERPRET:
            return False
        # asked of Triton, which may compile for another GPU than there is
        return triton.runtime.driver.active.get_current_target().arch >= 90

    def _table(self, steps: int, words: torch.dtype, device: torch.device) -> Tensor:
        key = (steps, words)
        if key not in self._tables:
            self._tables[key] = shift_table(steps, words, self.operand, _env.TRITON_INTERPRET, device)
        return self._tables[key]

    def _spread_call(self, bias: Tensor, shape: tuple[int, ...], T: int) -> tuple[Tensor, str, bool]:
        """The bias of a call, over what it spreads, and whether every step has its own."""
        each = bias.ndim > len(shape)
        if each and not self._varies:
            return spread_bias(bias, self.shape)
        return bias.expand((T, *shape) if each else shape).contiguous(), "all", each
