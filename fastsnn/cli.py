"""How the command line is parsed, and how a failure becomes one line and an exit code."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from fastsnn import _env
from fastsnn._extras import MissingExtra
from fastsnn.cli_reproduce import add_reproduction
from fastsnn.cli_train import add_training
from fastsnn.cli_values import POTENTIALS, numbers, potential, whole
from fastsnn.errors import ConversionError, FastSNNError, SaidElsewhere

# verbs that several processes may run together
SHARED = ("train", "eval")
PRECISIONS = ("int32", "int16", "int8", "float32", "float16", "bfloat16", "float64")


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that answers a mistake in one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        # the processes of one run are given the same arguments: the first says it for all
        first = _env.WORLD_SIZE == "1" or _env.RANK == "0"
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n" if first else None)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb. Returns 0, 2 for a mistake of the caller's (said on stderr), 130 for Ctrl-C."""
    given = list(sys.argv[1:] if argv is None else argv)
    args = _parser().parse_args(given)
    args.command = shlex.join(["fastsnn", *given])
    try:
        if args.verb not in SHARED:
            _require_alone(args.verb)
        # The verb's module is imported now and not above, so that --help does not wait for torch.
        import_module(f"fastsnn.commands.{args.verb.replace('-', '_')}").run(args)
    except KeyboardInterrupt:
        return 130
    except SaidElsewhere:
        if args.traceback:
            raise
        return 2
    except (ValueError, TypeError, OSError, FastSNNError, MissingExtra) as e:
        if args.traceback:
            raise
        # A conversion error lists every node at fault, one a line; all others are one line.
        text = str(e).strip() if isinstance(e, ConversionError) else " ".join(str(e).split())
        print(f"fastsnn {args.verb}: {text or type(e).__name__}", file=sys.stderr)
        return 2
    return 0


def _require_alone(verb: str) -> None:
    """Raises where torchrun started several processes: each would do the whole work, and write the same files."""
    if _env.WORLD_SIZE != "1":
        text = f"runs in one process, WORLD_SIZE is {_env.WORLD_SIZE}: only {' and '.join(SHARED)} take several"
        raise ValueError(text) if _env.RANK == "0" else SaidElsewhere(text)


def _parser() -> Parser:
    parser = Parser(prog="fastsnn", description="Convert trained PyTorch networks into spiking networks and run them.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and stop")
    metavar = "{demo,train,eval,reproduce,profile,compare,methods,compare-methods,info,measure}"
    verbs = parser.add_subparsers(dest="verb", required=True, metavar=metavar)
    _demo(verbs.add_parser("demo", help="train, convert and run a small network on real handwritten digits"))
    add_training(verbs.add_parser("train", help="train a network for conversion"))
    _eval(verbs.add_parser("eval", help="accuracy at every time-step of your network, converted, beside the dense one"))
    add_reproduction(verbs.add_parser("reproduce", help="a paper's tables, published beside measured"))
    _profile(verbs.add_parser("profile", help="what your network costs once converted, beside the dense one"))
    _compare(verbs.add_parser("compare", help="profiles side by side"))
    _methods(verbs.add_parser("methods", help="the conversion methods, and what each needs"))
    _compare_methods(verbs.add_parser("compare-methods", help="several methods side by side, on your network"))
    _info(verbs.add_parser("info", help="versions, and which backends run on this machine"))
    _measure(verbs.add_parser("measure", help="which of a GPU's backends is faster, for later runs"))
    for verb in verbs.choices.values():
        verb.add_argument("--traceback", action="store_true", help="on an error, show where it was raised")
    return parser


def _demo(p: argparse.ArgumentParser) -> None:
    p.add_argument("--out", default="demo-out", metavar="DIR", help="folder for the plot (default: %(default)s)")
    p.add_argument("--seed", type=whole(0), default=0, metavar="N", help="default: %(default)s")
    p.add_argument("--epochs", type=whole(1), default=12, metavar="N", help="of the digits (default: %(default)s)")
    p.add_argument(
        "--cifar10",
        nargs="?",
        const="cifar10:data",
        metavar="DATA",
        help="the ResNet-20 that comes with fastsnn, on CIFAR-10 in place of digits: cifar10:ROOT (default: "
        "%(const)s), a folder with train/ and test/, or a .npz",
    )
    p.add_argument("--download", action="store_true", help="fetch CIFAR-10 into ROOT where it is absent")
    p.add_argument("--images", type=whole(1), default=500, metavar="N", help="of CIFAR-10 (default: %(default)s)")


def _eval(p: argparse.ArgumentParser) -> None:
    _setup(p)
    add_conversion(p)
    output = p.add_argument_group("output")
    output.add_argument("--out", metavar="FILE.json", help="write the whole curve, the settings and the versions")
    output.add_argument("--plot", metavar="FILE.png", help="plot accuracy over time (.png, .svg or .pdf)")
    output.add_argument("--report", action="store_true", help="print what each layer became")


def _profile(p: argparse.ArgumentParser) -> None:
    _setup(p)
    add_conversion(p)
    p.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="another conversion, whose curve is overlaid: initial-potential=0, precision=int16, ...; may be repeated",
    )
    measured = p.add_argument_group("measurement")
    measured.add_argument("--batch", type=whole(1), metavar="N", help="images of the timed batch (default: batch size)")
    measured.add_argument("--rounds", type=whole(3), default=20, metavar="N", help="default: %(default)s")
    measured.add_argument("--no-compile", action="store_true", help="leave the dense network under torch.compile out")
    measured.add_argument(
        "--energy-model", action="append", metavar="NAME", help="may be repeated (default: all that are known)"
    )
    p.add_argument_group("output").add_argument(
        "--out", action="append", default=[], metavar="FILE", help="write .json or .html; may be repeated"
    )


