"""What all runs of a program share: the order of its layers, who reads whom, and how each neuron layer is driven."""

import torch

from fastsnn.drive import Choice, Driver, driver
from fastsnn.program import NeuronLayer, Program


class Prepared:
    """A program ready to run; holds nothing of a run, so that several threads may use one.

    choices  neuron layer -> the way it is driven, as measured; the others take their first

    inner, timed       see `Program`
    running            layers that run over time, in order
    head               layers that no neuron depends on
    sources, readers   of each running layer; how many running layers read a layer
    boundary           layers that run over time and that the head, or an output, reads
    """

    def __init__(self, program: Program, choices: dict[str, Choice] | None = None) -> None:
        self.layers = program.layers
        self.inner, self.timed = program.inner(), program.timed()
        self.running = [(n, la) for n, la in self.layers.items() if n in self.inner and n in self.timed]
        self.head = [(n, la) for n, la in self.layers.items() if n not in self.inner]
        self.sources = {name: tuple(set(layer.sources)) for name, layer in self.running}
        self.readers = dict.fromkeys(self.layers, 0)
        for sources in self.sources.values():
            for source in sources:
                self.readers[source] += 1
        read = {source for _, layer in self.head for source in layer.sources} | set(program.outputs)
        self.boundary = {name for name in read if name in self.inner and name in self.timed}
        double = any(la.bias.dtype == torch.float64 for la in self.layers.values() if hasattr(la, "bias"))
        self.real = torch.float64 if double else torch.float32
        self.drivers: dict[str, Driver] = {}
        for name, layer in self.running:
            if isinstance(layer, NeuronLayer):
                self.drivers[name] = driver(layer, self.layers, self.timed, program.exponent is not None)
                if choices and name in choices:
                    self.drivers[name].choose(choices[name])
