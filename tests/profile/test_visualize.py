"""Figures of a profile: each shows the numbers of its document with their units, refuses what is missing
with the reason, and can be read with any colour vision on a light and on a dark background."""

import itertools
import subprocess
import sys
from copy import deepcopy
from types import SimpleNamespace

import documents
import numpy as np
import pytest

from fastsnn import visualize
from fastsnn.profile.schema import BINS, unavailable
from fastsnn.visualize.palette import DARK, LIGHT, SERIES

pytest.importorskip("matplotlib")

FIGURES = [
    visualize.accuracy,
    visualize.rates_over_time,
    visualize.layer_rates,
    visualize.layer_operations,
    visualize.layer_times,
    visualize.spike_raster,
    visualize.rate_histograms,
    visualize.activations,
    visualize.roofline,
]
PAGES = {"light": "#f4f5f7", "dark": "#0f1216"}


@pytest.fixture(scope="module")
def full():
    return documents.full()


@pytest.fixture(scope="module")
def two():
    return {"short": documents.full(), "long": documents.full(T=32, rate=0.2)}


def artists(figure, gid, axes=0):
    """What was drawn under this name, in the order of drawing; none is a failure."""
    found = [a for a in figure.axes[axes].get_children() if a.get_gid() == gid]
    assert found, f"nothing is drawn as {gid!r}"
    return found


def line(figure, gid, which=0, axes=0):
    return tuple(list(v) for v in artists(figure, gid, axes)[which].get_data())


def bars(figure, gid):
    """Containers carry the name, their bars do not."""
    (found,) = [c for c in figure.axes[0].containers if c.get_label() and any(p.get_gid() == gid for p in c)]
    return [p.get_width() for p in found]


def texts(figure):
    found = [t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text"))]
    return [t for t in found if t]


@pytest.mark.parametrize("build", FIGURES, ids=lambda f: f.__name__)
def test_every_figure_draws_from_a_document_and_from_a_profile(build, full, tmp_path):
    before = deepcopy(full)
    for profile in (full, SimpleNamespace(document=full)):
        figure = build(profile)
        figure.savefig(tmp_path / "figure.png", dpi=60)
        assert any(axes.has_data() for axes in figure.axes)
    assert full == before
    sizes = {t.get_fontsize() for t in figure.findobj(lambda a: hasattr(a, "get_fontsize")) if t.get_text()}
    assert min(sizes) >= 9


@pytest.mark.parametrize("build", FIGURES, ids=lambda f: f.__name__)
def test_deep_networks_and_hostile_names_are_drawn(build, tmp_path):
    build(documents.many_layers(3)).savefig(tmp_path / "deep.svg")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *args, **kwargs: None)
        build(documents.hostile()).savefig(tmp_path / "hostile.svg")


def test_accuracy_against_time_steps(full):
    figure = visualize.accuracy(full)
    for i, curve in enumerate(full["accuracy"]["curves"]):
        assert line(figure, "curve", i) == (list(range(1, 17)), [100 * a for a in curve["accuracy"]])
        assert line(figure, "knee", i) == ([curve["knee"]], [100 * curve["accuracy"][curve["knee"] - 1]])
        assert f"{curve['name']} (knee: T = {curve['knee']})" in texts(figure)
    assert line(figure, "dense")[1] == [91.25, 91.25]
    assert {"time-steps T", "accuracy in percent", "dense network (91.2 %)", "16"} <= set(texts(figure))
    assert figure.axes[0].get_xscale() == "log"


