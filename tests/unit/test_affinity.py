"""Cores by settings. Each case in a process of its own: what is bound stays bound."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CORES = sorted(os.sched_getaffinity(0))
PROGRAM = """
import os, sys, gc, threading
from invmm.affinity import elsewhere, pin, prepare
from invmm.errors import ConfigError
from invmm.settings import EngineSettings, ExecutorSettings, Settings

engine, executor = int(sys.argv[1]), int(sys.argv[2])
settings = Settings(
    engine=EngineSettings(cpu=engine, switch_interval_us=700), executor=ExecutorSettings(cpu=executor)
)
try:
    prepare(settings)
except ConfigError as error:
    sys.exit(str(error))
seen = {}
def thread(name, act):
    def run():
        act()
        seen[name] = sorted(os.sched_getaffinity(0))
    one = threading.Thread(target=run)
    one.start()
    one.join()
thread("executor", lambda: pin(executor, "[executor]"))
thread("other", elsewhere)
own = sorted(os.sched_getaffinity(0))
print([own, seen["executor"], seen["other"], sys.getswitchinterval(), gc.get_freeze_count() > 0])
"""


def cores(engine: int, executor: int) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(engine), str(executor)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr).strip()


def test_nothing_is_bound_unless_the_settings_say_so() -> None:
    assert cores(-1, -1) == (0, str([CORES, CORES, CORES, 0.0007, True]))


@pytest.mark.skipif(len(CORES) < 2, reason="one core: nothing to choose")
def test_the_engine_has_its_core_and_all_other_threads_step_aside() -> None:
    first, rest = CORES[0], CORES[1:]
    assert cores(first, -1) == (0, str([[first], rest, rest, 0.0007, True]))


@pytest.mark.skipif(len(CORES) < 2, reason="one core: nothing to choose")
def test_engine_and_executor_have_a_core_each() -> None:
    first, second = CORES[:2]
    others = CORES[2:] or CORES
    assert cores(first, second) == (0, str([[first], [second], others, 0.0007, True]))


def test_cores_that_are_not_there_or_given_twice_are_refused() -> None:
    assert cores(4000, -1) == (1, f"[engine] cpu: expected one of {CORES}, found 4000")
    assert cores(-1, 4000) == (1, f"[executor] cpu: expected one of {CORES}, found 4000")
    code, text = cores(CORES[0], CORES[0])
    assert code == 1
    assert "expected another core than [engine] cpu" in text
