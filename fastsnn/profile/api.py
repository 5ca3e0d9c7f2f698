"""fastsnn.profile: what a spiking network really cost, counted, measured and modelled, beside the dense one."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fastsnn.network import SpikingNetwork
from fastsnn.profile.batches import batches
from fastsnn.profile.energy import EnergyModel, chosen
from fastsnn.profile.result import Profile, require_outputs
from fastsnn.profile.run import Run, Settings
from fastsnn.profile.subject import subject
from fastsnn.profile.turns import LEAST
from fastsnn.spikes import steps


def profile(
    network: nn.Module,
    loader: Any,
    *,
    dense: nn.Module | None = None,
    timesteps: int | None = None,
    sequences: bool = False,
    beside: Mapping[str, SpikingNetwork] | None = None,
    batch: int | None = None,
    rounds: int = 20,
    budget: float = 20.0,
    compile: bool = True,
    energy_models: Iterable[str | EnergyModel] | None = None,
    energy_seconds: float = 3.0,
    save: str | Path | Sequence[str | Path] = (),
    progress: bool = True,
    command: str | None = None,
    notes: Sequence[str] = (),
) -> Profile:
    """What a spiking network costs, layer by layer, beside the dense network that it came from.

    network         a converted network, one of `fastsnn.fuse`, or any torch module that calls `fastsnn.ops` or holds
                    a converted or fused network
    loader          batches (images, labels), batches of images, or one tensor of images [N, C, *S], on the network's
                    device; read once. Without labels there is no accuracy
    dense           the network that it was converted from, on the same device: time, accuracy, memory, activations
    timesteps       T of a converted network; None: its own. Of a fused network that gets images, which every step sees
    sequences       the loader gives sequences [T, B, C, *S] in place of images [B, C, *S], for fused networks and
                    modules that take them. What these give at each step is averaged over the steps so far; there is
                    no dense network beside them
    beside          other converted networks, by name (other methods, initial potentials, precisions): their accuracy,
                    spikes and modelled joules over time are overlaid
    batch           images of the timed batch, at most those of the loader's first one; None: all of these
    rounds          times that each run is timed, in turn, at least 3
    budget          seconds of timing after which no further round begins
    compile         also times the dense network under torch.compile
    energy_models   names (see `fastsnn.profile.energy.MODELS`) or models; None: all
    energy_seconds  that each run is repeated for where joules can be measured
    save            paths of files to write, .json or .html; checked before anything runs
    progress        shows how far it is
    command         what was run, for the report
    notes           what a reader of the report should know besides

    Spikes and operations are counted on all images, exactly; times, memory, joules and activations are those of the
    first batch. What cannot be measured here is said to be, with the reason.

    Raises ValueError or TypeError for bad arguments or data, a NaN logit among them; OSError where files cannot be
    written; `Interrupted` on Ctrl-C once a batch was counted: it holds the partial profile, which is saved as well.
    """
    paths = require_outputs([save] if isinstance(save, str | Path) else save)
    settings = Settings(batch, rounds, budget, compile, chosen(energy_models), energy_seconds, progress)
    _check(network, dense, beside or {}, settings)
    if sequences and (dense is not None or beside):
        raise ValueError("profile: dense and beside are networks of images; they cannot be run on sequences")
    device = _device(network)
    for name, other in {"the dense network": dense, **(beside or {})}.items():
        if other is not None and _device(other) != device:
            raise ValueError(f"the network is on {device} and {name} on {_device(other)}; move one of them")
    stream = batches(loader, device, sequences)
    first: tuple[Tensor, Tensor | None] | None = next(stream, None)
    if first is None:
        raise ValueError("profile needs at least one image, got none")
    wanted = None if timesteps is None else steps(timesteps)
    main = subject(network, first[0], wanted, sequences)
    name = f"{main.method}, {main.precision}" if main.method else main.name
    networks = {name: main, **{other: subject(snn, first[0], None, False) for other, snn in (beside or {}).items()}}
    if len(networks) != 1 + len(beside or {}):
        raise ValueError(f"beside: the name {name!r} is that of the profiled network; choose another")
    run = Run(
        network, networks, dense, first[0], settings, command or _command(network, wanted, sequences), notes, paths
    )
    return run.all(chain([first], stream), _length(loader))


def _check(network: nn.Module, dense: nn.Module | None, beside: Mapping[str, SpikingNetwork], given: Settings) -> None:
    if not isinstance(network, nn.Module):
        raise TypeError(f"profile: network must be a torch.nn.Module, got {type(network).__name__}")
    if dense is not None and (not isinstance(dense, nn.Module) or isinstance(dense, SpikingNetwork)):
        raise TypeError(f"profile: dense must be the dense torch.nn.Module, got {type(dense).__name__}")
    wrong = [name for name, snn in beside.items() if not isinstance(snn, SpikingNetwork)]
    if wrong:
        raise TypeError(f"profile: beside must hold converted networks, {', '.join(wrong)} is none")
    if given.rounds < LEAST or given.budget <= 0 or given.energy_seconds <= 0:
        raise ValueError(
            f"profile needs rounds of at least {LEAST}, and budget and energy_seconds above 0, got {given.rounds}, "
            f"{given.budget} and {given.energy_seconds}"
        )
    if given.batch is not None and given.batch < 1:
        raise ValueError(f"profile: batch must be at least 1 image, got {given.batch}")


def _device(network: nn.Module) -> torch.device:
    for tensor in chain(network.parameters(), network.buffers()):
        return tensor.device
    return torch.device("cpu")


def _length(loader: Any) -> int | None:
    """How many batches there will be, where the loader tells."""
    if isinstance(loader, Tensor):
        return 1
    return len(loader) if hasattr(loader, "__len__") else None


def _command(network: nn.Module, timesteps: int | None, sequences: bool) -> str:
    """What was called, where nobody says so."""
    more = ("" if timesteps is None else f", timesteps={timesteps}") + (", sequences=True" if sequences else "")
    return f"fastsnn.profile({type(network).__name__}, loader{more})"
