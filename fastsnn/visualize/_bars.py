"""What each layer costs, one row a layer: firing rate, synaptic operations, time; the dense network's beside it."""

from collections.abc import Sequence
from typing import Any

from fastsnn.profile.schema import additions, missing
from fastsnn.visualize import _draw, _take
from fastsnn.visualize.palette import LIGHT


def layer_rates(profiles: Any) -> Any:
    """Firing rate of each layer that has neurons, in percent: the share of its neurons and steps with a spike.

    Of one profile a bar is the mean and the line over it spans the 5th to the 95th percentile of the layer's
    neurons. Of a mapping from names to profiles each mean is a marker; layers of the same name share a row.
    Returns a matplotlib Figure. Raises ValueError where no layer has neurons.
    """
    documents = _take.several(profiles)
    layers = {name: _take.spiking_layers(document) for name, document in documents.items()}
    rows = list(dict.fromkeys(layer["name"] for of in layers.values() for layer in of))
    figure, axes = _rows(rows, 0.22)
    for index, (name, of) in enumerate(layers.items()):
        at = [rows.index(layer["name"]) for layer in of]
        rates = [100 * (layer["rate"] or 0.0) for layer in of]
        if len(documents) > 1:
            style = {**_draw.line_style(index), "linestyle": "none", "markersize": 6}
            axes.plot(rates, at, label=_take.short(name, 36), gid="rates", **style)
            continue
        axes.barh(at, rates, height=0.68, color=LIGHT["blue"], label="mean of the layer", gid="rates")
        spreads = [(i, layer["spread"]) for i, layer in zip(at, of, strict=True) if layer["spread"]]
        if spreads:
            low, high = [100 * s["p5"] for _, s in spreads], [100 * s["p95"] for _, s in spreads]
            words = "5th to 95th percentile of its neurons"
            axes.hlines([i for i, _ in spreads], low, high, color=LIGHT["ink"], linewidth=1.3, label=words)
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=6)
    _draw.label(axes, "firing rate in percent")
    _draw.legend(figure, axes)
    return figure


def layer_operations(profile: Any) -> Any:
    """Work of each layer for one image, beside the dense network's.

    The upper bar: additions that spikes cause (synaptic operations, all T steps), and after them multiplications
    that are left, hatched. The lower bar, hatched without a filling: multiplications of the same layer in the
    dense network. An addition is cheaper than a multiplication, so bars of equal length do not cost the same.
    Returns a matplotlib Figure. Raises ValueError where the profile has no layers.
    """
    document = _take.one(profile)
    layers, images = document["layers"], document["conditions"]["images"]
    figure, axes = _rows([layer["name"] for layer in layers], 0.3)
    added = [additions(layer) / images for layer in layers]
    multiplied = [float(sum(m["once"] * m["times"] for m in layer["macs"])) for layer in layers]
    dense = [float(layer["dense_macs"]) for layer in layers]
    upper, lower = _pairs(len(layers))
    axes.barh(upper, added, 0.4, color=LIGHT["blue"], label="spiking: additions (synaptic operations)", gid="additions")
    style = {"color": LIGHT["vermillion"], "hatch": "xxxx", "edgecolor": LIGHT["surface"], "linewidth": 0}
    words = "spiking: multiplications that are left"
    axes.barh(upper, multiplied, 0.4, left=added, label=words, gid="multiplications", **style)
    axes.barh(lower, dense, 0.36, label="dense: multiplications", gid="dense", **_draw.HATCHED)
    _engineering(axes)
    _draw.label(axes, "operations for one image")
    _draw.legend(figure, axes)
    return figure


def layer_times(profile: Any) -> Any:
    """Median time of each layer in milliseconds, spiking (filled) above dense (hatched).

    Time of one pass over the timed batch and all T steps. A layer that was not timed by itself is marked "not timed".
    Returns a matplotlib Figure. Raises ValueError where no layer was timed.
    """
    document = _take.one(profile)
    layers = document["layers"]
    spiking = [layer["milliseconds"] for layer in layers]
    dense = [layer["dense_milliseconds"] for layer in layers]
    if all(ms is None for ms in spiking):
        reason = document["time"]["not_measurable"] if missing(document["time"]) else "no layer was timed by itself"
        raise ValueError(f"time of layers cannot be drawn, not measurable here: {reason}")
    figure, axes = _rows([layer["name"] for layer in layers], 0.3)
    upper, lower = _pairs(len(layers))
    axes.barh(upper, [ms or 0.0 for ms in spiking], 0.4, color=LIGHT["blue"], label="spiking", gid="spiking")
    if any(ms is not None for ms in dense):
        axes.barh(lower, [ms or 0.0 for ms in dense], 0.36, label="dense", gid="dense", **_draw.HATCHED)
    for i, ms in enumerate(spiking):
        if ms is None:
            axes.annotate("not timed", (0, i - 0.12), (4, 0), textcoords="offset points", va="center", **_muted())
    axes.set_xlim(left=0)
    _draw.label(axes, _milliseconds(document["conditions"]["batch"]))
    _draw.legend(figure, axes, 2)
    return figure


def _milliseconds(batch: int) -> str:
    return f"milliseconds for {batch} image{'s' if batch > 1 else ''}"


def _muted() -> dict[str, Any]:
    return {"fontsize": _draw.TEXT, "color": LIGHT["muted"]}


def _pairs(count: int) -> tuple[list[float], list[float]]:
    """Where the upper and the lower bar of each row go."""
    return [i - 0.2 for i in range(count)], [i + 0.2 for i in range(count)]


def _rows(names: Sequence[str], row: float) -> tuple[Any, Any]:
    """Axes with a row of so many inches for each name, the first one on top."""
    if not names:
        raise ValueError("layers cannot be drawn: the profile has none")
    figure, axes = _draw.single(0.65 + row * len(names))
    axes.set_yticks(range(len(names)), [_take.short(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    _draw.grid(axes, "x")
    return figure, axes


def _engineering(axes: Any) -> None:
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(lambda value, _: _draw.amount(value))
