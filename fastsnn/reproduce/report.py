"""An experiment's document as tables of Markdown and as a figure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastsnn._extras import need

NONE, RECALLED = "-", "*"
NAMES = {0.5: "theta/2 (OPI)", 0.25: "theta/4", 0.75: "3 theta/4", 0.0: "0"}
RANDOM = {"uniform": "uniform on [0, theta]", "gaussian": "normal, mean theta/2, deviation theta/4"}
# Okabe and Ito's colours, told apart with any colour vision
COLOURS = ("#0072B2", "#56B4E9", "#009E73", "#CC79A7", "#E69F00", "#D55E00")


def markdown(document: Mapping[str, Any]) -> str:
    """All tables, with what a reader has to know of them."""
    parts = [f"# {document['title']}: {document['model']}", _conditions(document)]
    if document.get("reduced"):
        parts.append(f"**{document['reduced']}**")
    parts += ["## Accuracy in percent, published and measured", _paper(document)]
    if document["starts"]:
        parts += ["## What V(0) does", _ablation(document)]
    if document["methods"]:
        parts += ["## Methods on the same network", _methods(document)]
    if document["added"]:
        parts += ["## V(0) = theta/2 added to other methods", _added(document)]
    failed = [
        f"`{row['method']}` at T = {T}: {why}"
        for row in (*document["methods"], *document["added"])
        for T, why in row["failed"].items()
    ]
    if failed:
        parts += ["Without a result: " + "; ".join(failed)]
    return "\n\n".join(parts) + "\n"


def figure(document: Mapping[str, Any]) -> Any:
    """Accuracy over T for each V(0), and what was published, as a matplotlib Figure.

    Raises MissingExtra where matplotlib is absent.
    """
    drawn = need("matplotlib.figure", "the plot").Figure(figsize=(6.8, 4.6), layout="constrained")
    axes = drawn.subplots()
    for row, colour in zip(document["starts"], COLOURS, strict=True):
        steps = [int(T) for T in row["accuracy"]]
        axes.plot(steps, _percents(row), color=colour, marker="o", markersize=3, label=f"V(0) = {_name(row['start'])}")
    for row in document["published"]:
        label = f"published: {row['source']}, {row['network']}"
        shown = {int(T): value for T, value in row["accuracy"].items() if int(T) <= document["timesteps"][-1]}
        axes.plot(list(shown), list(shown.values()), "kx", label=label)
    axes.axhline(100 * document["dense"], color="black", linestyle="--", linewidth=1, label="dense, measured here")
    axes.set_xscale("log", base=2)
    axes.set_xticks(document["timesteps"], list(map(str, document["timesteps"])))
    axes.set_xlabel("time-steps T")
    axes.set_ylabel("test accuracy in percent")
    axes.set_title(f"{document['title']}: {document['model']}" + (" (reduced)" if document.get("reduced") else ""))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize="x-small")
    return drawn


def _conditions(document: Mapping[str, Any]) -> str:
    given = document["weights"]
    return (
        f"Weights `{given['file']}` (SHA-256 {given['sha256'][:16]}), trained by `{given['command']}`. "
        f"{document['images']} test images; standard error at the dense accuracy "
        f"{100 * (document['dense'] * (1 - document['dense']) / document['images']) ** 0.5:.2f} points. "
        f"Measured by `{document['command']}`." + (f" Note: {document['note']}." if document["note"] else "")
    )


def _paper(document: Mapping[str, Any]) -> str:
    steps, rows = document["timesteps"], []
    rows += [_published(row, steps) for row in document["published"]]
    for row in document["starts"]:
        if row["start"] in (0.5, 0.0):
            label = f"measured: V(0) = {_name(row['start'])}"
            rows.append(_accuracies(label, row, steps, 100 * document["dense"]))
            if row["start"] == 0.5:
                rows.append(["measured: dense minus that", NONE, *_gaps(row, steps, document["dense"])])
    return _table(["", "dense", *(f"T={T}" for T in steps)], rows) + _recalled(document["published"])


def _ablation(document: Mapping[str, Any]) -> str:
    steps, at = document["timesteps"], document["starts"][0]["at"]
    head = ["V(0)", "predicted error", "measured", "error of logits", *(f"T={T}" for T in steps)]
    rows = [
        [
            _name(row["start"]),
            f"{row['predicted']:.4f}",
            f"{row['measured']:.4f}",
            f"{row['logits']:.4f}",
            *_accuracies("", row, steps, None)[2:],
        ]
        for row in document["starts"]
    ]
    order = sorted(document["starts"], key=lambda row: row["measured"])
    predicted = [row["predicted"] for row in order]
    agree = predicted == sorted(predicted)
    found = " < ".join(_name(row["start"]) for row in order)
    text = (
        f"Errors are mean squares after T = {at} steps: of the neurons of the first layer, whose input is constant, "
        "in units of (theta / T)^2, where theory (inputs spread evenly between two counts) says 1/12 + (c - 1/2)^2 for "
        "V(0) = c theta; and of the logits, as a share of their variance. Measured in the first layer: "
        f"{found}, {'as' if agree else 'not as'} predicted."
    )
    return f"{_table(head, rows)}\n\n{text}"


def _methods(document: Mapping[str, Any]) -> str:
    steps = [T for T in document["timesteps"] if any(str(T) in row["accuracy"] for row in document["methods"])]
    rows = [
        _accuracies("opi: V(0) = theta/2", row, steps, 100 * document["dense"])
        for row in document["starts"]
        if row["start"] == 0.5
    ]
    for row in document["methods"]:
        rows.append(_accuracies(row["method"], row, steps, 100 * document["dense"]))
        rows += [_published(other, steps) for other in row["published"]]
    text = "`srp` takes 4 more steps of input than T, and `cos` looks at the first min(T, 4) steps twice."
    published = [other for row in document["methods"] for other in row["published"]]
    return _table(["", "dense", *(f"T={T}" for T in steps)], rows) + f"\n\n{text}" + _recalled(published)


def _added(document: Mapping[str, Any]) -> str:
    steps = list(map(int, document["added"][0]["accuracy"]))
    rows = []
    for row in document["added"]:
        label = f"`{row['method']}`, V(0) = {_name(row['options']['initial_potential'])}"
        rows.append([label, *_accuracies("", row, steps, None)[2:]])
    return _table(["", *(f"T={T}" for T in steps)], rows)


def _published(row: Mapping[str, Any], steps: Iterable[int]) -> list[str]:
    shown = {T: f"{value:.2f}" + ("" if int(T) in row["read"] else RECALLED) for T, value in row["accuracy"].items()}
    dense = NONE if row["dense"] is None else f"{row['dense']:.2f}"
    return [f"published: {row['source']}, {row['network']}", dense, *(shown.get(str(T), NONE) for T in steps)]


def _recalled(rows: Iterable[Mapping[str, Any]]) -> str:
    """What the mark means, where there is one."""
    marked = any(set(map(int, row["accuracy"])) - set(row["read"]) for row in rows)
    return f"\n\n{RECALLED}: as recalled, not read in the paper." if marked else ""


def _accuracies(label: str, row: Mapping[str, Any], steps: Iterable[int], dense: float | None) -> list[str]:
    """A line of percents."""
    found = [row["accuracy"].get(str(T)) for T in steps]
    return [
        label,
        NONE if dense is None else f"{dense:.2f}",
        *(NONE if value is None else f"{100 * value:.2f}" for value in found),
    ]


def _gaps(row: Mapping[str, Any], steps: Iterable[int], dense: float) -> list[str]:
    return [f"{100 * (dense - row['accuracy'][str(T)]):.2f}" for T in steps]


def _percents(row: Mapping[str, Any]) -> list[float]:
    return [100 * value for value in row["accuracy"].values()]


def _name(start: float | str) -> str:
    return RANDOM[start] if isinstance(start, str) else NAMES[start]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
