"""Every kind of launch passes its arguments to the launcher that Triton builds: tuples of tensors, and empty ones."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from launches import environment
from passing import NAMES

from fastsnn import _triton

# the versions whose launcher is known to look like this
KNOWN = ("3.6",)


@pytest.mark.slow
@pytest.mark.skipif(_triton.unfit() is not None, reason=str(_triton.unfit()))
@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
def test_the_launcher_takes_the_arguments_of_every_kind_of_launch(tmp_path):
    import triton

    if not triton.__version__.startswith(KNOWN):
        pytest.skip(f"the launcher of Triton {triton.__version__} may be built otherwise")
    script = Path(__file__).with_name("passing.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path], env=environment(str(tmp_path)), capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert sorted(line.split(": ")[0] for line in lines) == sorted(NAMES)
    # a kernel at least in each, and the two of sums in parts
    kernels = dict(line.split(": ") for line in lines)
    assert all(kernels.values()) and kernels["linear f16 in 4 parts"] == "layer, neurons"
