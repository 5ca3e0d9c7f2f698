"""Which versions and which machine a result was made with."""

import platform
from importlib.metadata import PackageNotFoundError, packages_distributions, version

import torch

import fastsnn

PACKAGES = ("numpy", "triton", "cupy", "torchvision")


def versions() -> dict[str, str | None]:
    """Name -> version, None where a package is not installed. Nothing heavy is imported to find out."""
    found: dict[str, str | None] = {
        "fastsnn": fastsnn.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    owners = packages_distributions()
    for package in PACKAGES:
        # cupy is distributed under a name for each CUDA version.
        names = owners.get(package, [])
        try:
            found[package] = version(names[0]) if names else None
        except PackageNotFoundError:
            found[package] = None
    return found


def cuda_device() -> str | None:
    """Name, memory and compute capability of the current CUDA device."""
    if not torch.cuda.is_available():
        return None
    device = torch.cuda.get_device_properties(torch.cuda.current_device())
    return f"{device.name}, {device.total_memory / 2**30:.0f} GiB, sm_{device.major}{device.minor}"
