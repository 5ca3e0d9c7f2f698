"""The tables and pictures of fastsnn beside its peers, made from rows: the README's, and docs/peers.md, which has all.

python -m peers.report             rewrites them from this machine's newest rows, with those of others behind them
python -m peers.report --check     exits 1 where one of the two has other tables
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rows import RESULTS, Row, device, latest
from table import README, digits, line, rewritten

from peers import chart, heat
from peers.ahead import ahead, best, cases, key
from peers.opponents import COMPILED, DENSE, NAMES, SPIKING, TITLES

BEGIN, END = "<!-- peers table -->", "<!-- end of peers table -->"
ROWS = RESULTS / "peers"
DOCS = README.parent / "docs"
# in a folder of documents: the whole table, the README's chart, and the picture of all cases
PAGE, CHART, HEAT = "peers.md", "peers.svg", "peers-ahead.svg"
SHORT = {
    "dense": "dense",
    "dense-compiled": "dense, compiled",
    "dense-int8": "dense, int8",
    "torch": "PyTorch",
    "torch-compiled": "PyTorch, compiled",
    "spikingjelly": "SpikingJelly 2.0.0",
    "spikingjelly-converted": "SpikingJelly's converter",
    "spikingjelly-compiled": "SpikingJelly, compiled",
    "spikingjelly-0.0.0.0.14": "SpikingJelly 0.0.0.0.14",
    "snntorch": "snnTorch",
    "norse": "Norse",
    "sinabs": "sinabs",
}
NONE = "There are no rows yet: `make peers` takes them."


def sentence(row: Row) -> str:
    """What came of one case, on a line."""
    what = f"{row['network']}, T = {row['T']}, batch {row['batch']}, {TITLES[row['opponent']]}"
    if "reason" in row:
        return f"{what}: no result: {row['reason']}"
    found = f"logits off by {row['drift']:.1e} (at most {row['allowed']:.1e})"
    if "differs" in row:
        found += f", spikes off {row['differs']:.1e}, counts off {row['counts_differ']:.1e}"
    if "opponent_ms" not in row:
        return f"{what}: {found}"
    faster = ", ".join(f"{p} {ratio:.2f}" for p, ratio in row["speedup"].items())
    return (
        f"{what}: {digits(row['opponent_ms'])} ms, {row['ratio_dense']:.2f} of dense; times faster: {faster}; {found}"
    )


def headline(rows: Sequence[Row], others: Sequence[Sequence[Row]] = ()) -> str:
    """What the README has: the chart, and the cases at its T; of other devices how far ahead we are."""
    found = [row for row in rows if row["T"] == chart.T]
    image = f"![Time of each way to run the same networks](docs/{CHART})" if chart.panels(rows) else ""
    elsewhere = [f"{_processor(other)}: {_ahead(_timed(other))}" for other in others]
    more = f"[docs/{PAGE}](docs/{PAGE}) has every T and batch that was measured."
    return "\n\n".join((render(found, image), *elsewhere, more))


def whole(rows: Sequence[Row], others: Sequence[Sequence[Row]] = ()) -> str:
    """What the page of all cases has: those of one device with a picture, then those of others."""
    image = f"![Times faster than the fastest peer, over T and batch]({HEAT})" if ahead(rows) else ""
    sections = [f"## {_processor(other)}\n\n{render(other)}" for other in others]
    return "\n\n".join((render(rows, image), *sections))


def render(rows: Sequence[Row], image: str = "") -> str:
    """A picture, table, what its numbers are, and what has none."""
    timed = _timed(rows)
    missing = "\n".join(f"- {sentence(row)}" for row in rows if "reason" in row)
    if not timed:
        return f"{NONE}\n\n{missing}" if missing else NONE
    ours = list(timed[0]["ours_ms"])
    names = [name for name in NAMES if any(row["opponent"] == name for row in timed)]
    head = ["network", "rate", "T", "batch", *ours, *(SHORT[name] for name in names), "best peer", *_faster(ours)]
    lines = [line(head), line(["---"] * len(head))]
    for case in cases(timed):
        group = {row["opponent"]: row for row in timed if key(row) == case}
        lines.append(line(_cells(group, ours, names)))
    parts = [image, "\n".join(lines), _memory(timed, ours), _conditions(timed), missing]
    return "\n\n".join(part for part in parts if part)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The tables and pictures of peers.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where there are other tables")
    parser.add_argument(
        "--device", default=device(), help="whose rows, a file in benchmarks/results/peers (%(default)s)"
    )
    parser.add_argument("--readme", type=Path, default=README, metavar="FILE", help="default: the project's")
    parser.add_argument("--docs", type=Path, default=DOCS, metavar="DIR", help="of the page and pictures: docs/")
    args = parser.parse_args(argv)
    path = ROWS / f"{args.device}.jsonl"
    rows = latest(path) if path.is_file() else []
    others = [latest(other) for other in sorted(ROWS.glob("*.jsonl")) if other != path]
    new: dict[Path, str] = {}
    for file, text in ((args.readme, headline(rows, others)), (args.docs / PAGE, whole(rows, others))):
        try:
            new[file] = rewritten(file.read_text(), text, BEGIN, END)
        except ValueError as error:
            print(f"peers: {file}: {error}", file=sys.stderr)
            return 2
    old = [file for file, text in new.items() if text != file.read_text()]
    if args.check:
        for file in old:
            print(f"peers: {file} has another table than {path.name}: run make peers", file=sys.stderr)
        return int(bool(old))
    if chart.panels(rows):
        chart.draw(rows, args.docs / CHART)
    if ahead(rows):
        heat.draw(rows, args.docs / HEAT)
    for file in old:
        file.write_text(new[file])
    return 0


def _timed(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if "opponent_ms" in row]


def _processor(rows: Sequence[Row]) -> str:
    return ", ".join(sorted({f"{row['processor']} ({row['instruction_set']})" for row in rows}))


def _cells(group: dict[str, Row], ours: Sequence[str], names: Sequence[str]) -> list[str]:
    """Milliseconds an image; ours are the least of those beside the opponents, each of which had its own process."""
    row = next(iter(group.values()))
    mine = [digits(min(r["ours_ms"][p] for r in group.values()) / row["batch"]) for p in ours]
    theirs = [digits(group[name]["image_ms"]) if name in group else "-" for name in names]
    first = best(group.values())
    last = (
        [SHORT[first["opponent"]], *(f"{first['speedup'][p]:.1f}" for p in ours)] if first else ["-"] * (1 + len(ours))
    )
    return [row["network"], f"{row['rate']:.1%}", str(row["T"]), str(row["batch"]), *mine, *theirs, *last]


def _faster(ours: Sequence[str]) -> list[str]:
    return [f"times faster, {precision}" for precision in ours]


def _memory(rows: Sequence[Row], ours: Sequence[str]) -> str:
    """MiB that a run adds to a fresh process, where that was measured."""
    rows = [row for row in rows if row.get("memory_mib") is not None]
    if not rows:
        return ""
    names = [name for name in NAMES if any(row["opponent"] == name for row in rows)]
    head = ["MiB that a run adds", "T", "batch", *ours, *(SHORT[name] for name in names)]
    lines = [line(head), line(["---"] * len(head))]
    for case in cases(rows):
        group = {row["opponent"]: row for row in rows if key(row) == case}
        mine = next(iter(group.values()))["ours_memory_mib"]
        cells = [mine[p] for p in ours] + [group[n]["memory_mib"] if n in group else None for n in names]
        lines.append(line([*map(str, case), *("-" if c is None else f"{c:.0f}" for c in cells)]))
    return "\n".join(lines)


def _conditions(rows: Sequence[Row]) -> str:
    def all_of(name: str) -> str:
        return ", ".join(sorted({str(row[name]) for row in rows}))

    days = sorted(row["utc"][:10] for row in rows)
    when = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    commits = all_of("commit") + (" with changes" if any(row["dirty"] for row in rows) else "")
    versions = ", ".join(sorted({row["version"] for row in rows if row["opponent"] in SPIKING}))
    wins = [row for row in rows if row["opponent"] in DENSE]
    slower = sum(min(row["ours_ms"].values()) > row["opponent_ms"] for row in wins)
    compiled = ", ".join(TITLES[name] for name in COMPILED if any(row["opponent"] == name for row in rows))
    return "\n".join(
        (
            f"{_processor(rows)}, {all_of('threads')} threads, "
            f"torch {all_of('torch')}, {when}, commit {commits}; {versions}.",
            "Milliseconds an image: the least of several rounds in which fastsnn, the dense network and the opponent "
            "take turns in one process; ratios are of one process each.",
            _ahead(rows),
            f"In {slower} of {len(wins)} comparisons with a dense network, it is faster than fastsnn in any precision.",
            f"Compiled for each shape: {compiled or 'none'}.",
            "Weights, thresholds, images and T are the same everywhere; what else was set, and how far each result is "
            "from the reference, is in the rows.",
        )
    )


def _ahead(rows: Sequence[Row]) -> str:
    """How many times faster than the best peer, least and most over the cases at the chart's T."""
    found = [times for case, times in ahead(rows).items() if case[1] == chart.T]
    if not found:
        return f"No peer was measured at T = {chart.T}."
    spans = {p: (min(s[p] for s in found), max(s[p] for s in found)) for p in found[0]}
    return (
        f"At T = {chart.T}, times faster than the fastest peer of each line: "
        + ", ".join(f"{precision} {least:.1f} to {most:.1f}" for precision, (least, most) in spans.items())
        + "."
    )


if __name__ == "__main__":
    sys.exit(main())
