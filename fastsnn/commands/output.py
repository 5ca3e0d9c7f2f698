"""How results leave a verb: checked paths, whole files, tables and plots."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from torch import Tensor

from fastsnn._extras import need
from fastsnn._files import write_figure
from fastsnn.spikes import steps_shown

PLOTS = (".png", ".svg", ".pdf")
# Okabe and Ito's colours, told apart with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def require_folder(path: str | Path) -> Path:
    """The folder, made where it is absent. Raises ValueError where files cannot be written into it."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as e:
        raise ValueError(f"output folder {path} cannot be written: {e.strerror}") from e
    return path


def percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def accuracy_table(title: str, curves: Mapping[str, Tensor], dense: float, steps: Sequence[int]) -> None:
    """Accuracy in percent, one row a curve ([T] fractions), one column a number of time-steps."""
    table = Table()
    table.add_column("T =", no_wrap=True)
    for t in steps:
        table.add_column(str(t), justify="right", no_wrap=True)
    table.add_column("dense", justify="right", no_wrap=True)
    for name, curve in curves.items():
        table.add_row(name, *(percent(curve[t - 1].item()) for t in steps), percent(dense))
    # Not the table's own title, which rich would break into lines as narrow as the table.
    print(title)
    console().print(table)


def console(stderr: bool = False) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        # Off a terminal rich assumes 80 columns and would cut the later time-steps off.
        console.width = 160
    return console


def plot_accuracy(path: Path, title: str, curves: Mapping[str, Tensor], dense: float) -> None:
    """Accuracy over time, one line a curve, the dense network as a dashed line."""
    # The Figure class and not pyplot: no window system is touched and no global state is left behind.
    figure = need("matplotlib.figure", "the plot").Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.axhline(100 * dense, color="black", linestyle="--", linewidth=1, label=f"dense network ({percent(dense)} %)")
    for (name, curve), colour, marker in zip(curves.items(), COLOURS, "osD^", strict=False):
        axes.plot(range(1, len(curve) + 1), 100 * curve.numpy(), color=colour, marker=marker, markersize=3, label=name)
    ticks = steps_shown(max(len(c) for c in curves.values()))
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(t) for t in ticks], minor=False)
    axes.set_xlabel("time-steps T")
    axes.set_ylabel("test accuracy in percent")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    write_figure(path, figure)
