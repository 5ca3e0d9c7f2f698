"""The picture of all cases: how many times faster than the fastest peer, over T and batch, network by network."""

from collections.abc import Sequence
from pathlib import Path

from rows import Row

from peers.ahead import ahead
from peers.chart import INK, STYLE, bare, write

SHOWN = ("int32", "int16")
# the color of this many times faster is the darkest; what is slower has another hue
MOST = 16.0


def draw(rows: Sequence[Row], path: Path) -> None:
    """A panel for each network; raises ValueError where no case has a peer's time."""
    from matplotlib import colormaps, rc_context
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    found = ahead(rows)
    if not found:
        raise ValueError("there are no rows with the times of a peer")
    networks = list(dict.fromkeys(network for network, _, _ in found))
    steps, batches = (sorted({case[i] for case in found}) for i in (1, 2))
    scale, colors = LogNorm(1 / MOST, MOST, clip=True), colormaps["BrBG"]
    with rc_context(STYLE):
        size = (1.2 + 0.62 * len(steps) * len(networks), 1.5 + 0.5 * len(batches))
        figure = Figure(figsize=size, facecolor="white", layout="constrained")
        axes = figure.subplots(1, len(networks), sharey=True, squeeze=False)[0]
        for axis, network in zip(axes, networks, strict=True):
            axis.set_title(network, fontsize=9)
            for x, T in enumerate(steps):
                for y, batch in enumerate(batches):
                    times = found.get((network, T, batch))
                    if times is None:
                        continue
                    values = [times[name] for name in SHOWN if name in times]
                    axis.fill_between((x - 0.5, x + 0.5), y - 0.5, y + 0.5, color=colors(scale(values[0])), lw=0)
                    ink = "white" if scale(values[0]) > 0.75 else INK
                    text = "\n".join(f"{value:.1f}" for value in values)
                    axis.text(x, y, text, ha="center", va="center", fontsize=8, color=ink)
            axis.set_xlim(-0.5, len(steps) - 0.5)
            axis.set_ylim(-0.5, len(batches) - 0.5)
            axis.set_xticks(range(len(steps)), [str(T) for T in steps])
            axis.set_yticks(range(len(batches)), [str(batch) for batch in batches])
            bare(axis)
        axes[0].set_ylabel("batch")
        names = " above ".join(name for name in SHOWN if any(name in times for times in found.values()))
        figure.supxlabel(f"T; times faster than the fastest peer, {names}", fontsize=9)
        write(figure, path)
