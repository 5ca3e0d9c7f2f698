"""How many spikes a precision changes: the converted network against itself with weights that were not rounded."""

import torch
from torch import Tensor

from fastsnn.engine import Simulation
from fastsnn.ops.pack import counts
from fastsnn.prepared import Prepared
from fastsnn.program import Program
from fastsnn.spikes import chunk_lengths

IMAGES = 16


@torch.inference_mode()
def mismatch(program: Program, unrounded: Program, samples: Tensor, T: int) -> dict[str, float]:
    """Neuron layer -> share of its spikes and silences over T steps that differ between the two, on sample images.

    samples  [N, C, *S]; the first 16 are run. Errors of earlier layers are in the later ones' numbers.
    """
    images = samples[:IMAGES]
    names = list(program.neurons)
    runs = [Simulation(p, images, Prepared(p)) for p in (program, unrounded)]
    lengths = chunk_lengths(T, min(run.longest_chunk() for run in runs))
    differ = dict.fromkeys(names, 0)
    for steps in lengths:
        words, others = (run.advance(steps, names)[0] for run in runs)
        for name in names:
            differ[name] += int(counts(words[name] ^ others[name]).sum())
    sizes = {
        n: len(images) * T * torch.Size((len(la.amplitudes), *la.shape)).numel() for n, la in program.neurons.items()
    }
    return {name: differ[name] / max(sizes[name], 1) for name in names}
