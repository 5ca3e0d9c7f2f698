"""Several profiles side by side, as a table for a terminal."""

from collections.abc import Callable, Mapping
from io import StringIO

from rich.console import Console, Group
from rich.table import Table

from fastsnn.profile.page.numbers import NONE, amount, milliseconds, percent, size, times
from fastsnn.profile.schema import Document, Timed, missing
from fastsnn.profile.table import SPIKING, WIDTH

Value = Callable[[Document], str]


def text(documents: Mapping[str, Document], width: int = WIDTH) -> str:
    """The comparison as plain text."""
    stream = StringIO()
    Console(file=stream, width=width, highlight=False).print(tables(documents))
    return stream.getvalue().rstrip()


def tables(documents: Mapping[str, Document]) -> Group:
    """What each profile says, a column each, and the layers that they share by name."""
    if len(documents) < 2:
        raise ValueError(f"a comparison needs at least two profiles, got {len(documents)}")
    return Group(_overall(documents), _layers(documents))


def _overall(documents: Mapping[str, Document]) -> Table:
    table = Table("", *documents, title="in all", title_justify="left")
    models = dict.fromkeys(m["model"] for d in documents.values() for m in d["energy"]["modelled"])
    rows = dict(ROWS)
    for model in models:
        rows[f"modelled energy an image, {model}"] = lambda d, model=model: _joules(d, model)  # type: ignore[misc]
    for name, value in rows.items():
        cells = [value(document) for document in documents.values()]
        # conditions that differ make ratios hold for themselves only
        table.add_row(name, *cells, style="yellow" if name in CONDITIONS and len(set(cells)) > 1 else None)
    return table


def _layers(documents: Mapping[str, Document]) -> Table:
    table = Table(title="layer by layer: firing rate, milliseconds of the timed batch", title_justify="left")
    table.add_column("layer", overflow="fold")
    for name in documents:
        table.add_column(f"rate, {name}", justify="right", overflow="fold")
        table.add_column(f"ms, {name}", justify="right", overflow="fold")
    known = [{layer["name"]: layer for layer in d["layers"]} for d in documents.values()]
    for name in dict.fromkeys(name for layers in known for name in layers):
        cells = []
        for layers in known:
            layer = layers.get(name)
            rate = None if layer is None else layer["rate"]
            time = None if layer is None else layer["milliseconds"]
            cells += [NONE if rate is None else f"{rate:.3f}", NONE if time is None else f"{time:.3g}"]
        if set(cells) != {NONE}:
            table.add_row(name, *cells)
    return table


def _run(document: Document, name: str) -> Timed | None:
    time = document["time"]
    return None if missing(time) else next((run for run in time["runs"] if run["name"] == name), None)


def _time(document: Document) -> str:
    run = _run(document, SPIKING)
    return NONE if run is None or missing(run["milliseconds"]) else milliseconds(run["milliseconds"]["p50"])


def _ratio(document: Document, name: str) -> str:
    own, other = _run(document, SPIKING), _run(document, name)
    if own is None or other is None or missing(own["milliseconds"]) or missing(other["milliseconds"]):
        return NONE
    return times(own["milliseconds"]["p50"] / other["milliseconds"]["p50"])


def _memory(document: Document) -> str:
    memory = document["memory"]
    found = memory if missing(memory) else memory["peak_bytes"].get(SPIKING)
    return NONE if found is None or missing(found) else size(found)


def _accuracy(document: Document) -> str:
    found = document["accuracy"]
    return NONE if missing(found) else percent(found["curves"][0]["accuracy"][-1])


def _knee(document: Document) -> str:
    found = document["accuracy"]
    return NONE if missing(found) else f"T = {found['curves'][0]['knee']}"


def _dense(document: Document) -> str:
    found = document["accuracy"]
    return NONE if missing(found) or found["dense"] is None else percent(found["dense"])


def _measured(document: Document) -> str:
    found = document["energy"]["measured"]
    runs = [] if missing(found) else [run for run in found["runs"] if run["name"] == SPIKING]
    return amount(runs[0]["joules_an_image"], "J") if runs else NONE


def _joules(document: Document, name: str) -> str:
    found = next((m for m in document["energy"]["modelled"] if m["model"] == name), None)
    if found is None:
        return NONE
    others = f"dense {amount(found['dense'], 'J')}, {found['bits']} bits {amount(found['quantised'], 'J')}"
    return f"{amount(found['spiking'], 'J')} ({others})"


def _operations(document: Document) -> str:
    return amount(sum(document["totals"]["operations"].values()) / document["conditions"]["images"])


def _device(document: Document) -> str:
    return document["machine"]["gpu"] or document["machine"]["processor"]


CONDITIONS = ("time-steps T", "images counted", "timed batch", "threads", "device", "whole")
ROWS: dict[str, Value] = {
    "network": lambda d: d["network"]["name"],
    "method": lambda d: d["network"]["method"] or NONE,
    "precision": lambda d: d["network"]["precision"] or NONE,
    "time-steps T": lambda d: str(d["network"]["timesteps"]),
    "images counted": lambda d: str(d["conditions"]["images"]),
    "timed batch": lambda d: str(d["conditions"]["batch"]),
    "threads": lambda d: str(d["conditions"]["threads"]),
    "device": _device,
    "whole": lambda d: d["partial"] or "yes",
    "time": _time,
    "to dense, eager": lambda d: _ratio(d, "dense, eager"),
    "to dense, compiled": lambda d: _ratio(d, "dense, compiled"),
    "peak memory": _memory,
    "accuracy": _accuracy,
    "accuracy, dense": _dense,
    "knee": _knee,
    "firing rate": lambda d: f"{d['totals']['rate']:.4f}",
    "additions an image": _operations,
    "dense multiplications": lambda d: amount(d["totals"]["dense_macs"]),
    "bytes a batch": lambda d: size(d["totals"]["bytes"]),
    "measured energy an image": _measured,
}
