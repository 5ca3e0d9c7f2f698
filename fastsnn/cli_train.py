"""The arguments of `fastsnn train`."""

import argparse

from fastsnn.cli_values import names, number, numbers, whole

RECIPES = ("opi", "qcfs", "nq")


def add_training(p: argparse.ArgumentParser) -> None:
    """Adds them; what is not given of the recipe is as the recipe has it, and None here."""
    network = p.add_argument_group("network")
    network.add_argument(
        "--model",
        required=True,
        metavar="MODEL",
        help="resnet20, resnet18, vgg16, vgg16-half or vgg16-narrow for images of 32 pixels, or MODULE:FUNCTION or "
        "FILE.py:FUNCTION of your own, called without arguments",
    )
    network.add_argument("--weights", metavar="FILE", help="trained weights of the model with ReLUs, to begin with")
    data = p.add_argument_group("data")
    data.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help="a folder with train/ and test/ (or val/) that hold one folder a class, a .npz with train_images, ..., "
        "cifar10:ROOT or cifar100:ROOT",
    )
    data.add_argument("--download", action="store_true", help="fetch cifar10 or cifar100 into ROOT where it is absent")
    data.add_argument(
        "--image-size",
        type=whole(1),
        metavar="S",
        help="for images of many sizes: cut to S pixels, when training at random",
    )
    data.add_argument("--resize", type=whole(1), metavar="R", help="shorter side before the cut of a test (default: S)")
    default = "(default: of CIFAR-10, CIFAR-100, else ImageNet)"
    data.add_argument("--mean", type=numbers, metavar="A,B,C", help=f"subtracted from images in [0, 1] {default}")
    data.add_argument("--std", type=numbers, metavar="A,B,C", help=f"what images are divided by after that {default}")

    recipe = p.add_argument_group(
        "recipe", "each of these changes the recipe; docs/training.md has what each recipe is"
    )
    recipe.add_argument("--recipe", choices=RECIPES, default="opi", help="default: %(default)s")
    recipe.add_argument("--epochs", type=whole(1), metavar="N")
    recipe.add_argument("--batch-size", type=whole(1), metavar="N", help="of all processes together")
    recipe.add_argument("--lr", type=number, dest="learning_rate", metavar="X", help="the largest learning rate")
    recipe.add_argument("--schedule", choices=("cosine", "one-cycle"))
    recipe.add_argument("--warm-up", type=whole(0), metavar="N", help="epochs before the cosine begins")
    recipe.add_argument("--label-smoothing", type=number, metavar="X")
    recipe.add_argument("--ema", type=number, metavar="DECAY", help="train a running mean of the weights")
    recipe.add_argument("--bound", type=number, metavar="X", help="of each activation, before training")
    recipe.add_argument("--bound-decay", type=number, metavar="X", help="weight decay of the bounds")
    recipe.add_argument("--levels", type=whole(1), metavar="L", help="of each activation")
    recipe.add_argument("--noise", type=number, metavar="X", help="standard deviation, in bounds, of each activation")
    recipe.add_argument(
        "--noise-steps",
        type=whole(1),
        metavar="T",
        help="instead: how far rates in T steps are from activations, layer by layer",
    )
    recipe.add_argument("--augment", type=names, metavar="A,B", help="of crop,flip,autoaugment,cutout; or none")

    run = p.add_argument_group("run")
    run.add_argument("--out", required=True, metavar="FOLDER", help="for weights, checkpoint, metrics and curves")
    run.add_argument("--resume", action="store_true", help="go on from the checkpoint in FOLDER")
    run.add_argument("--seed", type=whole(0), default=0, metavar="N", help="default: %(default)s")
    run.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    run.add_argument("--threads", type=whole(1), metavar="N", help="of PyTorch on the CPU")
    run.add_argument("--workers", type=whole(0), default=4, metavar="N", help="load images (default: %(default)s)")
    run.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        help="of forward passes while training (default: float32 on a CPU, bfloat16 on a GPU)",
    )
    run.add_argument("--compile", action="store_true", help="train through torch.compile")
