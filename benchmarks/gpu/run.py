"""GPU tests and benchmarks in one go, in less than ten minutes: `make gpu`.

python benchmarks/gpu/run.py [--budget SECONDS] [--only STEP ...] [--out FOLDER]

First what tells whether the kernels are right, and meanwhile the compilations that the benchmarks need; then the
benchmarks, each by itself, the most important first. Rows are appended to benchmarks/results/<device>.jsonl as they are
measured, and <device>.txt says what they are. A step that fails does not stop the others; the exit status is 1 then,
and 2 where there is no GPU.
"""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[1]
ROOT = BENCHMARKS.parent
if __name__ == "__main__":
    # benchmarks import one another by name
    sys.path[:1] = [str(BENCHMARKS), str(ROOT)]

import torch  # noqa: E402
from rows import RESULTS, device, driver, installed  # noqa: E402

from gpu import summary  # noqa: E402
from gpu.one import LEFT_OUT  # noqa: E402
from gpu.steps import Outcome, Step, together  # noqa: E402

KEPT = ROOT / "build" / "gpu"
TESTS = (
    "tests/test_graphs.py",
    "tests/test_network_triton.py",
    "tests/ops/test_layer_triton.py",
    "tests/test_cuda.py",
    "tests/test_network_cuda.py",
    "tests/ops/test_layer_cuda.py",
    "tests/ops/test_fixed_gpu.py",
    *(f"tests/ops/test_{name}.py" for name in ("conv_if", "linear_if", "if_steps", "if_constant")),
    *(f"tests/ops/test_{name}.py" for name in ("pool", "pack", "readout", "plan")),
    "tests/test_network.py",
    "tests/test_engine.py",
    "tests/convert/test_int16.py",
    "tests/convert/test_narrow.py",
    "tests/test_whole.py",
    "tests/profile/test_gpu.py",
    "tests/test_methods_backends.py",
)
COMPILED = "tests/gpu"
# of the budget, what may go into tests and compilations
FIRST_SHARE = 0.46
# seconds that a part gets beyond what it was told, before it is stopped
GRACE = 15.0
# parts that measure, the most important first, and their shares of the time that is then left
PARTS = {
    "ceilings": 0.05,
    "elementwise": 0.07,
    "families": 0.12,
    "layers": 0.2,
    "resnet18:256": 0.2,
    "resnet18:1": 0.1,
    "memory": 0.03,
    "vgg16:256": 0.12,
    "vgg16:1": 0.06,
    "resnet18:32": 0.05,
}


