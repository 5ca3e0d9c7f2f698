"""What `fastsnn measure` does: which of a GPU's backends is faster, operator by operator, for runs from then on."""

import argparse

import torch

from fastsnn import _order
from fastsnn.contest import contest
from fastsnn.errors import BackendUnavailable


def run(args: argparse.Namespace) -> None:
    """A line a measurement, as it is made."""
    if not torch.cuda.is_available():
        raise BackendUnavailable("torch sees no NVIDIA GPU here: there is nothing to measure")
    device = torch.device("cuda", torch.cuda.current_device())
    print(f"{torch.cuda.get_device_name(device)}, least of {args.rounds} rounds")
    for given, seconds in contest(device, args.rounds):
        print(f"{given}: {_order.told(seconds)}", flush=True)
    print(f"kept in {_order.MEASURED.path(device)}")
