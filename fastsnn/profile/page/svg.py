"""How a figure becomes part of a page: SVG with real text, whose colours follow the theme of the reader."""

import re
import warnings
from collections.abc import Callable
from html import escape
from io import StringIO
from typing import Any
from xml.etree import ElementTree

from fastsnn._extras import need
from fastsnn.visualize.palette import LIGHT

VARIABLES = {colour: f"var(--{name})" for name, colour in LIGHT.items()}
LINK = "{http://www.w3.org/1999/xlink}href"
NUMBERS = ("d", "x", "y", "width", "height", "transform")
SETTINGS = {"svg.fonttype": "none", "path.simplify": False, "text.usetex": False}


def inline(build: Callable[[], Any], key: str, label: str) -> str:
    """The <svg> of what `build` draws. key: one for each figure of a page; label: what a screen reader says."""
    matplotlib = need("matplotlib", "the HTML page")
    file = StringIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        # the reader's browser has the letters that the font of the layout lacks
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**SETTINGS, "svg.hashsalt": key})
        build().savefig(file, format="svg", transparent=True, dpi=160, metadata={"Date": None})
    return themed(file.getvalue(), key, label)


def themed(source: str, key: str, label: str) -> str:
    """The SVG without what a page has no use for, colours as variables, its ids apart from those of other figures."""
    root = ElementTree.fromstring(source)
    for parent in list(root.iter()):
        for child in list(parent):
            if _name(child.tag) in ("metadata", "style"):
                parent.remove(child)
    used = set(re.findall(r"#([\w-]+)\)", source)) | {e.get(LINK, "")[1:] for e in root.iter()}
    for element in root.iter():
        element.tag = _name(element.tag)
        _rename(element, key, used)
        for name in NUMBERS:
            if name in element.attrib:
                element.set(name, re.sub(r"-?\d+\.\d{3,}", _shorter, element.attrib[name]))
        if "style" in element.attrib:
            element.set("style", _style(element.attrib["style"]))
    box = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib.update({"viewBox": box, "role": "img", "aria-label": label})
    return ElementTree.tostring(root, encoding="unicode")


def _rename(element: ElementTree.Element, key: str, used: set[str]) -> None:
    name = element.attrib.pop("id", None)
    if name in used:
        element.set("id", f"{key}-{name}")
    link = element.attrib.pop(LINK, None)
    if link:
        element.set("href", f"#{key}-{link[1:]}" if link.startswith("#") else link)
    for attribute, value in element.attrib.items():
        if "url(#" in value:
            element.set(attribute, value.replace("url(#", f"url(#{key}-"))


def _style(style: str) -> str:
    """Variables for colours, and the size of a text without its font, which the page sets."""
    kept = []
    for entry in style.split(";"):
        name, _, value = (part.strip() for part in entry.partition(":"))
        if name == "font":
            kept += ["font-weight:bold"] * ("bold" in value or "700" in value)
            kept += [f"font-size:{size}px" for size in re.findall(r"([\d.]+)px", value)]
        elif name:
            kept.append(f"{name}:{VARIABLES.get(value, value)}")
    return ";".join(kept)


def _shorter(number: re.Match) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def _name(tag: str) -> str:
    return tag.rpartition("}")[2]


def figure(build: Callable[[], Any], key: str, title: str, caption: str, spoken: str = "") -> str:
    """A <figure> with its caption; where there is nothing to draw, the reason in its place."""
    try:
        drawn, kind = inline(build, key, f"{title}. {spoken or caption}"), "drawn"
    except ValueError as e:
        drawn, kind = f'<p class="missing">{escape(str(e))}</p>', "absent"
    words = f"<figcaption><b>{escape(title)}.</b> {escape(caption)}</figcaption>"
    return f'<figure id="{key}" class="{kind}">{words}{drawn}</figure>'
