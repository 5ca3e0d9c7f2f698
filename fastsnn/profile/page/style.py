"""How the page looks: one column on a telephone, several on a wide window, light or dark as the reader has set."""

from fastsnn.visualize.palette import DARK, LIGHT

PAGE = {"light": "#f4f5f7", "dark": "#0f1216"}


def sheet() -> str:
    """The style sheet, with the colours of both themes."""
    dark = f"@media (prefers-color-scheme: dark) {{ :root {{ {_variables(DARK, PAGE['dark'])} }} }}"
    return f":root {{ color-scheme: light dark; {_variables(LIGHT, PAGE['light'])} }}\n{dark}\n{RULES}"


def _variables(colours: dict[str, str], page: str) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in [*colours.items(), ("page", page)])


RULES = """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
main { max-width: 1440px; margin: 0 auto; padding: 1.5rem 1.5rem 3rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .7rem; }
h3 { font-size: 1rem; margin: 1rem 0 .4rem; }
p { margin: 0 0 .5rem; }
.above, .note, dt, figcaption, .card p { color: var(--muted); }
.above { margin: 0 0 .2rem; font-size: .85rem; letter-spacing: .04em; }
.lead { margin: 0; }
.note { font-size: .9rem; max-width: 95ch; }
.missing { color: var(--muted); font-style: italic; }
.banner { border: 2px solid var(--vermillion); border-radius: 8px; padding: .7rem 1rem; margin: 1rem 0; }
.banner p { margin: 0; }
.cards { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
.card, figure, .scroll, dl, pre, details { background: var(--surface); border: 1px solid var(--grid);
  border-radius: 8px; }
.card { padding: .8rem 1rem; }
.card h3 { margin: 0; font-size: .9rem; font-weight: 600; }
.card p { font-size: .85rem; line-height: 1.4; margin: .2rem 0 0; }
.card .value { font-size: 1.5rem; line-height: 1.25; font-weight: 650; color: var(--ink); }
.card .value .missing { display: block; font-size: .9rem; line-height: 1.4; font-weight: 400; }
figure .missing { margin: 0; font-size: .9rem; }
.figures { columns: 3 22rem; column-gap: .8rem; }
figure { margin: 0 0 .8rem; padding: .8rem; break-inside: avoid; }
figcaption { font-size: .85rem; line-height: 1.4; margin: 0 0 .6rem; }
figcaption b { color: var(--ink); font-size: .95rem; }
figure svg { display: block; width: 100%; max-width: 30rem; height: auto; margin: 0 auto; overflow: visible;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
figure svg * { stroke-linejoin: round; stroke-linecap: butt; }
.scroll { overflow-x: auto; margin: 0 0 .8rem; overflow-wrap: normal; }
.scroll:focus-visible, summary:focus-visible { outline: 2px solid var(--blue); outline-offset: 2px; }
table { border-collapse: collapse; font-size: .85rem; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; text-align: right; vertical-align: top; white-space: nowrap; }
th.words, td.words { text-align: left; }
thead th { color: var(--muted); font-weight: 600; vertical-align: bottom; border-bottom: 1px solid var(--grid);
  white-space: normal; }
td.words, td .missing { white-space: normal; }
td.words { min-width: 10rem; }
td.long { min-width: 19rem; }
td .missing { display: inline-block; min-width: 11rem; }
tbody th { font-weight: 500; }
tbody tr + tr > * { border-top: 1px solid var(--grid); }
tr > :first-child { position: sticky; left: 0; background: var(--surface); min-width: 7.5rem; max-width: 15rem;
  white-space: normal; overflow-wrap: break-word; }
dl { margin: 0 0 .8rem; padding: .5rem 1rem; font-size: .9rem; }
dl div { display: grid; grid-template-columns: 15rem minmax(0, 1fr); gap: .2rem 1rem; padding: .2rem 0; }
dt, dd { margin: 0; }
pre { margin: 0 0 .8rem; padding: .8rem 1rem; white-space: pre-wrap; font-size: .85rem; }
details { margin: 0 0 .8rem; padding: .6rem 1rem; font-size: .9rem; }
details > :last-child { margin-bottom: .2rem; }
details .scroll { border: 0; }
summary { cursor: pointer; font-weight: 600; }
ul { margin: 0 0 .8rem; padding-left: 1.2rem; }
@media (max-width: 640px) {
  main { padding: 1rem .6rem 2rem; }
  h1 { font-size: 1.4rem; }
  figure { padding: .6rem .2rem; }
  figcaption { padding: 0 .5rem; }
  tr > :first-child { max-width: 8.5rem; }
  th, td { padding: .35rem .5rem; }
  dl div { grid-template-columns: minmax(0, 1fr); gap: 0; }
}
@media print { body { background: none; } .scroll { overflow: visible; } }
"""
