"""Large batches on a CPU, part by part: what layers hand on stays in the caches, and memory stops growing."""

from collections.abc import Callable

import torch
from torch import Tensor

from fastsnn.memory import bytes_an_image
from fastsnn.prepared import Prepared

# (images, T, outputs at every step) -> outputs [B, ...], or [T, B, ...]
Run = Callable[[Tensor, int, bool], list[Tensor]]
# what the results of a part may take: enough that weights are read for several images, for each thread and at least
THREAD_BYTES, LEAST_BYTES = 5 * 2**20, 10 * 2**20


def images_at_once(prepared: Prepared, batch: int, T: int) -> int:
    """How many images of a batch are run at once: parts are of one size, but for the last."""
    if batch <= 1 or not prepared.native or prepared.drawn:
        return batch
    room = max(torch.get_num_threads() * THREAD_BYTES, LEAST_BYTES)
    parts = -(-batch // max(room // bytes_an_image(prepared, T), 1))
    return -(-batch // parts)


def in_parts(run: Run, prepared: Prepared, x: Tensor, T: int, over_time: bool) -> list[Tensor]:
    """The outputs of `run`, put together from those of parts where the batch is large."""
    size = images_at_once(prepared, len(x), T)
    if size == len(x):
        return run(x, T, over_time)
    parts = [run(part, T, over_time) for part in x.split(size)]
    return [torch.cat(outputs, 1 if over_time else 0) for outputs in zip(*parts, strict=True)]
