"""Several profiles beside each other: conditions and what differs in them, results, energy, layers, commands."""

from typing import Any

from fastsnn.profile.page import headline
from fastsnn.profile.page.elements import Markup, details, paragraph, table, tag
from fastsnn.profile.page.numbers import NONE, amount, divided, milliseconds, percent, size, three, times
from fastsnn.profile.schema import Document, additions, missing

Documents = dict[str, Document]


def conditions(documents: Documents) -> list[Markup]:
    """Under what each was taken; rows that are not alike are named so."""
    values = {
        "network": lambda d: d["network"]["name"],
        "method": lambda d: d["network"]["method"],
        "time-steps T": lambda d: d["network"]["timesteps"],
        "precision": lambda d: d["network"]["precision"],
        "device": lambda d: d["machine"]["gpu"] or d["network"]["device"],
        "timed batch": lambda d: d["conditions"]["batch"],
        "threads": lambda d: d["conditions"]["threads"],
        "images counted": lambda d: d["conditions"]["images"],
        "dense network": lambda d: d["network"]["dense"],
        "processor": lambda d: d["machine"]["processor"],
        "instruction set": lambda d: d["machine"]["instruction_set"],
        "torch": lambda d: d["machine"]["versions"].get("torch"),
    }
    rows: list[list[Any]] = []
    unlike = []
    for name, take in values.items():
        row = [take(document) for document in documents.values()]
        if len(set(row)) > 1:
            unlike.append(name)
        rows.append([tag("strong", f"{name} (differs)") if name in unlike else name, *row])
    words = f"They differ in: {', '.join(unlike)}. " if unlike else "Their conditions are alike. "
    note = paragraph(
        words, "Each ratio compares with the dense network of the same profile, under the same conditions."
    )
    return [note, table(["", *documents], rows, "Conditions", words=range(len(documents) + 1))]


def results(documents: Documents) -> Markup:
    """Each cost and its ratio to the dense network, a column a profile."""
    rows = {
        "time": lambda d: _or(headline.median(d, headline.spiking_run(d)), milliseconds),
        "time / dense, eager": lambda d: _ratio(d, headline.median, headline.EAGER),
        "time / dense, compiled": lambda d: _ratio(d, headline.median, headline.COMPILED),
        "peak memory": lambda d: _or(headline.peak(d, headline.spiking_run(d) or "spiking"), size),
        "peak memory / dense, eager": lambda d: _ratio(d, headline.peak, headline.EAGER),
        "accuracy": _accuracy,
        "accuracy of the dense network": lambda d: _or(_measured(d, "dense"), percent),
        "firing rate": lambda d: percent(d["totals"]["rate"]) if d["totals"]["neurons"] else None,
        "synaptic operations an image": lambda d: amount(headline.operations(d)),
        "multiplications left": lambda d: amount(sum(d["totals"]["macs"].values())),
        "multiplications dense": lambda d: amount(d["totals"]["dense_macs"]),
        "operations / multiplications dense": lambda d: times(
            divided(headline.operations(d), d["totals"]["dense_macs"])
        ),
        "measured energy": lambda d: _or(headline.joules(d, False), lambda j: amount(j, "J")),
        "measured energy / dense, eager": _energy_ratio,
    }
    cells = [[name, *(take(d) for d in documents.values())] for name, take in rows.items()]
    return table(["", *documents], cells, "Results")


def energy(documents: Documents) -> Markup:
    """A row a model and profile, always with the dense and the quantised network."""
    rows = [
        [name, *headline.modelled(m)] for name, document in documents.items() for m in document["energy"]["modelled"]
    ]
    heads = ["profile", *headline.MODELLED]
    return table(heads, rows, "Modelled energy of one image", words=(0, 1, 7))


def models(documents: Documents) -> list[str]:
    """Names of the models that every profile has."""
    each = [[m["model"] for m in document["energy"]["modelled"]] for document in documents.values()]
    return [name for name in each[0] if all(name in others for others in each)]


def layers(documents: Documents) -> Markup:
    """Rate, work and time of each layer; layers of one name share a row."""
    found = [{layer["name"]: layer for layer in document["layers"]} for document in documents.values()]
    images = [document["conditions"]["images"] for document in documents.values()]
    heads = ["layer", *(f"{name}: {what}" for what in ("rate", "operations", "ms") for name in documents)]
    rows = []
    for name in dict.fromkeys(name for of in found for name in of):
        row: list[Any] = [name]
        here = [of.get(name) for of in found]
        row += [percent(x["rate"]) if x and x["rate"] is not None else NONE for x in here]
        row += [_work(x, n) for x, n in zip(here, images, strict=True)]
        row += [three(x["milliseconds"]) if x and x["milliseconds"] is not None else NONE for x in here]
        rows.append(row)
    return table(heads, rows, "Every layer")


def _work(layer: Any, images: int) -> str:
    return amount(additions(layer) / images) if layer else NONE


def commands(documents: Documents) -> list[Markup]:
    parts = []
    for name, document in documents.items():
        notes = [tag("ul", *(tag("li", note) for note in document["notes"]))] if document["notes"] else []
        parts.append(details(name, tag("pre", tag("code", document["command"])), *notes))
    return parts


def _or(value: Any, write: Any) -> Any:
    return value if value is None or missing(value) else write(value)


def _ratio(document: Document, take: Any, dense: str) -> Any:
    mine, theirs = take(document, headline.spiking_run(document) or "spiking"), take(document, dense)
    for value in (mine, theirs):
        if value is None or missing(value):
            return value
    return times(divided(mine, theirs))


def _measured(document: Document, key: str) -> Any:
    accuracy: Any = document["accuracy"]
    return accuracy if missing(accuracy) else accuracy[key]


def _accuracy(document: Document) -> Any:
    curves = _measured(document, "curves")
    if missing(curves) or not curves:
        return curves or None
    last = curves[0]["accuracy"][-1]
    return f"{percent(last)} ± {percent(curves[0]['standard_error'])}"


def _energy_ratio(document: Document) -> Any:
    mine, theirs = headline.joules(document, False), headline.joules(document, True)
    return mine if missing(mine) else times(divided(mine, theirs))
