"""For every test: marker secrets as fixtures, and the watch that fails a run in which one shows.

Searched are what each test printed, logged and failed with, what it read from `capsys` and from the programs
that it ran, and at the end every file that the run has written: temporary folders, caches, reports.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from invmm.venue.auth import ApiCredentials, OrderSigner
from tests import markers

FINDER = markers.SecretFinder()
SHOWN: list[str] = []
"""Places where a marker was seen since the last report, in words that hold nothing of it."""


@pytest.fixture
def marker_key() -> str:
    """The private key, 64 hex digits, that must appear nowhere."""
    return markers.PRIVATE_KEY


@pytest.fixture
def marker_signer() -> OrderSigner:
    """A signer with the marker key."""
    return OrderSigner(markers.PRIVATE_KEY)


@pytest.fixture
def marker_credentials() -> ApiCredentials:
    """API credentials of which secret and passphrase must appear nowhere."""
    return ApiCredentials(markers.API_KEY, markers.API_SECRET, markers.PASSPHRASE)


@pytest.fixture
def marker_environment() -> dict[str, str]:
    """This process's environment with the marker secrets in it, for a program to be run."""
    return {**os.environ, **markers.ENVIRONMENT}


def _watched(read: Callable[..., Any], where: str) -> Callable[..., Any]:
    """A method that returns captured text, which is searched on its way."""

    def watch(*arguments: Any, **named: Any) -> Any:
        texts = read(*arguments, **named)
        for text in texts:
            SHOWN.extend(f"{what} in {where}" for what in FINDER.find(text))
        return texts

    return watch


@pytest.fixture(scope="session", autouse=True)
def _no_secret_is_shown(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[None]:
    began = time.time() - 1.0  # file systems are coarse
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            subprocess.Popen, "communicate", _watched(subprocess.Popen.communicate, "a program's output")
        )
        patch.setattr(
            pytest.CaptureFixture, "readouterr", _watched(pytest.CaptureFixture.readouterr, "captured output")
        )
        yield
    folders = {tmp_path_factory.getbasetemp(), request.config.rootpath}
    if sys.pycache_prefix:
        folders.add(Path(sys.pycache_prefix))
    found = [line for folder in sorted(folders) for line in FINDER.find_in_folder(folder, began)]
    if found:
        pytest.fail("secrets in files that this run has written:\n" + "\n".join(found), pytrace=False)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Fails a test whose name, output, log or failure shows a secret, and shows none of them."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    # A later phase shows the output of the earlier ones again, which then failed already.
    shown = [(f"the {name.lower()}", text) for name, text in report.sections if name.endswith(report.when)]
    shown += [("the failure", report.longreprtext), ("the name", item.nodeid)]
    places = [f"{what} in {where}" for where, text in shown for what in FINDER.find(text)] + SHOWN
    SHOWN.clear()
    report.sections = [(name, text) for name, text in report.sections if not FINDER.find(text)]
    if places:
        report.outcome = "failed"
        report.longrepr = "a secret was shown: " + "; ".join(dict.fromkeys(places))
    return report  # type: ignore[return-value]
