"""What a figure takes from a profile: its document, the layers asked for, names that fit; or why there is nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastsnn.profile.schema import Document, Layer, missing


def one(profile: Any) -> Document:
    """The document of a profile, or the document itself."""
    document = getattr(profile, "document", profile)
    if not isinstance(document, Mapping) or "layers" not in document:
        raise ValueError(f"a profile or its document is required, got {type(profile).__name__}")
    return document  # type: ignore[return-value]


def several(profiles: Any) -> dict[str, Document]:
    """Documents by name: of one profile under its network's name, or of a mapping from names to profiles."""
    if isinstance(profiles, Mapping) and "layers" not in profiles:
        if not profiles:
            raise ValueError("at least one profile is required, got an empty mapping")
        return {str(name): one(profile) for name, profile in profiles.items()}
    document = one(profiles)
    return {document["network"]["name"]: document}


def given(value: Any, what: str) -> Any:
    """The value, or ValueError with the reason why it could not be measured."""
    if missing(value):
        raise ValueError(f"{what} cannot be drawn, not measurable here: {value['not_measurable']}")
    return value


def available(value: Any) -> Any:
    """The value, or None where it could not be measured."""
    return None if missing(value) else value


def spiking_layers(document: Document) -> list[Layer]:
    layers = [layer for layer in document["layers"] if layer["neurons"]]
    if not layers:
        raise ValueError(f"firing rates cannot be drawn: no layer of {document['network']['name']} has neurons")
    return layers


def chosen(layers: Sequence[Layer], names: Sequence[str] | None, most: int) -> list[Layer]:
    """The layers of these names, in the network's order; without names at most so many, evenly spread over them all."""
    if names is None:
        if len(layers) <= most:
            return list(layers)
        return [layers[round(i * (len(layers) - 1) / (most - 1))] for i in range(most)]
    unknown = sorted(set(names) - {layer["name"] for layer in layers})
    if unknown or not names:
        have = ", ".join(layer["name"] for layer in layers)
        raise ValueError(f"layers should be some of {have}; got {', '.join(unknown) or 'none'}")
    return [layer for layer in layers if layer["name"] in names]


def short(name: str, most: int = 18) -> str:
    """A name that fits, cut in the middle, since layers differ at both ends; safe to give to matplotlib as text."""
    name = "".join(c if c.isprintable() else "?" for c in name)
    if len(name) > most:
        tail = (most - 1) * 7 // 10
        name = name[: most - 1 - tail] + "…" + name[-tail:]
    return name.replace("$", r"\$")


def percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"
