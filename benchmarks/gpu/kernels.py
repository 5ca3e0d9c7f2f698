"""Every kernel once, on small odd shapes, against the reference: quick, and what compute-sanitizer watches.

python benchmarks/gpu/run.py --only kernels
"""

from importlib import import_module

import torch
from torch import Tensor

from fastsnn import _registry
from fastsnn.testing.cases import CASES, Case
from gpu.backends import forced


def few(op: str) -> list[Case]:
    """Of the cases of an op, the first with each combination of dtypes; of a layer, with each type of weights."""
    found: dict[tuple, Case] = {}
    for case in CASES[op]:
        arguments = case.arguments()
        told = arguments[1] if isinstance(arguments[0], list) else arguments
        found.setdefault(tuple(x.dtype for x in tensors(list(told))[: 1 if told is not arguments else None]), case)
    return list(found.values())


def main(on: torch.device, backend: str = "triton", most: int | None = None) -> list[str]:
    """What differs from the reference, or raises, in words: empty where all is well. `most` cases of an op at most.

    An op of which the backend takes no case is not well either.
    """
    wrong = []
    for op in CASES:
        backends, compared = _registry.backends(op), 0
        for case in few(op)[:most]:
            here, there = case.arguments(on), case.arguments()
            first = [a[0] if isinstance(a, list) else a for a in here[:2]]
            with forced(backend):
                refused = backends[backend].refuse(*[x for x in first if isinstance(x, Tensor)])
            if refused is not None:
                continue
            compared += 1
            try:
                got = _registry.load(backends[backend].target)(*here, *_shape(op, here))
                want = _registry.load(backends["reference"].target)(*there, *_shape(op, there))
                if on.type == "cuda":
                    torch.cuda.synchronize(on)
                pairs = zip(tensors([got]), tensors([want]), strict=True)
                equal = all(torch.equal(a.cpu(), b) for a, b in pairs)
            except Exception as error:
                wrong.append(f"{op} {case.name}: {type(error).__name__}: {str(error)[:300]}")
                continue
            if not equal:
                wrong.append(f"{op} {case.name}: not the reference's")
        print(f"{op}: {compared} kinds of arguments", flush=True)
        if not compared:
            wrong.append(f"{op}: {backend} takes none of its cases")
    return wrong


def _shape(op: str, arguments: tuple) -> tuple:
    """What the dispatcher adds to the arguments of a layer: the shape of its output."""
    if op == "conv_if":
        op_module = import_module("fastsnn.ops.conv_if.op")
        dims = arguments[0][0].ndim - 2
        windows = [numbers[:dims] for numbers in arguments[6:9]]
        return (op_module.output_shape(arguments[0][0], arguments[1][0], *windows),)
    return ()


def tensors(arguments: object) -> list[Tensor]:
    """All tensors in a result or in arguments, whatever lists and tuples they are in."""
    if isinstance(arguments, Tensor):
        return [arguments]
    return [x for part in arguments for x in tensors(part)] if isinstance(arguments, list | tuple) else []
