"""The page of a profile: one file without outside resources, everything escaped, every number with its conditions,
every gap with its reason."""

import re
import time
from html.parser import HTMLParser

import documents
import pytest

from fastsnn.profile import html
from fastsnn.profile.page import numbers
from fastsnn.visualize.palette import LIGHT

pytest.importorskip("matplotlib")

VOID = {"meta", "link", "br", "img", "input", "hr"}
KINDS = ("full", "everything_missing", "partial", "without_neurons", "hostile")


class Page(HTMLParser):
    """Tags that are not closed, ids, links and texts of a page."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.links, self.attributes, self.texts, self.tags = [], [], [], [], [], []
        self.faults = []
        self.feed(source)
        self.close()
        self.faults += [f"<{tag}> is never closed" for tag in self.open]

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
                self.links.append(value)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes something else")

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.texts))


@pytest.fixture(scope="module")
def sources():
    """Every kind of page, rendered once."""
    pages = {kind: html.render(getattr(documents, kind)()) for kind in KINDS}
    long = documents.full(T=32, rate=0.2)
    return pages | {"compared": html.compare({"short": documents.full(), documents.HOSTILE: long})}


@pytest.fixture(scope="module")
def pages(sources):
    return {kind: Page(source) for kind, source in sources.items()}


def test_a_planted_fault_is_found():
    assert Page("<p><b></p>").faults and Page("<p>").faults and not Page("<p>a<path d='M0 0'/></p>").faults


def test_pages_are_well_formed(pages, sources):
    for kind, page in pages.items():
        assert page.faults == [], kind
        assert sources[kind].startswith("<!DOCTYPE html>\n<html lang=") and page.tags.count("title") == 1


def test_ids_are_unique_and_every_reference_has_its_target(pages, sources):
    for kind, page in pages.items():
        assert len(page.ids) == len(set(page.ids)), kind
        used = set(re.findall(r"url\(#([\w-]+)\)", sources[kind])) | {x[1:] for x in page.links if x[0] == "#"}
        assert used <= set(page.ids), kind


def test_nothing_is_loaded(pages, sources):
    for kind, page in pages.items():
        assert all(link.startswith(("#", "data:")) for link in page.links), kind
        assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)", sources[kind])), kind
        assert not {"script", "iframe", "object", "embed"} & set(page.tags), kind
        assert "@import" not in sources[kind]
        assert not any(name.startswith("on") for name, _ in page.attributes), kind


def test_pages_are_small(sources):
    assert max(len(source.encode()) for source in sources.values()) < 2_500_000


@pytest.mark.slow
def test_rendering_is_quick():
    document = documents.full()
    start = time.process_time()
    html.render(document)
    assert time.process_time() - start < 6


def test_names_are_escaped_and_shown_as_they_are(pages, sources):
    source, shown = sources["hostile"], pages["hostile"].text
    assert "<script" not in source and "&lt;script&gt;" in source
    name = re.sub(r"\s+", " ", documents.HOSTILE)
    assert shown.count(name) > 8
    assert any(name in (value or "") for key, value in pages["hostile"].attributes if key == "aria-label")
    assert "<script" not in sources["compared"] and name in pages["compared"].text


def test_names_with_dollars_are_no_mathematics(pages):
    assert "$a_b$" in pages["hostile"].text


def test_every_figure_says_what_it_shows(pages):
    page = pages["full"]
    count = page.tags.count("figure")
    assert count == page.tags.count("figcaption") == page.tags.count("svg") == 13
    labels = [value for name, value in page.attributes if name == "aria-label"]
    assert sum(len(label) > 40 for label in labels) >= count
    assert page.attributes.count(("role", "img")) == count


def test_colours_follow_the_theme(sources):
    """Every colour of a figure is a variable that both themes set."""
    for source in sources.values():
        assert "prefers-color-scheme: dark" in source
        sheet, body = source.split("</style>", 1)
        assert set(re.findall(r"var\(--([\w-]+)\)", body)) <= set(LIGHT)
        assert set(re.findall(r"(?:fill|stroke):\s*(#[0-9a-fA-F]+)", body)) == set()
        for name in LIGHT:
            assert sheet.count(f"--{name}:") == 2


def test_texts_of_figures_are_texts(pages):
    for text in ("time-steps T", "accuracy in percent", "layer3.2.relu2", "additions a second", "worst"):
        assert text in pages["full"].text


def test_headlines_stand_with_their_conditions(pages):
    text = pages["full"].text.replace(numbers.SPACE, " ")
    time_of = f"2.26 {numbers.TIMES} the time 5.40 ms spiking, 2.39 ms dense, medians of 50 rounds"
    assert time_of in text
    assert f"against the dense network compiled: 2.93 {numbers.TIMES}, 1.84 ms dense" in text
    assert "batch 1, 1 thread, int32, T = 16, cpu" in text
    assert f"1.80 {numbers.TIMES} the memory" in text and "9.44 MB spiking, 5.24 MB dense" in text
    assert "Accuracy at T = 16 91.0 % 91.2 % dense" in text
    assert f"2.21 {numbers.TIMES} the energy 310 mJ (spiking), 140 mJ (dense, eager)" in text
    assert "additions spiking, 40.6 M multiplications dense" in text


def test_the_compiled_network_that_is_missing_is_named():
    document = documents.full()
    document["time"]["runs"][2]["milliseconds"] = {"not_measurable": "torch.compile was not asked for"}
    text = Page(html.render(document)).text
    assert "against the dense network compiled: not measurable here: torch.compile was not asked for" in text


def test_modelled_energy_never_stands_alone(pages):
    for kind in ("full", "compared"):
        text = pages[kind].text.replace(numbers.SPACE, " ")
        assert "saving" not in text.lower() and "less energy" not in text.lower()
        for model in documents.full()["energy"]["modelled"]:
            row = text[text.index(model["model"]) :][:200]
            joules = [numbers.amount(model[key], "J").replace(numbers.SPACE, " ") for key in ("spiking", "dense")]
            assert all(value in row for value in joules) and f"({model['bits']} bits)" in row
            for opponent in ("dense", "quantised"):
                assert f"{numbers.three(model['spiking'] / model[opponent])} {numbers.TIMES}" in row
            assert model["source"] in row


def test_a_model_says_what_it_assumes(pages):
    assert (
        "is read from a cache of 32 kB once. Costs: mac 4.6 pJ, accumulate 0.9 pJ, word 4 bytes." in pages["full"].text
    )
    for part in documents.full()["energy"]["modelled"][0]["parts"]:
        assert f" {part} " in pages["full"].text


def test_what_could_not_be_measured_is_shown_with_its_reason(pages):
    text = pages["everything_missing"].text
    for reason in (
        "another process kept the processor busy",
        "this system has no /proc",
        "/sys/class/powercap is not readable",
        "the images have no labels",
        "no layer was timed by itself",
        "no dense network was given",
    ):
        assert f"not measurable here: {reason}" in text
    assert "Correlation and error of 19 layers:" in text
    assert "the compiler's own memory cannot be told apart" in pages["full"].text
    assert "torch.compile found no C++ compiler" in pages["full"].text
    assert "None" not in text and "not_measurable" not in text


def test_a_partial_profile_says_so_first(pages):
    text = pages["partial"].text
    banner = text.index("This profile is partial: stopped by Ctrl-C after 3 of 5 rounds")
    assert banner < text.index("Against the dense network")
    assert "is partial" not in pages["full"].text


def test_a_network_without_neurons_has_a_page(pages):
    assert pages["without_neurons"].text.count("no layer of resnet20 has neurons") == 5


def test_every_layer_is_in_the_table(sources):
    table = sources["full"].split('aria-label="Every layer"')[1].split("</table>")[0]
    rows = [Page(f"<table><tr>{row}</table>").texts for row in table.split("<tr>")[1:]]
    layers = documents.full()["layers"]
    assert [row[0] for row in rows[1:]] == [layer["name"] for layer in layers]
    assert {len(row) for row in rows} == {22}
    by_head = dict(zip(rows[0], rows[2], strict=True))
    layer = layers[1]
    operations = sum(sum(o["by_step"]) for o in layer["operations"]) / documents.IMAGES
    assert by_head["firing rate"] == numbers.percent(layer["rate"])
    assert by_head["synaptic operations an image"] == numbers.amount(operations)
    assert by_head["multiplications dense"] == numbers.amount(layer["dense_macs"])
    assert by_head["spiking ms"] == numbers.three(layer["milliseconds"])
    assert by_head["silent"] == f"{layer['spread']['silent']:,}"
    assert by_head["bound by"] == documents.full()["roofline"]["layers"][0]["bound"]


def test_how_it_was_measured_is_there(pages):
    document, text = documents.full(), pages["full"].text
    for said in (
        document["command"],
        document["notes"][0],
        "AMD EPYC 9R14",
        "torch 2.11.0+cu130",
        "Synaptic operations:",
    ):
        assert said in text
    assert "400 images in 4 batches, with labels" in text


def test_a_comparison_names_what_differs(pages):
    text = pages["compared"].text
    assert "They differ in: time-steps T." in text and "time-steps T (differs)" in text
    assert "Each ratio compares with the dense network of the same profile" in text
    alike = Page(html.compare({"a": documents.full(), "b": documents.full()})).text
    assert "Their conditions are alike." in alike and "(differs)" not in alike


def test_a_comparison_shows_partial_and_missing_profiles():
    given = {"a": documents.partial(), "b": documents.everything_missing(), "c": documents.without_neurons()}
    page = Page(html.compare(given))
    assert page.faults == [] and "a is partial" in page.text
    assert "not measurable here: another process kept the processor busy" in page.text


def test_what_is_no_profile_is_refused():
    with pytest.raises(ValueError, match=r"two profiles or more are required for a comparison, got 1"):
        html.compare({"a": documents.full()})
    document = documents.full() | {"version": 2}
    with pytest.raises(ValueError, match=r"of schema fastsnn.profile, version 1 is required, got fastsnn.profile, 2"):
        html.render(document)


def test_the_same_document_gives_the_same_page(sources):
    assert html.render(documents.full()) == sources["full"]


@pytest.mark.parametrize(
    "value, unit, written",
    [
        (0, "", "0"),
        (640, "", "640"),
        (442368, "", "442_k"),
        (999.96e3, "", "1.00_M"),
        (7.34e-5, "J", "73.4_µJ"),
        (0.31, "J", "310_mJ"),
        (2.5e-12, "J", "2.50_pJ"),
        (1827264, "B", "1.83_MB"),
        (float("nan"), "J", "undefined_J"),
    ],
)
def test_amounts(value, unit, written):
    assert numbers.amount(value, unit) == written.replace("_", numbers.SPACE)
