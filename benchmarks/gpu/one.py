"""One part of the benchmarks, in a process of its own: `run.py` starts it.

python -m gpu.one ceilings | elementwise | families | layers | memory | NETWORK:BATCH [--seconds N]
python -m gpu.one kernels | kernels:cuda
                                   compares every kernel with the reference; the exit status is 5 where none can run
python -m gpu.one compile:families:passes | compile:families:PRECISION | compile:layers:PRECISION |
python -m gpu.one compile:NETWORK:PRECISION | compile:NETWORK:BATCH
                                   only compiles what the others will run, so that many processes can share that work
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from rows import RESULTS, Row

from gpu.clock import Deadline, device_of

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "build" / "gpu"
# exit status where there was nothing to do
LEFT_OUT = 5


def rows_of(name: str, on: torch.device, deadline: Deadline, kept: Path, folder: Path) -> Iterator[Row]:
    """Measures one part; a row at a time. Raises SystemExit for a name that there is not."""
    if name == "ceilings":
        from gpu import ceilings

        return ceilings.main(on, deadline, folder)
    if name == "elementwise":
        from gpu import elementwise

        return elementwise.main(on, deadline, folder)
    if name == "families":
        from gpu import families

        return families.main(on, deadline, folder)
    if name == "layers":
        from gpu import layers

        return layers.main(on, deadline, folder)
    if name == "memory":
        from gpu import whole

        return whole.memory(on, kept, folder)
    network, _, batch = name.partition(":")
    if not batch.isdigit():
        raise SystemExit(f"gpu: there is no part {name}")
    from gpu import whole

    return whole.main(network, int(batch), on, deadline, kept, folder)


def compile_only(what: str, on: torch.device, deadline: Deadline, kept: Path) -> None:
    """Runs what a part will run, for the caches of the compilers."""
    name, _, detail = what.partition(":")
    if name == "families":
        from gpu import families

        families.compile_all(detail, on, deadline)
        return
    if name == "layers":
        from gpu import layers

        layers.compile_all(on, getattr(torch, detail), deadline)
        return
    from networks import network

    from gpu import converted, dense, whole

    net = network(name)
    if detail.isdigit():
        x = converted.images(net, int(detail), on)
        with torch.inference_mode():
            dense.networks(net.model, x, deadline)
        return
    snn = converted.spiking(name, detail, on, kept)
    if hasattr(snn, "graphs"):
        snn.graphs = False
    for batch in whole.BATCHES:
        x = converted.images(net, batch, on)
        snn(x)
        if detail in whole.TUNED:
            whole.tuned(snn, x, deadline)
        print(f"{name} {detail}, batch {batch}: compiled", flush=True)
    if (name, detail) == ("resnet18", "int8") and deadline.left:
        snn(converted.images(net, whole.MEMORY_BATCH, on), whole.MEMORY_T)


def compare(backend: str, on: torch.device) -> int:
    """Every kernel of a backend against the reference; the exit status."""
    from gpu import backends, kernels

    if backend not in backends.MODULES:
        raise SystemExit(f"gpu: there are no kernels of {backend}")
    why = backends.why_not(backend, on)
    if why is not None:
        print(f"left out: {backend}: {why}", flush=True)
        return LEFT_OUT
    wrong = kernels.main(on, backend)
    print("\n".join(wrong), flush=True)
    return 1 if wrong else 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part")
    parser.add_argument(
        "--seconds", type=float, default=120.0, help="no further case is begun after these (%(default)s)"
    )
    parser.add_argument("--device", help="default: the first GPU")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where rows go")
    parser.add_argument("--kept", type=Path, default=KEPT, help="where converted networks are kept for one another")
    args = parser.parse_args(argv)
    on, deadline = device_of(args.device), Deadline(args.seconds)
    torch.backends.cudnn.benchmark = True
    kind, _, what = args.part.partition(":")
    if kind == "kernels":
        return compare(what or "triton", on)
    if kind == "compile":
        compile_only(what, on, deadline, args.kept)
        return 0
    for row in rows_of(args.part, on, deadline, args.kept, args.folder):
        print(_said(row), flush=True)
    return 0


def _said(row: Row) -> str:
    """A row as a line of progress: what tells it, and the figures that matter most."""
    names = ("network", "layer", "operator", "backend", "op", "kind", "size", "precision", "batch")
    told = " ".join(str(row[name]) for name in names if row.get(name) is not None)
    figures = (
        *("ms", "snn_ms", "rate", "share_of_copy", "share_of_bf16", "rival_speedup", "ratio", "peak_gib"),
        *("triton_ms", "cuda_ms", "cuda_speedup"),
    )
    shown = [f"{name} {row[name]:.4g}" for name in figures if isinstance(row.get(name), float)]
    return f"{told}: {', '.join(shown)}"


if __name__ == "__main__":
    sys.exit(main())
