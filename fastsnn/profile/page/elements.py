"""The pieces of HTML that a page is made of; every text that is not markup is escaped here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from fastsnn.profile.page.numbers import NONE, reason
from fastsnn.profile.schema import missing


@dataclass(frozen=True)
class Markup:
    """A text that is HTML already."""

    html: str


def text(value: Any) -> str:
    """As HTML: markup as it is, a value that could not be measured as its reason, None as a dash."""
    if isinstance(value, Markup):
        return value.html
    if missing(value):
        return f'<span class="missing">{escape(reason(value))}</span>'
    return escape(NONE if value is None else str(value))


def tag(name: str, *parts: Any, **attributes: str) -> Markup:
    """<name ...>parts</name>; `class_` is written class, an underscore a hyphen."""
    written = "".join(f' {k.rstrip("_").replace("_", "-")}="{escape(v)}"' for k, v in attributes.items())
    return Markup(f"<{name}{written}>{''.join(text(p) for p in parts)}</{name}>")


def join(parts: Iterable[Any]) -> Markup:
    return Markup("\n".join(text(p) for p in parts))


def paragraph(*parts: Any, class_: str = "note") -> Markup:
    return tag("p", *parts, class_=class_)


def section(title: str, *parts: Any) -> Markup:
    return tag("section", tag("h2", title), *parts)


def card(label: str, value: Any, *lines: Any) -> Markup:
    """A headline: what it is, the number, and under which conditions."""
    below = [tag("p", line) for line in lines if line is not None]
    return tag("div", tag("h3", label), tag("p", value, class_="value"), *below, class_="card")


def table(heads: Sequence[Any], rows: Iterable[Sequence[Any]], label: str, words: Sequence[int] = (0,)) -> Markup:
    """A table that scrolls inside its own frame; columns in `words` are texts, the others numbers.

    A text in the last column is wide, so that it does not make its row tall.
    """
    kinds = ["words" if i in words else "number" for i in range(len(heads))]
    if len(words) > 1 and kinds[-1] == "words" and "number" in kinds:
        kinds[-1] = "words long"
    head = tag("tr", *(tag("th", h, scope="col", class_=k) for h, k in zip(heads, kinds, strict=True)))
    body = [
        tag(
            "tr",
            tag("th", first, scope="row", class_="words"),
            *(tag("td", cell, class_=kind) for cell, kind in zip(rest, kinds[1:], strict=True)),
        )
        for first, *rest in rows
    ]
    inner = tag("table", tag("thead", head), tag("tbody", *body))
    return tag("div", inner, class_="scroll", role="region", aria_label=label, tabindex="0")


def pairs(rows: Iterable[tuple[Any, Any]]) -> Markup:
    """Names with their values."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in rows))


def details(summary: str, *parts: Any) -> Markup:
    return tag("details", tag("summary", summary), *parts)
