"""What a profile looks like as a page: one HTML file that needs no network, no script and no other file."""

from collections.abc import Mapping

from fastsnn.profile.page import compare as side_by_side
from fastsnn.profile.page import figures, headline, sections
from fastsnn.profile.page.elements import Markup, join, paragraph, section, tag
from fastsnn.profile.page.numbers import plural
from fastsnn.profile.page.style import sheet
from fastsnn.profile.schema import SCHEMA, VERSION, Document


def render(document: Document) -> str:
    """The page of one profile, a complete HTML document.

    It follows the reader's light or dark theme and any width down to a telephone's. A part that could not be
    measured is shown with its reason. Raises ValueError for a document of another schema or version.
    """
    _check(document)
    name = document["network"]["name"]
    return _page(
        f"{name}: profile",
        sections.head(document),
        section("Against the dense network", tag("div", *headline.cards(document), class_="cards")),
        section("Time and memory", *sections.time(document)),
        section("Energy", *sections.energy(document)),
        section(
            "Accuracy, latency, energy",
            figures.curves(document, [m["model"] for m in document["energy"]["modelled"]], figures.summary(document)),
        ),
        section("What each layer costs", figures.costs(document)),
        section("Every layer", *sections.layers(document)),
        section("Spikes", figures.spikes(document)),
        section("How it was measured", *sections.measured(document)),
    )


def compare(documents: Mapping[str, Document]) -> str:
    """The page of several profiles beside each other: names to documents, shown in this order.

    What differs in the conditions is marked, since ratios of one hold only under its own. Raises ValueError for fewer
    than two documents, or one of another schema or version.
    """
    if len(documents) < 2:
        raise ValueError(f"two profiles or more are required for a comparison, got {len(documents)}")
    for document in documents.values():
        _check(document)
    given = dict(documents)
    names = list(given)
    spoken = ". ".join(f"{name}: {figures.summary(document)}" for name, document in given.items())
    return _page(
        f"{' · '.join(names)}: profiles compared",
        tag("p", f"{plural(len(names), 'profile')} compared", class_="above"),
        tag("h1", " · ".join(names)),
        *[sections.banner(name, document["partial"]) for name, document in given.items() if document["partial"]],
        section("Conditions", *side_by_side.conditions(given)),
        section("Against the dense network", side_by_side.results(given)),
        section("Energy", paragraph(sections.MODELS), side_by_side.energy(given)),
        section("Accuracy, latency, energy", figures.curves(given, side_by_side.models(given), spoken)),
        section("Firing rates", figures.compared(given)),
        section("Every layer", side_by_side.layers(given)),
        section("Commands", *side_by_side.commands(given)),
    )


def _check(document: Document) -> None:
    found = (document.get("schema"), document.get("version"))
    if found != (SCHEMA, VERSION):
        raise ValueError(f"a document of schema {SCHEMA}, version {VERSION} is required, got {found[0]}, {found[1]}")


def _page(title: str, *parts: Markup) -> str:
    head = [
        Markup('<meta charset="utf-8">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="color-scheme" content="light dark">'),
        Markup('<link rel="icon" href="data:,">'),
        tag("title", title),
        Markup(f"<style>\n{sheet()}</style>"),
    ]
    page = tag("html", tag("head", join(head)), tag("body", tag("main", join(parts))), lang="en")
    return f"<!DOCTYPE html>\n{page.html}\n"