def checks(python: str, build: bool) -> list[Step]:
    """What is done before anything is measured, the most urgent first; all of it may run at the same time."""

    def one(*words: str) -> list[str]:
        return [python, "-m", "gpu.one", *words]

    def compiling(what: str, weight: int = 1) -> Step:
        # tiles that are measured while other processes use the GPU are worth nothing
        cache = {"FASTSNN_CACHE": str(KEPT / "discarded")}
        command = one(f"compile:{what}", "--seconds", "150")
        return Step(f"compile {what}", command, 240, optional=True, weight=weight, environment=cache)

    steps = [Step("kernels", one("kernels"), 150)]
    # where CuPy is not installed there is nothing to compare
    steps.append(Step("kernels:cuda", one("kernels:cuda"), 150, quiet=(LEFT_OUT,)))
    if build:
        steps.append(Step("native module", [python, "setup.py", "--quiet", "build_ext", "--inplace"], 150, weight=4))
    steps += [compiling(f"resnet18:{precision}") for precision in ("int8", "float16")]
    steps += [compiling(f"layers:{precision}") for precision in ("int8", "float16")]
    steps += [compiling(f"families:{what}") for what in ("passes", "int8", "float16")]
    steps += [compiling(f"{name}:256", 2) for name in ("resnet18", "vgg16")]
    after = "native module" if build else ""
    pytest = [python, "-m", "pytest", "-q", "--maxfail=20", "-p", "no:cacheprovider", "--color=no"]
    steps += [Step(test, [*pytest, test], 240, after=after, quiet=(5,)) for test in TESTS]
    if shutil.which("compute-sanitizer"):
        # each tensor in memory of its own, or what lies beside it would be another tensor's
        apart = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
        for tool, part in (("memcheck", "kernels"), ("memcheck", "kernels:cuda"), ("racecheck", "kernels:cuda")):
            command = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "9", *one(part)]
            more = {} if part == "kernels" else {"optional": True, "quiet": (LEFT_OUT,)}
            steps.append(Step(f"{tool} {part}", command, 150, after=part, environment=apart, **more))
    steps += [compiling(f"vgg16:{precision}") for precision in ("int8", "float16")]
    steps += [compiling(f"resnet18:{precision}") for precision in ("int16", "int32")]
    steps += [compiling(f"{part}:{precision}") for part in ("layers", "families") for precision in ("int16", "int32")]
    steps += [compiling("resnet18:1", 2)]
    # compiles by itself, on eight processors; it needs no GPU, so that it is no loss where there is no time for it
    steps.append(Step(COMPILED, [*pytest, COMPILED], 240, after=after, weight=8, quiet=(5,), optional=True))
    return steps


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=560.0, help="seconds that all may take (%(default)s)")
    parser.add_argument("--only", nargs="+", metavar="STEP", help="parts that measure, or 'checks'")
    parser.add_argument("--build", action="store_true", help="build the native module in place first")
    parser.add_argument("--out", default="", help="folder that also gets the rows, their summary and the log")
    args = parser.parse_args(argv)
    begin = time.monotonic()
    if not torch.cuda.is_available():
        print(f"gpu: torch {torch.__version__} sees no NVIDIA GPU here: nothing was run", file=sys.stderr)
        return 2
    unknown = set(args.only or ()) - {*PARTS, "checks"}
    if unknown:
        print(f"gpu: there is no {', '.join(sorted(unknown))}; there are: checks, {', '.join(PARTS)}", file=sys.stderr)
        return 2

    lines: list[str] = []

    def say(text: str) -> None:
        lines.append(f"[{time.monotonic() - begin:5.0f} s] {text}")
        print(lines[-1], flush=True)

    gpu = torch.device("cuda:0")
    say(
        f"{torch.cuda.get_device_name(gpu)}, driver {driver()}, CUDA {torch.version.cuda}, torch {torch.__version__}, "
        f"Triton {installed('triton')}"
    )
    outcomes: list[Outcome] = []
    try:
        outcomes += _run(args, begin, say)
    finally:
        rows = RESULTS / f"{device(gpu)}.jsonl"
        if rows.is_file():
            text = summary.write(rows)
            say(f"rows in {rows.relative_to(ROOT)}, what they say in {text.relative_to(ROOT)}:")
            print(text.read_text(), flush=True)
        bad = [outcome.step.name for outcome in outcomes if outcome.failed]
        say(f"not well: {', '.join(bad)}" if bad else "all steps are well")
        if args.out:
            _copy(Path(args.out), rows, lines, outcomes)
    return 1 if bad else 0


def _run(args: argparse.Namespace, begin: float, say: Callable[[str], None]) -> list[Outcome]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(BENCHMARKS)]), "PYTHONUNBUFFERED": "1"}
    environment |= {"FASTSNN_CACHE": str(KEPT / "cache")}
    logs, end = KEPT / "logs", begin + args.budget
    # networks that another version of the package converted would be measured
    for folder in (KEPT / "networks", logs, KEPT / "cache", KEPT / "discarded"):
        shutil.rmtree(folder, ignore_errors=True)
    kept = ["--kept", str(KEPT / "networks")]
    outcomes: list[Outcome] = []
    if args.only is None or "checks" in args.only:
        steps = checks(sys.executable, args.build)
        steps = [replace(step, command=[*step.command, *kept]) if "gpu.one" in step.command else step for step in steps]
        processors = os.cpu_count() or 2
        # so many processes at a time that no one of them needs threads of its own
        few = environment | {"OMP_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "2"}
        outcomes += together(steps, logs, begin + FIRST_SHARE * args.budget, processors, few, say)
    parts = [part for part in PARTS if args.only is None or part in args.only]
    for number, part in enumerate(parts):
        left = end - time.monotonic() - GRACE
        share = PARTS[part] / sum(PARTS[p] for p in parts[number:])
        seconds = max(left * share, 1.0)
        command = [sys.executable, "-m", "gpu.one", part, "--seconds", f"{seconds:.0f}", *kept]
        say(f"{part}: {seconds:.0f} s")
        step = Step(part, command, min(seconds * 1.5 + GRACE, max(end - time.monotonic(), 1.0)))
        outcomes += together([step], logs, end, 1, environment, say)
        for line in outcomes[-1].tail(30):
            print(f"    {line[:300]}", flush=True)
    return outcomes


def _copy(out: Path, rows: Path, lines: list[str], outcomes: Sequence[Outcome]) -> None:
    """Rows, summary and one log of everything: few files, because who carries them away may take only so many."""
    out.mkdir(parents=True, exist_ok=True)
    for path in (rows, rows.with_suffix(".txt")):
        if path.is_file():
            shutil.copy(path, out)
    logs = ["\n".join(lines)]
    for outcome in outcomes:
        logs.append(f"===== {outcome.step.name}: {outcome.verdict} after {outcome.seconds:.0f} s")
        logs += outcome.tail(2000)
    (out / "gpu.log").write_text("\n".join(logs) + "\n")


if __name__ == "__main__":
    sys.exit(main())
