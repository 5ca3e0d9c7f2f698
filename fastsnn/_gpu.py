"""What a GPU has, as far as launches depend on it."""

from functools import cache

import torch
from torch import Tensor


@cache
def processors(device: torch.device) -> int:
    """Multiprocessors of a GPU, which its launches should keep busy; 1 for interpreted kernels."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


@cache
def shared(device: torch.device) -> int:
    """Bytes of shared memory that a block may have; of an H100 for interpreted kernels."""
    if device.type != "cuda":
        return 227 * 2**10
    # torch's types do not name it
    return getattr(torch.cuda.get_device_properties(device), "shared_memory_per_block_optin", 96 * 2**10)


def too_old(device: torch.device, least: tuple[int, int]) -> str | None:
    """Why a GPU does not run what needs a compute capability, or None."""
    have = torch.cuda.get_device_capability(device)
    if have < least:
        return "compute capability {}.{} or newer is needed, {} has {}.{}".format(*least, device, *have)
    return None


def pitch(words: Tensor) -> int:
    """Elements from one line of the last dimension to the next: more than it has, where unused ones follow."""
    inner = 1
    for size, step in zip(words.shape[-2::-1], words.stride()[-2::-1], strict=True):
        if size > 1:
            return step // inner
        inner *= size
    return words.shape[-1] if words.ndim else 1
