"""How much memory one way to run a network takes, in a process of its own.

python -m peers.memory FOLDER NETWORK T BATCH WHAT [--way ORDER LAYOUT] [--device cuda] [--threads N]

WHAT is an opponent, or a precision of fastsnn. Prints a line of JSON: MiB that the process holds after a run on one
image ("idle"), and what a run on the batch adds to that ("peak"). On a GPU it is the memory of PyTorch's allocator.
"""

import argparse
import ctypes
import gc
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from memory import CLEAR, level

from peers import opponents
from peers.prepare import Dense, Spiking, read, read_spiking
from peers.simulated import Way


@torch.inference_mode()
def measured(
    net: Dense, snn: Spiking, batch: int, what: str, way: Way | None, device: torch.device
) -> dict[str, float]:
    x = net.batch(batch).to(device)
    if what in opponents.NAMES:
        opponent = opponents.build(what, net, snn, x, way)
        run, x = opponent.net, opponent.image
    else:
        run = snn.network(what, device)
    run(x[:1])
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        idle = torch.cuda.memory_allocated() / 2**20
        run(x)
        torch.cuda.synchronize()
        return {"idle": idle, "peak": torch.cuda.max_memory_allocated() / 2**20 - idle}
    # what building it left behind would be used again, and not counted
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    CLEAR.write_text("5")
    idle = level("VmRSS")
    run(x)
    return {"idle": idle, "peak": level("VmHWM") - idle}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("network")
    parser.add_argument("T", type=int)
    parser.add_argument("batch", type=int)
    parser.add_argument("what")
    parser.add_argument("--way", nargs=2, metavar=("ORDER", "LAYOUT"))
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    net, snn = read(args.folder, args.network), read_spiking(args.folder, args.network, args.T)
    way = Way(*args.way) if args.way else None
    print(json.dumps(measured(net, snn, args.batch, args.what, way, args.device)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
