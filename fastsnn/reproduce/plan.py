"""What an experiment trains and measures, whole or reduced to what a processor does in minutes."""

from dataclasses import dataclass, replace

from fastsnn.train.recipe import RECIPES, Recipe

# V(0) in units of the threshold, as `fastsnn.methods.initial` has it
STARTS: tuple[float | str, ...] = (0.5, 0.25, 0.75, "gaussian", "uniform", 0.0)
# at which V(0) = theta/2 is added to other methods, and their errors are compared
COMPARED = (4, 8, 16, 32)


@dataclass(frozen=True)
class Experiment:
    """A paper's experiment: the network and the recipe that it is trained with."""

    model: str
    recipe: str
    title: str


EXPERIMENTS = {
    "opi-cifar10": Experiment("vgg16", "opi", "Optimized Potential Initialization, CIFAR-10"),
    "qcfs-cifar10": Experiment("vgg16", "qcfs", "Quantisation clip-floor-shift, CIFAR-10"),
    "nq-cifar10": Experiment("vgg16", "nq", "Noise-trained quantisation, CIFAR-10"),
}


@dataclass(frozen=True)
class Plan:
    """How much of an experiment is done.

    model    of `fastsnn.models`
    recipe   how it is trained
    images   test images; None: all
    reduced  why this is less than the paper's, for the reader; None where it is not
    """

    model: str
    recipe: Recipe
    images: int | None
    reduced: str | None = None


def curve_steps(longest: int) -> tuple[int, ...]:
    """1, 2, 4, ... and the longest run."""
    return (*(2**i for i in range(longest.bit_length()) if 2**i < longest), longest)


def plan(experiment: Experiment, whole: bool) -> Plan:
    """The paper's schedule, or one that ends in minutes on two cores."""
    recipe = RECIPES[experiment.recipe]
    if whole:
        return Plan(experiment.model, recipe, None)
    short = replace(recipe, epochs=5, schedule="one-cycle", label_smoothing=0.1, augment=("crop", "flip"))
    text = (
        f"REDUCED: {experiment.model} with a quarter of its widths, {short.epochs} epochs in place of {recipe.epochs}, "
        "1000 test images: the gap between the dense network and the spiking one can be read, not the "
        "accuracy; --schedule full does what the paper did"
    )
    return Plan(f"{experiment.model}-narrow", short, 1000, text)
