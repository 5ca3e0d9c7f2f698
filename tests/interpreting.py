"""Triton's interpreter without what it does again and again to no effect, which is most of its time."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from types import ModuleType
from typing import Any

from triton.runtime import interpreter

NEEDED = ("_patch_lang", "_LangPatchScope", "interpreter_builder", "tl", "_get_np_dtype")


def quicken() -> None:
    """From here on kernels compute what they did, much faster; other versions of Triton stay as they are."""
    if all(hasattr(interpreter, name) for name in NEEDED):
        _prepare_once_a_launch()
        _leave_out_unread_sums()
        _make_types_when_read(interpreter.tl.core)
        _look_up_numpy_types()


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


def _make_types_when_read(core: ModuleType) -> None:
    """Each shape is a tuple with a type of its own, which nothing reads, and each scalar takes the type of a block."""
    start, other_elements = core.tuple.__init__, core.block_type.with_element_ty

    def begin(self: Any, args: Iterable, type: Any = None) -> None:
        if type is None:
            self.values = list(args)
        else:
            start(self, args, type)

    def type_of(self: Any) -> Any:
        found = self.__dict__.get("type")
        return core._type_for_tuple_values(self.values) if found is None else found

    def with_element_ty(self: Any, scalar: Any) -> Any:
        return self if scalar == self.element_ty else other_elements(self, scalar)

    core.tuple.__init__ = begin
    core.tuple.type = property(type_of, lambda self, type: self.__dict__.update(type=type))
    core.block_type.with_element_ty = with_element_ty


def _look_up_numpy_types() -> None:
    """NumPy's types by those of the language, in a table that each look would build anew."""
    look, known = interpreter._get_np_dtype, dict[str, Any]()

    def looked_up(dtype: Any) -> Any:
        element = dtype.element_ty if isinstance(dtype, interpreter.tl.block_type) else dtype
        if element.name not in known:
            known[element.name] = look(element)
        return known[element.name]

    interpreter._get_np_dtype = looked_up
