"""What people see of a running engine from elsewhere: its alarms where they are wanted, its figures for
Prometheus.
"""

from __future__ import annotations

import time

from invmm.engine import Engine
from invmm.ops.alarms import AlarmHooks
from invmm.ops.metrics import Metrics
from invmm.settings import Settings

PICTURE_EVERY_S = 1.0


class Outlook:
    """Connects an engine with `[alarms]` and `[metrics]`, until it is closed.

    Raises
    ------
    ConfigError
        The command, the address or the port cannot be used.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        alarms = settings.alarms
        self._engine = engine
        self._hooks = AlarmHooks(
            alarms.command, alarms.webhook, engine.messages.append, timeout_s=alarms.timeout_s
        )
        self._metrics = Metrics(settings.metrics.port) if settings.metrics.port else None
        self._due_s = 0.0
        engine.permission.hook = self._hooks.raise_

    def tick(self) -> None:
        """From the session's own loop, on the engine's thread."""
        if self._metrics is not None and time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + PICTURE_EVERY_S
            self._metrics.update(self._engine)

    def close(self) -> None:
        """Delivers what waits; nothing is served any more."""
        self._hooks.close()
        if self._metrics is not None:
            self._metrics.close()
