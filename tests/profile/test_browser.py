"""The page of a profile in a real browser, opened from disk: wide and on a telephone, light and dark."""

import shutil
from io import BytesIO

import documents
import numpy as np
import pytest

from fastsnn.profile import html

pytest.importorskip("matplotlib")
playwright = pytest.importorskip("playwright.sync_api", reason="no browser can be driven: playwright is not installed")

pytestmark = pytest.mark.slow

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
SCREENS = {
    "wide": {"viewport": {"width": 1280, "height": 900}},
    "phone": {
        "viewport": {"width": 360, "height": 740},
        "device_scale_factor": 2,
        "is_mobile": True,
        "has_touch": True,
    },
}
PAGES = {
    "full": lambda: html.render(documents.full()),
    "missing": lambda: html.render(documents.everything_missing()),
    "hostile": lambda: html.render(documents.hostile()),
    "compared": lambda: html.compare({"theta/2": documents.full(), documents.HOSTILE: documents.full(T=32, rate=0.2)}),
}
# What a reader sees of each text: its size, and its contrast with what is behind it.
SEEN = """
() => {
  const context = Object.assign(document.createElement("canvas"), {width: 1, height: 1}).getContext("2d");
  const pixel = colour => { context.clearRect(0, 0, 1, 1); context.fillStyle = colour; context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data]; };
  const light = rgb => rgb.slice(0, 3).map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const behind = element => { for (let e = element; e; e = e.parentElement) {
    const colour = pixel(getComputedStyle(e).backgroundColor); if (colour[3] === 255) return colour; }
    return [255, 255, 255, 255]; };
  const found = [];
  for (const element of document.querySelectorAll("main *")) {
    const own = [...element.childNodes].filter(n => n.nodeType === 3).map(n => n.textContent.trim()).join("");
    const box = element.getBoundingClientRect();
    if (!own || !box.width || !element.checkVisibility()) continue;
    const style = getComputedStyle(element), svg = element.closest("svg");
    const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
    const [a, b] = [light(pixel(svg ? style.fill : style.color)), light(behind(element))].sort((x, y) => y - x);
    found.push({text: own.slice(0, 40), size: parseFloat(style.fontSize) * scale, contrast: (a + .05) / (b + .05),
      svg: !!svg, left: box.left, right: box.right, scrolled: !!element.closest(".scroll")});
  }
  return found;
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for name, build in PAGES.items():
        (folder / f"{name}.html").write_text(build(), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def browser():
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def visit(browser, folder):
    """Opens a page and keeps what the browser complained about and asked for."""
    contexts = []

    def open_page(name, screen, theme):
        context = browser.new_context(color_scheme=theme, **SCREENS[screen])
        contexts.append(context)
        page, heard, asked = context.new_page(), [], []
        page.on("console", lambda message: heard.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((folder / f"{name}.html").as_uri())
        page.wait_for_load_state("networkidle")
        return page, heard, asked

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_can_be_read(visit, folder, name, screen, theme):
    page, heard, asked = visit(name, screen, theme)
    assert heard == []
    assert [url for url in asked if not url.startswith("data:")] == [(folder / f"{name}.html").as_uri()]
    widths = page.evaluate("[document.documentElement.scrollWidth, innerWidth, document.body.scrollWidth]")
    assert max(widths) == SCREENS[screen]["viewport"]["width"], "the page scrolls sideways"

    figures = page.locator("figure").all()
    assert len(figures) >= 7
    for figure in figures:
        box = figure.bounding_box()
        assert box["width"] > 250 and box["height"] > 50
        assert figure.inner_text().strip()
    for svg in page.locator("figure svg").all():
        box = svg.bounding_box()
        assert box["width"] > 250 and box["height"] > 150
        assert svg.get_attribute("aria-label") and svg.locator("text").count() > 4

    seen = page.evaluate(SEEN)
    assert sum(text["svg"] for text in seen) > 50
    assert [text for text in seen if text["contrast"] < 4.5] == []
    assert [text for text in seen if text["size"] < 9] == []
    edge = widths[1] + 0.5
    assert [t for t in seen if not t["scrolled"] and (t["left"] < -0.5 or t["right"] > edge)] == []


def test_light_and_dark_differ(visit):
    colours = []
    for theme in ("light", "dark"):
        page, _, _ = visit("full", "wide", theme)
        colours.append(
            page.evaluate(
                """() => [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,
                getComputedStyle(document.querySelector("#accuracy svg text")).fill,
                getComputedStyle(document.querySelector("#accuracy svg use")).fill]"""
            )
        )
    assert all(light != dark for light, dark in zip(*colours, strict=True))


def test_a_wide_table_scrolls_in_its_own_frame(visit):
    page, _, _ = visit("full", "phone", "light")
    frame = page.get_by_role("region", name="Every layer")
    assert frame.evaluate("e => e.scrollWidth > e.clientWidth")
    frame.evaluate("e => { e.scrollLeft = 300; }")
    assert frame.evaluate("e => e.scrollLeft") == 300
    name, box = frame.locator("tbody th").first.bounding_box(), frame.bounding_box()
    assert abs(name["x"] - box["x"]) < 2, "the layer's name scrolled away"
    assert page.evaluate("scrollX") == 0


def test_figures_stand_side_by_side_on_a_wide_window_only(visit):
    tops = {}
    for screen in SCREENS:
        page, _, _ = visit("full", screen, "light")
        boxes = [figure.bounding_box() for figure in page.locator(".figures").first.locator("figure").all()]
        tops[screen] = len({round(box["x"]) for box in boxes})
    assert tops == {"wide": 3, "phone": 1}


def test_drawings_are_painted(visit):
    """Pixels of the accuracy figure hold the colour of its first line, in both themes."""
    for theme, colour in (("light", (0, 140, 219)), ("dark", (50, 181, 255))):
        page, _, _ = visit("full", "phone", theme)
        png = page.locator("#accuracy svg").screenshot()
        image = np.array(pytest.importorskip("PIL.Image").open(BytesIO(png)).convert("RGB"), dtype=int)
        found = (np.abs(image - colour).max(axis=2) < 8).sum()
        assert found > 300
