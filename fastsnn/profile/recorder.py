"""How the operators that a torch module calls are seen, and in which of its submodules."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from fastsnn.fuse.network import FusedNetwork
from fastsnn.network import SpikingNetwork
from fastsnn.profile.calls import READERS

# (path of the submodule, name of the operator, run it): its result
Watch = Callable[[str, str, Callable[[], Any], tuple[Any, ...]], Any]
WHOLE = (SpikingNetwork, FusedNetwork)


class Recorder(TorchDispatchMode):
    """Hands every operator of READERS that a module calls to `watch`; keeps what whole networks in it are given.

    watch      called as watch(path, operator, run, arguments); what it returns is the operator's result
    networks   input and time-steps, or None, of each such network inside, by path; its own operators are not watched
    """

    def __init__(self, module: nn.Module, watch: Watch) -> None:
        super().__init__()
        self.module, self.watch = module, watch
        self.networks: dict[str, tuple[Tensor, int | None]] = {}
        self._path = [""]
        self._inside = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name
        if self._inside or name not in READERS:
            return func(*args, **kwargs)
        return self.watch(self._path[-1], name, lambda: func(*args, **kwargs), args)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """While the module is run inside; afterwards it is as it was."""
        hooks = []
        try:
            for path, module in self.module.named_modules():
                hooks.append(module.register_forward_pre_hook(self._enter(path, module), with_kwargs=True))
                hooks.append(module.register_forward_hook(self._leave(module), always_call=True))
            # inference mode would keep composite operators whole
            with torch.inference_mode(False), torch.no_grad(), self:
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, path: str, module: nn.Module) -> Callable[..., None]:
        def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._path.append(path)
            if not isinstance(module, WHOLE):
                return
            self._inside += 1
            if path in self.networks:
                raise ValueError(f"profile takes a module that calls the network {path} once, not again")
            x, *more = (*args, *(kwargs[name] for name in ("x", "timesteps") if name in kwargs))
            self.networks[path] = (x, more[0] if more else None)

        return enter

    def _leave(self, module: nn.Module) -> Callable[..., None]:
        def leave(*_: Any) -> None:
            self._path.pop()
            if isinstance(module, WHOLE):
                self._inside -= 1

        return leave
