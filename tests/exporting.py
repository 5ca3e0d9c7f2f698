"""torch.export without what it prepares anew for each network, the same each time, which is most of its time."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Any

import torch
from torch._subclasses import fake_impls
from torch.export import exported_program

PREPARES = ("_override_composite_implicit_decomp", "_collect_all_valid_cia_ops")

Override = Callable[[dict], AbstractContextManager]


def quicken() -> None:
    """From here on networks are captured as they were, much faster; other versions of PyTorch stay as they are."""
    if all(hasattr(exported_program, name) for name in PREPARES) and hasattr(fake_impls, "op_implementations_dict"):
        override, collect = (getattr(exported_program, name) for name in PREPARES)
        exported_program._override_composite_implicit_decomp = _overriding_at_once(override)
        exported_program._collect_all_valid_cia_ops = _collecting_once(collect)


def _overriding_at_once(override: Override) -> Override:
    """A dozen kernels of each of a thousand operators are registered by one assignment for each operator."""
    kept: dict[str, Any] = {}

    def now(ops: dict) -> tuple[dict, dict]:
        rules = fake_impls.op_implementations_dict
        return {op: dict(op.py_kernels) for op in ops}, {op: rules[op] for op in ops if op in rules}

    def become(kernels: dict, rules: dict) -> None:
        for op, own in kernels.items():
            op.py_kernels.clear()
            op.py_kernels.update(own)
            op._dispatch_cache.clear()
            fake_impls.op_implementations_dict.pop(op, None)
        fake_impls.op_implementations_dict.update(rules)

    @wraps(override)
    @contextmanager
    def at_once(ops: dict) -> Iterator[None]:
        before = now(ops)
        # what is registered depends on nothing else
        if kept.get("of") == (ops, before):
            become(*kept["inside"])
            try:
                yield
            finally:
                become(*kept["after"])
            return
        with override(ops):
            inside = now(ops)
            yield
        kept.update({"of": (dict(ops), before), "inside": inside, "after": now(ops)})

    return at_once


def _collecting_once(collect: Callable[[], set]) -> Callable[[], set]:
    """The operators that are looked through are those of the last time, unless one was registered since then."""
    kept: dict[str, Any] = {}

    @wraps(collect)
    def once() -> set:
        composite = torch._C._dispatch_get_registrations_for_dispatch_key("CompositeImplicitAutograd")
        of = (torch._C._dispatch_get_all_op_names(), composite, list(torch.ops._dir))
        if kept.get("of") != of:
            found = collect()
            # the first look adds namespaces
            kept.update({"of": (*of[:2], list(torch.ops._dir)), "found": found})
        return kept["found"]

    return once
