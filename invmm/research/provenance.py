"""Which code played: its digest and, in a checkout, its commit."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import invmm

SOURCES: Final = frozenset({".py", ".pyx", ".pxd", ".h"})
DIGEST_BYTES: Final = 16


def code_digest() -> str:
    """BLAKE2b (128 bits) over the package's sources and its build mode. Where a compiled module came without
    its source, the module itself counts.
    """
    root = Path(invmm.__file__).parent
    digest = hashlib.blake2b(invmm.build_mode().encode(), digest_size=DIGEST_BYTES)
    for path in sorted(root.rglob("*")):
        is_source = path.suffix in SOURCES
        if not is_source and not (
            path.suffix == ".so" and not path.with_name(path.name.partition(".")[0] + ".pyx").exists()
        ):
            continue
        digest.update(str(path.relative_to(root)).encode() + b"\0")
        digest.update(hashlib.blake2b(path.read_bytes()).digest())
    return digest.hexdigest()


def commit(ignore: Iterable[Path] = ()) -> str:
    """The commit of the checkout that the package lies in, "+changes" where files differ from it, those of
    `ignore` apart; "" if it lies in none, or git is not there.
    """
    folder = Path(invmm.__file__).parent

    def git(*words: str) -> str:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *words], capture_output=True, text=True, check=False, timeout=30
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    if git("ls-files", "--", "__init__.py") != "__init__.py":
        return ""  # a package installed below somebody else's checkout
    head = git("rev-parse", "HEAD")
    top = Path(git("rev-parse", "--show-toplevel")).resolve()
    inside = [path.resolve() for path in ignore if path.resolve().is_relative_to(top)]
    apart = [f":(exclude,top){path.relative_to(top)}" for path in inside]
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/", *apart)
    return head + ("+changes" if head and changed else "")
