"""Compiles the launches of `launches.py` where there is no GPU, and writes the table of what became of them.

    python tests/gpu/machine_code.py --json figures.json     compile them all and write what was found
    python tests/gpu/machine_code.py --write-docs            the table in docs/gpu_kernels.md

Compiling happens in processes of its own, where Triton does not interpret.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from launches import CAPABILITIES, LAUNCHES, Named

from fastsnn.testing import compiled

DOCS = Path(__file__).resolve().parents[2] / "docs" / "gpu_kernels.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
COLUMNS = {
    "launch": "name", "kernel": "kernel", "operands": "operands", "T": "T", "tile": "tile", "sm": "capability",
    "instruction": "instruction", "registers": "registers", "spills": "spills", "shared KiB": "shared",
    "CTAs per SM": "ctas_per_sm", "loop": "loop_instructions",
}  # fmt: skip


def compile_part(part: int, parts: int, capabilities: tuple[int, ...]) -> dict:
    """Every parts-th launch, compiled in this process: {"absent": why it cannot} or {"triton": version, "rows": [...]}.

    A row is a kernel of a launch, or the error of a launch; "codes" are its launch's compilations for each batch.
    """
    if why := compiled.reason():
        return {"absent": why}
    import triton

    rows = []
    for named in LAUNCHES[part::parts]:
        for capability in capabilities:
            start = time.perf_counter()
            rows += compile_one(named, capability)
            print(f"sm_{capability} {named.name}: {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)
    return {"triton": triton.__version__, "rows": rows}


def compile_one(named: Named, capability: int) -> list[dict]:
    row = {"name": named.name, "capability": capability, "operands": named.operands, "T": named.T}
    try:
        each = []
        for batch in named.batches:
            with compiled.compiling_for(capability) as launches:
                named.call(batch)
            each.append(launches)
        codes = [[launch.code for launch in launches] for launches in each]
        return [
            row | {"kernel": x.name, "tile": tile(x), "codes": codes, "figures": asdict(compiled.figures(x))}
            for x in each[0]
        ]
    except Exception as error:
        # the other launches are still worth knowing of, and this one's row says what happened
        while error.__cause__ is not None:
            error = error.__cause__
        return [row | {"error": f"{type(error).__name__}: {error}"}]


def tile(launch: compiled.Launch) -> str:
    """Rows (positions times steps), channels and summed numbers, or neurons, of a tile; and its warps."""
    c = launch.constants
    if "P" in c:
        numbers = [c["P"] * c.get("STEPS", 1), c["N"], *([c["K"]] if "K" in c else [])]
    else:
        numbers = [c[name] for name in ("BLOCK", "ROWS", "CHANNELS", "OUTPUTS", "DEPTH") if name in c]
    return "x".join(map(str, numbers)) + f", {launch.kernel.metadata.num_warps} warps"


def environment(folder: str) -> dict[str, str]:
    """Of a process that compiles: this one's modules, kernels that are not interpreted, and the cache in a folder."""
    kept = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    return kept | {"TRITON_CACHE_DIR": str(Path(folder) / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}


def measure(folder: str, capabilities: tuple[int, ...] = CAPABILITIES) -> dict:
    """All launches, compiled in processes of their own: as `compile_part`. Their cache is in an empty folder."""
    parts = min(os.cpu_count() or 1, 8)
    outputs = [Path(folder) / f"{part}.json" for part in range(parts)]
    chosen = [x for capability in capabilities for x in ("--capability", str(capability))]
    commands = [[sys.executable, __file__, "--part", f"{i}/{parts}", "--json", str(outputs[i]), *chosen]
                for i in range(parts)]  # fmt: skip
    running = [subprocess.Popen(command, env=environment(folder)) for command in commands]
    failed = [process.args for process in running if process.wait()]
    if failed:
        raise RuntimeError(f"compiling failed: {failed}")
    found = [json.loads(output.read_text()) for output in outputs]
    if "absent" in found[0]:
        return found[0]
    order = {named.name: i for i, named in enumerate(LAUNCHES)}
    rows = sorted((row for one in found for row in one["rows"]), key=lambda r: (order[r["name"]], -r["capability"]))
    return {"triton": found[0]["triton"], "rows": rows}


def compiled_by(found: dict) -> str:
    return f"Compiled by Triton {found['triton']}."


def table(found: dict) -> str:
    """What `measure` found, as the table in the documentation."""
    lines = [
        compiled_by(found),
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "| --- " * len(COLUMNS) + "|",
    ]
    for row in found["rows"]:
        cells = {"kernel": "does not compile"} | row | row.get("figures", {})
        if "shared" in cells:
            cells["shared"] = f"{cells['shared'] / 1024:.3g}"
        shown = ["-" if cells.get(key) in (None, "") else str(cells[key]) for key in COLUMNS.values()]
        lines.append("| " + " | ".join(shown) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capability", type=int, choices=CAPABILITIES, action="append", help="default: all")
    parser.add_argument("--json", type=Path, help="write what was found to this file")
    parser.add_argument("--part", help="I/N: only every N-th launch from the I-th on, in this process")
    parser.add_argument("--write-docs", action="store_true", help=f"replace the table in {DOCS.name}")
    given = parser.parse_args()
    capabilities = tuple(given.capability or CAPABILITIES)
    if given.part:
        found = compile_part(*map(int, given.part.split("/")), capabilities)
    else:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(folder, capabilities)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))
    if "absent" in found and not given.part:
        sys.exit(found["absent"])
    if given.write_docs:
        before, rest = DOCS.read_text().split(BEGIN)
        DOCS.write_text(f"{before}{BEGIN}\n\n{table(found)}\n\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
