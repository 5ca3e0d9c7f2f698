"""The chart of peers: how long each way to run a network takes, in units of the dense network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rows import Row

from peers.opponents import DENSE, NAMES, TITLES

T = 16
OURS, PEERS, DENSES = "#1b7f6b", "#8b929c", "#c98a2b"
INK, GRID = "#30363d", "#d5d9de"
# ids without chance keep the file the same
STYLE = {"svg.hashsalt": "fastsnn", "text.color": INK, "axes.labelcolor": INK, "font.size": 9}


def draw(rows: Sequence[Row], path: Path) -> None:
    """Bars for each network at T steps and the smallest batch; raises ValueError where no row has times."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    drawn = panels(rows)
    if not drawn:
        raise ValueError(f"there are no rows with times at T = {T}")
    names = [name for name in dict.fromkeys(n for _, bars in drawn for n in bars)]
    # ours first, then those named in the order of opponents
    names.sort(key=lambda name: NAMES.index(name) if name in NAMES else -1)
    # a background of its own is readable on light pages and on dark ones
    with rc_context(STYLE):
        figure = Figure(
            figsize=(2.6 + 1.9 * len(drawn), 1.3 + 0.26 * len(names)), facecolor="white", layout="constrained"
        )
        axes = figure.subplots(1, len(drawn), sharey=True, squeeze=False)[0]
        for axis, (title, bars) in zip(axes, drawn, strict=True):
            axis.set_title(title, fontsize=9)
            for y, name in enumerate(reversed(names)):
                if name in bars:
                    color = OURS if name not in NAMES else DENSES if name in DENSE else PEERS
                    axis.barh(y, bars[name], color=color, height=0.7)
                    axis.text(bars[name] * 1.08, y, f"{bars[name]:.2g}", va="center", fontsize=8)
            axis.set_xscale("log")
            axis.axvline(1.0, color=INK, linewidth=0.8)
            low, high = min(bars.values()), max(bars.values())
            axis.set_xlim(min(low, 1.0) / 2, high * 3)
            axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_yticks(range(len(names)), [TITLES.get(name, f"fastsnn, {name}") for name in reversed(names)])
            axis.grid(axis="x", color=GRID, linewidth=0.6)
            axis.set_axisbelow(True)
            bare(axis)
        figure.supxlabel(f"time in units of the dense network in eager PyTorch, T = {T}; shorter is faster", fontsize=9)
        write(figure, path)


def bare(axis: Any) -> None:
    """No frame, no ticks."""
    axis.tick_params(colors=INK, length=0)
    for side in axis.spines.values():
        side.set_visible(False)


def write(figure: Any, path: Path) -> None:
    """The picture as a file that is the same whenever it is drawn."""
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def panels(rows: Sequence[Row]) -> list[tuple[str, dict[str, float]]]:
    """(title, bars) of each network: times over that of the dense network, ours by precision."""
    timed = [row for row in rows if "opponent_ms" in row and row["T"] == T]
    found = []
    for network in dict.fromkeys(row["network"] for row in timed):
        batch = min(row["batch"] for row in timed if row["network"] == network)
        group = [row for row in timed if (row["network"], row["batch"]) == (network, batch)]
        bars = {p: min(row["ours_ratio_dense"][p] for row in group) for p in group[0]["ours_ratio_dense"]}
        bars |= {row["opponent"]: row["ratio_dense"] for row in group}
        found.append((f"{network}, batch {batch}", bars))
    return found
