"""The parts of a page that are more than one table: what ran, time, energy, how it was measured, what is counted."""

from typing import Any

from fastsnn.profile.page import headline, tables
from fastsnn.profile.page.elements import Markup, details, paragraph, table, tag
from fastsnn.profile.page.numbers import plural
from fastsnn.profile.schema import Document, missing, unavailable

COUNTS = (
    "Synaptic operations: additions that spikes cause, one for each connection that a spike reaches. Connections into"
    " padding do not exist and are not counted.",
    "Multiplications left: those of numbers that are no spikes: the image in the first layer, the mean over time in the"
    " readout, and numbers that change from step to step, counted as often as they are done.",
    "Multiplications dense: those of the same layer in the dense network, for one image, by weights that are not zero;"
    " “with borders” adds those that only meet padding, as most tools count.",
    "Firing rate: spikes for each neuron and time-step, between 0 and 100 %. Neuron updates: neurons times T.",
    "Bytes moved: of one pass, if weights, packed spikes and kept membrane potentials are read and written once.",
    "Error: root of the mean square difference between rate times threshold and the dense activation, over the root of"
    " the mean square of the dense activation.",
)
MODELS = (
    "By models, not measured. The quantised network is the dense one with activations of as many bits as tell"
    " T + 1 levels apart: the opponent that a spiking network of T steps has to beat."
)


def head(document: Document) -> Markup:
    """Name, method and size of what ran; a banner where the profile is partial."""
    network = document["network"]
    how = network["method"] or "a module that calls fastsnn's operators"
    beside = f"beside {network['dense']}" if network["dense"] else "without a dense network"
    facts = [how, f"T = {network['timesteps']}", network["precision"], network["device"]]
    words = [*[fact for fact in facts if fact], f"{network['parameters']:,} parameters", beside]
    parts = [
        tag("p", "Profile of a spiking network", class_="above"),
        tag("h1", network["name"]),
        tag("p", ", ".join(words), class_="lead"),
    ]
    if document["partial"]:
        parts.append(banner("This profile", document["partial"]))
    return tag("header", *parts)


def banner(what: str, partial: str | None) -> Markup:
    """Says what a partial profile lacks."""
    return tag("div", tag("p", tag("strong", f"{what} is partial: "), partial), class_="banner", role="note")


def layers(document: Document) -> list[Markup]:
    """The sums, every layer, and why values of some layers could not be had."""
    reasons: dict[str, int] = {}
    for layer in document["layers"]:
        said = layer["activation"]
        if missing(said):
            reasons[said["not_measurable"]] = reasons.get(said["not_measurable"], 0) + 1
    absent = [
        paragraph(f"Correlation and error of {plural(count, 'layer')}: ", unavailable(why))
        for why, count in reasons.items()
    ]
    return [tables.totals(document), tables.layers(document), *absent]


def time(document: Document) -> list[Markup]:
    """The runs; then rounds, conditions, and how memory was taken."""
    runs, timed, memory = tables.runs(document), document["time"], document["memory"]
    held = paragraph("Memory: ", memory if missing(memory) else memory["how"])
    if runs is None:
        return [paragraph("Time: ", timed), held]
    rounds: Any = timed
    how = f"Time: {rounds['rounds']} rounds in which all runs took turns, after {rounds['warm_up']} to warm up; "
    return [runs, paragraph(how, headline.conditions(document)), held]


def energy(document: Document) -> list[Markup]:
    """What models give, with their assumptions, and what was measured."""
    models = headline.models(document)
    parts = [paragraph(MODELS), models] if models else [paragraph("Modelled energy: no model was asked for.")]
    for name, assumptions, rows in headline.costs(document):
        heads = ["part of the spiking network", "energy of an image", "share"]
        parts.append(details(f"What {name} assumes", paragraph(assumptions), table(heads, rows, f"Parts by {name}")))
    return [*parts, paragraph("Measured energy: ", _counter(document["energy"]["measured"]))]


def _counter(counted: Any) -> Any:
    if missing(counted):
        return counted
    runs = [
        f"{run['name']}: {run['joules_an_image']:.3g} J an image ({run['gross_joules']:.4g} J in {run['seconds']:.3g} s"
        f" for {plural(run['images'], 'image')}, idle {run['idle_watts']:.3g} W)"
        for run in counted["runs"]
    ]
    return f"{counted['how']}, covers {counted['covers']}: {'; '.join(runs)}."


def measured(document: Document) -> list[Markup]:
    """Machine, command, notes, and what the counts mean."""
    notes = [tag("h3", "Notes"), tag("ul", *(tag("li", n) for n in document["notes"]))] if document["notes"] else []
    return [
        tables.machine(document),
        tag("h3", "Command"),
        tag("pre", tag("code", document["command"])),
        *notes,
        tag("h3", "What is counted"),
        tag("ul", *(tag("li", line) for line in COUNTS)),
    ]
