"""What spikes look like layer by layer, in small axes: when neurons fire, how often, and what that says."""

from collections.abc import Sequence
from typing import Any

from fastsnn.profile.schema import BINS, Layer, missing
from fastsnn.visualize import _draw, _take
from fastsnn.visualize.palette import LIGHT

NAME, COLUMNS = 15, 3
# of this many marks on, they are drawn as an image: a vector figure would be megabytes
MANY = 4000


def spike_raster(profile: Any, layers: Sequence[str] | None = None) -> Any:
    """When neurons of one image fire: a row a neuron, a stroke a spike, time-steps from left to right.

    layers  names of the layers to show; None: six of them, spread evenly over the network

    Returns a matplotlib Figure. Raises ValueError where a name is unknown or no layer has recorded spikes.
    """
    recorded = [layer for layer in _take.spiking_layers(_take.one(profile)) if layer["raster"] is not None]
    if not recorded:
        raise ValueError("spikes cannot be drawn: no layer has recorded the spikes of an image")
    shown = _take.chosen(recorded, layers, 6)
    T = _take.one(profile)["network"]["timesteps"]
    figure, drawn = _draw.panels(len(shown), 1, tall=0.78, gap=0.34, left=0.15, between=0.1)
    marks = sum(len(steps) for layer in shown for steps in _raster(layer)["steps"])
    for axes, layer in zip(drawn, shown, strict=True):
        raster = _raster(layer)
        xs: list[float] = []
        ys: list[float] = []
        for row, steps in enumerate(raster["steps"]):
            for t in steps:
                xs += [t + 1, t + 1, float("nan")]
                ys += [row - 0.42, row + 0.42, float("nan")]
        width = min(5.0, max(0.6, 100 / T))
        style = {"color": LIGHT["blue"], "linewidth": width, "solid_capstyle": "butt", "rasterized": marks > MANY}
        axes.plot(xs, ys, gid="spikes", **style)
        axes.set_xlim(0.4, T + 0.6)
        axes.set_ylim(len(raster["steps"]) - 0.2, -0.8)
        axes.set_yticks([])
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.tick_params(axis="x", labelbottom=axes is drawn[-1])
        of = f"{len(raster['neurons'])} of {layer['neurons']} neurons"
        _draw.label(axes, title=f"{_take.short(layer['name'], 24)}: {of}")
    _draw.label(drawn[-1], "time-step")
    return figure


def _raster(layer: Layer) -> Any:
    return layer["raster"]


def rate_histograms(profile: Any, layers: Sequence[str] | None = None) -> Any:
    """How many neurons of a layer fire how often: percent of its neurons, on a logarithmic axis, by firing rate.

    layers  names of the layers to show; None: all, or 24 of them, spread evenly over the network

    Each panel states the share of silent neurons, which never fired. Returns a matplotlib Figure. Raises
    ValueError where a name is unknown or no layer has neurons.
    """
    spread = [layer for layer in _take.spiking_layers(_take.one(profile)) if layer["spread"]]
    if not spread:
        raise ValueError("firing rates cannot be drawn: no layer has a histogram of them")
    shown = _take.chosen(spread, layers, 24)
    figure, drawn = _draw.panels(len(shown), COLUMNS, tall=0.84, gap=0.34, left=0.56, between=0.14)
    edges = [i / BINS for i in range(BINS + 1)]
    for i, (axes, layer) in enumerate(zip(drawn, shown, strict=True)):
        rates: Any = layer["spread"]
        share = [100 * n / layer["neurons"] for n in rates["histogram"]]
        axes.stairs(share, edges, baseline=1e-3, fill=True, color=LIGHT["blue"], gid="neurons")
        axes.set_yscale("log")
        axes.set_ylim(0.01, 500)
        axes.set_yticks([0.1, 10], ["0.1", "10"] if i % COLUMNS == 0 else ["", ""], minor=False)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", ""] if i + COLUMNS >= len(shown) else [""] * 3)
        axes.minorticks_off()
        _draw.grid(axes, "y")
        silent = f"{100 * rates['silent'] / layer['neurons']:.0f} % silent"
        axes.text(0.98, 0.97, silent, ha="right", va="top", transform=axes.transAxes, **_text())
        _draw.label(axes, title=_take.short(layer["name"], NAME))
    _around(figure, f"firing rate, from 0 to 1{_of(shown, spread)}", "neurons in percent")
    return figure


