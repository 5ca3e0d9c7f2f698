"""What was measured on this machine: one file for each kind of GPU, each topic and each version of what it tells of."""

import json
import os
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

import torch

from fastsnn import _env

V = TypeVar("V")

_lock = Lock()


class Kept(Generic[V]):
    """Values by key, for one topic.

    topic     part of the file's name
    packages  whose versions are part of it as well: what is measured with others is measured anew
    read      a value from what JSON holds; raises ValueError or TypeError for what is none
    write     the other way round
    """

    def __init__(
        self, topic: str, packages: tuple[str, ...], read: Callable[[Any], V], write: Callable[[V], Any]
    ) -> None:
        self.topic, self.packages, self._read, self._write = topic, packages, read, write
        # how often something was stored or forgotten: what was derived from it before is stale
        self.changes = 0
        self._known: dict[Path, dict[str, V]] = {}
        self._paths: dict[tuple[torch.device, str], Path] = {}

    def find(self, key: str, device: torch.device) -> V | None:
        """What was measured, or None."""
        return self.all(device).get(key)

    def all(self, device: torch.device) -> dict[str, V]:
        """Everything of a device, read once a process; a file that is broken or foreign reads as empty."""
        path = self.path(device)
        if path not in self._known:
            try:
                found = {key: self._read(value) for key, value in json.loads(path.read_text()).items()}
            except (OSError, ValueError, TypeError, AttributeError):
                found = {}
            self._known[path] = found
        return self._known[path]

    def store(self, key: str, value: V, device: torch.device) -> None:
        """Keeps a value for this process, and for later ones where the folder can be written to."""
        path = self.path(device)
        with _lock:
            known = self.all(device)
            known[key] = value
            self.changes += 1
            text = json.dumps({k: self._write(v) for k, v in sorted(known.items())}, indent=1)
            name = None
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                handle, name = tempfile.mkstemp(dir=path.parent, suffix=".json")
                with os.fdopen(handle, "w") as file:
                    file.write(text)
                os.replace(name, path)
            except OSError:
                # measured again by the next process, which is all that is lost
                if name is not None:
                    with suppress(OSError):
                        os.unlink(name)

    def forget(self) -> None:
        """Reads files anew from here on."""
        self._known.clear()
        self.changes += 1

    def path(self, device: torch.device) -> Path:
        """The file of a device, which need not be there; asked at every call, so it is put together once."""
        key = (device, _env.CACHE)
        if key not in self._paths:
            self._paths[key] = self._path(device)
        return self._paths[key]

    def _path(self, device: torch.device) -> Path:
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "interpreter"
        versions = [part for package in self.packages for part in (package, _version(package))]
        parts = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join([name, self.topic, *versions])).lower()
        return Path(_env.CACHE) / f"{parts}.json"


@cache
def _version(package: str) -> str:
    # cupy is distributed under a name for each CUDA version
    names = [package] if package != "cupy" else packages_distributions().get(package, [package])
    try:
        return version(names[0])
    except PackageNotFoundError:
        return "0"
