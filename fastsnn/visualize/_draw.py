"""How every figure looks: size, text, axes, ticks, legends. Never pyplot, so no global state is left behind.

A figure is 4.4 inches wide, so that its text of 9.5 points can still be read on a telephone.
"""

from collections.abc import Sequence
from math import ceil, floor, log10
from typing import Any

from fastsnn._extras import need
from fastsnn.visualize.palette import LIGHT, SERIES

WIDTH, TEXT = 4.4, 9.5
MARKERS = "osD^vPX*"
DASHES = ("-", (0, (6, 2)), (0, (3, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1, 1.2)))
HATCHED = {"facecolor": "none", "edgecolor": LIGHT["ink"], "hatch": "//////", "linewidth": 0.8}


def new(height: float, **kwargs: Any) -> Any:
    """An empty figure of the common width; height in inches."""
    figure = need("matplotlib.figure", "a figure").Figure(figsize=(WIDTH, height), **kwargs)
    figure.set_facecolor(LIGHT["surface"])
    return figure


def single(height: float) -> tuple[Any, Any]:
    """A figure with one pair of axes; the height in inches is without a legend, which adds its own."""
    figure = new(height, layout="constrained")
    return figure, plain(figure.subplots())


def panels(count: int, columns: int, tall: float, gap: float, left: float, between: float) -> tuple[Any, list]:
    """A figure of small axes of one size, with room for titles above and a label below; fewer columns, larger axes.

    tall, gap, left, between   inches: height of the axes, above each row, at the left edge, between columns
    """
    tall *= 1 + 0.5 * max(0, columns - count)
    columns = min(columns, count)
    rows, head, right, bottom = ceil(count / columns), 0.26, 0.12, 0.46
    height = head + rows * tall + (rows - 1) * gap + bottom
    figure = new(height)
    inner = WIDTH - left - right
    wide = (inner - (columns - 1) * between) / columns
    grid = figure.subplots(
        rows,
        columns,
        squeeze=False,
        gridspec_kw={
            "left": left / WIDTH,
            "right": 1 - right / WIDTH,
            "top": 1 - head / height,
            "bottom": bottom / height,
            "wspace": between / wide,
            "hspace": gap / tall,
        },
    )
    flat = list(grid.flat)
    for axes in flat[count:]:
        axes.remove()
    return figure, [plain(axes) for axes in flat[:count]]


def plain(axes: Any) -> Any:
    """Thin lines, muted frame, text in ink."""
    axes.set_facecolor("none")
    axes.tick_params(labelsize=TEXT, labelcolor=LIGHT["ink"], color=LIGHT["muted"], length=3)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(LIGHT["muted"])
    axes.set_axisbelow(True)
    return axes


def grid(axes: Any, which: str = "both") -> None:
    axes.grid(axis=which, color=LIGHT["grid"], linewidth=0.7)


def label(axes: Any, x: str | None = None, y: str | None = None, title: str | None = None) -> None:
    if x:
        axes.set_xlabel(x, fontsize=TEXT, color=LIGHT["ink"])
    if y:
        axes.set_ylabel(y, fontsize=TEXT, color=LIGHT["ink"])
    if title:
        axes.set_title(title, fontsize=TEXT, color=LIGHT["ink"], loc="left", pad=4)


def line_style(index: int) -> dict[str, Any]:
    """Of the index-th line: colour, marker and dashes all change, so that no line is told by its colour alone."""
    return {
        "color": LIGHT[SERIES[index % len(SERIES)]],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": DASHES[index % len(DASHES)],
        "markersize": 4.5,
        "linewidth": 1.6,
    }


def legend(figure: Any, axes: Any, columns: int = 1) -> None:
    """Below the axes, where it hides no data."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.set_figheight(figure.get_figheight() + 0.205 * ceil(len(handles) / columns) + 0.08)
        figure.legend(
            handles,
            labels,
            loc="outside lower center",
            fontsize=TEXT,
            labelcolor=LIGHT["ink"],
            frameon=False,
            ncols=columns,
            handlelength=2.6,
            borderpad=0.1,
        )


def powers_of_two(axes: Any, last: int) -> None:
    """A logarithmic x axis for time-steps with ticks at 1, 2, 4, ... as far as they fit."""
    ticks = [2**i for i in range(max(last, 1).bit_length())]
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(t) for t in ticks], minor=False)
    axes.minorticks_off()
    axes.set_xlim(0.93, max(last, 2) * 1.07)


def amounts(axes: Any, values: Sequence[float], unit: str = "", which: str = "x") -> None:
    """A logarithmic axis around these values; ticks with k, M, G or m, µ, n, as many as fit."""
    low, high = min(values), max(values)
    decades = log10(high / low)
    steps = (
        (1, 1.5, 2, 3, 4, 5, 7) if decades < 0.75 else (1, 2, 5) if decades < 1.7 else (1, 3) if decades < 2.5 else (1,)
    )
    powers = range(floor(log10(low)) - 1, ceil(log10(high)) + 2)
    every = max(1, round(decades / 5))
    ticks = [s * 10.0**p for p in powers if p % every == 0 for s in steps]
    low, high = low / 1.25, high * 1.25
    ticks = [t for t in ticks if low <= t <= high]
    if which == "x":
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        axes.set_xticks(ticks, [amount(t, unit) for t in ticks], minor=False)
    else:
        axes.set_yscale("log")
        axes.set_ylim(low, high)
        axes.set_yticks(ticks, [amount(t, unit) for t in ticks], minor=False)
    axes.minorticks_off()


def amount(value: float, unit: str = "") -> str:
    """A number with its unit: 2.5 M, 73 µJ, 0.1."""
    if not unit and value < 1000:
        return f"{value:g}"
    return need("matplotlib.ticker", "a figure").EngFormatter(unit=unit)(value).strip()
