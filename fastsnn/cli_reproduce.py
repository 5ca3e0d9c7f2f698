"""The arguments of `fastsnn reproduce`."""

import argparse

from fastsnn.cli_values import whole

EXPERIMENTS = ("opi-cifar10", "qcfs-cifar10", "nq-cifar10")


def add_reproduction(p: argparse.ArgumentParser) -> None:
    """Adds them."""
    p.add_argument("experiment", choices=EXPERIMENTS, help="which paper's tables")
    p.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help="cifar10:ROOT, or CIFAR-10 as a folder with train/ and test/ or as a .npz",
    )
    p.add_argument("--download", action="store_true", help="fetch cifar10 into ROOT where it is absent")
    p.add_argument(
        "--weights",
        metavar="FILE",
        help="weights.safetensors of fastsnn train, or the name of a network that comes with fastsnn (default: a "
        "network is trained, in DIR/training, or the training there is gone on with)",
    )
    p.add_argument(
        "--schedule",
        choices=("full", "reduced"),
        help="the paper's training and all images, or what two cores do in minutes (default: full on a GPU)",
    )
    p.add_argument(
        "--timesteps", type=whole(1), default=512, metavar="T", help="the longest run (default: %(default)s)"
    )
    p.add_argument("--images", type=whole(1), metavar="N", help="evaluate on N, drawn by the seed")
    p.add_argument("--calibration-images", type=whole(1), default=512, metavar="N", help="default: %(default)s")
    p.add_argument("--batch-size", type=whole(1), default=100, metavar="N", help="default: %(default)s")
    p.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    p.add_argument("--threads", type=whole(1), metavar="N", help="of PyTorch on the CPU")
    p.add_argument("--seed", type=whole(0), default=0, metavar="N", help="default: %(default)s")
    p.add_argument("--out", required=True, metavar="DIR", help="folder for table.md, table.json and curves.png")
