"""Runs CUDA kernels on a CPU and compares them with the reference; in a process of its own, to be watched from outside.

    python tests/gpu/emulated.py [--reverse] [--most N] [--plant FAULT] [OP ...]

Prints what differs, and exits with 1 where anything does.
"""

import argparse
import sys
from collections.abc import Iterator

import torch

from fastsnn import _env
from fastsnn._registry import backends, load
from fastsnn.firing import Firing, Plane
from fastsnn.ops.conv_if.op import output_shape
from fastsnn.testing import emulator
from fastsnn.testing.cases import CASES, Case

# what a fault replaces in a kernel's text
FAULTS = {
    # one neuron too many: writes behind the last
    "guard": ("n < call.N;", "n <= call.N;"),
    # the last neuron is forgotten
    "tail": ("n < call.N;", "n < call.N - 1;"),
    # counts are read before all are there
    "barrier": ("        __syncthreads();\n        for (int k = lane;", "        for (int k = lane;"),
    # sums are added before all are there
    "join": ("        __syncthreads();\n        if (part < half) {", "        if (part < half) {"),
    # a stage is written while others still multiply what was in it
    "stage": ("            __syncthreads();\n        }\n        Sum* room", "        }\n        Sum* room"),
    # a row of weights too far
    "row": ("uint64_t(channel) * row_bytes", "uint64_t(channel + 1) * row_bytes"),
    # a step is taken for the next
    "step": ("<< t;", "<< (t + 1);"),
}


# rules of graded neurons, which the last cases run with too
GRADED = Firing(planes=(Plane(2, 4), Plane(1, 2), Plane(-1, 0)), below=True, most=9).code
MORE = 2


def planted(name: str):
    """The change of a text that makes a fault; texts without the place stay as they are."""
    before, after = FAULTS[name]
    return lambda text: text.replace(before, after)


def differences(ops: list[str], most: int | None = None, some: str = "") -> Iterator[str]:
    """The cases whose results are not the reference's, as they are found.

    most  of each op, the last so many;  some  that have this in their name
    """
    for op in ops:
        ours, reference = (load(backends(op)[name].target) for name in ("cuda", "reference"))
        cases = [case for case in CASES[op] if some in case.name][-most if most else None :]
        graded = cases[-MORE:] if "if_" in op or op.endswith("_if") else []
        for case, rules in [*((case, None) for case in cases), *((case, GRADED) for case in graded)]:
            name = f"{op} {case.name}" + (f", {rules}" if rules else "")
            try:
                got, want = (_tensors(run(*_arguments(case, rules))) for run in (ours, reference))
            except RuntimeError as error:
                yield f"{name}: {error}"
                continue
            if not all(torch.equal(a, b) for a, b in zip(got, want, strict=True)):
                yield f"{name}: not the reference's"


def _arguments(case: Case, rules: str | None = None) -> tuple:
    arguments = case.arguments()
    if rules is not None:
        *arguments, _, comparator = arguments
        arguments = (*arguments, rules, comparator)
    if case.op != "conv_if":
        return arguments
    # the dispatcher adds the shape of the output
    windows = [numbers[: arguments[0][0].ndim - 2] for numbers in arguments[6:9]]
    return (*arguments, output_shape(arguments[0][0], arguments[1][0], *windows))


def _tensors(result: object) -> list[torch.Tensor]:
    return [result] if isinstance(result, torch.Tensor) else list(result)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ops", nargs="*", default=list(CASES))
    parser.add_argument("--reverse", action="store_true", help="threads run from the last to the first")
    parser.add_argument("--most", type=int, help="cases of an op")
    parser.add_argument("--plant", choices=FAULTS)
    args = parser.parse_args()
    emulator.install()
    _env.BACKEND = "cuda"
    # what is not written is seen
    torch.use_deterministic_algorithms(True)
    with emulator.emulating(args.reverse, planted(args.plant) if args.plant else None):
        found = list(differences(args.ops or list(CASES), args.most))
    print("\n".join(found) or "all are the reference's", flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
