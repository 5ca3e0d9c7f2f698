"""What the document says of each layer, and of all together, from what was counted."""

from collections.abc import Mapping
from math import prod

import torch

from fastsnn.profile.counts import Counts, Observed
from fastsnn.profile.energy import Work
from fastsnn.profile.layout import Facts
from fastsnn.profile.schema import BINS, Activation, Layer, Macs, NotMeasurable, Operations, Spread, Totals, moved
from fastsnn.profile.subject import Subject


def layers(
    subject: Subject,
    observed: Observed,
    batch: int,
    milliseconds: Mapping[str, float],
    dense_calls: Mapping[str, list[float]],
    activations: Mapping[str, Activation | NotMeasurable],
) -> list[Layer]:
    """Every layer of a network.

    batch          images of the timed batch
    milliseconds   of each layer that was timed
    dense_calls    of each call of a module of the dense network
    activations    of each neuron layer
    """
    in_pass, calls = subject.moved(batch), {path: iter(found) for path, found in dense_calls.items()}
    found: list[Layer] = []
    for facts in subject.facts:
        counts = observed.counts.get(facts.name)
        times = [next(calls[path], None) for path in facts.modules if path in calls]
        known = [time for time in times if time is not None]
        rows = subject.rows.get(facts.name)
        found.append(
            {
                "name": facts.name,
                "kind": facts.kind,
                "role": facts.role,
                "shape": list(facts.shape),
                "neurons": facts.neurons,
                "spikes": [] if counts is None else counts.spikes.tolist(),
                "rate": None if counts is None else _rate(counts, observed.images),
                "spread": None if counts is None else spread(counts, observed.images),
                "operations": operations(facts, observed),
                "macs": list(facts.macs),
                "dense_macs": facts.dense_macs,
                "dense_macs_with_borders": facts.dense_macs_with_borders,
                "neuron_updates": 0 if counts is None else facts.neurons * len(counts.spikes),
                "bytes": in_pass[facts.name],
                "milliseconds": milliseconds.get(facts.name),
                "dense_milliseconds": sum(known) if known else None,
                "activation": activations.get(facts.name),
                "raster": None if rows is None else rows.raster(),
            }
        )
    return found


def operations(facts: Facts, observed: Observed) -> list[Operations]:
    """Those of one source are one, however many neurons it joins."""
    found: dict[tuple[str, str], torch.Tensor] = {}
    for reach, by_step in zip(facts.reaches, observed.additions[facts.name], strict=True):
        key = (reach.kind, reach.source)
        found[key] = found[key] + by_step if key in found else by_step
    return [{"kind": k, "source": s, "by_step": by_step.tolist()} for (k, s), by_step in found.items()]


def spread(counts: Counts, images: int) -> Spread:
    """How the rates of a layer's neurons differ."""
    most = images * len(counts.spikes)
    rates = counts.fired.flatten().double() / most
    quantiles = torch.quantile(rates[:: max(1, len(rates) // 2**20)], torch.tensor([0.05, 0.5, 0.95]).double())
    # in whole numbers, so that no rate lies between bins
    bins = (counts.fired.flatten() * BINS // most).clamp(max=BINS - 1)
    p5, p50, p95 = quantiles.tolist()
    return {
        "std": rates.std(correction=0).item(),
        "p5": p5,
        "p50": p50,
        "p95": p95,
        "histogram": torch.bincount(bins, minlength=BINS).tolist(),
        "silent": int((counts.fired == 0).sum()),
        "always": int((counts.fired == most).sum()),
    }


def totals(found: list[Layer], images: int, dense_flops: int | NotMeasurable) -> Totals:
    """Over all layers."""
    additions: dict[str, int] = {}
    macs: dict[str, int] = {}
    for layer in found:
        for operation in layer["operations"]:
            kind = operation["kind"]
            additions[kind] = additions.get(kind, 0) + sum(operation["by_step"])
        for mac in layer["macs"]:
            macs[mac["kind"]] = macs.get(mac["kind"], 0) + mac["once"] * mac["times"]
    spikes = sum(sum(layer["spikes"]) for layer in found)
    updates = sum(layer["neuron_updates"] for layer in found)
    return {
        "neurons": sum(layer["neurons"] for layer in found),
        "spikes": spikes,
        "rate": spikes / (images * updates) if updates else 0.0,
        "silent": sum(layer["spread"]["silent"] for layer in found if layer["spread"] is not None),
        "operations": additions,
        "macs": macs,
        "dense_macs": sum(layer["dense_macs"] for layer in found),
        "dense_macs_with_borders": sum(layer["dense_macs_with_borders"] for layer in found),
        "dense_flops": dense_flops,
        "neuron_updates": updates,
        "bytes": sum(moved(layer) for layer in found),
        "bytes_float_simulation": sum(layer["bytes"]["float_simulation"] for layer in found),
    }


def work(facts: list[Facts], observed: Observed, T: int) -> list[Work]:
    """What energy models are told of each layer: means over the images."""
    found = []
    for layer in facts:
        additions = [0.0] * T
        by_step = observed.additions[layer.name].sum(0).double() / observed.images
        additions[: by_step.numel()] = by_step.tolist()
        comparisons = sum(_all(mac) for mac in layer.macs if mac["kind"] == "comparisons")
        found.append(
            Work(
                additions=additions,
                comparisons=comparisons,
                macs=sum(_all(mac) for mac in layer.macs) - comparisons,
                updates=layer.neurons,
                dense_macs=layer.dense_macs,
                weights=layer.weights,
                activations=layer.inputs,
                outputs=prod(layer.shape),
                image=any(mac["kind"] == "first layer" for mac in layer.macs),
            )
        )
    return found


def _all(mac: Macs) -> int:
    return mac["once"] * mac["times"]


def _rate(counts: Counts, images: int) -> float:
    return int(counts.spikes.sum()) / (images * len(counts.spikes) * counts.fired.numel())
