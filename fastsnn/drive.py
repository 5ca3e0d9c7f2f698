"""What drives a layer's neurons over a chunk of steps: lists of spikes, one constant current, or a current a step."""

from collections.abc import Sequence
from math import prod
from types import ModuleType
from typing import Any

from torch import Tensor

from fastsnn import _order
from fastsnn._registry import Backend, able, load
from fastsnn.currents import Bias, Results, Run, bias_of, fixed_of, schedule_of, steps_of
from fastsnn.drive_adaptive import AdaptiveSteps
from fastsnn.drive_base import Choice, Driver
from fastsnn.drive_synaptic import SynapticSteps
from fastsnn.fused import as_conv, fusable, geometry_of
from fastsnn.neurons import Adaptive, Synaptic
from fastsnn.ops import conv_if, if_constant, if_steps, linear_if
from fastsnn.ops._by_backend import FIXED, NEURONS, PLANS
from fastsnn.ops._layer_gpu import GpuPlan
from fastsnn.ops._plan import VECTORS, Plan, single_ways
from fastsnn.program import Layer, NeuronLayer, Term
from fastsnn.totals import StepTotals


def driver(
    layer: NeuronLayer, layers: dict[str, Layer], timed: set[str], exact: bool, operators: bool = False
) -> Driver:
    """The driver of a layer.

    exact      numbers that are no spikes are in fixed point
    operators  it calls registered operators, and no backend of them
    """
    constant = [term for term in layer.terms if term.source not in timed]
    spikes = [term for term in layer.terms if layers[term.source].spiking]
    if isinstance(layer.neuron, Adaptive):
        return AdaptiveSteps(layer, [term for term in layer.terms if term.source in timed], constant, layers)
    if isinstance(layer.neuron, Synaptic):
        return SynapticSteps(layer, [term for term in layer.terms if term.source in timed], constant)
    if len(constant) == len(layer.terms):
        known = _names(able("if_constant", if_constant.op.BACKENDS, layer.bias))
        return Constant(layer, constant, exact, ["reference"] if operators else known)
    backends = ["reference"]
    if spikes:
        op, family = _family(layer)
        backends = _names(able(op, family.op.BACKENDS, layer.bias, spikes[0].weight))
    fused = fusable(spikes, layer.shape, backends != ["reference"])
    if len(spikes) + len(constant) < len(layer.terms) or not fused:
        native = not operators and "native" in _names(able("if_steps", if_steps.op.BACKENDS, layer.bias))
        changing = [term for term in layer.terms if term.source in timed]
        totals = StepTotals(changing, layer.shape, layer.bias, layers, timed, exact, native)
        return Steps(layer, constant, totals, exact)
    return Events(layer, spikes, constant, layers, exact, ["reference"] if operators else backends)


def _names(backends: Sequence[Backend]) -> list[str]:
    """What a driver chooses among: backends of one device, the reference only where there is nothing else."""
    return [b.name for b in backends if b.name != "reference"] or ["reference"]


class Constant(Driver):
    """Neurons that only read the image: one current for all steps."""

    def __init__(self, layer: NeuronLayer, terms: Sequence[Term], exact: bool, backends: Sequence[str]) -> None:
        super().__init__(layer)
        self.terms, self.exact, self.backends = terms, exact, backends
        self.chosen: str | None = None
        self.schedule = schedule_of(layer)
        self._fixed = {name: fixed_of(layer, terms, name) for name in backends if exact and name in FIXED}
        self.narrow = bool(terms) and all(self._fixed.get(name) is not None for name in backends)
        self.constant = () if self.narrow else terms
        self.fills = all(name in NEURONS for name in backends)

    @property
    def label(self) -> str:  # type: ignore[override]
        return f"constant, {self.chosen or self.backends[0]}" if len(self.backends) > 1 else "constant"

    def choices(self, batch: int, T: int) -> tuple[Choice, ...]:
        return tuple(self.backends)

    def choose(self, choice: Choice) -> None:
        self.chosen = choice

    def backend(self, batch: int, T: int) -> str:
        """The chosen one, or by what was measured of neurons on this GPU."""
        if self.chosen is not None or len(self.backends) == 1:
            return self.chosen or self.backends[0]
        bias = self.layer.bias
        known = _order.fastest("if_constant", [(bias.dtype, batch * prod(self.layer.shape))], bias.device)
        return next((name for name in known if name in self.backends), self.backends[0])

    def __call__(
        self, run: Run, results: Results, T: int, v: Tensor | None, keep: bool
    ) -> tuple[Tensor, Tensor | None]:
        layer = self.layer
        backend = self.backend(run.batch if self.terms else 1, T)
        current = bias_of(layer, self.terms, run, self.exact, self._fixed.get(backend))
        if current.shape[1:] != layer.shape:
            current = current.expand(run.batch, *layer.shape).contiguous()
        bias = None if self.schedule is None else steps_of(self.schedule, run, T)
        start = layer.initial_potential if v is None else v
        reset, comparator = layer.neuron.firing.at(run.steps).code, layer.neuron.comparator
        if backend in NEURONS:
            args = (current, True, start, layer.threshold, bias, T, reset, comparator)
            return load(NEURONS[backend])(*args, keep=keep, out=run.words(layer, T))
        return if_constant.if_constant(
            current, T, layer.threshold, start, bias=bias, reset=reset, comparator=comparator
        )


