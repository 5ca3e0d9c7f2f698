"""How numbers are written for a reader: three digits, a unit that stays on their line, or why there is no number."""

from math import isfinite
from typing import Any

from fastsnn.profile.schema import missing

PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
NONE, TIMES, SPACE = "\N{EN DASH}", "\N{MULTIPLICATION SIGN}", "\N{NO-BREAK SPACE}"


def reason(value: Any) -> str:
    return f"not measurable here: {value['not_measurable']}"


def three(value: float) -> str:
    """Three significant digits, never an exponent."""
    if not isfinite(value):
        return "undefined"
    if value == 0:
        return "0"
    size = abs(value)
    digits = 0 if size >= 99.95 else 1 if size >= 9.995 else 2 if size >= 0.9995 else 3 if size >= 0.09995 else 4
    return f"{value:,.{digits}f}"


def amount(value: float, unit: str = "") -> str:
    """With a prefix from n to T: 40.6 M, 73.4 µJ."""
    if not isfinite(value) or value == 0:
        return f"{three(value)}{SPACE}{unit}".strip()
    factor, prefix = next((p for p in PREFIXES if abs(value) >= 0.9995 * p[0]), (1e-12, "p"))
    if factor == 1.0 and not unit and float(value).is_integer():
        return f"{value:.0f}"
    return f"{three(value / factor)}{SPACE}{prefix}{unit}".strip()


def size(count: float) -> str:
    """Bytes, in powers of 1000."""
    return amount(count, "B")


def percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}{SPACE}%"


def times(ratio: float | None) -> str:
    return NONE if ratio is None else f"{three(ratio)}{SPACE}{TIMES}"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun if count == 1 else noun + ('es' if noun.endswith('ch') else 's')}"


def divided(a: Any, b: Any) -> float | None:
    """a / b, or None where either is missing or b is 0."""
    if a is None or b is None or missing(a) or missing(b) or not b:
        return None
    return a / b


def milliseconds(value: Any) -> str:
    return NONE if value is None else f"{three(value)}{SPACE}ms"
