"""How "module:function" becomes a network."""

import importlib.util
import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

from torch import nn


def build(spec: str) -> nn.Module:
    """The network that a factory returns, in eval mode.

    spec  "module:function", or "file.py:function"; the current folder is searched too. The function is called
          without arguments.

    Raises ValueError where there is no such module or function, or it returns something else.
    """
    module_name, colon, function_name = spec.rpartition(":")
    if not colon or not module_name or not function_name:
        raise ValueError(f"--model should be module:function or file.py:function, got {spec!r}")
    try:
        module = _file(Path(module_name)) if module_name.endswith(".py") else _module(module_name)
    except (ImportError, SyntaxError) as e:
        raise ValueError(f"--model: cannot import {module_name}: {e}") from e
    factory = getattr(module, function_name, None)
    if not callable(factory):
        raise ValueError(f"--model: {module_name} has no function {function_name!r}; {_offered(module)}")
    _require_no_arguments(spec, factory)
    model = factory()
    if not isinstance(model, nn.Module):
        raise ValueError(f"--model: {spec} should return a torch.nn.Module, got a {type(model).__name__}")
    return model.eval()


def _module(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    return import_module(name)


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ValueError(f"--model: no such file: {path}")
    # Its neighbours can be imported, as if the file were run.
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    # A name of its own: the file may be called like a module that is in use.
    spec = importlib.util.spec_from_file_location(f"_model_of_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"--model: {path} cannot be run as a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _require_no_arguments(spec: str, factory: Callable) -> None:
    try:
        inspect.signature(factory).bind()
    except TypeError as e:
        raise ValueError(f"--model: {spec} should be callable without arguments: {e}") from e
    except ValueError:
        # Some built-in callables have no signature to look at; calling them tells.
        pass


def _offered(module: ModuleType) -> str:
    names = [n for n, f in vars(module).items() if inspect.isfunction(f) and f.__module__ == module.__name__]
    return f"it has {', '.join(names[:8])}" if names else "it defines none"
