"""House rules that a reader relies on: file length and names, docstrings, where compiler directives live,
what texts say.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.project.sources import name_of, source_files, text_files

MAX_LINES = 500
LONGER: dict[str, str] = {}
"""Files that may be longer, each with its reason."""
VAGUE_NAMES = frozenset({"utils", "util", "helpers", "helper", "common", "misc", "manager"})

# Somebody's own folders, and words of unfinished work.
ELSEWHERE = re.compile(r"(?<![\w.])/(home|root)/\w|\b(TODO|FIXME|XXX|HACK)\b")


@pytest.mark.parametrize("path", source_files(), ids=name_of)
def test_a_file_is_short_enough_to_be_read(path: Path) -> None:
    count = len(path.read_text().splitlines())
    if name_of(path) in LONGER:
        assert count > MAX_LINES, f"{name_of(path)} no longer needs its exception"
        return
    assert count <= MAX_LINES, f"{name_of(path)} has {count} lines: look for its second noun"


def test_no_file_is_named_for_nothing() -> None:
    vague = [name_of(path) for path in source_files() if path.stem.lower() in VAGUE_NAMES]
    assert not vague


def test_texts_point_only_to_what_a_reader_has() -> None:
    found = []
    for path in text_files():
        if path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if match := ELSEWHERE.search(line):
                found.append(f"{name_of(path)}:{number}: {match.group(0)}")
    assert not found, "\n".join(found)


def test_a_dangling_reference_would_be_seen() -> None:
    for line in ("see /home/me/x", "# TODO later"):
        assert ELSEWHERE.search(line)
    for line in ("https://docs.polymarket.com/", "network/", "ARCHITECTURE.md"):
        assert not ELSEWHERE.search(line)


def test_compiler_directives_live_in_setup_py_alone() -> None:
    headers = [
        name_of(path)
        for path in source_files()
        if path.suffix in {".pyx", ".pxd"}
        and re.search(r"^#\s*(cython|distutils):", path.read_text(), re.MULTILINE)
    ]
    assert not headers, f"a header overrides the build modes: {headers}"


@pytest.mark.parametrize("path", [p for p in source_files() if p.suffix in {".py", ".pyx"}], ids=name_of)
def test_a_module_begins_by_saying_what_it_is(path: Path) -> None:
    text = path.read_text()
    if path.name == "__init__.py" and not text.strip():
        return
    says = ast.get_docstring(ast.parse(text)) if path.suffix == ".py" else re.match(r'"""\S', text)
    assert says, f"{name_of(path)} has no docstring"
