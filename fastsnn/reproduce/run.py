"""An experiment from a trained network to its tables: every V(0), and other methods with and without it."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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


@dataclass(frozen=True)
class Piece:
    """A part of the document that is measured at once.

    section  of the document, a list
    key      by which its row is known
    work     gives the rest of the row
    """

    section: str
    key: dict[str, Any]
    work: Callable[[], dict[str, Any]]

    def found(self, document: Mapping[str, Any]) -> dict[str, Any] | None:
        """Its row in a document that was read, where it is there."""
        rows = document.get(self.section, [])
        return next((row for row in rows if all(row.get(name) == value for name, value in self.key.items())), None)


def reproduce(
    subject: Subject,
    about: dict[str, Any],
    timesteps: Sequence[int],
    earlier: Mapping[str, Any] | None = None,
    keep: Callable[[dict[str, Any]], None] = lambda document: None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """The document of an experiment, made of what JSON has. Accuracies are fractions, by T as text.

    about      "model" and "recipe" by name, "dense" accuracy and "images", and what else should be kept
    timesteps  of the curves of V(0), ascending
    earlier    a document that was not finished: rows that it has are taken from it, where it is of the same `about`
               (but for "threads") and the same `timesteps`; a finished one is measured anew
    keep       is given the document each time it has grown
    say        is told what is done next

    Raises ConversionError where the network cannot be converted at all, ValueError where its first layer says nothing.
    """
    document: dict[str, Any] = {"schema": SCHEMA, "version": VERSION, **about, "timesteps": list(timesteps)}
    document = _plain(document | {"published": _published(about["recipe"], about)})
    pieces = _pieces(subject, about, timesteps, say)
    found = [piece.found(earlier) if earlier and _same(earlier, document) else None for piece in pieces]
    if None not in found:
        found = [None] * len(pieces)
    if any(found):
        say(f"{len(found) - found.count(None)} of {len(found)} results are those of the run that was not finished")
    document |= {piece.section: [] for piece in pieces}
    for piece, row in zip(pieces, found, strict=True):
        document[piece.section].append(row or _plain(piece.key | piece.work()))
        keep(document)
    return document


def _pieces(
    subject: Subject, about: dict[str, Any], timesteps: Sequence[int], say: Callable[[str], None]
) -> list[Piece]:
    pieces = [Piece("starts", {"start": start}, partial(_start, subject, start, timesteps, say)) for start in STARTS]
    short = [T for T in timesteps if T <= LARGEST]
    for name in ON_TOP:
        # those papers train as QCFS does
        published = _published(name, about) if about["recipe"] == "qcfs" else []
        work = partial(_method, subject, name, short, {}, say)
        pieces.append(Piece("methods", {"method": name, "options": {}, "published": published}, work))
    compared = [T for T in COMPARED if T <= timesteps[-1]]
    for name in ADDED:
        for start in (0.0, 0.5):
            options = {"initial_potential": start}
            work = partial(_method, subject, name, compared, options, say)
            pieces.append(Piece("added", {"method": name, "options": options}, work))
    return pieces


def _same(earlier: Mapping[str, Any], header: Mapping[str, Any]) -> bool:
    return all(earlier.get(name) == value for name, value in header.items() if name != "threads")


def _start(
    subject: Subject, start: float | str, timesteps: Sequence[int], say: Callable[[str], None]
) -> dict[str, Any]:
    """One V(0): all T from one run, since bounds are thresholds at every T."""
    say(f"V(0) = {start}, {timesteps[-1]} time-steps")
    snn = subject.converted(timesteps[-1], initial_potential=start)
    curve, at = subject.curve(snn, timesteps[-1]), min(ERRORS_AT, timesteps[-1])
    neuron, logits = ablation.measured(subject.model, snn, subject.batches(), at)
    return {
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
    row: dict[str, Any] = {"accuracy": {}, "failed": {}}
    for T in timesteps:
        say(f"{name} {options or ''}, {T} time-steps")
        own = {"rho": min(T, RHO)} if name == "cos" else {}
        try:
            row["accuracy"][T] = subject.curve(subject.converted(T, method=name, **options, **own), T)[-1]
        except (FastSNNError, ValueError) as error:
            row["accuracy"][T], row["failed"][T] = None, " ".join(str(error).split())
    return row


def _published(method: str, about: dict[str, Any]) -> list[dict[str, Any]]:
    return [_plain(vars(row)) for row in rows(method, about["model"])]


def _plain(value: Any) -> Any:
    """As it would be read again from its file."""
    return json.loads(json.dumps(value))
