"""Accuracy after each step, and what had been spent by then: of each network that saw the data."""

from collections.abc import Mapping, Sequence
from math import sqrt

import torch

from fastsnn.profile import energy
from fastsnn.profile.energy import EnergyModel, Work
from fastsnn.profile.gather import Gathered
from fastsnn.profile.layers import work
from fastsnn.profile.schema import Accuracy, Curve, Modelled, NotMeasurable, unavailable
from fastsnn.profile.subject import Subject

MEMORY = "operands come from SRAMs that hold all weights, activations or potentials of a layer; sums stay in registers"


def knee(accuracy: Sequence[float], standard_error: float) -> int:
    """The first step, from 1, whose accuracy is within one standard error of the last one's."""
    return next(t for t, a in enumerate(accuracy, 1) if a >= accuracy[-1] - standard_error)


def accuracy(
    gathered: Gathered, networks: Mapping[str, Subject], models: Sequence[EnergyModel], dense: bool
) -> Accuracy | NotMeasurable:
    """Of all networks whose output is known after each step."""
    if not gathered.labelled:
        return unavailable("the data has no labels")
    curves = []
    for name, network in networks.items():
        seen = gathered.networks[name]
        if len(seen.correct) == network.T and (network.stepped or network.T > 1):
            curves.append(_curve(name, network, gathered, models))
    if not curves:
        only = next(iter(networks.values()))
        right = next(iter(gathered.networks.values())).correct
        known = f": {right[-1].item() / gathered.images:.2%} at the end" if len(right) else ""
        return unavailable(f"{only.name} gives its output at the end only, not after each step{known}")
    found = gathered.dense_correct / gathered.images if dense else None
    return {"images": gathered.images, "dense": found, "curves": curves}


def _curve(name: str, network: Subject, gathered: Gathered, models: Sequence[EnergyModel]) -> Curve:
    seen = gathered.networks[name]
    fractions = (seen.correct.double() / gathered.images).tolist()
    last = fractions[-1]
    error = sqrt(last * (1 - last) / gathered.images)
    spikes = torch.zeros(network.T, dtype=torch.int64)
    for counts in seen.observed.counts.values():
        spikes[: len(counts.spikes)] += counts.spikes
    layers = work(network.facts, seen.observed, network.T)
    operations = torch.tensor([layer.additions for layer in layers], dtype=torch.float64).sum(0).cumsum(0)
    return {
        "name": name,
        "accuracy": fractions,
        "standard_error": error,
        "spikes": (spikes.cumsum(0).double() / gathered.images).tolist(),
        "operations": operations.tolist(),
        "joules": {model.name: energy.spiking(model, layers, network.T)[1] for model in models},
        "knee": knee(fractions, error),
    }


def modelled(models: Sequence[EnergyModel], layers: Sequence[Work], T: int) -> list[Modelled]:
    """One image by each model: the spiking network beside both of its opponents."""
    found: list[Modelled] = []
    for model in models:
        parts, by_step = energy.spiking(model, layers, T)
        found.append(
            {
                "model": model.name,
                "source": model.source,
                "costs": {"mac_pj": model.mac, "accumulate_pj": model.accumulate, "word_bytes": float(model.word)},
                "assumptions": "; ".join(filter(None, [model.note, MEMORY if model.word else "memory is not charged"])),
                "spiking": sum(parts.values()),
                "parts": parts,
                "dense": energy.dense(model, layers),
                "quantised": energy.quantised(model, layers, T),
                "bits": energy.bits(T),
                "spiking_by_step": by_step,
            }
        )
    return found
