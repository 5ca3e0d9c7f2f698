"""How much memory a run of a network takes, measured in a process of its own.

python memory.py NETWORK IMAGES     files of torch.save; prints one line of JSON
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def measured(net: nn.Module, images: Tensor, folder: Path) -> dict[str, Any]:
    """What a fresh process holds after a run on the first image ("idle"), and what a run on all adds ("peak"), in MiB.

    Also the "logits" of that run. `folder` takes the network and the images.
    """
    files = [folder / name for name in ("network.pt", "images.pt")]
    for thing, file in zip((net, images), files, strict=True):
        torch.save(thing, file)
    done = subprocess.run([sys.executable, __file__, *map(str, files)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"memory: the measuring process failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


@torch.inference_mode()
def main(network: str, images: str) -> None:
    torch.set_num_threads(1)
    # these files come from the process that started this one
    net, x = (torch.load(file, weights_only=False) for file in (network, images))
    net(x[:1])
    # from here on the highest level is that of the run
    CLEAR.write_text("5")
    idle = level("VmRSS")
    logits = net(x)
    print(json.dumps({"idle": idle, "peak": level("VmHWM") - idle, "logits": logits.tolist()}))


def level(name: str) -> float:
    """A line of /proc/self/status in MiB; ru_maxrss would begin at the level of the process that started this one."""
    (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
