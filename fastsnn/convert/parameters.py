"""What calibration found, as a small file: thresholds, initial potentials, corrections, and what fixed point needs."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from fastsnn._files import read_tensors, require_file, write_bytes
from fastsnn.convert.quantise16 import Range
from fastsnn.convert.refine import Correction
from fastsnn.reading import Reading

SCHEMA, VERSION = "fastsnn.calibration", "1"
SUFFIX = (".safetensors",)
FIELDS = ("shift", "initial_potential", "schedule")


@dataclass
class Parameters:
    """Everything that a network of one kind of weights needs to become the same spiking network again.

    network      fingerprint of the dense network, see `fingerprint`
    method       name, and the options that build it
    timesteps    T that it was calibrated for
    max_pool     what max pools became
    input        shape of an image, [C, *S]
    units        thresholds by layer, float64
    reading      what of a run is output
    starts       V(0) by layer, in units of the threshold, before corrections
    corrections  by layer, of methods that correct; fewer than the layers where calibration was interrupted
    peaks        largest absolute value of layers that hold numbers
    ranges       what each layer reaches in int32, where 16 bits were asked for
    differ       share of each layer's spikes that rounding changed, by precision
    """

    network: str
    method: tuple[str, dict[str, Any]]
    timesteps: int
    max_pool: str
    input: tuple[int, ...]
    units: dict[str, Tensor] = field(default_factory=dict)
    reading: Reading = field(default_factory=Reading)
    starts: dict[str, Tensor] = field(default_factory=dict)
    corrections: dict[str, Correction] = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)
    ranges: dict[str, Range] = field(default_factory=dict)
    differ: dict[str, dict[str, float]] = field(default_factory=dict)

    def save(self, path: str | Path) -> Path:
        """Writes the file whole or not at all. Raises ValueError where nothing can be written."""
        path = require_file(path, SUFFIX)
        tensors = {f"units/{name}": unit for name, unit in self.units.items()}
        tensors |= {f"starts/{name}": start for name, start in self.starts.items()}
        for name, correction in self.corrections.items():
            given = {key: getattr(correction, key) for key in FIELDS}
            tensors |= {f"{key}/{name}": value for key, value in given.items() if value is not None}
        for name, reached in self.ranges.items():
            tensors |= {f"potential/{name}": reached.potential, f"current/{name}": reached.current}
        settings = {
            "network": self.network,
            "method": self.method,
            "timesteps": self.timesteps,
            "max_pool": self.max_pool,
            "input": self.input,
            "reading": vars(self.reading),
            "corrected": list(self.corrections),
            "peaks": self.peaks,
            "differ": self.differ,
        }
        found = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        metadata = {"schema": SCHEMA, "version": VERSION, "settings": json.dumps(settings)}
        write_bytes(path, save(found, metadata))
        return path


def load(path: str | Path) -> Parameters:
    """Reads what `Parameters.save` wrote. Raises ValueError for any other file, OSError where there is none."""
    path = Path(path)
    metadata, found = read_tensors(path, "calibration file", "calibration file", SCHEMA, VERSION)
    try:
        return _parameters(json.loads(metadata["settings"]), found)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a whole calibration file: {type(error).__name__}: {error}") from error


def _parameters(settings: dict[str, Any], found: dict[str, Tensor]) -> Parameters:
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in found.items():
        kind, name = key.split("/", 1)
        parts.setdefault(kind, {})[name] = value
    corrections = {
        name: Correction(**{key: parts.get(key, {}).get(name) for key in FIELDS}) for name in settings["corrected"]
    }
    ranges = {name: Range(value, parts["current"][name]) for name, value in parts.get("potential", {}).items()}
    name, options = settings["method"]
    return Parameters(
        settings["network"],
        (name, options),
        settings["timesteps"],
        settings["max_pool"],
        tuple(settings["input"]),
        parts.get("units", {}),
        Reading(**settings["reading"]),
        parts.get("starts", {}),
        corrections,
        settings["peaks"],
        ranges,
        settings["differ"],
    )


def fingerprint(model: nn.Module) -> str:
    """Of a network's parameters and buffers: names, shapes, types and every bit of them."""
    found = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        found.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return found.hexdigest()
