"""How fastsnn is built: the C++ module fastsnn._cpu from csrc/, or nothing but Python when FASTSNN_NATIVE_MODULE=0.

Environment:
    FASTSNN_NATIVE_MODULE=0   build no native module; the reference backend (plain PyTorch) still runs everything
    FASTSNN_WERROR=1          compiler warnings are errors
    FASTSNN_SANITIZE=1        with AddressSanitizer and UndefinedBehaviorSanitizer, for `make sanitize`
    MAX_JOBS                  how many files are compiled at once; unset: one a core
"""

import os
import platform
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.errors import CompileError, LinkError

ROOT = Path(__file__).resolve().parent


SANITIZERS = ["-fsanitize=address,undefined"]


def flags() -> list[str]:
    """Compiler flags. Floating-point products and sums are never fused: spikes must not depend on the compiler."""
    flags = ["-O3", "-ffp-contract=off", "-Wall", "-Wextra"]
    if os.environ.get("FASTSNN_SANITIZE") == "1":
        # reports name functions and lines; where variables are, for debuggers, takes the compiler long to find out
        flags = ["-O1", "-g1", "-fno-omit-frame-pointer", "-fno-sanitize-recover=undefined", *SANITIZERS, *flags[1:]]
    return flags + (["-Werror"] if os.environ.get("FASTSNN_WERROR") == "1" else [])


# what the file of an instruction set is compiled with; the texts in it are the same for all
AVX2 = ["-mavx2", "-mbmi", "-mbmi2", "-mpopcnt"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"]
INSTRUCTION_SETS = {
    "avx2.cpp": AVX2,
    "avx512.cpp": AVX512,
    "avx512vbmi2.cpp": [*AVX512, "-mavx512vbmi2", "-mavx512vpopcntdq"],
}
# of avx512vbmi2.cpp, where the compiler knows them: registers of matrices
MATRICES = ["-mamx-tile", "-mamx-int8"]
X86 = platform.machine().lower() in ("x86_64", "amd64")


def relative(pattern: str) -> list[str]:
    """Files of csrc, relative to this one as setuptools wants them, in an order that is the same everywhere."""
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "csrc").rglob(pattern))


# with what the tests run them on without a GPU
GPU_SOURCES = [
    *relative("*.cu"),
    *relative("*.cuh"),
    "csrc/common/step.h",
    "csrc/common/rule.h",
    "csrc/common/series.h",
    "csrc/adaptive/threshold.h",
    "csrc/emit/spikes.h",
    "csrc/restart/offset.h",
    *relative("emulator/*"),
]


class WithKernels(build_py):
    """Puts the sources of GPU kernels into the package, for a compiler at run time; a checkout has them beside it."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for path in map(ROOT.joinpath, GPU_SOURCES):
                to = Path(self.build_lib, "fastsnn", "_csrc", path.relative_to(ROOT / "csrc"))
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, to)


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
            if self._takes("-fopenmp"):
                for extension in self.extensions:
                    extension.extra_compile_args.append("-fopenmp")
                    extension.extra_link_args.append("-fopenmp")
            else:
                print("fastsnn: the compiler has no -fopenmp; the kernels will run on one thread")
            if X86 and all(map(self._takes, MATRICES)):
                INSTRUCTION_SETS["avx512vbmi2.cpp"].extend(MATRICES)
            compile_one = self.compiler._compile

            def compile_with_flags(obj, src, ext, cc_args, extra_postargs, pp_opts):
                more = INSTRUCTION_SETS.get(Path(src).name, []) if X86 else []
                compile_one(obj, src, ext, cc_args, [*extra_postargs, *more], pp_opts)

            compile_all = self.compiler.compile

            def compile_longest_first(sources, **options):
                # or one core would have an instruction set left when the others have finished
                return compile_all(sorted(sources, key=lambda path: Path(path).parent.name != "isa"), **options)

            self.compiler._compile, self.compiler.compile = compile_with_flags, compile_longest_first
            super().build_extensions()
            print(f"fastsnn: built fastsnn._cpu from {len(self.extensions[0].sources)} files in csrc")

        def _takes(self, flag: str) -> bool:
            """Whether the compiler can build a small program with a flag."""
            with tempfile.TemporaryDirectory() as folder:
                source = Path(folder) / "try.cpp"
                source.write_text("int main() { return 0; }\n")
                try:
                    objects = self.compiler.compile([str(source)], output_dir=folder, extra_postargs=[flag])
                    self.compiler.link_executable(objects, str(Path(folder) / "try"), extra_postargs=[flag])
                except (CompileError, LinkError):
                    return False
            return True

    extension = Pybind11Extension(
        "fastsnn._cpu",
        [path for path in relative("*.cpp") if path not in GPU_SOURCES],
        include_dirs=["csrc"],
        depends=relative("*.h") + relative("*.inc"),
        cxx_std=17,  # pybind11 adds -fvisibility=hidden
        extra_compile_args=flags(),
        extra_link_args=SANITIZERS if os.environ.get("FASTSNN_SANITIZE") == "1" else [],
    )
    ParallelCompile("MAX_JOBS").install()
    return {"ext_modules": [extension], "cmdclass": {"build_ext": Build, "build_py": WithKernels}}


if os.environ.get("FASTSNN_NATIVE_MODULE", "1") == "0":
    print("fastsnn: no native module (FASTSNN_NATIVE_MODULE=0); the reference backend runs everything")
    setup(cmdclass={"build_py": WithKernels})
elif sys.platform == "win32":
    print("fastsnn: no native module (its kernels need GCC or clang); the reference backend runs everything")
    setup(cmdclass={"build_py": WithKernels})
else:
    setup(**native_module())
