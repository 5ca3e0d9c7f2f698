"""Which colours figures are drawn in: Okabe and Ito's hues, with a lightness for a light and one for a dark background.

The lightness is chosen so that the four series and the ink stay apart with any colour vision, and each stands out from
its background by at least 3 to 1. Figures are drawn in LIGHT; a page replaces each colour by the one of its theme.
"""

LIGHT = {
    "ink": "#1b1f24",
    "muted": "#5a636e",
    "grid": "#d5d9de",
    "surface": "#ffffff",
    "blue": "#008cdb",
    "vermillion": "#d55e00",
    "green": "#08634a",
    "purple": "#c5679b",
}
DARK = {
    "ink": "#e8eaed",
    "muted": "#9aa4b1",
    "grid": "#39414c",
    "surface": "#171b21",
    "blue": "#32b5ff",
    "vermillion": "#ee6900",
    "green": "#008460",
    "purple": "#d38bb3",
}
# the colours that stand for data, in the order in which lines take them
SERIES = ("blue", "vermillion", "green", "purple")
