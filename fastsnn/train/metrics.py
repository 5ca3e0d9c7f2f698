"""What each epoch measured, as lines and as a figure."""

import json
from collections.abc import Sequence
from typing import Any

from fastsnn._extras import need


def lines(rows: Sequence[dict[str, Any]]) -> str:
    """One line of JSON a row."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def curves(rows: Sequence[dict[str, Any]], title: str) -> Any:
    """Accuracies in percent and the bounds (mean, and from the smallest to the largest) against epochs.

    Returns a matplotlib Figure. Raises MissingExtra where matplotlib is absent.
    """
    # The Figure class and not pyplot: no window system is touched and no global state is left behind.
    figure = need("matplotlib.figure", "the plot").Figure(figsize=(6.4, 5.6), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True)
    epochs = [row["epoch"] for row in rows]
    for name, colour, dashes in (("train", "#D55E00", "--"), ("test", "#0072B2", "-")):
        found = [100 * row[f"{name}_accuracy"] for row in rows]
        upper.plot(epochs, found, color=colour, linestyle=dashes, marker="o", markersize=2, label=name)
    upper.set_ylabel("accuracy in percent")
    upper.set_title(title)
    upper.legend(loc="lower right")
    lower.fill_between(
        epochs, [row["bound_min"] for row in rows], [row["bound_max"] for row in rows], color="#009E73", alpha=0.25
    )
    lower.plot(epochs, [row["bound_mean"] for row in rows], color="#009E73", marker="o", markersize=2)
    lower.set_ylabel("bounds: mean, range")
    lower.set_xlabel("epoch")
    lower.locator_params(axis="x", integer=True)
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    return figure
