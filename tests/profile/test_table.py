"""What the terminal shows of a profile, and of several side by side: numbers that are in the document."""

import documents
import pytest

from fastsnn.profile import Profile, compare, table


def cells(text):
    """Rows of cells of all tables in a text."""
    return [[cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")] for line in text.splitlines()]


def row(text, first):
    return next(found for found in cells(text) if found[0].startswith(first))


def test_headline_has_ratios_with_their_conditions():
    document = documents.full()
    text = str(Profile(document))
    runs = {run["name"]: run for run in document["time"]["runs"]}
    ratio = runs["spiking"]["milliseconds"]["p50"] / runs["dense, eager"]["milliseconds"]["p50"]
    time = row(text, "time, dense, eager")
    assert f"batch {document['conditions']['batch']}" in time[0]
    assert float(time[3].split()[0]) == pytest.approx(ratio, rel=5e-3)
    assert f"counted on {document['conditions']['images']} images" in text
    assert document["machine"]["processor"] in text and f"T = {document['network']['timesteps']}" in text


def test_energy_never_stands_alone():
    document = documents.full()
    for model in document["energy"]["modelled"]:
        found = row(str(Profile(document)), model["model"])
        for i, opponent in ((4, "dense"), (5, "quantised")):
            assert float(found[i].split()[0]) == pytest.approx(model["spiking"] / model[opponent], rel=6e-3)


def test_every_layer_is_there():
    document = documents.full()
    text = str(Profile(document))
    for layer in document["layers"]:
        found = row(text, layer["name"])
        if layer["rate"] is not None:
            assert float(found[2]) == pytest.approx(layer["rate"], abs=5e-4)


def test_what_is_missing_is_said():
    text = str(Profile(documents.everything_missing()))
    assert text.count("not measurable here: ") >= 3
    assert "PARTIAL: " + documents.partial()["partial"] in str(Profile(documents.partial()))
    assert str(Profile(documents.without_neurons()))


def test_profiles_side_by_side():
    a, b = documents.full(), documents.full(T=32, rate=0.2)
    text = compare.text({"a": a, "b": b})
    assert row(text, "time-steps T")[1:] == ["16", "32"]
    first = a["layers"][0]
    assert row(text, first["name"])[1] == f"{first['rate']:.3f}"
    assert row(text, "accuracy")[1].split()[0] == f"{100 * a['accuracy']['curves'][0]['accuracy'][-1]:.1f}"
    model = a["energy"]["modelled"][0]["model"]
    assert "dense" in row(text, f"modelled energy an image, {model}")[1]


def test_conditions_that_differ_are_marked():
    a, b = documents.full(), documents.full(T=32)
    overall = compare.tables({"a": a, "b": b}).renderables[0]
    names = list(overall.columns[0].cells)
    styles = {name: found.style for name, found in zip(names, overall.rows, strict=True)}
    assert styles["time-steps T"] == "yellow" and styles["threads"] is None


def test_one_profile_is_no_comparison():
    with pytest.raises(ValueError, match="needs at least two profiles, got 1"):
        compare.tables({"a": documents.full()})


def test_parts_that_only_one_has():
    a, b = documents.full(), documents.everything_missing()
    b["layers"] = b["layers"][:2]
    text = compare.text({"a": a, "b": b})
    assert row(text, [layer for layer in a["layers"] if layer["neurons"]][-1]["name"])[3] == table.NONE
