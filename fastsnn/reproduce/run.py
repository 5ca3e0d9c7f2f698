"""An experiment from a trained network to its tables: every V(0), and other methods with and without it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from fastsnn.convert.api import convert
from fastsnn.errors import FastSNNError
from fastsnn.network import SpikingNetwork
from fastsnn.reproduce import ablation
from fastsnn.reproduce.plan import COMPARED, STARTS
from fastsnn.reproduce.published import rows

SCHEMA, VERSION = "fastsnn.reproduction", 1
# what later papers run on the same networks, and what V(0) = theta/2 is added to
ON_TOP = ("srp", "cos", "ftbc")
ADDED = ("lcp", "ftbc", "burst", "m-ht", "snm")
# the largest T of a method that is converted for each T
LARGEST = 64
# the steps that COS looks at first, where there are as many
RHO = 4
# of the comparison of errors
ERRORS_AT = 16


@dataclass(frozen=True)
class Subject:
    """A network with what it is measured on.

    model        prepared and trained (`fastsnn.train.load`), in eval mode; its bounds are the thresholds
    batches      gives batches (images, labels), on the model's device, each time it is called
    calibration  images [N, C, H, W], for methods that correct
    precision    as in `fastsnn.convert`
    """

    model: nn.Module
    batches: Callable[[], Iterable[tuple[Tensor, Tensor]]]
    calibration: Tensor
    precision: str | None = None

    def converted(self, timesteps: int, **options: Any) -> SpikingNetwork:
        return convert(self.model, self.calibration, timesteps=timesteps, precision=self.precision, **options)

    def curve(self, snn: SpikingNetwork, timesteps: int) -> list[float]:
        """Accuracy after each step."""
        return snn.accuracy_over_time(self.batches(), timesteps, progress=False).tolist()


def reproduce(
    subject: Subject,
    about: dict[str, Any],
    timesteps: Sequence[int],
    keep: Callable[[dict[str, Any]], None] = lambda document: None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """The document of an experiment. Accuracies are fractions, by T.

    about      "model" and "recipe" by name, "dense" accuracy and "images", and what else should be kept
    timesteps  of the curves of V(0), ascending
    keep       is given the document each time it has grown
    say        is told what is done next

    Raises ConversionError where the network cannot be converted at all, ValueError where its first layer says nothing.
    """
    document: dict[str, Any] = {"schema": SCHEMA, "version": VERSION, **about, "timesteps": list(timesteps)}
    document |= {"published": _published(about["recipe"], about), "starts": [], "methods": [], "added": []}
    for start in STARTS:
        say(f"V(0) = {start}, {timesteps[-1]} time-steps")
        document["starts"].append(_start(subject, start, timesteps))
        keep(document)
    short = [T for T in timesteps if T <= LARGEST]
    for name in ON_TOP:
        found = _method(subject, name, short, {}, say)
        # those papers train as QCFS does
        found["published"] = _published(name, about) if about["recipe"] == "qcfs" else []
        document["methods"].append(found)
        keep(document)
    for name in ADDED:
        for start in (0.0, 0.5):
            compared = [T for T in COMPARED if T <= timesteps[-1]]
            document["added"].append(_method(subject, name, compared, {"initial_potential": start}, say))
            keep(document)
    return document


def _start(subject: Subject, start: float | str, timesteps: Sequence[int]) -> dict[str, Any]:
    """One V(0): all T from one run, since bounds are thresholds at every T."""
    snn = subject.converted(timesteps[-1], initial_potential=start)
    curve, at = subject.curve(snn, timesteps[-1]), min(ERRORS_AT, timesteps[-1])
    neuron, logits = ablation.measured(subject.model, snn, subject.batches(), at)
    return {
        "start": start,
        "accuracy": {T: curve[T - 1] for T in timesteps},
        "predicted": ablation.predicted(start),
        "measured": neuron,
        "logits": logits,
        "at": at,
    }


def _method(
    subject: Subject, name: str, timesteps: Sequence[int], options: dict[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """A method at each T, each of a conversion of its own; None where it cannot, with the reason."""
    row: dict[str, Any] = {"method": name, "options": options, "accuracy": {}, "failed": {}}
    for T in timesteps:
        say(f"{name} {options or ''}, {T} time-steps")
        own = {"rho": min(T, RHO)} if name == "cos" else {}
        try:
            row["accuracy"][T] = subject.curve(subject.converted(T, method=name, **options, **own), T)[-1]
        except (FastSNNError, ValueError) as error:
            row["accuracy"][T], row["failed"][T] = None, " ".join(str(error).split())
    return row


def _published(method: str, about: dict[str, Any]) -> list[dict[str, Any]]:
    return [vars(row) for row in rows(method, about["model"])]
