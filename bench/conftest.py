"""`pytest bench/` collects bench_*.py, switches pytest-benchmark on, and refuses anything but a release
build.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import harness


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    # The test run's settings say --benchmark-disable, which is right for tests/ only. pytest-benchmark reads
    # this later.
    if hasattr(config.option, "benchmark_disable"):
        config.option.benchmark_disable = False
    try:
        harness.require_release()
    except harness.WrongBuildError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    if file_path.name.startswith("bench_") and file_path.suffix == ".py":
        return pytest.Module.from_parent(parent, path=file_path)
    return None
