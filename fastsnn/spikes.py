"""What a spike train is: one word a neuron and 32 steps, bit t of the word being the spike at step t."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import index
from typing import Any

import torch
from torch import Tensor

MAX_STEPS = 32
WORD_DTYPES = (torch.uint8, torch.int16, torch.int32)


def word_dtype(T: int) -> torch.dtype:
    """The narrowest word for T steps. Signed beyond 8 bits: torch has no shifts for uint16 and uint32."""
    if not 1 <= T <= MAX_STEPS:
        raise ValueError(f"a word holds 1 to {MAX_STEPS} time-steps, got T={T}")
    return torch.uint8 if T <= 8 else torch.int16 if T <= 16 else torch.int32


def chunk_lengths(T: int, longest: int = MAX_STEPS) -> list[int]:
    """T steps as runs of at most `longest`: 70 -> [32, 32, 6]."""
    if T < 1:
        raise ValueError(f"the number of time-steps T must be at least 1, got {T}")
    return [min(longest, T - start) for start in range(0, T, longest)]


def steps(timesteps: Any) -> int:
    """A number of time-steps as an int. Raises ValueError for anything but an integer of at least 1."""
    if isinstance(timesteps, bool) or not hasattr(timesteps, "__index__") or index(timesteps) < 1:
        raise ValueError(f"timesteps must be an integer of at least 1, got {timesteps!r}")
    return index(timesteps)


def steps_shown(T: int) -> list[int]:
    """Steps that a table or an axis shows: 1, 2, 4, ... up to T, and T itself."""
    return sorted({2**i for i in range(T.bit_length()) if 2**i <= T} | {T})


def joined(parts: list[Tensor], lengths: list[int]) -> Tensor:
    """Words of runs of `lengths` steps, 32 at most in sum, as words of one run."""
    found = torch.zeros(parts[0].shape, dtype=torch.int64, device=parts[0].device)
    for i, part in enumerate(parts):
        unsigned = part.to(torch.int64) & (2 ** (8 * part.element_size()) - 1)
        found |= unsigned << sum(lengths[:i])
    return found.to(word_dtype(sum(lengths)))


def rejoin(parts: list[Tensor], lengths: list[int]) -> list[Tensor]:
    """Words of runs of `lengths` steps as words of chunks of 32; all runs but the last are of one power of two."""
    runs = MAX_STEPS // lengths[0]
    if runs == 1 or len(parts) == 1:
        return parts
    firsts = range(0, len(parts), runs)
    return [joined(parts[first : first + runs], lengths[first : first + runs]) for first in firsts]


@dataclass(frozen=True)
class SpikeTrain:
    """The spikes of a layer over T time-steps, packed.

    words       one tensor a chunk of at most 32 steps, each [planes, *N] (see `word_dtype`); bit t of a word is the
                spike at step t of its chunk. *N is channels-last: [B, H, W, C], [B, L, C] or [B, F].
    T           number of time-steps
    amplitudes  one number a plane: what a spike of that plane is worth, in units of the threshold
    """

    words: tuple[Tensor, ...]
    T: int
    amplitudes: tuple[float, ...] = field(default=(1.0,))

    def __post_init__(self) -> None:
        if not self.words or any(w.dtype not in WORD_DTYPES for w in self.words):
            raise TypeError(f"SpikeTrain: words must be uint8, int16 or int32, got {[w.dtype for w in self.words]}")
        shapes = {tuple(w.shape) for w in self.words}
        if len(shapes) != 1 or self.words[0].ndim < 1 or self.words[0].shape[0] != len(self.amplitudes):
            raise ValueError(
                f"SpikeTrain: every chunk must be [planes, *N] with {len(self.amplitudes)} planes, got {sorted(shapes)}"
            )
        room = [8 * w.element_size() for w in self.words]
        lengths = chunk_lengths(self.T) if self.T >= 1 else []
        if len(lengths) != len(room) or any(steps > bits for steps, bits in zip(lengths, room, strict=True)):
            raise ValueError(f"SpikeTrain: T={self.T} does not fit {len(self.words)} chunks of {room} bits")

    @classmethod
    def pack(cls, spikes: Tensor) -> "SpikeTrain":
        """From dense spikes [T, *N] of 0 and 1, any T >= 1, any dtype; one plane of amplitude 1."""
        from fastsnn.ops.pack.op import pack

        if spikes.ndim < 1 or spikes.shape[0] < 1:
            raise ValueError(f"SpikeTrain.pack: spikes must be [T, *N] with T >= 1, got {tuple(spikes.shape)}")
        T = spikes.shape[0]
        return cls(tuple(pack(s)[None] for s in spikes.split(chunk_lengths(T))), T)

    @classmethod
    def of(cls, parts: list[Tensor], lengths: list[int], amplitudes: Sequence[float] = (1.0,)) -> "SpikeTrain":
        """From words of runs of `lengths` steps, see `rejoin`: [planes, *N] each, or [*N] of a single plane."""
        words = rejoin(parts, lengths)
        planes = tuple(words if len(amplitudes) > 1 else (w[None] for w in words))
        return cls(planes, sum(lengths), tuple(map(float, amplitudes)))

    @property
    def shape(self) -> torch.Size:
        """Shape of the neurons, *N."""
        return self.words[0].shape[1:]

    @property
    def planes(self) -> int:
        return len(self.amplitudes)

    @property
    def device(self) -> torch.device:
        return self.words[0].device

    def unpack(self) -> Tensor:
        """Spikes plane by plane, [planes, T, *N] uint8 of 0 and 1."""
        from fastsnn.ops.pack.op import unpack

        chunks = zip(self.words, chunk_lengths(self.T), strict=True)
        return torch.cat([torch.stack([unpack(p, T) for p in w]) for w, T in chunks], dim=1)

    def to_dense(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """What the layer emitted at each step, in units of the threshold: [T, *N]."""
        amplitudes = torch.tensor(self.amplitudes, dtype=dtype, device=self.device)
        return torch.tensordot(amplitudes, self.unpack().to(dtype), dims=1)

    def counts(self) -> Tensor:
        """Spikes of each neuron over all T steps and planes, [*N] int32."""
        from fastsnn.ops.pack.op import counts

        return torch.stack([counts(w).sum(0, dtype=torch.int32) for w in self.words]).sum(0, dtype=torch.int32)

    def firing_rate(self) -> float:
        """Mean spikes a neuron and time-step, in 0..planes; 0 for a train without neurons."""
        counts = self.counts()
        return counts.sum(dtype=torch.float64).item() / (self.T * counts.numel()) if counts.numel() else 0.0

    def to(self, device: torch.device | str) -> "SpikeTrain":
        return SpikeTrain(tuple(w.to(device) for w in self.words), self.T, self.amplitudes)

    def __repr__(self) -> str:
        return f"SpikeTrain(T={self.T}, planes={self.planes}, shape={tuple(self.shape)}, words={self.words[0].dtype})"