def test_accuracy_against_what_it_took(full):
    curve = full["accuracy"]["curves"][0]
    for against in ("operations", "spikes"):
        assert line(visualize.accuracy(full, against), "curve")[0] == curve[against]
    (model,) = [m for m in full["energy"]["modelled"] if m["model"] == "Loihi 2018"]
    figure = visualize.accuracy(full, "energy", "Loihi 2018")
    assert line(figure, "curve")[0] == curve["joules"]["Loihi 2018"]
    assert line(figure, "dense point") == ([model["dense"]], [91.25])
    assert line(figure, "quantised")[0] == [model["quantised"]] * 2
    assert "modelled energy an image (Loihi 2018)" in texts(figure)
    assert f"{model['bits']}-bit network (accuracy not measured)" in texts(figure)
    figure = visualize.accuracy(full, "latency")
    steps = [t for t, _ in full["time"]["by_steps"]]
    assert line(figure, "curve") == (
        [ms for _, ms in full["time"]["by_steps"]],
        [100 * curve["accuracy"][t - 1] for t in steps],
    )
    assert line(figure, "dense point")[0] == [2.39]
    assert "milliseconds for one pass of 1 image" in texts(figure)


def test_curves_of_several_profiles_are_told_apart_without_colour(two):
    figure = visualize.accuracy(two)
    curves = artists(figure, "curve")
    assert len(curves) == 4
    for style in ("get_color", "get_marker", "get_linestyle"):
        assert len({str(getattr(c, style)()) for c in curves}) == (4 if style != "get_linestyle" else 2)
    assert len({str(c._unscaled_dash_pattern) for c in curves}) == 4
    assert len(artists(figure, "dense")) == 1
    two["long"] = deepcopy(two["long"])
    two["long"]["accuracy"]["dense"] = 0.5
    assert [a.get_ydata()[0] for a in artists(visualize.accuracy(two), "dense")] == [91.25, 50.0]
    assert len(artists(visualize.rates_over_time(two), "mean")) == 2
    assert len(artists(visualize.layer_rates(two), "rates")) == 2


def test_rates_over_time(full):
    figure = visualize.rates_over_time(full)
    layers = [x for x in full["layers"] if x["neurons"]]
    images = full["conditions"]["images"]
    drawn = sorted(list(a.get_ydata()) for a in artists(figure, "layer"))
    assert drawn == sorted([100 * s / (images * x["neurons"]) for s in x["spikes"]] for x in layers)
    mean = line(figure, "mean")[1]
    assert np.mean(mean) == pytest.approx(100 * full["totals"]["rate"])
    assert {"time-step", "neurons that fire, in percent"} <= set(texts(figure))


def test_bars_of_the_layers(full):
    layers, images = full["layers"], full["conditions"]["images"]
    figure = visualize.layer_rates(full)
    assert bars(figure, "rates") == [100 * x["rate"] for x in layers if x["neurons"]]
    assert {"firing rate in percent", "layer3.2.relu2"} <= set(texts(figure))
    figure = visualize.layer_operations(full)
    assert bars(figure, "additions") == [sum(sum(o["by_step"]) for o in x["operations"]) / images for x in layers]
    assert bars(figure, "multiplications") == [sum(m["once"] * m["times"] for m in x["macs"]) for x in layers]
    assert bars(figure, "dense") == [x["dense_macs"] for x in layers]
    assert "operations for one image" in texts(figure)
    figure = visualize.layer_times(full)
    assert bars(figure, "spiking") == [x["milliseconds"] or 0 for x in layers]
    assert bars(figure, "dense") == [x["dense_milliseconds"] or 0 for x in layers]
    assert {"milliseconds for 1 image", "not timed"} <= set(texts(figure))
    hatches = {p.get_hatch() for c in figure.axes[0].containers for p in c}
    assert len(hatches) == 2, "spiking and dense differ by colour alone"


def test_spike_raster(full):
    figure = visualize.spike_raster(full, layers=["layer1.0.relu1", "layer3.2.relu2"])
    for i, name in enumerate(("layer1.0.relu1", "layer3.2.relu2")):
        (layer,) = [x for x in full["layers"] if x["name"] == name]
        x, y = (np.reshape(v, (-1, 3))[:, :2].mean(1) for v in line(figure, "spikes", axes=i))
        drawn = sorted(zip(y.round().astype(int), x.astype(int) - 1, strict=True))
        assert drawn == [(row, t) for row, steps in enumerate(layer["raster"]["steps"]) for t in steps]
        assert f"{name}: 32 of {layer['neurons']} neurons" in texts(figure)
    assert "time-step" in texts(figure)
    assert len(visualize.spike_raster(full).axes) == 6


