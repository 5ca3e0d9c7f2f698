"""What a GPU has, as far as launches depend on it."""

from functools import cache

import torch


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
