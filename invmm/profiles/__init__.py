"""Settings that ship with the package: `--config NAME` takes one by its name."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """What there is."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def path_of(name: str) -> Path | None:
    """The file of one of them, or None."""
    return FOLDER / f"{name}.toml" if name in names() else None
