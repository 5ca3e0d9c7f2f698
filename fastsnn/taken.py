"""What a converted network takes as its input."""

import torch
from torch import Tensor

from fastsnn.program import Program


def require(x: Tensor, program: Program, device: torch.device) -> None:
    """Raises ValueError or TypeError for images x that a program on a device does not take."""
    if x.ndim == 0 or tuple(x.shape[1:]) != program.image:
        raise ValueError(f"this network takes inputs [B, {', '.join(map(str, program.image))}], got {list(x.shape)}")
    require_kind(x, device)


def require_some(x: Tensor, program: Program, device: torch.device, what: str) -> None:
    """The same, and for no images; `what` needs them."""
    require(x, program, device)
    if len(x) == 0:
        raise ValueError(f"{what} needs at least one image, got none")


def require_kind(x: Tensor, device: torch.device) -> None:
    """Raises TypeError or ValueError for inputs of another dtype, or on another device, than a network takes."""
    if not x.is_floating_point():
        raise TypeError(f"this network takes floating-point inputs, got {x.dtype}")
    if x.device != device:
        raise ValueError(f"the network is on {device} and the input on {x.device}; move one of them")
