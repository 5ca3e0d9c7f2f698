"""Imports go down only, files can be read in one sitting, and importing fastsnn brings no optional package."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from fastsnn._registry import FAMILIES

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "fastsnn"
MOST_LINES = 300

LEVELS = {
    0: ("errors", "_env", "_extras", "_files", "firing"),
    1: ("_native", "_triton", "_cuda", "_gpu", "_kept", "_order", "_registry", "spikes", "neurons", "windows"),
    2: ("ops",),
    3: ("nn", "models", "testing"),
    4: (
        *("program", "convert", "methods"),
        *("clock", "contest", "currents", "drive", "fused", "totals", "head", "prepared", "engine", "graphs", "memory"),
        *("tuning", "reading", "emission", "gates", "counted", "early", "taken"),
        *("drive_adaptive", "drive_base", "drive_synaptic", "stepwise", "stateful", "parts", "still", "tapes", "twice"),
        *("network", "whole", "accuracy", "averages"),
    ),
    5: (
        *("data", "weights", "profile", "visualize", "comparison", "saved", "interop", "fuse", "distributed"),
        *("train", "reproduce"),
    ),
    6: ("commands", "cli", "cli_reproduce", "cli_train", "cli_values", "__main__", "__init__"),
}
LEVEL = {name: level for level, names in LEVELS.items() for name in names}

# (importing module, imported module) -> why it may, although it goes up
EXCEPTIONS = {
    ("fastsnn.network", "fastsnn.saved"): "snn.save(path); inside the method",
    (
        "fastsnn.spikes",
        "fastsnn.ops.pack.op",
    ): "SpikeTrain is the user's door to the pack family; inside functions",
}


def level(module: str) -> int | None:
    """Level of a module of fastsnn by its first name; the package itself is on top."""
    _, *parts = module.split(".")
    return LEVEL.get(parts[0] if parts else "__init__")


def family(module: str) -> str | None:
    parts = module.split(".")
    return parts[2] if len(parts) > 2 and parts[1] == "ops" and not parts[2].startswith("_") else None


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or path.is_dir()


def imports(tree: ast.AST, module: str, is_package: bool):
    """(imported module of fastsnn, whether inside a function), for each import anywhere in the source."""
    inside = {n for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef) for n in ast.walk(f)}
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".") if is_package else module.split(".")[:-1]
            above = base[: len(base) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            # "from package import name" imports the module of that name where there is one
            names = [f"{source}.{a.name}" if is_module(f"{source}.{a.name}") else source for a in node.names]
        yield from ((name, node in inside) for name in names if name.split(".")[0] == "fastsnn")


def faults(source: str, module: str, is_package: bool = False) -> list[str]:
    """Every import of this source that the rules forbid, in words."""
    found, own = [], level(module)
    if own is None:
        return [f"{module} has no level: give it one in LEVELS"]
    for name, in_function in imports(ast.parse(source), module, is_package):
        theirs = level(name)
        if theirs is None:
            found.append(f"{module} imports {name}, which has no level: give it one in LEVELS")
        elif theirs > own and not (in_function and (module, name) in EXCEPTIONS):
            found.append(f"{module} (level {own}) imports {name} (level {theirs})")
        elif family(name) and module.startswith("fastsnn.ops") and family(name) != family(module):
            found.append(f"{module} imports {name}: families do not import each other")
    return found


def module_of(path: Path) -> tuple[str, bool]:
    parts = path.relative_to(ROOT).with_suffix("").parts
    is_package = parts[-1] == "__init__"
    return ".".join(parts[:-1] if is_package else parts), is_package


def test_imports_go_down_only():
    paths = sorted(PACKAGE.rglob("*.py"))
    assert len(paths) > 20
    assert [fault for path in paths for fault in faults(path.read_text(), *module_of(path))] == []


@pytest.mark.parametrize(
    "module, source, fault",
    [
        (
            "fastsnn.spikes",
            "from fastsnn.ops.pack.op import pack",
            "fastsnn.spikes (level 1) imports fastsnn.ops.pack.op",
        ),
        ("fastsnn.spikes", "def f():\n    import fastsnn.ops.pool", "(level 1) imports fastsnn.ops.pool (level 2)"),
        ("fastsnn.errors", "def f():\n    from fastsnn import spikes", "(level 0) imports fastsnn.spikes (level 1)"),
        ("fastsnn.errors", "from . import spikes", "(level 0) imports fastsnn.spikes (level 1)"),
        ("fastsnn.ops._step", "from ..cli import main", "(level 2) imports fastsnn.cli (level 6)"),
        ("fastsnn.ops.pool.op", "import fastsnn", "(level 2) imports fastsnn (level 6)"),
        ("fastsnn.ops.pool.op", "if True:\n    from fastsnn.ops.pack import pack", "families do not import each other"),
        ("fastsnn.ops._step", "from fastsnn.ops.pack.op import pack", "families do not import each other"),
        ("fastsnn.ops.pool.op", "from ..pack.op import pack", "families do not import each other"),
        ("fastsnn.novelty", "import os", "fastsnn.novelty has no level"),
        ("fastsnn.cli", "import fastsnn.novelty", "fastsnn.novelty, which has no level"),
    ],
)
def test_a_planted_import_is_found(module, source, fault):
    (found,) = faults(source, module)
    assert fault in found


def test_what_is_allowed_is_not_found():
    allowed = {
        "fastsnn.spikes": "def f():\n    from fastsnn.ops.pack.op import pack",
        "fastsnn.ops.pool.op": "from fastsnn.ops import _checks\nfrom fastsnn.ops.pool import reference",
        "fastsnn.cli": "import fastsnn\nfrom fastsnn import _env\nfrom fastsnn.commands import demo",
    }
    assert [faults(source, module) for module, source in allowed.items()] == [[], [], []]


def test_exceptions_are_still_needed():
    for (module, name), reason in EXCEPTIONS.items():
        tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text())
        assert reason and (name, True) in set(imports(tree, module, False))


@pytest.mark.parametrize("folder", ["fastsnn", "csrc"])
def test_files_can_be_read_in_one_sitting(folder):
    if not (ROOT / folder).is_dir():
        pytest.skip(f"{folder} is not beside the tests: an installed copy is tested")
    files = [p for p in (ROOT / folder).rglob("*") if p.suffix in {".py", ".h", ".cpp", ".inc", ".cu", ".cuh"}]
    lines = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in files}
    assert {path: n for path, n in lines.items() if n > MOST_LINES} == {}


def test_importing_fastsnn_imports_no_optional_package_and_no_kernels():
    """Beyond what torch itself imports."""
    program = f"""
import sys, torch
before = set(sys.modules)
import fastsnn, {", ".join(f"fastsnn.ops.{name}" for name in FAMILIES)}
new = {{name.split(".")[0] for name in set(sys.modules) - before}}
print(sorted(new & {{"triton", "cupy", "matplotlib", "torchvision", "sklearn"}}), "fastsnn._cpu" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "[] False", result.stderr
