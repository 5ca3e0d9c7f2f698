"""What `fastsnn info` prints: versions, and which backends run on this machine."""

import argparse

import torch

import fastsnn
from fastsnn import _env, _native, _order, _registry
from fastsnn.commands.versions import cuda_device, versions

# variables that other programs name
FOREIGN = ("TRITON_INTERPRET", "CXX", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


def run(args: argparse.Namespace) -> None:
    """Plain text without any optional package: this is the verb for a machine where something is missing."""
    facts = {name: found or "not installed" for name, found in versions().items()}
    facts["compiled module"] = _native.reason() or _compiler()
    facts["CUDA device"] = cuda_device() or f"none (torch is built for {_torch_build()})"
    if args.verbose:
        facts |= _more()
    width = max(map(len, facts))
    for name, fact in facts.items():
        print(f"{name:<{width}}  {fact}")
    print()
    print("\n".join(backend_lines(_registry.table())))
    if args.verbose:
        print()
        print("\n".join(order_lines()))


def backend_lines(rows: list[tuple[str, dict[str, str | None]]]) -> list[str]:
    """Families by backends; each distinct reason for a "no" once, below, under its number."""
    reasons: dict[str, int] = {}
    cells = [["family", *rows[0][1]]] if rows else []
    for family, backends in rows:
        numbers = [why and reasons.setdefault(why, len(reasons) + 1) for why in backends.values()]
        cells.append([family, *(f"no [{n}]" if n else "yes" for n in numbers)])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]
    notes = [f"[{number}] {' '.join(why.split())}" for why, number in reasons.items()]
    return lines + (["", *notes] if notes else [])


def order_lines() -> list[str]:
    """Which of a GPU's backends comes first for each operator, with what was measured on the current one."""
    declared = ", ".join(_order.RIVALS)
    lines = [f"order of GPU backends where nothing was measured: {declared}"]
    if not torch.cuda.is_available():
        return lines
    device = torch.device("cuda", torch.cuda.current_device())
    for op in _registry.OPERATORS:
        found = _order.measured(op, device)
        lines.append(f"{op}: {len(found)} measured" if found else f"{op}: {declared} (not measured)")
        for what, times in sorted(found.items()):
            lines.append(f"    {what.removeprefix(op).strip()}: {_order.told(times)}")
    return lines


def _compiler() -> str:
    cpu = _native.load()
    threads = "OpenMP" if cpu.openmp() else "one thread"
    code = " with code of spikes" if cpu.codes() else ""
    return f"built by {cpu.compiler()}, {threads}, runs on {cpu.instruction_set()}{code}"


def _torch_build() -> str:
    return f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"


def _more() -> dict[str, str]:
    settings = {
        name if name in FOREIGN else f"FASTSNN_{name}": getattr(_env, name) for name in dir(_env) if name.isupper()
    }
    return {
        "fastsnn is at": str(fastsnn.__path__[0]),
        "torch is at": str(torch.__path__[0]),
        "torch threads": str(torch.get_num_threads()),
        "CPU capability": torch.backends.cpu.get_cpu_capability(),
        **{name: "unset" if value is None else str(value) for name, value in settings.items()},
    }
