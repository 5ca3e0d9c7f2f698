"""Networks made ready to be trained so that they convert well, and trained."""

from fastsnn.train.activation import BoundedReLU
from fastsnn.train.loop import How, Training
from fastsnn.train.prepare import Prepared, parameter_groups, prepare
from fastsnn.train.recipe import RECIPES, Recipe
from fastsnn.train.trained import is_trained, load

__all__ = [
    "RECIPES",
    "BoundedReLU",
    "How",
    "Prepared",
    "Recipe",
    "Training",
    "is_trained",
    "load",
    "parameter_groups",
    "prepare",
]
