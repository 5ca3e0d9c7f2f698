"""The file of a trained network: safetensors whose header says how the network is built again, without code."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as packed
from torch import nn

from fastsnn import models
from fastsnn._files import digest, read_tensors, write_bytes
from fastsnn.train.prepare import prepare
from fastsnn.train.recipe import Recipe
from fastsnn.weights import load_into

SCHEMA, VERSION = "fastsnn.trained", "1"
# what `fastsnn train --model` takes by name
MODELS: dict[str, Callable[..., nn.Module]] = {
    "resnet18": models.resnet18,
    "resnet20": models.resnet20,
    "vgg16": models.vgg16,
    "vgg16-half": models.vgg16_half,
    "vgg16-narrow": models.vgg16_narrow,
}


def named(name: str, classes: int) -> nn.Module:
    """A network of `fastsnn.models` with new weights. Raises ValueError for another name."""
    if name not in MODELS:
        raise ValueError(f"model should be {', '.join(MODELS)}, module:function or file.py:function, got {name!r}")
    return MODELS[name](classes=classes)


def save(path: Path, model: nn.Module, about: dict[str, Any]) -> None:
    """Writes the weights of a prepared network, whole or not at all.

    about  "model" (a name in MODELS, or what the user called the network), "classes", "recipe" (`dataclasses.asdict`
           of a `Recipe`), and what else should be known, as JSON has it
    """
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    text = json.dumps(about)
    metadata = {"schema": SCHEMA, "version": VERSION, "trained": text, "sha256": digest(text, tensors)}
    write_bytes(path, packed(tensors, metadata))


def is_trained(path: str | Path) -> bool:
    """Whether this is a file of `fastsnn train`, of any version."""
    try:
        with safe_open(str(path), "pt") as opened:
            return (opened.metadata() or {}).get("schema") == SCHEMA
    except (OSError, SafetensorError):
        return False


def about(path: str | Path) -> dict[str, Any]:
    """What the header of a trained network says: model, classes, recipe, accuracy, mean, std, ...

    Raises FileNotFoundError for no file, ValueError for any other one, or one that was changed.
    """
    metadata, tensors = read_tensors(Path(path), "weights file", "trained network", SCHEMA, VERSION)
    text = metadata.get("trained", "")
    if metadata.get("sha256") != digest(text, tensors):
        raise ValueError(f"{path} was changed after it was written: its digest is another one")
    return json.loads(text)


def load(path: str | Path, model: nn.Module | None = None) -> nn.Module:
    """The network that `fastsnn train` wrote, in eval mode, with its bounded activations; `fastsnn.convert` takes it.

    model  what the training began with, before it was prepared; None where that is one of `fastsnn.models`. The file
           names the code of other networks, and nothing is run because a file says so

    Raises FileNotFoundError for no file; ValueError for any other one, one that was changed, or where `model` lacks or
    does not fit.
    """
    found = about(path)
    if model is None:
        if found["model"] not in MODELS:
            raise ValueError(f"{path} holds weights of {found['model']}: give that network, as it is before training")
        model = named(found["model"], found["classes"])
    return load_into(prepared(model, recipe_of(found["recipe"])), path).eval()


def prepared(model: nn.Module, recipe: Recipe) -> nn.Module:
    """The network as the recipe trains it: a bounded activation for each ReLU, average in place of max pools."""
    return prepare(model, recipe.activation).model


def recipe_of(fields: dict[str, Any]) -> Recipe:
    """The recipe whose `dataclasses.asdict`, from a file, this is."""
    return Recipe(**fields | {"augment": tuple(fields["augment"])})


def fields_of(recipe: Recipe) -> dict[str, Any]:
    """As `recipe_of` and JSON take it."""
    return asdict(recipe) | {"augment": list(recipe.augment)}