def test_rate_histograms(full):
    figure = visualize.rate_histograms(full)
    layers = [x for x in full["layers"] if x["neurons"]]
    assert len(figure.axes) == len(layers) == 19
    for i, layer in enumerate(layers):
        data = artists(figure, "neurons", axes=i)[0].get_data()
        assert list(data.values) == [100 * n / layer["neurons"] for n in layer["spread"]["histogram"]]
        assert list(data.edges) == [j / BINS for j in range(BINS + 1)]
        assert f"{100 * layer['spread']['silent'] / layer['neurons']:.0f} % silent" in texts(figure)
    assert len(visualize.rate_histograms(documents.many_layers()).axes) == 24
    assert "firing rate, from 0 to 1 (24 of 133 layers)" in texts(visualize.rate_histograms(documents.many_layers()))


def test_activations(full):
    figure = visualize.activations(full)
    layers = [x for x in full["layers"] if x["neurons"]]
    markers = []
    for i, layer in enumerate(layers):
        assert list(zip(*line(figure, "points", axes=i), strict=True)) == layer["activation"]["points"]
        low, high = line(figure, "equal", axes=i)
        assert low == high == list(figure.axes[i].get_ylim())
        said = f"r {layer['activation']['correlation']:.2f}\ne {layer['activation']['error']:.2f}"
        assert said in texts(figure)
        markers.append(artists(figure, "points", axes=i)[0].get_marker())
    worst = max(range(len(layers)), key=lambda i: layers[i]["activation"]["error"])
    assert [i for i, m in enumerate(markers) if m != "o"] == [worst]
    assert [i for i, a in enumerate(figure.axes) if any(t.get_text() == "worst" for t in a.texts)] == [worst]


def test_the_worst_layer_is_always_among_those_shown():
    document = documents.many_layers()
    document["layers"][2]["activation"]["error"] = 9.0
    figure = visualize.activations(document)
    assert len(figure.axes) == 24 and "worst" in texts(figure) and any("e 9.00" in t for t in texts(figure))


@pytest.mark.parametrize("build", [visualize.activations, visualize.rate_histograms])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 19])
def test_no_text_leaves_the_figure(build, count, full):
    figure = build(full, [x["name"] for x in full["layers"]][:count])
    figure.draw_without_rendering()
    for text in figure.texts:
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height


def test_roofline(full):
    figure, roofline = visualize.roofline(full), full["roofline"]
    for bound in ("memory", "additions"):
        of = [x for x in roofline["layers"] if x["bound"] == bound]
        assert of and line(figure, bound) == ([x["intensity"] for x in of], [x["operations_a_second"] for x in of])
    x, y = line(figure, "ceiling")
    assert y[1:] == [roofline["peaks"]["operations_a_second"]] * 2
    assert y[0] / x[0] == pytest.approx(roofline["peaks"]["bytes_a_second"])
    assert x[1] * roofline["peaks"]["bytes_a_second"] == pytest.approx(y[1])
    assert artists(figure, "memory")[0].get_marker() != artists(figure, "additions")[0].get_marker()
    assert figure.axes[0].get_xscale() == figure.axes[0].get_yscale() == "log"
    assert {"additions for each byte moved", "additions a second"} <= set(texts(figure))


@pytest.mark.parametrize(
    "draw, reason",
    [
        (visualize.accuracy, "not measurable here: the images have no labels"),
        (lambda d: visualize.accuracy(d, "energy"), "no energy model"),
        (visualize.layer_times, "not measurable here: another process kept the processor busy"),
        (visualize.spike_raster, "no layer has recorded"),
        (visualize.activations, "not measurable here: no dense network was given"),
        (visualize.roofline, "not measurable here: no layer was timed by itself"),
    ],
)
def test_what_is_missing_is_refused_with_the_reason(draw, reason):
    with pytest.raises(ValueError, match=reason):
        draw(documents.everything_missing())


