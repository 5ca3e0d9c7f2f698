"""Which methods are compared: what a caller gives, checked before anything runs, each with a label of its own."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastsnn.methods import METHODS, Method, build
from fastsnn.methods.card import Card

Given = str | tuple[str, Mapping[str, Any]] | Method
KINDS = "names, fastsnn.methods.Method objects, or a mapping from labels to names, (name, options) or Methods"


@dataclass(frozen=True)
class Candidate:
    """One method with its options. `make` gives one for a conversion."""

    label: str
    name: str
    settings: str
    card: Card
    make: Callable[[], Method]


def candidates(methods: Iterable[Given] | Mapping[str, Given] | None, options: Mapping[str, Any]) -> list[Candidate]:
    """The methods to compare; None: all of METHODS.

    options   of all that are given by name; their own come first

    Raises ValueError for an unknown name or value, two of one label, or none; TypeError for anything else that is no
    method, or has no such option.
    """
    if methods is None:
        methods = list(METHODS)
    if isinstance(methods, str):
        methods = [methods]
    if isinstance(methods, Mapping):
        named = [(str(label), given) for label, given in methods.items()]
    elif isinstance(methods, Iterable):
        named = [(given if isinstance(given, str) else getattr(given, "name", ""), given) for given in methods]
    else:
        raise TypeError(f"methods should be {KINDS}, got {type(methods).__name__}")
    if not named:
        raise ValueError("compare_methods needs at least one method, got none")
    labels = [label for label, _ in named]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise ValueError(f"methods: {', '.join(twice)} is there twice; give a mapping from labels to methods")
    return [_candidate(label, given, options) for label, given in named]


def _candidate(label: str, given: Any, options: Mapping[str, Any]) -> Candidate:
    if isinstance(given, str):
        given = (given, {})
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], str) and isinstance(given[1], Mapping):
        name, own = given
        make = partial(build, name, **{**options, **own})
        method = _first(make, name)
    elif all(hasattr(given, member) for member in ("name", "card", "neuron", "check", "threshold")):
        method = given
        make = partial(_itself, given)
    else:
        raise TypeError(f"methods should be {KINDS}, got a {type(given).__name__}")
    return Candidate(label, method.name, str(method), method.card, make)


def _first(make: "partial[Method]", name: str) -> Method:
    """Built to see that it can be."""
    try:
        return make()
    except TypeError as error:
        known = getattr(build(name), "options", None)
        unknown = sorted(set(make.keywords) - set(known)) if isinstance(known, Mapping) else []
        if not unknown:
            raise TypeError(f"method {name}: {error}") from error
        raise TypeError(
            f"method {name} has no option {', '.join(map(repr, unknown))}; it has {', '.join(known or ())}"
        ) from error


def _itself(method: Method) -> Method:
    return method
