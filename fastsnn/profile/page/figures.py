"""Which figures a page shows, with captions and the words that stand for them where they cannot be seen."""

from collections.abc import Callable
from typing import Any

from fastsnn import visualize
from fastsnn.profile.page.elements import Markup, join, tag
from fastsnn.profile.page.headline import available
from fastsnn.profile.page.numbers import percent, plural
from fastsnn.profile.page.svg import figure
from fastsnn.profile.schema import Document


def _grid(*figures: str) -> Markup:
    return tag("div", join(Markup(f) for f in figures), class_="figures")


def curves(profiles: Any, names: list[str], spoken: str) -> Markup:
    """Accuracy against time-steps, latency, work and each of the energy models."""
    ring = "A ring marks the knee: the first T within one standard error of the last one's accuracy."
    drawn = [
        figure(lambda: visualize.accuracy(profiles), "accuracy", "Accuracy over time", ring, spoken),
        _accuracy(profiles, "latency", "Accuracy against latency", "Time of one pass at T = 1, 2, 4 and so on."),
        _accuracy(profiles, "operations", "Accuracy against work", "An addition is cheaper than a multiplication."),
    ]
    caption = "A model, not a measurement. The dotted line is what the same model gives a quantised dense network."
    for i, name in enumerate(names):
        build = _energy(profiles, name)
        drawn.append(figure(build, f"accuracy-energy-{i}", f"Accuracy against modelled energy: {name}", caption))
    if not names:
        build = _energy(profiles, None)
        drawn.append(figure(build, "accuracy-energy", "Accuracy against modelled energy", caption))
    return _grid(*drawn)


def _accuracy(profiles: Any, against: str, title: str, caption: str) -> str:
    return figure(lambda: visualize.accuracy(profiles, against), f"accuracy-{against}", title, caption)


def _energy(profiles: Any, name: str | None) -> Callable[[], Any]:
    return lambda: visualize.accuracy(profiles, "energy", name)


def costs(document: Document) -> Markup:
    """What each layer takes."""
    return _grid(
        figure(
            lambda: visualize.layer_operations(document),
            "operations",
            "Work of each layer",
            "Additions that spikes cause, beside the multiplications of the same layer in the dense network.",
        ),
        figure(
            lambda: visualize.layer_times(document),
            "times",
            "Time of each layer",
            "Median of one pass over the timed batch, each layer by itself.",
        ),
        figure(
            lambda: visualize.layer_rates(document),
            "rates",
            "Firing rate of each layer",
            "The share of neurons and steps with a spike. Work grows with it.",
            _extremes(document),
        ),
        figure(
            lambda: visualize.roofline(document),
            "roofline",
            "What bounds each layer",
            "Additions a second that were attained, under what this machine was measured to copy and to add.",
        ),
    )


def spikes(document: Document) -> Markup:
    """How neurons fire, and what that says."""
    return _grid(
        figure(
            lambda: visualize.rates_over_time(document),
            "over-time",
            "Firing rate over time",
            "Thin lines are the other layers.",
        ),
        figure(
            lambda: visualize.spike_raster(document),
            "raster",
            "Spikes of one image",
            "A row is a neuron, a stroke a spike.",
        ),
        figure(
            lambda: visualize.rate_histograms(document),
            "histograms",
            "How often neurons fire",
            "Neurons of each layer by firing rate. Silent neurons never fired on any image.",
        ),
        figure(
            lambda: visualize.activations(document),
            "activations",
            "Spikes against dense activations",
            "Both axes have the same scale; the dashed line is equality. r is the correlation, e the relative error.",
            _worst(document),
        ),
    )


def compared(documents: dict[str, Document]) -> Markup:
    """Firing rates of several profiles over one another."""
    return _grid(
        figure(
            lambda: visualize.rates_over_time(documents),
            "over-time",
            "Firing rate over time",
            "Mean over all neurons of each network.",
        ),
        figure(
            lambda: visualize.layer_rates(documents),
            "rates",
            "Firing rate of each layer",
            "Layers of the same name share a row.",
        ),
    )


def summary(document: Document) -> str:
    """Accuracy at the first and the last step, in words."""
    accuracy = available(document["accuracy"])
    if not accuracy or not accuracy["curves"]:
        return ""
    dense = "" if accuracy["dense"] is None else f"; dense network {percent(accuracy['dense'])}"
    said = [
        f"{c['name']}: {percent(c['accuracy'][0])} at T = 1, {percent(c['accuracy'][-1])} at T = {len(c['accuracy'])}"
        for c in accuracy["curves"]
    ]
    return f"{'; '.join(said)}{dense}"


def _extremes(document: Document) -> str:
    rated = [(layer["rate"] or 0.0, layer["name"]) for layer in document["layers"] if layer["neurons"]]
    if not rated:
        return ""
    (low, slow), (high, fast) = min(rated), max(rated)
    return f"{plural(len(rated), 'layer')}, from {percent(low)} in {slow} to {percent(high)} in {fast}"


def _worst(document: Document) -> str:
    found = [(layer["name"], available(layer["activation"])) for layer in document["layers"]]
    errors = [(activation["error"], name) for name, activation in found if activation]
    if not errors:
        return ""
    (low, best), (high, worst) = min(errors), max(errors)
    return f"Relative error from {low:.2f} in {best} to {high:.2f} in {worst}"
