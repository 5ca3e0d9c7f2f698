"""Movement of words and numbers in the native module: runs of neighbouring elements are copied at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastsnn import _native


class Route:
    """Element i of the result is element index[i] of the joined sources, or zero where that is -1.

    index  [*shape] int64, shape of the result without the batch
    sizes  elements of each source without the batch
    """

    def __init__(self, index: Tensor, sizes: Sequence[int]) -> None:
        self.shape, self.sizes = tuple(index.shape), list(sizes)
        flat = index.flatten()
        starts = torch.tensor([0, *sizes]).cumsum(0)
        source = torch.where(flat < 0, -1, torch.bucketize(flat, starts[1:], right=True))
        place = torch.where(flat < 0, 0, flat - starts[source.clamp(min=0)])
        new = torch.ones(len(flat), dtype=torch.bool)
        step = torch.where(source[1:] < 0, 0, 1)
        new[1:] = (source[1:] != source[:-1]) | (place[1:] != place[:-1] + step)
        first = new.nonzero()[:, 0]
        length = torch.diff(first, append=torch.tensor([len(flat)]))
        self._runs = torch.stack([first, length, source[first], place[first]], 1).contiguous()

    def __call__(self, sources: Sequence[Tensor]) -> Tensor:
        """Words or numbers, contiguous, [B, *] each, of one dtype."""
        batch = sources[0].shape[0]
        out = torch.empty((batch, *self.shape), dtype=sources[0].dtype)
        _native.load().route(
            [s.data_ptr() for s in sources],
            self.sizes,
            out.element_size(),
            self._runs.data_ptr(),
            len(self._runs),
            out.data_ptr(),
            out[0].numel() if batch else 0,
            batch,
            torch.get_num_threads(),
        )
        return out
