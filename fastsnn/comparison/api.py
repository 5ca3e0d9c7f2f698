"""fastsnn.compare_methods: what is compared, checked before anything long runs."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fastsnn.comparison.candidates import Given, candidates
from fastsnn.comparison.data import calibration_images, first, readable
from fastsnn.comparison.result import Comparison, require_outputs
from fastsnn.comparison.run import Run, Task
from fastsnn.convert.api import default_precision
from fastsnn.convert.maxpool import POLICIES
from fastsnn.convert.quantise import PRECISIONS
from fastsnn.network import SpikingNetwork
from fastsnn.profile.dense import evaluated
from fastsnn.spikes import steps

TIMESTEPS = (4, 8, 16, 32)


def compare_methods(
    model: nn.Module,
    loader: Any,
    methods: Iterable[Given] | Mapping[str, Given] | None = None,
    timesteps: int | Iterable[int] = TIMESTEPS,
    *,
    calibration: Any,
    precision: str | None = None,
    options: Mapping[str, Any] | None = None,
    batch: int | None = None,
    progress: bool = True,
    save: str | Path | Sequence[str | Path] = (),
    command: str | None = None,
    notes: Sequence[str] = (),
) -> Comparison:
    """Converts a network by several methods for several T, and runs each on the same images beside the dense network.

    model        the trained network; left untouched
    loader       batches (images, labels) on the model's device; read once for each method and T, and before that for
                 the dense network
    methods      names of `fastsnn.methods.METHODS`, Method objects, or a mapping from labels to a name, a Method or
                 (name, options): {"V(0) = 0": ("opi", {"initial_potential": 0.0})}. None: every method
    timesteps    T, one or several; thresholds and corrections depend on T, so each has a network of its own
    calibration  as in `fastsnn.convert`; read once, kept, and the same for every conversion
    precision    as in `fastsnn.convert`
    options      max_pool of `fastsnn.convert`, and options of all methods that are given by name; their own come first
    batch        images of the timed batch, at most those of the loader's first one; None: all of these
    progress     shows how far it is
    save         paths of files to write, .json, .png, .svg or .pdf; checked before anything runs
    command      what was run, for the document
    notes        what a reader should know besides

    A method that cannot convert the network, or a T that does not fit the memory, is a row that says why.

    Raises ValueError or TypeError for bad arguments or data, before anything is converted; `Interrupted` on Ctrl-C once
    a row is finished: it holds the finished rows, which are saved as well.
    """
    if not isinstance(model, nn.Module) or isinstance(model, SpikingNetwork):
        raise TypeError(f"compare_methods: model must be the dense torch.nn.Module, got {type(model).__name__}")
    paths = require_outputs([save] if isinstance(save, str | Path) else save)
    more = dict(options or {})
    max_pool = more.pop("max_pool", None)
    if max_pool is not None and max_pool not in POLICIES:
        raise ValueError(f"max_pool must be one of {', '.join(POLICIES)}, got {max_pool!r}")
    device = next((t.device for t in chain(model.parameters(), model.buffers())), torch.device("cpu"))
    precision = default_precision(device) if precision is None else precision
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    chosen = candidates(methods, more)
    lengths = _lengths(timesteps)
    if batch is not None and batch < 1:
        raise ValueError(f"compare_methods: batch must be at least 1 image, got {batch}")
    again = readable(loader)
    with evaluated(model):
        images = first(model, again, device)
    kept, count = calibration_images(calibration)
    timed = images if batch is None else images[:batch]
    task = Task(
        model,
        again,
        timed,
        kept,
        chosen,
        lengths,
        {
            "images": 0,
            "calibration_images": count,
            "batch": len(timed),
            "threads": torch.get_num_threads(),
            "device": str(device),
            "precision": precision,
            "max_pool": max_pool,
        },
        progress,
    )
    named = ", ".join(candidate.label for candidate in chosen)
    command = command or f"fastsnn.compare_methods({type(model).__name__}, loader, [{named}], {lengths})"
    return Run(task, command, notes, paths).all()


def _lengths(timesteps: int | Iterable[int]) -> list[int]:
    """In ascending order, each once."""
    given = list(timesteps) if isinstance(timesteps, Iterable) and not isinstance(timesteps, str) else [timesteps]
    if not given:
        raise ValueError("timesteps must name at least one T, got none")
    return sorted({steps(T) for T in given})
