"""Compiled extensions and their three build modes; everything else is in pyproject.toml.

INVMM_BUILD    release (default): checks off, for users and benchmarks
               checked:           bounds and initialisation checks and assertions on, test-only extensions
               coverage:          checked, plus line tracing (the generated C stays beside its source)
INVMM_CFLAGS   extra compiler and linker flags, such as -fsanitize=address
"""

import os
import shlex
from pathlib import Path

import numpy
import picows
from Cython.Build import cythonize
from Cython.Compiler import Options
from setuptools import Extension, setup

MODE = os.environ.get("INVMM_BUILD", "release")
if MODE not in ("release", "checked", "coverage"):
    raise SystemExit(f"INVMM_BUILD: expected release, checked or coverage, got {MODE!r}")
CHECKED = MODE != "release"
EXTRA_FLAGS = shlex.split(os.environ.get("INVMM_CFLAGS", ""))

# Directives live here and nowhere else: a header in a .pyx would override them and defeat the checked build.
DIRECTIVES = {
    "language_level": 3,
    "binding": True,
    "embedsignature": False,
    "freethreading_compatible": False,  # no free-threaded job runs the tests yet
    "boundscheck": CHECKED,
    "initializedcheck": CHECKED,
    # Cython 3.3 refuses `self.x += 1` in a nogil method with it on; arguments are declared `not None`.
    "nonecheck": False,
    "wraparound": False,  # no kernel indexes from the end
    "cdivision": True,  # divisors are validated by constructors, so C division is what is meant
    "linetrace": MODE == "coverage",
}

MACROS: list[tuple[str, str | None]] = [
    ("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION"),
    ("INVMM_BUILD_MODE", f'"{MODE}"'),
]
if MODE == "release":
    MACROS.append(("CYTHON_WITHOUT_ASSERTIONS", "1"))
if MODE == "coverage":
    MACROS += [("CYTHON_TRACE_NOGIL", "1"), ("CYTHON_USE_SYS_MONITORING", "0")]

# -ffp-contract=off: floating-point results must not depend on whether the machine has fused multiply-add.
# -fwrapv is what CPython itself is built with; said here so that it does not depend on the interpreter.
OPTIMISE = {"release": "-O3", "checked": "-O0", "coverage": "-O0"}[MODE]
FLAGS = [OPTIMISE, "-g0", "-ffp-contract=off", "-fwrapv", "-Wall", "-Wno-unused-function"]

Options.warning_errors = True


def extension(path: Path) -> Extension:
    return Extension(
        ".".join(path.with_suffix("").parts),
        [str(path)],
        depends=[str(header) for header in sorted(Path("invmm/_ext").glob("*.h"))],
        include_dirs=[numpy.get_include(), "invmm/_ext", str(Path(picows.__file__).parent)],
        define_macros=MACROS,
        extra_compile_args=FLAGS + EXTRA_FLAGS,
        extra_link_args=EXTRA_FLAGS,
    )


sources = [
    path
    for folder in ("invmm/_ext", "invmm/feed", "invmm/execution")
    for path in sorted(Path(folder).glob("*.pyx"))
]
if CHECKED:
    sources += sorted(Path("tests/concurrency").glob("*.pyx"))

# Objects of another mode look up to date in this one: without force a switch keeps the old binary.
stamp = Path("build/mode")
wanted = " ".join([MODE, *EXTRA_FLAGS])
switched = not stamp.exists() or stamp.read_text() != wanted
stamp.parent.mkdir(exist_ok=True)
stamp.write_text(wanted)

setup(
    ext_modules=cythonize(
        [extension(path) for path in sources],
        compiler_directives=DIRECTIVES,
        build_dir=None if MODE == "coverage" else f"build/{MODE}",
        nthreads=os.cpu_count() or 1,
        force=switched,
    ),
    options={"build_ext": {"force": switched, "parallel": os.cpu_count() or 1}},
)
