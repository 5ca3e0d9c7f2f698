"""How trained weights get from a file into a model."""

import warnings
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

# Where training scripts put the state dict inside a checkpoint, and what wrappers put before each name.
NESTED = ("state_dict", "model_state_dict", "model", "net")
PREFIXES = ("module.", "_orig_mod.")
SHOWN = 3


def load_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Names and tensors of a weights file, on the CPU.

    path  a .safetensors file, or a file of torch.save that holds tensors and plain values only: a state dict, or a
          dict with one under "state_dict", "model_state_dict", "model" or "net"

    A prefix that every name shares because of DataParallel or torch.compile ("module.", "_orig_mod.") is removed.
    Raises ValueError for a file that holds something else, FileNotFoundError for no file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"weights: no such file: {path}")
    state = _safetensors(path) if path.suffix == ".safetensors" else _torch(path)
    for key in NESTED:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
            break
    if not isinstance(state, dict) or not state or not all(isinstance(k, str) for k in state):
        raise ValueError(f"weights: {path} should hold a state dict (name -> tensor), got {_what(state)}")
    odd = [k for k, v in state.items() if not isinstance(v, Tensor)]
    if odd:
        raise ValueError(
            f"weights: {path} should hold a state dict (name -> tensor), but {_few(odd)} are not tensors; a state "
            f"dict inside a checkpoint is looked for under {', '.join(NESTED)}"
        )
    return _without_prefix(state)


def load_into(model: nn.Module, path: str | Path) -> nn.Module:
    """Load a weights file into the model, every name and shape exact; returns the model.

    Raises ValueError listing the first missing names, unexpected names and differing shapes.
    """
    have = load_state_dict(path)
    want = model.state_dict()
    # A counter that inference never reads, and that checkpoints from before PyTorch 0.4.1 do not have.
    missing = [k for k in want if k not in have and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in have if k not in want]
    shapes = [
        f"{k} should be {tuple(want[k].shape)}, got {tuple(have[k].shape)}"
        for k in want
        if k in have and have[k].shape != want[k].shape
    ]
    faults = [f"{len(names)} {kind}: {_few(names)}" for kind, names in _kinds(missing, unexpected, shapes) if names]
    if faults:
        raise ValueError(f"weights: {path} does not fit {type(model).__name__}: " + "; ".join(faults))
    model.load_state_dict(have, strict=False)
    return model


def _kinds(missing: list[str], unexpected: list[str], shapes: list[str]) -> list[tuple[str, list[str]]]:
    return [("missing", missing), ("unexpected", unexpected), ("of another shape", shapes)]


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as e:
        raise ValueError(f"weights: {path} is not a safetensors file: {e}") from e


def _torch(path: Path) -> object:
    try:
        # A file that torch warns about either loads whole or is refused below.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as e:
        raise ValueError(
            f"weights: {path} is not a file of tensors only (a state dict): it is damaged, or holds pickled Python "
            "objects, which are not loaded because they can run code; save model.state_dict() instead"
        ) from e
    except Exception as e:  # the reader of pickles raises whatever the first wrong byte leads to
        raise ValueError(f"weights: {path} is not a file of torch.save: {repr(e).splitlines()[0]}") from e


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES:
        if all(k.startswith(prefix) for k in state):
            return _without_prefix({k.removeprefix(prefix): v for k, v in state.items()})
    return state


def _few(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _what(thing: object) -> str:
    return "an empty dict" if thing == {} else f"a {type(thing).__name__}"
