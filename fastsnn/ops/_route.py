"""Movement of words and numbers in the native module: neighbouring elements at once, or one by one by number."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastsnn import _native

# neighbours that are worth copying at once, on average
RUN = 4
# where the number of a source is in that of an element, and how many there may be
SOURCE_BIT, SOURCES = 28, 8


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
        one_by_one = len(first) * RUN > len(flat) and len(sizes) <= SOURCES and max(sizes) < 1 << SOURCE_BIT
        if one_by_one:
            table = torch.where(flat < 0, -1, (source << SOURCE_BIT) + place).to(torch.int32)
        else:
            table = torch.stack([first, length, source[first], place[first]], 1)
        self._one_by_one, self._table = one_by_one, table.contiguous()

    def __call__(self, sources: Sequence[Tensor], out: Tensor) -> Tensor:
        """Of words or numbers, contiguous, [B, *] each: writes out [B, *shape], of the same dtype, and returns it."""
        batch = len(out)
        given = [s.data_ptr() for s in sources], self.sizes, out.element_size()
        size = out[0].numel() if batch else 0
        to, threads = out.data_ptr(), torch.get_num_threads()
        if self._one_by_one:
            _native.load().gather(*given, self._table.data_ptr(), to, size, batch, threads)
        else:
            _native.load().route(*given, self._table.data_ptr(), len(self._table), to, size, batch, threads)
        return out
