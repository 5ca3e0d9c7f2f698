"""Measuring ways to run a layer in the time that there is: all tiles of a network take hundreds of compilations."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch

from fastsnn.ops._layer_cuda import CudaPlan
from fastsnn.ops._tiles import Tile
from gpu.clock import Deadline, Run, interleaved

# of a layer, tiles in Triton and ways in CUDA that a whole network tries
FEW, FEW_IN_CUDA = 6, 4
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
    """Inside, `SpikingNetwork.tune` tries a shortlist of the ways to run every layer on a GPU."""
    with ExitStack() as stack:
        choices = CudaPlan.choices
        stack.enter_context(patched(CudaPlan, "choices", lambda self, batch, T: choices(self, batch, T)[:FEW_IN_CUDA]))
        # its module imports Triton
        with suppress(ImportError):
            from fastsnn.ops._layer_triton import TritonPlan

            tiles = TritonPlan.tiles
            stack.enter_context(
                patched(TritonPlan, "tiles", lambda self, batch, T: shortlist(tiles(self, batch, T), most))
            )
        yield


@contextmanager
def patched(owner: type, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def fastest(plan: Any, choices: Sequence[Any], run: Run, on: torch.device, deadline: Deadline) -> Any:
    """Lets a plan take the fastest of the choices that run and that there is time for; the first gets time always.

    plan      has `choose`, see `TritonPlan`;  run  calls it
    Returns the choice. Raises RuntimeError where none runs.
    """
    times: dict[Any, float] = {}
    for choice in choices:
        if times and not deadline.left:
            print(f"ways left untried: all from {choice} on", flush=True)
            break
        plan.choose(choice)
        try:
            times[choice] = interleaved({"": run}, on, rounds=3, least=3, ahead=True)[""].least
        except Exception as error:
            # some ask for more shared memory than there is
            print(f"{choice}: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:120]}", flush=True)
    if not times:
        raise RuntimeError(f"{type(plan).__name__}: none of {len(choices)} ways to run the layer works")
    best = min(times, key=times.__getitem__)
    plan.choose(best)
    return best
