"""How a module is traced, and what is said where it cannot be: one error, in place of pages of torch's own."""

import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO

import torch
from torch import Tensor, nn

from fastsnn.errors import ConversionError

# warns, beside the error that it raises
LOGGER = "torch.fx.experimental.symbolic_shapes"
PLACE = re.compile(r'raised this error:\s*File "(?P<file>.*)", line (?P<line>\d+), in \w+\n\s*(?P<code>.*)')


def traced(model: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    """A module as operators of ATen that change nothing in place, for inputs shaped like `example`.

    Raises ConversionError where torch.export cannot trace it, with the line of code where it says so.
    """
    try:
        with torch.no_grad(), warnings.catch_warnings(), _quiet():
            warnings.simplefilter("ignore")
            # an empty table only makes the graph functional: in-place operators become their plain twins
            return torch.export.export(model, (example,), strict=False).run_decompositions({})
    except Exception as error:  # torch.export raises many types; all mean that the module cannot be traced
        text = str(error).strip()
        reason = text.split("\n")[0]
        if place := PLACE.search(text):
            reason += f" (line {place['line']} of {place['file']}: {place['code']})"
        raise ConversionError(
            f"{type(model).__name__} cannot be traced on an input of shape {list(example.shape)}: "
            f"{type(error).__name__}: {reason}"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps back what is written to stderr: for good where an error says why, otherwise until the end."""
    logger, said = logging.getLogger(LOGGER), StringIO()
    before, logger.disabled = logger.disabled, True
    try:
        with redirect_stderr(said):
            yield
    finally:
        logger.disabled = before
    sys.stderr.write(said.getvalue())
