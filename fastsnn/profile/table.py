"""A profile as tables for a terminal: headline ratios with their conditions, layers, energy, accuracy over time."""

from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from fastsnn.profile.page.numbers import NONE, amount, divided, reason, size, times
from fastsnn.profile.schema import Document, Layer, NotMeasurable, Timed, additions, missing, moved
from fastsnn.spikes import steps_shown

WIDTH = 160
SPIKING = "spiking"


def text(document: Document, width: int = WIDTH) -> str:
    """The tables as plain text."""
    stream = StringIO()
    console = Console(file=stream, width=width, highlight=False)
    console.print(tables(document))
    return stream.getvalue().rstrip()


def tables(document: Document) -> Group:
    """All tables of a profile, for a rich console."""
    parts: list[Any] = [Text(title(document), style="bold")]
    if document["partial"]:
        parts.append(Text(f"PARTIAL: {document['partial']}", style="bold red"))
    parts += [Text(conditions(document)), _headline(document), _layers(document), _energy(document)]
    parts.append(_joules(document))
    parts += _accuracy(document)
    parts += [Text(f"note: {note}") for note in document["notes"]]
    return Group(*parts)


def title(document: Document) -> str:
    """Network, method, precision and steps in one line."""
    network = document["network"]
    what = ", ".join(filter(None, [network["method"], network["precision"], f"T = {network['timesteps']}"]))
    return f"{network['name']}: {what}, on {network['device']}"


def conditions(document: Document) -> str:
    """On what was counted and timed."""
    given, machine = document["conditions"], document["machine"]
    on = machine["gpu"] or ", ".join(filter(None, [machine["processor"], machine["instruction_set"]]))
    return (
        f"counted on {given['images']} images; timed on batches of {given['batch']}, {given['threads']} thread(s); "
        f"{on}; torch {machine['versions'].get('torch')}"
    )


def headline(document: Document) -> list[tuple[str, str, str, str]]:
    """(what, spiking, dense, ratio), row by row."""
    rows = [_time_row(run, document) for run in _runs(document) if run["name"] != SPIKING]
    time = document["time"]
    if missing(time):
        rows.append(("time", reason(time), NONE, NONE))
    elif not rows:
        rows.append((_batch("time", document), _milliseconds(_spiking(document)["milliseconds"]), NONE, NONE))
    rows.append(_memory_row(document))
    found, totals, images = document["accuracy"], document["totals"], document["conditions"]["images"]
    if not missing(found):
        curve = found["curves"][0]
        dense = NONE if found["dense"] is None else f"{found['dense']:.2%}"
        last = f"{curve['accuracy'][-1]:.2%} (knee at T = {curve['knee']})"
        rows.append((f"accuracy, {found['images']} images", last, dense, NONE))
    for kind, operations in totals["operations"].items():
        of = totals["dense_macs"] if kind == "synapses" else 0
        dense = f"{amount(of)} multiplications" if of else NONE
        share = times(divided(operations / images, of))
        rows.append((f"additions an image, {kind}", amount(operations / images), dense, share))
    rows += [(f"multiplications an image, {kind}", amount(n), NONE, NONE) for kind, n in totals["macs"].items()]
    rows.append(("neuron updates an image", amount(totals["neuron_updates"]), NONE, NONE))
    simulated = totals["bytes_float_simulation"]
    moved = times(divided(totals["bytes"], simulated))
    rows.append(("bytes a batch; of a float32 simulation", size(totals["bytes"]), size(simulated), moved))
    return rows


def _runs(document: Document) -> list[Timed]:
    time = document["time"]
    return [] if missing(time) else time["runs"]


def _spiking(document: Document) -> Timed:
    return next(run for run in _runs(document) if run["name"] == SPIKING)


def _time_row(run: Timed, document: Document) -> tuple[str, str, str, str]:
    own, other = _spiking(document)["milliseconds"], run["milliseconds"]
    shown = NONE if missing(own) or missing(other) else times(own["p50"] / other["p50"])
    return _batch(f"time, {run['name']}", document), _milliseconds(own), _milliseconds(other), shown


def _memory_row(document: Document) -> tuple[str, str, str, str]:
    memory = document["memory"]
    if missing(memory):
        return "peak memory of a run", reason(memory), NONE, NONE
    found = memory["peak_bytes"]
    own = found[SPIKING]
    others = [peak for name, peak in found.items() if name != SPIKING]
    dense: int | NotMeasurable | None = others[0] if others else None
    shown = times(divided(own, dense))
    return _batch("peak memory", document), _size(own), NONE if dense is None else _size(dense), shown