class Steps(Driver):
    """Neurons that read numbers which change over time: a current for each step, all steps as one batch."""

    def __init__(self, layer: NeuronLayer, constant: Sequence[Term], totals: StepTotals, exact: bool) -> None:
        super().__init__(layer)
        self.bias, self.constant, self.totals = Bias(layer, constant, exact), constant, totals
        self.fills = totals.fast

    def __call__(
        self, run: Run, results: Results, T: int, v: Tensor | None, keep: bool
    ) -> tuple[Tensor, Tensor | None]:
        layer = self.layer
        # what goes into the currents leaves the neurons numbers of 32 bits
        within = self.fills and not self.bias.varies and not run.asleep
        bias = None if within else self.bias(run, T)
        currents = self.totals(run, results, T, within, last=True)
        start = layer.initial_potential if v is None else v
        reset, comparator = layer.neuron.firing.at(run.steps).code, layer.neuron.comparator
        if self.fills:
            args = (currents, False, start, layer.threshold, bias, T, reset, comparator)
            emitted = load(NEURONS["native"])(*args, keep=keep, out=run.words(layer, T))
            run.give_back(currents)
            return emitted
        return if_steps.if_steps(currents, layer.threshold, start, bias=bias, reset=reset, comparator=comparator)


class Events(Driver):
    """Neurons that read spikes, through convolutions or linear maps: all steps in one call."""

    def __init__(
        self,
        layer: NeuronLayer,
        terms: Sequence[Term],
        constant: Sequence[Term],
        layers: dict[str, Layer],
        exact: bool,
        backends: Sequence[str],
    ) -> None:
        super().__init__(layer)
        self.sources = [term.source for term in terms]
        self.bias, self.constant, self._backend = Bias(layer, constant, exact), constant, backends[0]
        convs = [as_conv(term, layer.shape) for term in terms]
        self.weights = [conv.weight.contiguous() for conv in convs]
        self.inputs = [layers[name].shape for name in self.sources]
        self.stride, self.padding, self.dilation, self.groups = geometry_of(convs)
        self.grouped = any(g not in (1, s[-1]) for g, s in zip(self.groups, self.inputs, strict=True))
        self.plan: Any = None
        if self._backend == "native":
            self.choose(None)
        elif self._backend in PLANS:
            self.plan = GpuPlan(_family(layer)[0], [name for name in backends if name in PLANS], **self._layer())
        self.fills = self.plan is not None

    @property
    def label(self) -> str:  # type: ignore[override]
        return self.plan.label if self.plan is not None else "fused"

    def _layer(self) -> dict[str, Any]:
        """What a plan of any backend is made from."""
        layer, neuron = self.layer, self.layer.neuron
        return {
            "inputs": self.inputs,
            "weights": self.weights,
            "shape": (1, *layer.shape),
            "threshold": layer.threshold,
            "v": layer.initial_potential,
            "bias": self.bias.shared,
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
            "reset": neuron.firing.code,
            "comparator": neuron.comparator,
            "bias_varies": bool(self.bias.constant),
        }

    def backend(self, batch: int, T: int) -> str | None:
        return self.plan.backend(batch, T) if self._backend in PLANS else self._backend

    def choices(self, batch: int, T: int) -> tuple[Choice, ...]:
        if self._backend in PLANS:
            return self.plan.choices(batch, T)
        if self._backend == "native":
            whole = not self.grouped and not self.weights[0].is_floating_point()
            other = ("words",) if self.grouped else ("streams",) if whole else ()
            single = ((1, way) for way in single_ways() if whole)
            return (None, *((v, way) for way in ("lists", *other) for v in VECTORS), *single)
        return (None,)

    def choose(self, choice: Choice) -> None:
        if self._backend in PLANS:
            self.plan.choose(choice)
        elif self._backend == "native":
            vectors, way = choice or (0, "chosen")
            self.plan = Plan(**self._layer(), vectors=vectors, way=way)

    def remember(self, times: dict[Choice, float], batch: int, T: int) -> Choice:
        if self._backend not in PLANS:
            return super().remember(times, batch, T)
        # a GPU's plan finds what was measured for each batch size by itself
        self.plan.remember(times, batch, T)
        return None

    def __call__(
        self, run: Run, results: Results, T: int, v: Tensor | None, keep: bool
    ) -> tuple[Tensor, Tensor | None]:
        layer = self.layer
        words = [results[name] for name in self.sources]
        if self.plan is not None:
            bias = self.bias(run, T) if self.bias.varies or run.asleep else None
            return self.plan(words, T, v, keep, bias, run.words(layer, T), first=run.steps)
        code = layer.neuron.firing.at(run.steps).code
        neuron: dict[str, Any] = {"reset": code, "comparator": layer.neuron.comparator}
        start = layer.initial_potential if v is None else v
        bias = self.bias(run, T)
        if len(layer.shape) == 1:
            return linear_if.linear_if(words, self.weights, T, layer.threshold, start, bias=bias, **neuron)
        return conv_if.conv_if(
            words,
            self.weights,
            T,
            layer.threshold,
            start,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            bias=bias,
            **neuron,
        )


def _family(layer: NeuronLayer) -> tuple[str, ModuleType]:
    """The operator, and the family, that a layer driven by spikes belongs to."""
    return ("linear_if", linear_if) if len(layer.shape) == 1 else ("conv_if", conv_if)