@pytest.mark.parametrize(
    "build", [visualize.rates_over_time, visualize.layer_rates, visualize.spike_raster, visualize.rate_histograms]
)
def test_a_network_without_neurons_is_refused(build):
    with pytest.raises(ValueError, match="no layer of resnet20 has neurons"):
        build(documents.without_neurons())


def test_refusals_say_what_was_required(full):
    with pytest.raises(ValueError, match=r"against should be one of timesteps, .*; got 'watts'"):
        visualize.accuracy(full, "watts")
    with pytest.raises(ValueError, match=r"model should be one of Horowitz.*; got 'mine'"):
        visualize.accuracy(full, "energy", "mine")
    with pytest.raises(ValueError, match=r"layers should be some of relu, .*; got conv9"):
        visualize.spike_raster(full, layers=["relu", "conv9"])
    with pytest.raises(ValueError, match="a profile or its document is required, got int"):
        visualize.layer_operations(3)
    with pytest.raises(ValueError, match="at least one profile is required"):
        visualize.accuracy({})
    slower = deepcopy(full)
    slower["time"] = unavailable("no clock")
    with pytest.raises(ValueError, match="latency cannot be drawn, not measurable here: no clock"):
        visualize.accuracy(slower, "latency")


def test_long_names_are_cut_in_the_middle():
    from fastsnn.visualize._take import short

    assert short("layer3.0.relu2") == "layer3.0.relu2"
    cut = short("features.denseblock3.denselayer12.relu2")
    assert len(cut) == 18 and cut.startswith("feat") and cut.endswith("12.relu2")
    assert short("a\x00b\n") == "a?b?" and short("$x$") == r"\$x\$"


def test_no_window_system_and_no_global_state():
    program = """
import sys, fastsnn
from fastsnn import visualize
print("matplotlib" in sys.modules)
sys.path.insert(0, sys.argv[1])
import documents, matplotlib
before = matplotlib.rcParams.copy()
visualize.accuracy(documents.full())
print("matplotlib.pyplot" in sys.modules, before == matplotlib.rcParams.copy())
"""
    folder = documents.__file__.rpartition("/")[0]
    done = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["False", "False", "True"], done.stderr


def test_without_matplotlib_the_message_says_what_to_install(full, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "fastsnn\[cli\]"'):
        visualize.accuracy(full)


# Machado, Oliveira and Fernandes 2009, severity 1, of linear RGB
VISION = {
    "all": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]


def linear(colour):
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def seen(colour, vision):
    """CIE Lab under D65, as these eyes see it."""
    xyz = XYZ @ np.clip(VISION[vision] @ linear(colour), 0, 1) / [0.95047, 1, 1.08883]
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(a, b):
    low, high = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (a, b))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_that_stand_together_stay_apart(theme, vision):
    for a, b in itertools.combinations([*SERIES, "ink"], 2):
        distance = np.linalg.norm(seen(theme[a], vision) - seen(theme[b], vision))
        assert distance > 24, f"{a} and {b}"


def test_a_planted_pair_of_colours_is_found():
    assert np.linalg.norm(seen("#d55e00", "deuteranopia") - seen("#8f8a00", "deuteranopia")) < 24


@pytest.mark.parametrize("theme, page", [(LIGHT, PAGES["light"]), (DARK, PAGES["dark"])], ids=["light", "dark"])
def test_contrast(theme, page):
    for name in SERIES:
        assert contrast(theme[name], theme["surface"]) >= 3
    for background in (theme["surface"], page):
        assert contrast(theme["ink"], background) >= 7
        assert contrast(theme["muted"], background) >= 4.5


def test_what_is_drawn_as_an_image_can_be_seen_on_both_backgrounds():
    """Its colours are those of the light theme, whatever the reader has set."""
    for name in ("blue", "vermillion"):
        assert contrast(LIGHT[name], DARK["surface"]) >= 3
