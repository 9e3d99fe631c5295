"""The pure part of the package imports no socket, clock, thread, logger, event loop or random source."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.project.sources import ROOT, name_of

FORBIDDEN_MODULES = frozenset(
    [
        "_thread",
        "aiohttp",
        "asyncio",
        "concurrent",
        "datetime",
        "ftplib",
        "http",
        "httptools",
        "httpx",
        "logging",
        "multiprocessing",
        "picows",
        "queue",
        "random",
        "requests",
        "sched",
        "secrets",
        "select",
        "selectors",
        "signal",
        "smtplib",
        "socket",
        "socketserver",
        "ssl",
        "subprocess",
        "threading",
        "time",
        "urllib",
        "uuid",
        "websockets",
    ]
)
FORBIDDEN_NAMES = frozenset({"os.urandom", "os.getrandom", "os.times", "posix.urandom"})
FORBIDDEN_HEADERS = re.compile(
    r"<(time|pthread|threads|poll|netdb|signal|stdio|syslog|"
    r"sys/(socket|time|epoll|eventfd|random|select)|netinet/\w+|arpa/\w+)"
    r"\.h>"
)
FORBIDDEN_C_MODULES = (
    "libc.time",
    "posix.time",
    "cpython.time",
    "posix.select",
    "libc.stdio",
    "posix.signal",
)

# The executor's side of the ring waits, and waiting needs a clock and a descriptor; the algorithm does not.
ALLOWED = {
    "invmm/_ext/ring_wait.h": "waiting policies of the consumer",
}


def pure_files() -> list[Path]:
    package = ROOT / "invmm"
    roots = ("types.py", "settings.py", "setting_rules.py")
    found = [path for name in roots if (path := package / name).exists()]
    for folder in ("_ext", "strategy", "models"):
        found += [
            path for path in (package / folder).rglob("*") if path.suffix in {".py", ".pyx", ".pxd", ".h"}
        ]
    return sorted(found)


def forbidden_imports(path: Path) -> list[str]:
    """What `path` imports or includes that a pure file must not, in the file's own words."""
    text = path.read_text()
    if path.suffix == ".h":
        return [match.group(0) for match in FORBIDDEN_HEADERS.finditer(text)]
    return _of_python(ast.parse(text)) if path.suffix == ".py" else _of_cython(text)


def _of_python(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if _is_forbidden(alias.name)]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name for name in names if _is_forbidden(node.module) or name in FORBIDDEN_NAMES]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            found += [name] if name in FORBIDDEN_NAMES else []
    return found


def _of_cython(text: str) -> list[str]:
    found = []
    for line in text.splitlines():
        code = line.split("#", 1)[0].strip()
        if match := re.match(r"from\s+([\w.]+)\s+c?import\s+(.*)", code):
            names = [f"{match[1]}.{name.strip(' ()')}" for name in match[2].split(",")]
            found += [name for name in names if _is_forbidden(match[1]) or name in FORBIDDEN_NAMES]
        elif match := re.match(r"c?import\s+(.*)", code):
            found += [name for part in match[1].split(",") if _is_forbidden(name := part.split()[0])]
        elif "cdef extern from" in code:
            found += [found_header.group(0) for found_header in FORBIDDEN_HEADERS.finditer(code)]
        found += [name for name in FORBIDDEN_NAMES if name in code and not re.match(r"from|c?import", code)]
    return found


def _is_forbidden(module: str) -> bool:
    return module.split(".")[0] in FORBIDDEN_MODULES or module.startswith(FORBIDDEN_C_MODULES)


@pytest.mark.parametrize("path", pure_files(), ids=name_of)
def test_a_pure_file_imports_no_socket_clock_thread_or_logger(path: Path) -> None:
    found = forbidden_imports(path)
    if name_of(path) in ALLOWED:
        return
    assert not found, (
        f"{name_of(path)} imports {', '.join(found)}; time, randomness and I/O are arguments here"
    )


def test_every_exception_to_the_rule_still_needs_it() -> None:
    for name in ALLOWED:
        path = ROOT / name
        assert path in pure_files(), f"{name} is not bound by the rule"
        assert forbidden_imports(path), f"{name} no longer needs its exception"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", "import socket\n"),
        ("b.py", "from time import monotonic_ns\n"),
        ("c.py", "def f():\n    import logging.handlers\n"),
        ("d.py", "import os\nsalt = os.urandom(8)\n"),
        ("e.pyx", "from libc.time cimport time\n"),
        ("f.pyx", "cimport cython, posix.time\n"),
        ("g.pxd", 'cdef extern from "<sys/socket.h>":\n    pass\n'),
        ("h.h", "#include <pthread.h>\n"),
        ("i.pyx", "    from os import urandom\n"),
    ],
)
def test_a_forbidden_import_is_seen_wherever_it_hides(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert forbidden_imports(path)


def test_names_that_only_look_like_clocks_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "a.pyx"
    path.write_text(
        "from libc.string cimport memcpy\nfrom invmm.types import EVENT_DTYPE  # time, socket\ntime_ns = 1\n"
    )
    assert forbidden_imports(path) == []
