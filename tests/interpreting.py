"""Triton's interpreter without what it does again and again to no effect, which is most of its time."""

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

from triton.runtime import interpreter

NEEDED = ("_patch_lang", "_LangPatchScope", "interpreter_builder", "tl")


def quicken() -> None:
    """From here on kernels compute what they did, much faster; other versions of Triton stay as they are."""
    if all(hasattr(interpreter, name) for name in NEEDED):
        _prepare_once_a_launch()
        _leave_out_unread_sums()


def _prepare_once_a_launch() -> None:
    """A launch gives the functions of the language bodies, which each call of a function inside it would do anew."""
    prepare = interpreter._patch_lang
    # modules of the language that the present launch has prepared
    prepared: set[ModuleType] = set()

    def once(function: Callable) -> interpreter._LangPatchScope:
        seen = function.__globals__.values()
        modules = {m for m in (interpreter.tl, interpreter.tl.core) if any(value is m for value in seen)}
        if modules and modules <= prepared:
            return interpreter._LangPatchScope()
        scope = prepare(function)
        prepared.update(modules)
        restore = scope.restore

        def ends() -> None:
            # the interpreter restores at the end of a launch alone
            prepared.clear()
            restore()

        scope.restore = ends
        return scope

    interpreter._patch_lang = once


def _leave_out_unread_sums() -> None:
    """Each sum of whole numbers is made in 64 bits too, for an assertion that is left out unless debugging is on."""
    builder = interpreter.interpreter_builder
    if not builder.options.debug:
        builder.options = replace(builder.options, sanitize_overflow=False)
