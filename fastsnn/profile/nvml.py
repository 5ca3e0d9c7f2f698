"""Joules of an NVIDIA GPU, from NVML: by its energy counter, or from power that is sampled.

nvmlDeviceGetTotalEnergyConsumption counts millijoules since the driver was loaded, on Volta and newer.
nvmlDeviceGetPowerUsage tells milliwatts: of the moment up to Volta and on the GA100, which are the GPUs that may need
it; a mean over one second on newer ones.
"""

from time import perf_counter
from typing import Any

import torch

from fastsnn._extras import MissingExtra, need
from fastsnn.profile.schema import NotMeasurable, unavailable

# seconds between two readings of power
SAMPLING = 0.02
# of the counter, which does not run over; reading now and then shows early that the driver stopped telling
WATCHING = 1.0
COVERS = "the whole board of the GPU with its memory and everything that ran there, without the CPU"


class Counter:
    """A meter by the energy counter; see `meters.Meter`."""

    interval = WATCHING
    how = "NVML's energy counter of the GPU (nvmlDeviceGetTotalEnergyConsumption)"
    covers = COVERS

    def __init__(self, library: Any, handle: Any) -> None:
        self.library, self.handle, self.begin = library, handle, 0
        self.start()

    def start(self) -> None:
        self.begin = self._now()

    def read(self) -> float:
        return (self._now() - self.begin) / 1e3

    def _now(self) -> int:
        return _asked(self.library, "nvmlDeviceGetTotalEnergyConsumption", self.handle)


class Sampled:
    """A meter that adds up power between readings, on straight lines from one to the next; see `meters.Meter`."""

    interval = SAMPLING
    how = f"NVML's power of the GPU (nvmlDeviceGetPowerUsage), read every {1e3 * SAMPLING:.0f} ms and added up"
    covers = COVERS

    def __init__(self, library: Any, handle: Any) -> None:
        self.library, self.handle = library, handle
        self.total, self.watts, self.when = 0.0, 0.0, 0.0
        self.start()

    def start(self) -> None:
        self.total, self.watts, self.when = 0.0, self._now(), perf_counter()

    def read(self) -> float:
        watts, when = self._now(), perf_counter()
        self.total += (self.watts + watts) / 2 * (when - self.when)
        self.watts, self.when = watts, when
        return self.total

    def _now(self) -> float:
        return _asked(self.library, "nvmlDeviceGetPowerUsage", self.handle) / 1e3


def find(device: torch.device) -> Counter | Sampled | NotMeasurable:
    """The meter of a CUDA device, or why there is none."""
    try:
        library = need("pynvml", "the energy of a GPU", extra="profile")
        _asked(library, "nvmlInit")
        handle = _handle(library, torch.cuda.get_device_properties(device))
    except (MissingExtra, OSError) as error:
        return unavailable(str(error))
    reasons = []
    for kind in (Counter, Sampled):
        try:
            return kind(library, handle)
        except OSError as error:
            reasons.append(str(error))
    return unavailable(f"NVML tells neither energy nor power of {device}: {'; '.join(reasons)}")


def _handle(library: Any, has: Any) -> Any:
    """NVML's handle of the GPU with these properties: its numbers are not CUDA's, which CUDA_VISIBLE_DEVICES changes.

    By UUID, or else by the place on the PCI bus (also of a part of a GPU, which has a UUID of its own). Raises OSError.
    """
    reasons = []
    if hasattr(has, "uuid"):
        try:
            return _asked(library, "nvmlDeviceGetHandleByUUID", f"GPU-{str(has.uuid).removeprefix('GPU-')}")
        except OSError as error:
            reasons.append(str(error))
    if hasattr(has, "pci_bus_id"):
        place = f"{has.pci_domain_id:08x}:{has.pci_bus_id:02x}:{has.pci_device_id:02x}.0"
        try:
            return _asked(library, "nvmlDeviceGetHandleByPciBusId", place)
        except OSError as error:
            reasons.append(str(error))
    raise OSError("; ".join(reasons) or f"this version of PyTorch tells neither UUID nor PCI bus of {has.name}")


def _asked(library: Any, function: str, *arguments: Any) -> Any:
    """What a function of NVML gives. Raises OSError where it gives an error."""
    call = getattr(library, function, None)
    if call is None:
        raise OSError(f"this version of pynvml has no {function}")
    try:
        return call(*arguments)
    except library.NVMLError as error:
        raise OSError(f"{function}: {error}") from error
