"""Networks made ready to be trained so that they convert well, and trained."""

from fastsnn.train.activation import BoundedReLU
from fastsnn.train.loop import How, Training
from fastsnn.train.packaged import PRETRAINED, path_of, pretrained
from fastsnn.train.prepare import Prepared, parameter_groups, prepare
from fastsnn.train.recipe import RECIPES, Recipe
from fastsnn.train.residual import measure, residual
from fastsnn.train.trained import about, is_trained, load

__all__ = [
    "PRETRAINED",
    "RECIPES",
    "BoundedReLU",
    "How",
    "Prepared",
    "Recipe",
    "Training",
    "about",
    "is_trained",
    "load",
    "measure",
    "parameter_groups",
    "path_of",
    "prepare",
    "pretrained",
    "residual",
]
