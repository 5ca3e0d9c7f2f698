"""How the answer grows with time: accuracy against steps, latency, work and energy, and firing rates step by step."""

from typing import Any

from fastsnn.profile.schema import Curve, Document
from fastsnn.visualize import _draw, _take
from fastsnn.visualize.palette import LIGHT

AGAINST = {
    "timesteps": "time-steps T",
    "latency": "milliseconds for one pass of {batch}",
    "operations": "synaptic operations an image",
    "spikes": "spikes an image",
    "energy": "modelled energy an image ({model})",
}


def accuracy(profiles: Any, against: str = "timesteps", model: str | None = None) -> Any:
    """Accuracy of every curve of every profile, in percent, against what it had taken until then.

    profiles  a profile or its document, or a mapping from names to several
    against   "timesteps" (T, logarithmic), "latency" (median milliseconds of one pass, where the network was timed at
              fewer steps), "operations" or "spikes" (mean of an image), "energy" (modelled joules of an image)
    model     for "energy": the name of the energy model; None: the first of the first profile

    A ring marks the knee, the first step whose accuracy is within one standard error of the last one's. The dense
    network is a dashed line, and a star where what it takes is known; for energy, a dotted line marks what the
    model gives the quantised network. Returns a matplotlib Figure. Raises ValueError where a profile has no
    accuracy, or lacks `against`.
    """
    if against not in AGAINST:
        raise ValueError(f"against should be one of {', '.join(AGAINST)}; got {against!r}")
    documents = _take.several(profiles)
    model = _model(documents, model) if against == "energy" else None
    figure, axes = _draw.single(2.9)
    index, seen = 0, []
    level = {name: _dense_accuracy(document) for name, document in documents.items()}
    takes = {name: _dense_takes(document, against, model) for name, document in documents.items()}
    for name, document in documents.items():
        measured = _take.given(document["accuracy"], f"accuracy of {name}")
        curves = measured["curves"][:1] if against == "latency" else measured["curves"]
        if not curves:
            raise ValueError(f"accuracy of {name} cannot be drawn: it has no curves")
        colour = _draw.line_style(index)["color"]
        for curve in curves:
            label = _label(name, curve, curves, documents)
            seen += _curve(axes, document, curve, against, model, label, _draw.line_style(index))
            index += 1
        dense = level[name]
        if dense is None:
            continue
        of = f"{_take.short(name, 24)}: "
        for each, draw in ((level, _dense_line), (takes, _dense_point)):
            if len({str(value) for value in each.values()}) > 1:
                draw(axes, dense, takes[name], of, colour)
            elif name == next(iter(documents)):
                draw(axes, dense, takes[name], "", LIGHT["ink"])
        seen += takes[name].values()
    _draw.grid(axes)
    _draw.label(axes, _words(documents, against, model), "accuracy in percent")
    axes.set_ylim(top=min(axes.get_ylim()[1] + 4, 104))
    if against == "timesteps":
        _draw.powers_of_two(axes, int(max(seen)))
    else:
        _draw.amounts(axes, [x for x in seen if x > 0] or [1.0], "J" if against == "energy" else "")
    _draw.legend(figure, axes)
    return figure


def _words(documents: dict[str, Document], against: str, model: str | None) -> str:
    """What the x axis shows, with the batch or the model it is for."""
    batches = {document["conditions"]["batch"] for document in documents.values()}
    batch = "the batch" if len(batches) > 1 else "1 image" if batches == {1} else f"{min(batches)} images"
    return AGAINST[against].format(batch=batch, model=_take.short(model or "", 26))


def _dense_accuracy(document: Document) -> float | None:
    measured = _take.available(document["accuracy"])
    return measured["dense"] if measured else None


def _label(name: str, curve: Curve, curves: list[Curve], documents: dict[str, Document]) -> str:
    if len(documents) == 1:
        words = curve["name"]
    else:
        words = name if len(curves) == 1 else f"{name}: {curve['name']}"
    return f"{_take.short(words, 34)} (knee: T = {curve['knee']})"


def _model(documents: dict[str, Document], model: str | None) -> str:
    """The energy model that all have, by name or the first."""
    for name, document in documents.items():
        models = [m["model"] for m in document["energy"]["modelled"]]
        if not models:
            raise ValueError(f"energy of {name} cannot be drawn: its profile has no energy model")
        model = models[0] if model is None else model
        if model not in models:
            raise ValueError(f"model should be one of {', '.join(models)}, which {name} has; got {model!r}")
    return model or ""


def _taken(document: Document, curve: Curve, against: str, model: str | None) -> tuple[list[float], list[int]]:
    """What was taken, and after which steps."""
    steps = list(range(1, len(curve["accuracy"]) + 1))
    if against == "latency":
        times: Any = _take.given(document["time"], "latency")["by_steps"]
        if not times:
            raise ValueError("latency cannot be drawn: the network was not timed at fewer steps")
        return [ms for _, ms in times], [T for T, _ in times]
    if against == "energy":
        if model not in curve["joules"]:
            raise ValueError(f"energy of {curve['name']} cannot be drawn: its curve has no joules of {model}")
        return list(curve["joules"][model]), steps
    if against == "timesteps":
        return [float(t) for t in steps], steps
    return list(curve["operations"] if against == "operations" else curve["spikes"]), steps


