"""How the text of an argument becomes a value, or a mistake that argparse tells."""

import argparse
from collections.abc import Callable

POTENTIALS = ("uniform", "gaussian", "measured")


def whole(least: int) -> Callable[[str], int]:
    """Of a whole number of at least so many."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = None
        if number is None or number < least:
            raise argparse.ArgumentTypeError(f"should be a whole number of at least {least}, got {text!r}")
        return number

    return parse


def number(text: str) -> float:
    """One number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"should be a number, got {text!r}") from None


def names(text: str) -> tuple[str, ...]:
    """Names with commas between; "none" is no name."""
    return () if text == "none" else tuple(text.split(","))


def numbers(text: str) -> tuple[float, ...]:
    """Numbers with commas between."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"should be numbers such as 0.5,0.4,0.3, got {text!r}") from None


def potential(text: str) -> float | str:
    """A number, or one of POTENTIALS."""
    if text in POTENTIALS:
        return text
    try:
        return float(text)
    except ValueError:
        names = ", ".join(POTENTIALS)
        raise argparse.ArgumentTypeError(f"should be a number or one of {names}, got {text!r}") from None
