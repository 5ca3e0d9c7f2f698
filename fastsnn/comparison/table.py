"""A comparison as tables for a terminal: accuracy at each T, and what that took."""

from collections.abc import Sequence
from io import StringIO
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from fastsnn.comparison.schema import Dense, Document, Row
from fastsnn.profile.page.numbers import NONE, amount, plural, three

WIDTH = 160
FAILED = "failed"
ACCURACY = "accuracy in percent at step T, with its standard error"
TOOK = "what one image took: counts of all images; median time, spread from 20th to 80th percentile"
COSTS = ("input steps", "bits", "spikes", "additions", "ms", "spread", "convert")


def text(document: Document, width: int = WIDTH) -> str:
    """The tables as plain text."""
    stream = StringIO()
    Console(file=stream, width=width, highlight=False).print(tables(document))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()).rstrip()


def tables(document: Document) -> Group:
    """All of a comparison, for a rich console."""
    parts: list[Any] = [Text(title(document), style="bold")]
    if document["partial"]:
        parts.append(Text(f"PARTIAL: {document['partial']}", style="bold red"))
    # not the tables' own titles, which rich would break into lines as narrow as a table
    parts += [Text(conditions(document)), Text(ACCURACY), _accuracy(document), Text(TOOK), _costs(document)]
    parts += [Text(line) for line in failures(document["rows"])]
    parts += [Text(f"note: {note}") for note in document["notes"]]
    return Group(*parts)


def title(document: Document) -> str:
    given = document["conditions"]
    name, count = document["dense"]["name"], plural(len(document["labels"]), "method")
    return f"{name}: {count}, {given['precision']}, on {given['device']}"


def conditions(document: Document) -> str:
    """On what was counted and timed."""
    given, machine = document["conditions"], document["machine"]
    on = machine["gpu"] or ", ".join(filter(None, [machine["processor"], machine["instruction_set"]]))
    return (
        f"{plural(given['images'], 'image')}, calibrated on {given['calibration_images']}; timed on a batch of "
        f"{given['batch']}, {plural(given['threads'], 'thread')}; {on}; torch {machine['versions'].get('torch')}; "
        f"the dense network with {document['dense']['how']}"
    )


def failures(rows: Sequence[Row]) -> list[str]:
    """What failed and why; one line where a method failed at several T for the same reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["failed"] is not None:
            found.setdefault((row["label"], row["failed"]), []).append(str(row["timesteps"]))
    return [f"{label}, T = {', '.join(steps)}: {reason}" for (label, reason), steps in found.items()]


def _accuracy(document: Document) -> Table:
    dense, found = document["dense"], {(row["label"], row["timesteps"]): row for row in document["rows"]}
    table = Table()
    table.add_column("T =", overflow="fold")
    for T in document["timesteps"]:
        table.add_column(str(T), justify="right", overflow="fold")
    for label in document["labels"]:
        table.add_row(Text(label), *(_fraction(found.get((label, T))) for T in document["timesteps"]))
    level = _percent(dense["accuracy"], dense["standard_error"])
    table.add_row("dense", *(level for _ in document["timesteps"]))
    return table


def _costs(document: Document) -> Table:
    table = Table()
    table.add_column("method", overflow="fold")
    for name in ("T", *COSTS):
        table.add_column(name, justify="right", overflow="fold")
    for label in document["labels"]:
        rows = [row for row in document["rows"] if row["label"] == label and row["accuracy"] is not None]
        for row in sorted(rows, key=lambda row: row["timesteps"]):
            table.add_row(Text(label), str(row["timesteps"]), *_cells(row))
    dense = document["dense"]
    multiplied = dense["multiplications"]
    words = NONE if multiplied is None else f"{amount(multiplied)} mult."
    table.add_row("dense", *[NONE] * 4, words, *_times(dense), NONE)
    return table


def _cells(row: Row) -> list[str]:
    return [
        row["latency"] if row["input_steps"] is None else str(row["input_steps"]),
        f"{row['bits']:g}",
        NONE if row["spikes"] is None else amount(row["spikes"]),
        NONE if row["additions"] is None else amount(row["additions"]),
        *_times(row),
        NONE if row["seconds"] is None else f"{three(row['seconds'])} s",
    ]


def _times(of: Row | Dense) -> list[str]:
    """Median, and how much of it lies between the 20th and the 80th percentile."""
    low, middle, high = of["milliseconds_p20"], of["milliseconds"], of["milliseconds_p80"]
    if low is None or middle is None or high is None:
        return [NONE, NONE]
    return [three(middle), f"{(high - low) / middle:.0%}"]


def _fraction(row: Row | None) -> str:
    """Of a job that was not begun: nothing."""
    if row is None:
        return NONE
    if row["accuracy"] is None or row["standard_error"] is None:
        return FAILED
    return _percent(row["accuracy"], row["standard_error"])


def _percent(fraction: float, error: float) -> str:
    return f"{100 * fraction:.1f} \N{PLUS-MINUS SIGN} {100 * error:.1f}"
