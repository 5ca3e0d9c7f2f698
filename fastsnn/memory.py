"""How much memory a run takes on its device, and what is said where that is not there."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from fastsnn.drive import Steps
from fastsnn.errors import OutOfMemory
from fastsnn.prepared import Prepared
from fastsnn.program import CountLayer, FunctionLayer, Layer, NeuronLayer, PlaneLayer
from fastsnn.spikes import MAX_STEPS, word_dtype

MIB = 2**20


def bytes_an_image(prepared: Prepared, steps: int) -> int:
    """The most that the results of a run hold at once, for each image; without weights and workspace of libraries."""
    if steps not in prepared.sizes:
        prepared.sizes[steps] = max(_bytes(prepared, steps), 1)
    return prepared.sizes[steps]


def _bytes(prepared: Prepared, steps: int) -> int:
    # potentials are kept from chunk to chunk
    T = min(steps, MAX_STEPS)
    word, number = word_dtype(T).itemsize, T * prepared.real.itemsize
    layers = prepared.layers

    def size(name: str) -> int:
        neurons = torch.Size(layers[name].shape).numel()
        if isinstance(layers[name], PlaneLayer):
            return 0
        return neurons * (word * len(layers[name].amplitudes) if layers[name].spiking else number)

    fixed = sum(4 * torch.Size(prepared.layers[name].shape).numel() for name in _static(prepared))
    readers, live, most, kept = dict(prepared.readers), 0, 0, 0
    for name, layer in prepared.running:
        live += size(name)
        if isinstance(layer, NeuronLayer) and steps > T:
            kept += (8 if layer.neuron.firing.counted else 4) * torch.Size(layer.shape).numel()
        stepwise = isinstance(prepared.drivers.get(name), Steps)
        currents = number * torch.Size(layer.shape).numel() if stepwise else 0
        most = max(most, live + currents + _passing(prepared, layer, word, T))
        for source in set(prepared.sources[name]):
            readers[source] -= 1
            if readers[source] == 0 and source in prepared.timed and source not in prepared.boundary:
                live -= size(source)
    return fixed + most + kept


def _passing(prepared: Prepared, layer: Layer, word: int, T: int) -> int:
    """What a layer holds while it is computed and no longer."""
    if isinstance(layer, FunctionLayer):
        if prepared.computes(layer) and layer.known is not None:
            # sums, and what the function came to
            return 2 * 8 * torch.Size(layer.shape).numel()
        # sums, means, values of the function, and what they change by, each of 64 bits
        return 4 * 8 * T * torch.Size(layer.shape).numel()
    if not isinstance(layer, CountLayer):
        return 0
    # the words of all windows, those to be added next to one another, and a third of them as sums and as carries
    return 3 * word * len(layer.counted) * layer.index.numel() * layer.shape[-1]


def _static(prepared: Prepared) -> list[str]:
    """Layers whose constant result, or constant current, is there during the whole run."""
    constant = [name for name in prepared.inner if name not in prepared.timed]
    driven = [n for n, la in prepared.running if any(s not in prepared.timed for s in la.sources)]
    return constant + driven


@contextmanager
def explained(prepared: Prepared, x: Tensor, steps: int) -> Iterator[None]:
    """Raises OutOfMemory, which says what would fit, in place of torch's error."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        each = bytes_an_image(prepared, steps)
        free = torch.cuda.mem_get_info(x.device)[0] if x.is_cuda else 0
        raise OutOfMemory(
            f"{len(x)} images over {steps} time-steps need about {len(x) * each // MIB} MiB on {x.device}, where "
            f"{free // MIB} MiB are free: run at most {max(free // max(each, 1), 1)} at a time ({error})"
        ) from error
