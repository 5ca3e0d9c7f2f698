"""Passes the arguments of some launches through Triton's own launcher, built in C, for an empty grid: nothing runs.

    python tests/gpu/passing.py FOLDER     builds in FOLDER, prints a line a launch

The driver's library is not there without a GPU, so the few functions that the launcher calls are those of a stand-in.
"""

import ctypes
import importlib.util
import itertools
import subprocess
import sys
import sysconfig
from pathlib import Path

from launches import LAUNCHES

from fastsnn.testing import compiled

# launches whose arguments differ in kind: no input or several, taps or none, sums in parts, biases, pools, heads, steps
NAMES = (
    "if_steps f32", "if_steps f32, bias of steps", "if_constant i32", "pack", "pool_gate", "readout f32, every step",
    "pool_lateral, 5 planes", "adaptive_steps f64, later", "emit i32, random", "restart f32",
    "conv3x3 f16", "conv3x3 bf16, identity", "conv3x3 f16, stride 2, projection", "linear f16 in 4 parts",
    "depthwise 3x3 i8", "first layer in fixed point", "VGG-16 behind a pool of 2x2 i8",
)  # fmt: skip
STAND_IN = """
#include <stdint.h>
int cuPointerGetAttribute(uint64_t *out, int attribute, uint64_t pointer) { *out = pointer; return 0; }
int cuGetErrorString(int error, const char **text) { *text = "none"; return 0; }
int cuCtxGetCurrent(void **context) { *context = (void *)1; return 0; }
int cuDeviceGet(void) { return 0; }
int cuDevicePrimaryCtxRetain(void) { return 0; }
int cuCtxSetCurrent(void) { return 0; }
int cuFuncSetAttribute(void) { return 0; }
int cuLaunchKernelEx(void) { return 1; }
"""


def library(source: str, path: Path, *includes: str) -> Path:
    path.with_suffix(".c").write_text(source)
    options = [x for folder in includes for x in ("-I", folder)]
    subprocess.run(["gcc", "-shared", "-fPIC", "-w", path.with_suffix(".c"), *options, "-o", path], check=True)
    return path


def main(folder: Path) -> None:
    from triton.backends.nvidia import driver
    from triton.runtime.jit import JITFunction

    ctypes.CDLL(str(library(STAND_IN, folder / "libcuda.so.1")), mode=ctypes.RTLD_GLOBAL)
    include = str(Path(driver.__file__).parent / "include")
    number = itertools.count()

    def build(src: str, **_: object) -> object:
        path = folder / f"launcher{next(number)}.so"
        library(src, path, include, sysconfig.get_paths()["include"])
        spec = importlib.util.spec_from_file_location("__triton_launcher", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    driver.compile_module_from_src, driver.library_dirs = build, list
    passed: list[str] = []
    with compiled.compiling_for(90):
        compile_only = JITFunction.run

        def run(self: JITFunction, *args: object, grid: object, warmup: bool, **kwargs: object) -> object:
            kernel = compile_only(self, *args, grid=grid, warmup=warmup, **kwargs)
            binder = self.device_caches[0][-1]
            bound, *_ = binder(*args, **kwargs | {"debug": False, "instrumentation_mode": ""})
            launcher = driver.CudaLauncher(kernel.src, kernel.metadata)
            launcher(0, 0, 0, 0, 0, kernel.packed_metadata, None, None, None, *bound.values())
            passed.append(self.__name__)
            return kernel

        JITFunction.run = run
        try:
            for named in LAUNCHES:
                if named.name in NAMES:
                    named.call(37)
                    print(f"{named.name}: {', '.join(passed)}", flush=True)
                    passed.clear()
        finally:
            JITFunction.run = compile_only


if __name__ == "__main__":
    main(Path(sys.argv[1]))
