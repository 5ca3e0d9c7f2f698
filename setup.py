"""How fastsnn is built: the C++ module fastsnn._cpu from csrc/, or nothing but Python when FASTSNN_NATIVE_MODULE=0.

Environment:
    FASTSNN_NATIVE_MODULE=0   build no native module; the reference backend (plain PyTorch) still runs everything
    FASTSNN_WERROR=1          compiler warnings are errors
    MAX_JOBS                  how many files are compiled at once; unset: one a core
"""

import os
import sys
import sysconfig
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent


def flags() -> list[str]:
    """Compiler flags. Floating-point products and sums are never fused: spikes must not depend on the compiler."""
    if sys.platform == "win32":
        return ["/O2", "/W4", "/fp:precise"] + (["/WX"] if os.environ.get("FASTSNN_WERROR") == "1" else [])
    flags = ["-O3", "-ffp-contract=off", "-Wall", "-Wextra"]
    return flags + (["-Werror"] if os.environ.get("FASTSNN_WERROR") == "1" else [])


def relative(pattern: str) -> list[str]:
    """Files of csrc, relative to this one as setuptools wants them, in an order that is the same everywhere."""
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "csrc").rglob(pattern))


def native_module() -> dict:
    """The arguments of setup() that build fastsnn._cpu."""
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.is_file():
        sys.exit(
            f"fastsnn: the native module needs Python's own headers, and {header} is missing. "
            "Install them (Debian, Ubuntu: python3-dev; Fedora: python3-devel), "
            "or set FASTSNN_NATIVE_MODULE=0 to install without the native module."
        )
    # Imported here: an install without the native module needs no pybind11.
    from pybind11.setup_helpers import ParallelCompile, Pybind11Extension, build_ext

    class Build(build_ext):
        def build_extensions(self) -> None:
            super().build_extensions()
            print(f"fastsnn: built fastsnn._cpu from {len(self.extensions[0].sources)} files in csrc")

    extension = Pybind11Extension(
        "fastsnn._cpu",
        relative("*.cpp"),
        include_dirs=["csrc"],
        depends=relative("*.h") + relative("*.inc"),
        cxx_std=17,  # pybind11 adds -fvisibility=hidden
        extra_compile_args=flags(),
    )
    ParallelCompile("MAX_JOBS").install()
    return {"ext_modules": [extension], "cmdclass": {"build_ext": Build}}


if os.environ.get("FASTSNN_NATIVE_MODULE", "1") == "0":
    print("fastsnn: no native module (FASTSNN_NATIVE_MODULE=0); the reference backend runs everything")
    setup()
else:
    setup(**native_module())
