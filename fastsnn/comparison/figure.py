"""A comparison as a figure: accuracy against T, and accuracy against the additions that it took."""

from collections.abc import Callable, Sequence
from typing import Any

from fastsnn.comparison.schema import Document, Row
from fastsnn.visualize import _draw, _take
from fastsnn.visualize.palette import LIGHT

HEIGHT = 5.4
# ticks nearer than this ratio would run into each other
APART = 1.3


def draw(document: Document) -> Any:
    """Two panels, one line a method, bars of one standard error, the dense network dashed. A matplotlib Figure."""
    figure = _draw.new(HEIGHT, layout="constrained")
    above, below = (_draw.plain(axes) for axes in figure.subplots(2, 1))
    steps = document["timesteps"]
    _lines(above, document, lambda row: row["timesteps"])
    _time_axis(above, steps)
    _draw.label(above, "time-steps T", "accuracy in percent")
    _lines(below, document, lambda row: row["additions"])
    spent = [row["additions"] for row in document["rows"] if row["additions"]]
    multiplied = document["dense"]["multiplications"]
    if multiplied:
        star: dict[str, Any] = {"marker": "*", "markersize": 11, "linestyle": "none", "gid": "dense point", "zorder": 5}
        label = "dense, its multiplications"
        below.plot(multiplied, 100 * document["dense"]["accuracy"], color=LIGHT["ink"], label=label, **star)
    _draw.amounts(below, [*spent, *([multiplied] if multiplied else [])] or [1.0])
    _draw.label(below, "additions an image", "accuracy in percent")
    _draw.legend(figure, below)
    return figure


def _lines(axes: Any, document: Document, against: Callable[[Row], float | None]) -> None:
    for index, label in enumerate(document["labels"]):
        rows = sorted((row for row in document["rows"] if row["label"] == label), key=lambda row: row["timesteps"])
        points = [(against(row), row["accuracy"], row["standard_error"]) for row in rows]
        known = [(x, 100 * y, 100 * e) for x, y, e in points if x and y is not None and e is not None]
        if known:
            xs, ys, errors = zip(*known, strict=True)
            style = {**_draw.line_style(index), "elinewidth": 1.0, "capsize": 2.5}
            axes.errorbar(xs, ys, yerr=errors, label=_take.short(label, 40), gid="method", zorder=3, **style)
    dense = document["dense"]["accuracy"]
    words = f"dense network ({_take.percent(dense)})"
    axes.axhline(
        100 * dense, color=LIGHT["ink"], linestyle=(0, (4, 3)), linewidth=1.2, label=words, gid="dense", zorder=2
    )
    _draw.grid(axes)


def _time_axis(axes: Any, steps: Sequence[int]) -> None:
    ticks: list[int] = []
    for T in steps:
        if not ticks or T >= APART * ticks[-1]:
            ticks.append(T)
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(T) for T in ticks], minor=False)
    axes.minorticks_off()
    axes.set_xlim(steps[0] / 1.15, steps[-1] * 1.15)