def _curve(
    axes: Any, document: Document, curve: Curve, against: str, model: str | None, label: str, style: dict
) -> list:
    x, steps = _taken(document, curve, against, model)
    y = [100 * curve["accuracy"][t - 1] for t in steps]
    marked = [i for i, t in enumerate(steps) if t & (t - 1) == 0 or i == len(steps) - 1]
    axes.plot(x, y, markevery=marked, label=label, zorder=3, gid="curve", **style)
    if curve["knee"] in steps:
        i = steps.index(curve["knee"])
        ring = {"marker": "o", "markersize": 11, "markerfacecolor": "none", "markeredgewidth": 1.4, "linestyle": "none"}
        axes.plot(x[i], y[i], color=style["color"], zorder=4, gid="knee", **ring)
    return x


def _dense_takes(document: Document, against: str, model: str | None) -> dict[str, float]:
    """What the dense network takes, and the quantised one, by the words of the legend; empty where it is not known."""
    timed = _take.available(document["time"])
    if against == "latency" and timed:
        runs = {run["name"]: run["milliseconds"] for run in timed["runs"]}
        eager = _take.available(runs.get("dense, eager"))
        return {"dense, eager": eager["p50"]} if eager else {}
    if against == "operations" and document["totals"]["dense_macs"]:
        return {"dense, its multiplications": float(document["totals"]["dense_macs"])}
    for m in document["energy"]["modelled"]:
        if against == "energy" and m["model"] == model:
            return {"dense": m["dense"], f"{m['bits']}-bit network (accuracy not measured)": m["quantised"]}
    return {}


def _dense_line(axes: Any, accuracy: float, takes: dict[str, float], of: str, colour: str) -> None:
    label = f"{of}dense network ({100 * accuracy:.1f} %)"
    axes.axhline(100 * accuracy, color=colour, linestyle=(0, (4, 3)), linewidth=1.2, label=label, gid="dense")


def _dense_point(axes: Any, accuracy: float, takes: dict[str, float], of: str, colour: str) -> None:
    """A star at what the dense network takes, and a dotted line at what the quantised one takes."""
    for words, taken in takes.items():
        if "bit" in words:
            style: dict[str, Any] = {"linestyle": (0, (1, 2)), "linewidth": 1.6, "gid": "quantised"}
            axes.axvline(taken, color=colour, label=of + words, **style)
        else:
            style = {"marker": "*", "markersize": 11, "linestyle": "none", "gid": "dense point", "zorder": 5}
            axes.plot(taken, 100 * accuracy, color=colour, label=of + words, **style)


def rates_over_time(profiles: Any) -> Any:
    """Firing rate at each time-step, in percent of the neurons: the mean over all neurons, and each layer.

    Of one profile the layers are thin lines, the two with the highest and lowest mean rate named; of a mapping
    from names to profiles only their means are drawn. Returns a matplotlib Figure. Raises ValueError where no
    layer has neurons.
    """
    documents = _take.several(profiles)
    figure, axes = _draw.single(2.9)
    last = 1
    for index, (name, document) in enumerate(documents.items()):
        layers = _take.spiking_layers(document)
        images, T = document["conditions"]["images"], document["network"]["timesteps"]
        last = max(last, T)
        rates = [[100 * s / (images * layer["neurons"]) for s in layer["spikes"]] for layer in layers]
        mean = []
        for t in range(T):
            awake = [layer for layer in layers if t < len(layer["spikes"])]
            neurons = sum(layer["neurons"] for layer in awake) or 1
            mean.append(100 * sum(layer["spikes"][t] for layer in awake) / (images * neurons))
        style = {**_draw.line_style(index), "marker": None}
        if len(documents) == 1:
            order = sorted(range(len(layers)), key=lambda i: sum(rates[i]))
            ends = {order[-1]: ("highest", 0), order[0]: ("lowest", 1)} if len(layers) > 1 else {}
            for i, values in enumerate(rates):
                if i not in ends:
                    axes.plot(
                        range(1, len(values) + 1), values, color=LIGHT["muted"], linewidth=0.7, alpha=0.55, gid="layer"
                    )
            for i, (word, place) in ends.items():
                named = {**_draw.line_style(place), "markevery": max(1, T // 8), "linewidth": 1.3}
                label = f"{word}: {_take.short(layers[i]['name'], 30)}"
                axes.plot(range(1, len(rates[i]) + 1), rates[i], label=label, gid="layer", **named)
            style |= {"color": LIGHT["ink"], "linestyle": "-", "linewidth": 2.2}
        label = "mean over all neurons" if len(documents) == 1 else _take.short(name, 36)
        axes.plot(range(1, T + 1), mean, label=label, gid="mean", **style)
    _draw.grid(axes)
    axes.set_xlim(1, max(last, 2))
    axes.set_ylim(bottom=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    _draw.label(axes, "time-step", "neurons that fire, in percent")
    _draw.legend(figure, axes)
    return figure