def activations(profile: Any, layers: Sequence[str] | None = None) -> Any:
    """What a layer's spikes say (rate times threshold, upwards) against the dense network's activation (to the right).

    layers  names of the layers to show; None: all, or 24 of them: the worst, and others spread evenly over the network

    Both axes have the same scale; the dashed line is equality. Each panel states Pearson's correlation r and the error
    e, the root of the mean square difference over that of the dense activation. The layer with the largest error is
    called "worst" and has other markers. Returns a matplotlib Figure. Raises ValueError where a name is unknown or
    nothing was compared.
    """
    document = _take.one(profile)
    spiking = _take.spiking_layers(document)
    compared = [x for x in spiking if x["activation"] is not None and not missing(x["activation"])]
    if not compared:
        _take.given(next((x["activation"] for x in spiking if missing(x["activation"])), None), "activations")
        raise ValueError("activations cannot be drawn: no layer was compared with the dense network")
    worst = max(compared, key=_error)
    shown = _take.chosen(compared, layers, 24)
    if layers is None and worst not in shown:
        shown = sorted([*shown[:-1], worst], key=compared.index)
    figure, drawn = _draw.panels(len(shown), COLUMNS, tall=1.08, gap=0.46, left=0.34, between=0.2)
    pairs = sum(len(_activation(layer)["points"]) for layer in shown)
    for axes, layer in zip(drawn, shown, strict=True):
        activation = _activation(layer)
        dense, spikes = [p[0] for p in activation["points"]], [p[1] for p in activation["points"]]
        low, high = min([0.0, *dense, *spikes]), max([*dense, *spikes, 0.0]) or 1.0
        high += 0.04 * (high - low)
        marks = (
            {"color": LIGHT["vermillion"], "marker": "x"} if layer is worst else {"color": LIGHT["blue"], "marker": "o"}
        )
        size = {"markersize": 3.2 if layer is worst else 2.2, "markeredgewidth": 0.8 if layer is worst else 0}
        axes.plot(dense, spikes, linestyle="none", rasterized=pairs > MANY, gid="points", **marks, **size)
        axes.plot([low, high], [low, high], color=LIGHT["ink"], linestyle=(0, (4, 3)), linewidth=0.9, gid="equal")
        axes.set_xlim(low, high)
        axes.set_ylim(low, high)
        axes.locator_params(nbins=3)
        axes.set_yticks([t for t in axes.get_xticks() if low <= t <= high], labels=[], minor=False)
        said = f"r {activation['correlation']:.2f}\ne {activation['error']:.2f}"
        axes.text(0.05, 0.97, said, ha="left", va="top", transform=axes.transAxes, linespacing=1.05, **_text())
        _draw.label(axes, title=_take.short(layer["name"], NAME))
        if layer is worst:
            axes.text(0.97, 0.04, "worst", ha="right", va="bottom", transform=axes.transAxes, weight="bold", **_text())
    _around(figure, f"dense activation{_of(shown, compared)}", "rate times threshold")
    return figure


def _activation(layer: Layer) -> Any:
    return layer["activation"]


def _error(layer: Layer) -> float:
    return _activation(layer)["error"]


def _of(shown: list[Layer], all_of_them: list[Layer]) -> str:
    """Says so where not all layers are shown."""
    return f" ({len(shown)} of {len(all_of_them)} layers)" if len(shown) < len(all_of_them) else ""


def _text() -> dict[str, Any]:
    return {"fontsize": _draw.TEXT, "color": LIGHT["ink"]}


def _around(figure: Any, x: str, y: str) -> None:
    """One label for the x axes of all panels, one for their y axes."""
    height = figure.get_figheight()
    figure.text(0.5, 0.06 / height, x, ha="center", va="bottom", **_text())
    figure.text(0.05 / _draw.WIDTH, 0.5, y, ha="left", va="center", rotation=90, **_text())
