"""Networks made ready to be trained so that they convert well."""

from fastsnn.train.activation import BoundedReLU
from fastsnn.train.prepare import Prepared, parameter_groups, prepare

__all__ = ["BoundedReLU", "Prepared", "parameter_groups", "prepare"]
