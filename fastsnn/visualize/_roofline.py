"""What bounds each layer: its additions a second, under the ceilings of memory and of additions."""

from typing import Any

from fastsnn.visualize import _draw, _take
from fastsnn.visualize.palette import LIGHT

MARKS = {
    "memory": {"color": LIGHT["blue"], "marker": "o"},
    "additions": {"color": LIGHT["vermillion"], "marker": "^"},
}


def roofline(profile: Any) -> Any:
    """Additions a second of each layer (upwards) against additions for each byte moved, both logarithmic.

    The ceilings are what this machine was measured to copy and to add. Circles are layers that memory bounds, triangles
    those that additions bound. The layers that attain the smallest and the largest share of their ceiling are named.
    Returns a matplotlib Figure. Raises ValueError where the ceilings or the layers were not measured.
    """
    document = _take.one(profile)
    measured = _take.given(document["roofline"], "roofline")
    peaks = measured["peaks"]
    layers = [layer for layer in measured["layers"] if layer["intensity"] > 0 and layer["operations_a_second"] > 0]
    if not layers:
        raise ValueError("roofline cannot be drawn: no layer has a time and synaptic operations")
    figure, axes = _draw.single(3.0)
    ridge = peaks["operations_a_second"] / peaks["bytes_a_second"]
    reach = [layer["intensity"] for layer in layers]
    low, high = min(*reach, ridge) / 2, max(*reach, ridge) * 2
    axes.plot([low, ridge, high], [low * peaks["bytes_a_second"], *[peaks["operations_a_second"]] * 2], **_ceiling())
    for bound, marks in MARKS.items():
        of = [layer for layer in layers if layer["bound"] == bound]
        if of:
            x, y = [layer["intensity"] for layer in of], [layer["operations_a_second"] for layer in of]
            label = f"{len(of)} layer{'s' * (len(of) > 1)} bound by {bound}"
            axes.plot(x, y, linestyle="none", markersize=6, alpha=0.85, label=label, gid=bound, zorder=3, **marks)
    worst, best = min(layers, key=lambda x: x["share"]), max(layers, key=lambda x: x["share"])
    _name(axes, worst, "lowest" if best is not worst else "the layer", "s")
    if best is not worst:
        _name(axes, best, "highest", "D")
    _draw.grid(axes)
    _draw.amounts(axes, [low, high])
    attained = [layer["operations_a_second"] for layer in layers]
    _draw.amounts(axes, [*attained, peaks["operations_a_second"] * 1.2], which="y")
    _draw.label(axes, "additions for each byte moved", "additions a second")
    _draw.legend(figure, axes)
    return figure


def _ceiling() -> dict[str, Any]:
    return {"color": LIGHT["ink"], "linewidth": 1.6, "label": "what the machine allows", "gid": "ceiling", "zorder": 2}


def _name(axes: Any, layer: Any, word: str, marker: str) -> None:
    """A frame around a layer's point; its name goes to the legend, where it covers nothing."""
    label = f"{word}: {_take.short(layer['layer'], 24)}, {100 * layer['share']:.0f} % of its ceiling"
    style = {"marker": marker, "markersize": 11, "markerfacecolor": "none", "markeredgewidth": 1.2, "linestyle": "none"}
    axes.plot(
        layer["intensity"], layer["operations_a_second"], color=LIGHT["ink"], label=label, gid=word, zorder=4, **style
    )
