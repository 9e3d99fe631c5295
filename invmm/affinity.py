"""Which core each thread runs on. A thread inherits its maker's cores, so all others step aside.

Cores are numbers of the machine, as `lscpu -e` lists them. Nothing is pinned unless the settings say so.
"""

from __future__ import annotations

import gc
import os
import sys

from invmm.errors import ConfigError
from invmm.settings import Settings

ANYWHERE = -1
_taken: dict[str, int] = {}
_allowed: set[int] = set()


def pin(cpu: int, who: str) -> None:
    """Binds the calling thread to a core; `ANYWHERE` leaves it to the system, away from cores already taken.

    ConfigError when this process may not use that core.
    """
    _know()
    if not hasattr(os, "sched_setaffinity"):
        if cpu != ANYWHERE:
            raise ConfigError(f"{who} cpu: expected -1, this system does not bind threads to cores")
        return
    if cpu == ANYWHERE:
        elsewhere()
        return
    if cpu not in _allowed:
        raise ConfigError(f"{who} cpu: expected one of {sorted(_allowed)}, found {cpu}")
    _taken[who] = cpu
    os.sched_setaffinity(0, {cpu})


def _know() -> None:
    """Remembers the cores of the process before any thread is bound."""
    if not _allowed and hasattr(os, "sched_getaffinity"):
        _allowed.update(os.sched_getaffinity(0))


def elsewhere() -> None:
    """Lets the calling thread run on every core that no other thread was bound to."""
    if _taken:
        os.sched_setaffinity(0, _allowed - set(_taken.values()) or _allowed)


def prepare(settings: Settings) -> None:
    """Makes the calling thread the engine's: its core, the interpreter's switch interval, the collector.

    What exists now is kept out of later collections. Threads that are made afterwards call `pin` or
    `elsewhere` first. ConfigError for cores that this process may not use, or one core for two threads.
    """
    _know()
    engine, executor = settings.engine.cpu, settings.executor.cpu
    if engine == executor != ANYWHERE:
        raise ConfigError(
            f"[executor] cpu: expected another core than [engine] cpu, found {executor} for both"
        )
    if executor != ANYWHERE and executor not in _allowed:
        raise ConfigError(f"[executor] cpu: expected one of {sorted(_allowed)}, found {executor}")
    sys.setswitchinterval(settings.engine.switch_interval_us / 1e6)
    pin(settings.engine.cpu, "[engine]")
    gc.collect()
    gc.freeze()
