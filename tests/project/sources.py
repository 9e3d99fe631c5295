"""The project's source files, as the tests of this folder see them."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = frozenset({".py", ".pyx", ".pxd", ".pyi", ".h", ".c"})


def source_files() -> list[Path]:
    """Every hand-written source file, sorted; what Cython generates beside a .pyx is left out."""
    found = [ROOT / "setup.py"]
    for folder in ("invmm", "tests", "bench"):
        found += [path for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES and path.is_file()]
    return sorted(path for path in found if not (path.suffix == ".c" and path.with_suffix(".pyx").exists()))


def text_files() -> list[Path]:
    """Sources and every other text that is part of the project."""
    others = [path for path in ROOT.glob("*") if path.suffix in {".md", ".toml"} or path.name == ".gitignore"]
    others += [
        path for folder in (".ci", "bench", "tests") for path in (ROOT / folder).glob("*") if path.is_file()
    ]
    return sorted({*source_files(), *(path for path in others if path.suffix not in {".pyc", ".so"})})


def compiled_modules() -> list[str]:
    """Dotted names of the modules that have a .pyx in the package."""
    return sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / "invmm").rglob("*.pyx")
    )


def name_of(path: Path) -> str:
    """Path relative to the project, for messages and test ids."""
    return path.relative_to(ROOT).as_posix()
