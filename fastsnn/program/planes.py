"""How neurons of several planes are read: each plane is a source of its own, with weights times its amplitude."""

import copy
from collections.abc import Sequence

from fastsnn.errors import ConversionError
from fastsnn.program.layers import GateLayer, Layer, MaxPoolLayer, NeuronLayer, PlaneLayer, RouteLayer, ValueLayer
from fastsnn.program.terms import Term


def expanded(layers: Sequence[Layer]) -> list[Layer]:
    """Layers, in order, with planes in place of the neurons that have several; changes what reads them.

    Raises ConversionError where spikes of such neurons are pooled by their counts, or changes of means are.
    """
    found: list[Layer] = []
    # of a layer whose spikes come on planes: those
    planes: dict[str, list[PlaneLayer]] = {}
    kinds: dict[str, tuple[int, ...]] = {}
    differential = any(isinstance(layer, NeuronLayer) and layer.neuron.differential for layer in layers)
    timed: set[str] = set()
    for layer in layers:
        if layer.spiking or timed.intersection(layer.sources):
            timed.add(layer.name)
        if differential and isinstance(layer, MaxPoolLayer) and timed.intersection(layer.sources):
            raise ConversionError(
                f'{layer.name}: the largest of running means is no sum of their changes: choose max_pool="average"'
            )
        if isinstance(layer, GateLayer) and layer.policy != "lateral" and len(layer.amplitudes) > 1:
            raise ConversionError(
                f'{layer.name}: max_pool="{layer.policy}" takes one spike a step, and {layer.source} emits more: '
                'choose "lateral", "before" or "average"'
            )
        if isinstance(layer, RouteLayer) and len({kinds[source] for source in layer.sources}) > 1:
            raise ConversionError(f"{layer.name} joins spikes that are not worth the same: {', '.join(layer.sources)}")
        kinds[layer.name] = layer.amplitudes
        if isinstance(layer, NeuronLayer | ValueLayer):
            layer.set_terms([part for term in layer.terms for part in _parts(term, planes)])
        found.append(layer)
        if len(layer.amplitudes) > 1:
            own = [PlaneLayer(layer, p) for p in range(len(layer.amplitudes))]
            planes[layer.name] = own
            found += own
    return found


def _parts(term: Term, planes: dict[str, list[PlaneLayer]]) -> list[Term]:
    """A term as one for each plane of what it reads."""
    if term.source not in planes:
        return [term]
    found = []
    for plane in planes[term.source]:
        part = copy.deepcopy(term)
        part.source, part.weight = plane.name, term.weight * plane.amplitude
        found.append(part)
    return found
