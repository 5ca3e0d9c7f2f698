"""A layer that several backends of a GPU can run: each batch size goes to the one that was measured as the fastest."""

from collections.abc import Sequence
from math import prod
from typing import Any

from torch import Tensor

from fastsnn import _order
from fastsnn._registry import load
from fastsnn.ops._by_backend import PLANS
from fastsnn.spikes import word_dtype

# (backend, what its plan chooses among)
Choice = tuple[str, Any]


class GpuPlan:
    """The plans of several backends for one layer, each made when it is first needed.

    op       "conv_if" or "linear_if", by which measurements of other layers of the kind are found
    names    of the backends, in the order in which they are preferred where nothing was measured
    layer    what a plan is made from, see `TritonPlan`

    With one name it is that backend's plan. May run in several threads at once.
    """

    def __init__(self, op: str, names: Sequence[str], **layer: Any) -> None:
        self.op, self.names, self._layer = op, tuple(names), layer
        self._plans: dict[str, Any] = {}
        self._chosen: str | None = None
        self._fastest: dict[tuple[int, int], str] = {}
        self._device = layer["threshold"].device

    def plan(self, name: str) -> Any:
        if name not in self._plans:
            self._plans[name] = load(PLANS[name])(**self._layer)
        return self._plans[name]

    @property
    def label(self) -> str:
        """How it runs, for a report."""
        return self.plan(self._chosen or self.names[0]).label

    def choices(self, batch: int, T: int) -> tuple[Choice, ...]:
        """Ways to the same result that are worth measuring, of every backend."""
        return tuple((name, choice) for name in self.names for choice in self.plan(name).choices(batch, T))

    def choose(self, choice: Choice) -> None:
        """Takes one way for every batch size."""
        self._chosen, way = choice
        self.plan(self._chosen).choose(way)

    def remember(self, times: dict[Choice, float], batch: int, T: int) -> None:
        """Takes the fastest way at this batch size from now on, in later processes too, and keeps what each took."""
        best: dict[str, tuple[float, Any]] = {}
        for (name, way), seconds in times.items():
            if name not in best or seconds < best[name][0]:
                best[name] = (seconds, way)
        for name, (_, way) in best.items():
            self.plan(name).remember(way, batch, T)
        if len(best) > 1:
            each = {name: time for name, (time, _) in best.items()}
            _order.MEASURED.store(self._key(batch, T), each, self._device)
        self._fastest.pop((batch, T), None)

    def backend(self, batch: int, T: int) -> str:
        """Which backend a launch goes to: by what was measured of this layer, or of others of its kind, or declared."""
        if self._chosen is not None or len(self.names) == 1:
            return self._chosen or self.names[0]
        if (batch, T) not in self._fastest:
            times = _order.MEASURED.find(self._key(batch, T), self._device) or {}
            words = (word_dtype(T), batch * prod(self._layer["inputs"][0]))
            alike = _order.fastest(self.op, [words, *_order.sized(self._layer["weights"][:1])], self._device)
            known = [name for name in (*sorted(times, key=times.__getitem__), *alike) if name in self.names]
            self._fastest[batch, T] = (known or list(self.names))[0]
        return self._fastest[batch, T]

    def __call__(self, words: Sequence[Tensor], T: int, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """As a plan of one backend."""
        return self.plan(self.backend(len(words[0]), T))(words, T, *args, **kwargs)

    def _key(self, batch: int, T: int) -> str:
        layer = self._layer
        kinds = [str(w.dtype).removeprefix("torch.") for w in layer["weights"]]
        shapes = [tuple(w.shape) for w in layer["weights"]]
        sizes = [tuple(size) for size in layer["inputs"]]
        windows = [list(layer[name]) for name in ("stride", "padding", "dilation", "groups")]
        return f"{self.op} {kinds} batch {batch}, T {T}, {sizes} -> {tuple(layer['shape'][1:])}, {shapes} {windows}"
