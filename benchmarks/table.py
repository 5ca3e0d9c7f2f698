"""The README's tables of benchmark rows.

python benchmarks/table.py             rewrites the tables from this machine's newest rows
python benchmarks/table.py --check     exits 1 where the README has others
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rows import RESULTS, Row, device, latest

README = RESULTS.parents[1] / "README.md"
BEGIN, END = "<!-- benchmark table -->", "<!-- end of benchmark table -->"
ARCHITECTURES = "<!-- architectures table -->", "<!-- end of architectures table -->"
PRECISIONS = ("int32", "int16")
HEAD_OF_TIMES = tuple(f"{precision} ms (ratio)" for precision in PRECISIONS)
HEAD = (
    "network",
    "weights",
    "rate",
    "T",
    "batch",
    "threads",
    "ANN ms",
    *HEAD_OF_TIMES,
    "times faster than T steps in PyTorch",
    "times faster than SpikingJelly",
)


def render(rows: Sequence[Row]) -> str:
    """The table of the rows of networks, and a paragraph that says what its numbers are. Raises ValueError for none."""
    groups: dict[tuple, dict[str, Row]] = {}
    found = [row for row in rows if row["case"] == "network"]
    if not found:
        raise ValueError("there are no rows of networks: run `make bench`")
    order = list(dict.fromkeys(row["network"] for row in found))
    for row in found:
        key = (order.index(row["network"]), -row["T"], row["batch"], row["threads"])
        groups.setdefault(key, {})[row["precision"]] = row
    lines = [line(HEAD), line(["---"] * len(HEAD))]
    lines += [line(_cells(group)) for _, group in sorted(groups.items())]
    return "\n".join([*lines, "", _conditions(found)])


def architectures(rows: Sequence[Row]) -> str:
    """The table of other architectures, a line each, and its conditions. Raises ValueError for none."""
    found = [row for row in rows if row["case"] == "architecture"]
    if not found:
        raise ValueError("there are no rows of architectures: run `make bench`")
    groups: dict[str, dict[str, Row]] = {}
    for row in found:
        groups.setdefault(row["network"], {})[row["precision"]] = row
    lines = [line(("network", "rate", "ANN ms", *HEAD_OF_TIMES)), line(["---"] * (3 + len(HEAD_OF_TIMES)))]
    for name, group in groups.items():
        row = next(iter(group.values()))
        lines.append(line((name, f"{row['rate']:.1%}", digits(row["ann_ms"]), *_times(group))))
    same = {name: ", ".join(sorted({str(row[name]) for row in found})) for name in ("T", "batch", "threads", "weights")}
    how = "T = {T}, batch {batch}, {threads} threads, {weights} weights; ratios to the ANN.".format(**same)
    return "\n".join([*lines, "", _when(found), how, f"Images: {', '.join(sorted({r['images'] for r in found}))}."])


def rewritten(text: str, table: str, first: str = BEGIN, last: str = END) -> str:
    """The text with the table between its markers. ValueError where they are not there once each, in order."""
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end or any(marker in after for marker in (first, last)):
        raise ValueError(f"should have one line {first} and below it one line {last}")
    return f"{before}{first}\n{table}\n{last}{after}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The README's table of benchmark rows.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where the README has another")
    parser.add_argument("--device", default=device(), help="whose rows, a file in benchmarks/results (%(default)s)")
    parser.add_argument("--readme", type=Path, default=README, metavar="FILE", help="default: the project's")
    args = parser.parse_args(argv)
    path = RESULTS / f"{args.device}.jsonl"
    if not path.is_file():
        have = ", ".join(sorted(p.stem for p in RESULTS.glob("*.jsonl"))) or "none"
        print(f"table: no rows of {args.device}; there are those of: {have}", file=sys.stderr)
        return 2
    text, rows = args.readme.read_text(), latest(path)
    try:
        # a table of another device stays where this one has rows of the other table alone
        others = any(row["case"] == "architecture" for row in rows)
        networks = not others or any(row["case"] == "network" for row in rows)
        new = rewritten(text, render(rows)) if networks else text
        new = rewritten(new, architectures(rows), *ARCHITECTURES) if others else new
    except ValueError as error:
        print(f"table: {args.readme}: {error}", file=sys.stderr)
        return 2
    if args.check and new != text:
        print(f"table: {args.readme} has another table than {path.name}: run benchmarks/table.py", file=sys.stderr)
        return 1
    if new != text:
        args.readme.write_text(new)
    return 0


def _cells(group: dict[str, Row]) -> list[str]:
    row = next(iter(group.values()))
    ordered = [group[precision] for precision in PRECISIONS if precision in group]
    peers = []
    for peer in ("torch_steps", "spikingjelly"):
        speedups = [r[f"{peer}_speedup"] for r in ordered]
        peers.append("-" if None in speedups else " / ".join(f"{s:.1f}" for s in speedups))
    case = [str(row[name]) for name in ("T", "batch", "threads")]
    return [row["network"], row["weights"], f"{row['rate']:.1%}", *case, digits(row["ann_ms"]), *_times(group), *peers]


def _times(group: dict[str, Row]) -> list[str]:
    ordered = (group.get(precision) for precision in PRECISIONS)
    return [f"{digits(r['snn_ms'])} ({r['ratio']:.2f})" if r else "-" for r in ordered]


def _when(rows: Sequence[Row]) -> str:
    """The machine, versions, days and commits of rows."""

    def all_of(name: str) -> str:
        return ", ".join(sorted({str(row[name]) for row in rows}))

    days = sorted(row["utc"][:10] for row in rows)
    when = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    commits = all_of("commit") + (" with changes" if any(row["dirty"] for row in rows) else "")
    return f"{all_of('processor')} ({all_of('instruction_set')}), torch {all_of('torch')}, {when}, commit {commits}."


def _conditions(rows: Sequence[Row]) -> str:
    def all_of(name: str) -> str:
        return ", ".join(sorted({str(row[name]) for row in rows}))

    return "\n".join(
        (
            _when(rows),
            "Least time of several rounds in which all columns of a line take turns, in ms; ratios are to the ANN.",
            f"ANN: {all_of('baseline')}.",
            f"Rate: share of the steps in which a neuron fires, mean over the layers; images: {all_of('images')}.",
            "T steps in PyTorch: the same network, all steps of a layer as one batch, then its neurons in a loop.",
            f"SpikingJelly: the same thresholds and start, multi-step mode ({all_of('spikingjelly')}).",
            "Times faster: of int32 / of int16.",
        )
    )


def digits(milliseconds: float) -> str:
    """Three of them, as far as they say anything."""
    return f"{milliseconds:.{0 if milliseconds >= 100 else 1 if milliseconds >= 10 else 2}f}"


def line(cells: Sequence[str]) -> str:
    """One of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
