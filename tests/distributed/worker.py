"""What one of several processes does in tests: a network that the first converts, judged on images that all share."""

import json
import sys
from pathlib import Path

import torch
from closing import connected
from torch import nn

import fastsnn
from fastsnn.distributed import accuracy_over_time, joined
from fastsnn.network import SpikingNetwork

IMAGES, COUNTS, CLASSES = 23, (1, 2, 7, 23), 3
METHODS = {"opi": {"initial_potential": "measured"}, "ftbc": {"precision": "float32"}}


def network() -> nn.Module:
    torch.manual_seed(0)
    hidden = (
        nn.Conv2d(2, 5, 3),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(45, 8),
        nn.ReLU(),
    )
    return nn.Sequential(*hidden, nn.Linear(8, CLASSES)).eval()


def labelled(count: int) -> list[tuple[torch.Tensor, int]]:
    images = torch.rand(IMAGES, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    return [(image, i % CLASSES) for i, image in enumerate(images)][:count]


def converted(method: str) -> SpikingNetwork:
    images = torch.rand(70, 2, 8, 8, generator=torch.Generator().manual_seed(2))
    return fastsnn.convert(network(), images, method=method, timesteps=6, **METHODS[method])


def curves(snn: SpikingNetwork) -> list[list[float]]:
    """Accuracy over time on the first few images, for each of COUNTS; in batches of 2."""
    return [accuracy_over_time(snn, labelled(count), batch_size=2, progress=False).tolist() for count in COUNTS]


def main(folder: Path) -> None:
    with joined("cpu") as group:
        found = {}
        for method in METHODS:
            # a network that only the first process could make
            snn = group.network(lambda m=method: converted(m) if group.first else None, torch.device("cpu"))
            snn.save(folder / f"{method}-{group.rank}.safetensors")
            found[method] = curves(snn)
        if sys.platform == "linux" and not connected():
            sys.exit("threads of gloo have another name here")
        Path(folder, f"{group.rank}.json").write_text(json.dumps(found))
    if connected():
        sys.exit("a connection is left")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
