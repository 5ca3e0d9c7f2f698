"""Which cases are measured: networks, numbers of steps, batches, and against whom."""

from collections.abc import Sequence
from dataclasses import dataclass

from peers import opponents

STEPS = (4, 8, 16, 32)
BATCHES = (1, 16, 128)
NETWORKS = ("resnet20", "resnet18", "vgg16", "resnet34-224", "vgg16-224")
# those whose memory is worth a process each
HEADLINE = 16


@dataclass(frozen=True)
class Case:
    """One network at T steps and a batch, beside each of `against`.

    memory  whether the memory of each is measured as well
    """

    network: str
    T: int
    batch: int
    against: tuple[str, ...] = opponents.NAMES
    memory: bool = False


# compiled once more than the other is, for less than it
SELDOM = ("spikingjelly-compiled",)
USUAL = tuple(name for name in opponents.NAMES if name not in SELDOM)
# each shape takes a minute of compiling
QUICK = tuple(name for name in USUAL if name not in opponents.COMPILED)
# enough to see what becomes of the others elsewhere
FEW = ("dense", "dense-int8", "torch", "spikingjelly")

DEFAULT = (
    Case("resnet20", 16, 1, USUAL),
    *(Case("resnet20", T, 1, FEW) for T in (4, 8, 32)),
    Case("resnet20", 16, 128, ("dense", "torch")),
    Case("resnet18", 16, 1, QUICK),
    Case("resnet18", 16, 16, FEW, memory=True),
    Case("resnet18", 4, 1, FEW),
    Case("vgg16", 16, 1, QUICK),
    Case("resnet34-224", 16, 1, QUICK),
    Case("vgg16-224", 16, 1, FEW),
)
ALL = tuple(Case(net, T, b, memory=T == HEADLINE) for net in NETWORKS for T in STEPS for b in BATCHES)
# runs every opponent that needs no minute to compile, and takes no times
CHECKS = (Case("tiny", 4, 2, QUICK), Case("tiny", 9, 1, QUICK))


def chosen(
    cases: Sequence[Case],
    networks: Sequence[str] | None = None,
    against: Sequence[str] | None = None,
    steps: Sequence[int] | None = None,
    batches: Sequence[int] | None = None,
) -> dict[str, dict[str, list[Case]]]:
    """Cases by network and opponent, those that were asked for; None for all."""
    found: dict[str, dict[str, list[Case]]] = {}
    for case in cases:
        asked = ((case.network, networks), (case.T, steps), (case.batch, batches))
        if all(some is None or one in some for one, some in asked):
            for name in case.against:
                if against is None or name in against:
                    found.setdefault(case.network, {}).setdefault(name, []).append(case)
    return found
