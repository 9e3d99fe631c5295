"""The watch over secrets sees what it is there to see: runs of pytest in which a test leaks."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from base64 import b64encode
from pathlib import Path

import pytest

from tests import markers

ROOT = Path(__file__).resolve().parents[2]
HEAD = "import base64, logging, subprocess, sys\nfrom tests import markers\n\n"


LEAKS = {
    "printed": (
        "print(markers.PRIVATE_KEY)",
        "private key as text in the captured stdout",
    ),
    "capitals": (
        "print('0x' + markers.PRIVATE_KEY.upper(), file=sys.stderr)",
        "capital hex in the captured stderr",
    ),
    "logged": (
        "logging.warning(markers.PASSPHRASE)",
        "API passphrase as text in the captured log",
    ),
    "failed": (
        "assert markers.API_SECRET == 1",
        "API secret as text in the failure",
    ),
    "repr_of_bytes": (
        "print(bytes.fromhex(markers.PRIVATE_KEY))",
        "private key as Python shows bytes in the captured stdout",
    ),
    "read_from_capsys": (
        "print('x' + markers.PASSPHRASE); assert len(capsys.readouterr().out) > 9",
        "API passphrase as text in captured output",
    ),
    "shortened_by_a_program": (
        "subprocess.run([sys.executable, '-c', 'import os; print(os.environ[chr(75)][:40])'], "
        "env={'K': markers.PRIVATE_KEY}, capture_output=True, check=True)",
        "private key as text in a program's output",
    ),
    "cached": (
        "raw = b'a' + bytes.fromhex(markers.PRIVATE_KEY) + b'b'; "
        "(tmp_path / 'cache').write_bytes(base64.b64encode(raw))",
        "cache: private key: its bytes in base64",
    ),
    "journalled": (
        "(tmp_path / 'journal').write_bytes(bytes.fromhex(markers.PRIVATE_KEY))",
        "journal: private key in bytes",
    ),
}
"""Name of a test that leaks: what it does, and what the run must say."""


def run_of(body: str) -> tuple[int, str]:
    """Exit code and output of a run of one test file under the same conftest, outside this run's folders."""
    with tempfile.TemporaryDirectory(prefix="leak") as name:
        folder = Path(name)
        (folder / "tests").mkdir()
        for shared in ("conftest.py", "markers.py"):
            (folder / "tests" / shared).symlink_to(ROOT / "tests" / shared)
        (folder / "tests" / "test_leak.py").write_text(HEAD + body)
        (folder / "pytest.ini").write_text("[pytest]\n")
        command = [sys.executable, "-m", "pytest", "--import-mode=importlib", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, f"--basetemp={folder / 'temporary'}", "tests"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def leaky() -> tuple[int, str]:
    """A run of all of them."""
    return run_of(
        "\n".join(f"def test_{name}(capsys, tmp_path):\n    {does}\n" for name, (does, _) in LEAKS.items())
    )


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_is_seen(leaky: tuple[int, str], name: str) -> None:
    assert LEAKS[name][1] in leaky[1], leaky[1]


def test_leaks_fail_the_run_and_are_not_repeated(leaky: tuple[int, str]) -> None:
    code, out = leaky
    assert code == 1
    # Two leak into files, which is known at the end only: one error for both.
    assert f"{len(LEAKS) - 2} failed, 2 passed, 1 error" in out
    assert not markers.SecretFinder().find(out)


def test_a_run_without_a_leak_passes() -> None:
    code, out = run_of(
        "def test_x(marker_signer, marker_credentials):\n    print(marker_signer, marker_credentials)\n"
    )
    assert code == 0, out


def test_every_spelling_is_found_in_any_surroundings() -> None:
    finder = markers.SecretFinder()
    raw = bytes.fromhex(markers.PRIVATE_KEY)
    for before in range(5):
        for after in range(4):
            inside = b"u" * before + raw + b"v" * after
            for text in (inside, inside.hex().encode(), inside.hex().upper().encode(), b64encode(inside)):
                assert finder.find(b"\0{" + text + b"}"), (before, after)
    for text in (str(int.from_bytes(raw, "big")), repr(raw), str(list(raw)), markers.PRIVATE_KEY[:30]):
        assert finder.find(text)


def test_innocent_texts_are_not_found() -> None:
    finder = markers.SecretFinder()
    for path in sorted((ROOT / "tests").rglob("*.py")):
        assert finder.find(path.read_bytes()) == [], path
    assert finder.find(os.urandom(1 << 20)) == []
    assert finder.find("0" * 10_000) == []
