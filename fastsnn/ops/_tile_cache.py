"""Tiles that were measured to be the fastest on this machine."""

from dataclasses import astuple

from fastsnn._kept import Kept
from fastsnn.ops._tiles import Tile


def _tile(numbers: list[int]) -> Tile:
    if not all(type(n) is int and n > 0 for n in numbers):
        raise ValueError(f"not a tile: {numbers}")
    return Tile(*numbers)


TILES = Kept[Tile]("tiles", ("triton", "fastsnn"), _tile, astuple)
