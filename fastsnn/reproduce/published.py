"""What papers report for CIFAR-10, in percent."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One row of a paper.

    method    as `fastsnn.methods` calls it; "qcfs" and "nq" are `opi` on a network that was trained so
    network   "vgg16" or "resnet20"
    dense     accuracy before conversion; None where it is not known
    accuracy  T -> accuracy; the largest T stands for all that are longer
    read      those T whose accuracy was read in the paper's abstract or text; the others are as they were recalled
    """

    source: str
    method: str
    network: str
    dense: float | None
    accuracy: Mapping[int, float]
    read: tuple[int, ...] = ()


OPI, QCFS, COS = "OPI (Bu et al., AAAI 2022)", "QCFS (Bu et al., ICLR 2022)", "COS (Hao et al., ICLR 2023)"
NQ = "NQ (Huang et al., TNNLS 2025)"
ROWS = (
    Published(
        *(OPI, "opi", "vgg16", 94.57),
        {8: 90.96, 16: 93.38, 32: 94.20, 64: 94.45, 128: 94.50, 256: 94.49, 512: 94.55},
        read=(16,),
    ),
    Published(
        *(OPI, "opi", "resnet20", 92.74),
        {8: 66.24, 16: 87.22, 32: 91.88, 64: 92.57, 128: 92.73, 256: 92.76, 512: 92.75},
    ),
    Published(
        *(QCFS, "qcfs", "vgg16", 95.52),
        {2: 91.18, 4: 93.96, 8: 94.95, 16: 95.40, 32: 95.54, 64: 95.55, 512: 95.59},
        read=(2, 4, 8, 16, 32, 64, 512),
    ),
    Published(
        *(QCFS, "qcfs", "resnet20", 91.77),
        {2: 73.20, 4: 83.75, 8: 89.55, 16: 91.62, 32: 92.24, 64: 92.35, 512: 92.41},
        read=(2, 4, 8, 16, 32, 64, 512),
    ),
    Published(NQ, "nq", "vgg16", 95.21, {1: 88.46, 2: 91.93, 4: 94.80, 8: 95.48, 16: 95.70}),
    Published(NQ, "nq", "resnet20", 85.18, {1: 65.99, 2: 77.30, 4: 84.54, 8: 87.43, 16: 88.26}),
    Published(COS, "cos", "vgg16", None, {1: 94.90, 2: 95.36, 4: 95.46, 8: 95.51}),
    Published(COS, "cos", "resnet20", None, {1: 89.88, 2: 91.26, 4: 92.15, 8: 92.18}),
)


def rows(method: str, model: str) -> list[Published]:
    """Those of a method on the network that `model` of `fastsnn.models` is, or is a narrow form of."""
    return [row for row in ROWS if row.method == method and row.network == model.partition("-")[0]]
