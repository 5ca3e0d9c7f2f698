"""Measuring tiles in the time that there is: all of them take hundreds of compilations for a whole network."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastsnn.ops._tiles import Tile

# tiles of a layer that a whole network tries
FEW = 6
# rows and channels of tiles that are tried first, after the usual one
FIRST = ((128, 128), (128, 64), (128, 256), (256, 64), (64, 64), (256, 128), (64, 128))


def shortlist(tiles: tuple[Tile, ...], most: int = FEW) -> tuple[Tile, ...]:
    """The usual tile, then those that differ most from one another: large and small, then sums in parts."""
    if not tiles:
        return ()
    first, *others = tiles
    found = [first]
    parts = [tile for tile in others if tile.parts > 1]
    for size in FIRST:
        # of equal tiles the one that sums fewer numbers at a time: it leaves room for more of them on a multiprocessor
        same = sorted((t for t in others if (t.rows, t.N) == size and t.parts == 1), key=lambda t: t.K)
        found += same[:1]
    # a layer that may be summed in parts has few tiles, and then those matter the most
    found[1:1] = parts[:2]
    return tuple(dict.fromkeys(found))[:most]


@contextmanager
def few(most: int = FEW) -> Iterator[None]:
    """Inside, `SpikingNetwork.tune` tries a shortlist of the tiles of every layer on a GPU."""
    try:
        from fastsnn.ops._layer_triton import TritonPlan
    except ImportError:
        yield
        return
    every = TritonPlan.tiles
    TritonPlan.tiles = lambda self, batch, T: shortlist(every(self, batch, T), most)  # type: ignore[method-assign]
    try:
        yield
    finally:
        TritonPlan.tiles = every  # type: ignore[method-assign]
