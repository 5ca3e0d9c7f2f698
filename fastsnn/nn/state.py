"""What spiking modules keep between calls, and how it is given and taken."""

from typing import Any

from torch import Tensor, nn


class Stateful(nn.Module):
    """A module whose neurons go on, at each call, from where the call before left them.

    state   membrane potentials after the last step, channels last [B, *S, C]; None before the first call and after
            `reset`. It can be set, to None or to what another call has left, and is not part of `state_dict`
    """

    step_mode = "m"

    def __init__(self) -> None:
        super().__init__()
        self.state: Tensor | None = None

    def forward(self, x: Any) -> Any:
        out, self.state = self.run(x, self.state)
        return out

    def run(self, x: Any, state: Tensor | None = None) -> tuple[Any, Tensor]:
        """(output, state after the last step), from a state and without keeping one."""
        raise NotImplementedError

    def reset(self) -> None:
        """The next call starts afresh."""
        self.state = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"state": None}


def reset(model: nn.Module) -> None:
    """Every spiking module of a network starts afresh at its next call."""
    for module in model.modules():
        if isinstance(module, Stateful):
            module.reset()


def require_shape(name: str, state: Tensor, shape: tuple[int, ...]) -> None:
    """Raises ValueError where a state is of other neurons than are to go on from it; shapes are [B, *S, C]."""
    if tuple(state.shape) == shape:
        return
    if state.shape[1:] == shape[1:]:
        raise ValueError(
            f"{name} holds the state of a batch of {state.shape[0]}, got a batch of {shape[0]}: call reset() before "
            "another batch"
        )
    raise ValueError(f"{name} holds the state of neurons {list(state.shape)}, got {list(shape)}: call reset()")