def _headline(document: Document) -> Table:
    table = Table("", "spiking", "dense", "ratio", title="in all", title_justify="left")
    for row in headline(document):
        table.add_row(*row)
    return table


def _layers(document: Document) -> Table:
    images, bounds = document["conditions"]["images"], _bounds(document)
    table = Table(title="layer by layer; additions, multiplications and spikes of one image", title_justify="left")
    names = "rate", "silent", "spikes", "additions", "dense mult.", "moved", "ms", "dense ms", "error", "bound by"
    for i, name in enumerate(("layer", "does", *names)):
        table.add_column(name, justify="left" if i < 2 else "right", overflow="fold")
    for layer in document["layers"]:
        table.add_row(*layer_cells(layer, images), bounds.get(layer["name"], NONE))
    return table


def layer_cells(layer: Layer, images: int) -> list[str]:
    """One layer: name, kind, rate, silent neurons, spikes, additions, dense multiplications, bytes, times, error."""
    spread, found, all_bytes = layer["spread"], layer["activation"], moved(layer)
    error = NONE if found is None or missing(found) else f"{found['error']:.2f}"
    return [
        layer["name"],
        layer["kind"],
        NONE if layer["rate"] is None else f"{layer['rate']:.3f}",
        NONE if spread is None else f"{spread['silent'] / layer['neurons']:.0%}",
        amount(sum(layer["spikes"]) / images) if layer["spikes"] else NONE,
        amount(additions(layer) / images) if layer["operations"] else NONE,
        amount(layer["dense_macs"]) if layer["dense_macs"] else NONE,
        size(all_bytes) if all_bytes else NONE,
        NONE if layer["milliseconds"] is None else f"{layer['milliseconds']:.3g}",
        NONE if layer["dense_milliseconds"] is None else f"{layer['dense_milliseconds']:.3g}",
        error,
    ]


def _bounds(document: Document) -> Mapping[str, str]:
    found = document["roofline"]
    if missing(found):
        return {}
    return {layer["layer"]: f"{layer['bound']} ({layer['share']:.0%})" for layer in found["layers"]}


def _energy(document: Document) -> Table:
    bits = document["energy"]["modelled"][0]["bits"] if document["energy"]["modelled"] else 0
    table = Table(
        "model",
        "spiking",
        "dense",
        f"dense, {bits} bits",
        "to dense",
        f"to {bits} bits",
        "memory",
        title="energy of one image by models, not measured; the ratio is spiking to the other",
        title_justify="left",
    )
    for model in document["energy"]["modelled"]:
        own = model["spiking"]
        table.add_row(
            model["model"],
            amount(own, "J"),
            amount(model["dense"], "J"),
            amount(model["quantised"], "J"),
            times(divided(own, model["dense"])),
            times(divided(own, model["quantised"])),
            f"{model['parts']['memory'] / own:.0%} of it" if model["parts"]["memory"] else "not charged",
        )
    return table


def _joules(document: Document) -> Table | Text:
    found = document["energy"]["measured"]
    if missing(found):
        return Text(f"energy, measured: {reason(found)}")
    title = f"energy, measured: {found['how']}"
    table = Table("run", "an image", "with idle", "idle", title=title, title_justify="left")
    for run in found["runs"]:
        gross = run["gross_joules"] / run["images"]
        table.add_row(
            run["name"], amount(run["joules_an_image"], "J"), amount(gross, "J"), f"{run['idle_watts']:.3g} W"
        )
    return table


def _accuracy(document: Document) -> list[Table | Text]:
    found = document["accuracy"]
    if missing(found):
        return [Text(f"accuracy: {reason(found)}")]
    shown = steps_shown(max(len(curve["accuracy"]) for curve in found["curves"]))
    table = Table(title="accuracy in percent after T steps", title_justify="left")
    for name in ("T =", *map(str, shown), "knee", "dense"):
        table.add_column(name, justify="left" if name == "T =" else "right", overflow="fold")
    dense = NONE if found["dense"] is None else f"{100 * found['dense']:.1f}"
    for curve in found["curves"]:
        cells = [_at(curve["accuracy"], t) for t in shown]
        table.add_row(curve["name"], *cells, str(curve["knee"]), dense)
    return [table]


def _at(fractions: Sequence[float], t: int) -> str:
    return f"{100 * fractions[t - 1]:.1f}" if t <= len(fractions) else NONE


def _batch(what: str, document: Document) -> str:
    return f"{what}, batch {document['conditions']['batch']}"


def _milliseconds(found: Any) -> str:
    return reason(found) if missing(found) else f"{found['p50']:.3g} ms ({found['p20']:.3g}..{found['p80']:.3g})"


def _size(found: int | NotMeasurable) -> str:
    return reason(found) if missing(found) else size(found)
