"""The file of a converted or fused network: safetensors, with layers and settings as JSON in its header."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as packed
from torch import Tensor
from torch.utils._pytree import treespec_dumps, treespec_loads

from fastsnn._files import digest, read_tensors, require_file, write_bytes
from fastsnn.convert.capture import Rebuild
from fastsnn.convert.dense_macs import Macs
from fastsnn.convert.report import Report, Row
from fastsnn.fuse.loop import FusedLoop
from fastsnn.fuse.network import FusedNetwork
from fastsnn.fuse.report import FuseReport
from fastsnn.fuse.report import Row as FusedRow
from fastsnn.methods import METHODS, build
from fastsnn.network import SpikingNetwork
from fastsnn.program import Layer, Program
from fastsnn.reading import Reading
from fastsnn.saved import traced
from fastsnn.saved.layers import described, rebuilt

SCHEMA, VERSION = "fastsnn.network", "1"
SUFFIX = (".safetensors",)
# tensors of what a loop does behind its steps
BEHIND = "behind/"


def save(network: SpikingNetwork | FusedNetwork | FusedLoop, path: str | Path) -> Path:
    """Writes a converted or fused network, whole or not at all: a .safetensors file that holds no code.

    `load` gives a network with the same spikes, to the last bit in fixed point, on any machine and backend. What
    `tune` found and the calibration (`snn.calibration.save`) are not in it, and no state of a run.

    Raises ValueError for a path where nothing can be written, TypeError for what has no form in a file: outputs in a
    structure such as a dataclass, a network in which modules of a library stay.
    """
    path = require_file(path, SUFFIX)
    if isinstance(network, FusedLoop):
        document, tensors = _described(network.step)
        loop, read = _loop(network)
        document |= {"loop": loop}
        tensors |= {f"{BEHIND}{name}": value for name, value in read.items()}
    elif isinstance(network, SpikingNetwork | FusedNetwork):
        document, tensors = _described(network)
    else:
        raise TypeError(f"a {type(network).__name__} has no form in a file: only networks that run by kernels have one")
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    text = json.dumps(document)
    metadata = {"schema": SCHEMA, "version": VERSION, "network": text, "sha256": digest(text, tensors)}
    write_bytes(path, packed(tensors, metadata))
    return path


def load(path: str | Path, device: torch.device | str = "cpu") -> Any:
    """The network that `save` wrote, on a device: a `SpikingNetwork`, a `FusedNetwork` or a `FusedLoop`.

    Raises FileNotFoundError where there is no file; ValueError for a file that is none of a network, of another
    version, cut off, or changed since it was written.
    """
    path = Path(path)
    metadata, tensors = read_tensors(path, "network file", "converted network", SCHEMA, VERSION)
    text = metadata.get("network", "")
    if metadata.get("sha256") != digest(text, tensors):
        raise ValueError(f"{path} was changed after it was written: its digest is another one")
    try:
        document = json.loads(text)
        network = _network(document, tensors)
        return (_rebuilt_loop(network, document["loop"], tensors) if "loop" in document else network).to(device)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a whole network: {type(error).__name__}: {error}") from error


def _described(network: SpikingNetwork | FusedNetwork) -> tuple[dict[str, Any], dict[str, Tensor]]:
    layers: list[dict[str, Any]] = []
    tensors: dict[str, Tensor] = {}
    for i, layer in enumerate(network.program.layers.values()):
        data, own = described(layer, str(i))
        layers.append(data)
        tensors |= own
    document: dict[str, Any] = {
        "layers": layers,
        "outputs": network.program.outputs,
        "exponent": network.program.exponent,
        "structure": _structure(network.rebuild),
        "report": asdict(network.report),
        "fused": isinstance(network, FusedNetwork),
    }
    if isinstance(network, SpikingNetwork):
        method = network.method
        document |= {
            "timesteps": network.timesteps,
            "precision": network.precision,
            "reading": asdict(network.reading),
            "method": [getattr(method, "name", ""), getattr(method, "options", {}), str(method)],
        }
    return document, tensors


def _loop(network: FusedLoop) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a loop has beside its step."""
    nodes, tensors = traced.described(network.behind)
    _, results = _structure(Rebuild([], network.spec))
    report = asdict(network.report)
    return {"nodes": nodes, "results": results, "held": network.held, "T": network.T, "report": report}, tensors


def _network(document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> SpikingNetwork | FusedNetwork:
    layers: dict[str, Layer] = {}
    for i, data in enumerate(document["layers"]):
        layers[data["name"]] = rebuilt(data, str(i), tensors, layers)
    program = Program(layers.values(), document["outputs"])
    program.exponent = document["exponent"]
    leaves, spec = document["structure"]
    rebuild, report = Rebuild(leaves, treespec_loads(spec)), document["report"]
    # files of before there were fused ones say nothing
    if document.get("fused", False):
        # a part of a chain has a report of its layers only
        return FusedNetwork(program, rebuild, _fuse_report(report) if "layers" in report else _report(report))
    name, options, shown = document["method"]
    method = build(name, **options) if name in METHODS else shown
    snn = SpikingNetwork(program, rebuild, document["timesteps"], document["precision"], method, _report(report))
    snn.reading = Reading(**document["reading"])
    return snn


def _rebuilt_loop(step: Any, loop: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> FusedLoop:
    read = {name.removeprefix(BEHIND): value for name, value in tensors.items() if name.startswith(BEHIND)}
    behind, results = traced.rebuilt(loop["nodes"], read), treespec_loads(loop["results"])
    network = FusedLoop(step, behind, results, loop["held"], loop["T"])
    network.report = _fuse_report(loop["report"])
    return network


def _fuse_report(data: Mapping[str, Any]) -> FuseReport:
    rows = tuple(FusedRow(**row) for row in data["rows"])
    return FuseReport(data["title"], rows, tuple(map(_report, data["layers"])))


def _report(data: Mapping[str, Any]) -> Report:
    rows = []
    for row in data["rows"]:
        fields = row | {"shape": tuple(row["shape"]), "modules": tuple(row["modules"]), "macs": Macs(**row["macs"])}
        rows.append(Row(**fields))
    return Report(data["title"], tuple(rows))


def _structure(rebuild: Any) -> tuple[list[Any], str]:
    """Leaves that are no outputs, and the structure, of what a network returns."""
    try:
        found = list(rebuild.leaves), treespec_dumps(rebuild.spec)
        json.dumps(found)
    except (NotImplementedError, TypeError, AttributeError) as error:
        raise TypeError(f"outputs of this structure have no form in a file: {error}") from error
    return found