def _compare(p: argparse.ArgumentParser) -> None:
    p.add_argument("profiles", nargs="+", metavar="FILE.json", help="written by fastsnn profile")
    p.add_argument("--out", metavar="FILE.html", help="write a page with all of them")


def _methods(p: argparse.ArgumentParser) -> None:
    p.add_argument("--json", action="store_true", help="as JSON, to stdout")


def _compare_methods(p: argparse.ArgumentParser) -> None:
    _setup(p)
    compared = p.add_argument_group("comparison")
    compared.add_argument(
        "--methods",
        nargs="+",
        metavar="METHOD",
        help="a name that fastsnn methods lists, or NAME:OPTION=VALUE,OPTION=VALUE with options of the method, such as "
        "opi:initial-potential=0,threshold=percentile:99.9 (default: all methods)",
    )
    compared.add_argument(
        "--timesteps",
        nargs="+",
        type=whole(1),
        default=[4, 8, 16, 32],
        metavar="T",
        help="each method is converted for each T (default: 4 8 16 32)",
    )
    compared.add_argument("--batch", type=whole(1), metavar="N", help="images of the timed batch (default: batch size)")
    _rounding(compared)
    compared.add_argument(
        "--seed", type=whole(0), default=0, metavar="N", help="of the calibration images (default: %(default)s)"
    )
    p.add_argument_group("output").add_argument(
        "--out", action="append", default=[], metavar="FILE", help="write .json, .png, .svg or .pdf; may be repeated"
    )


def _setup(p: argparse.ArgumentParser) -> None:
    network = p.add_argument_group("network")
    network.add_argument(
        "--model",
        required=True,
        metavar="MODULE:FUNCTION",
        help="what builds the network when called without arguments; FILE.py:FUNCTION too; weights.safetensors of "
        "fastsnn train, where that trained a network of fastsnn.models; or resnet20-opi, resnet20-qcfs, which come "
        "with fastsnn, for CIFAR-10",
    )
    network.add_argument("--weights", metavar="FILE", help=".safetensors, or a state dict saved by torch.save")
    network.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")

    data = p.add_argument_group("data")
    data.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help="a folder of images (one folder a class, or train/ and test/ with such), a .npz, "
        "cifar10:ROOT or cifar100:ROOT",
    )
    data.add_argument("--calibration-data", metavar="DATA", help="default: the training images of --data")
    data.add_argument("--calibration-images", type=whole(1), default=512, metavar="N", help="default: %(default)s")
    data.add_argument("--images", type=whole(1), metavar="N", help="evaluate on the first N only")
    data.add_argument("--image-size", type=whole(1), metavar="S", help="cut a square of S pixels from the centre")
    data.add_argument("--resize", type=whole(1), metavar="R", help="shorter side before the cut (default: S)")
    data.add_argument("--mean", type=numbers, metavar="A,B,C", help="subtracted from images in [0, 1]")
    data.add_argument("--std", type=numbers, metavar="A,B,C", help="what images are divided by after that")
    data.add_argument("--batch-size", type=whole(1), default=100, metavar="N", help="default: %(default)s")


def add_conversion(p: argparse.ArgumentParser) -> None:
    """The options of `fastsnn.convert`."""
    conversion = p.add_argument_group("conversion")
    conversion.add_argument("--method", default="opi", help="see fastsnn methods (default: %(default)s)")
    conversion.add_argument("--timesteps", type=whole(1), default=32, metavar="T", help="default: %(default)s")
    conversion.add_argument(
        "--threshold", metavar="RULE", help="max, percentile:P, mse or bound (default: the method's own)"
    )
    conversion.add_argument("--per-layer", action="store_true", help="one threshold a layer instead of one a channel")
    conversion.add_argument(
        "--initial-potential",
        type=potential,
        metavar="V",
        help=f"in units of the threshold, or {', '.join(POTENTIALS)} (default: the method's own)",
    )
    _rounding(conversion)
    conversion.add_argument(
        "--checkpoint", metavar="FILE.safetensors", help="calibration that is gone on from if it is there, and written"
    )
    conversion.add_argument("--seed", type=whole(0), default=0, metavar="N", help="default: %(default)s")


def _rounding(group: Any) -> None:
    """What every conversion is told, whatever its method."""
    group.add_argument(
        "--max-pool",
        choices=("lateral", "gate", "before", "average", "or"),
        help="what max pooling becomes (default: lateral)",
    )
    group.add_argument("--precision", choices=PRECISIONS, help="default: int32, on a GPU float16")


def _info(p: argparse.ArgumentParser) -> None:
    p.add_argument("--verbose", action="store_true", help="also paths, environment variables and torch's build")


def _measure(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--rounds", type=whole(1), default=20, metavar="N", help="the least time counts (default: %(default)s)"
    )


class _Version(argparse.Action):
    """Prints the version; an action of its own, because reading it may import torch."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from fastsnn import __version__

        print(f"fastsnn {__version__}")
        parser.exit()
