"""The settling thread: nodes and relayers are asked here, so that the engine never waits for them.

Messages only, through two queues: the engine tells and hears, the settler hears and tells. Nothing else is
shared.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from invmm.affinity import elsewhere
from invmm.errors import InvmmError, origin_of
from invmm.settlement.messages import FromSettler, Notice, ToSettler
from invmm.settlement.settler import Settler

PERIOD_S: Final = 0.05
"""Real seconds between two turns when no message comes; the lane asks its nodes by its own period."""
Tell = Callable[[FromSettler], object]


class SettlingThread:
    """Runs a settler; a daemon.

    Parameters
    ----------
    make : callable
        Called on the thread with what gets the settler's messages; gives the settler.
    now_ns : callable
        Engine time.
    period_s : float
        Real seconds between two turns.
    """

    def __init__(
        self, make: Callable[[Tell], Settler], now_ns: Callable[[], int], *, period_s: float = PERIOD_S
    ) -> None:
        self._make = make
        self._now_ns = now_ns
        self._period_s = period_s
        self._in: deque[ToSettler] = deque()
        self._out: deque[FromSettler] = deque()
        self._wake = threading.Event()
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="invmm settling", daemon=True)

    def start(self) -> None:
        """Begins; what goes wrong comes as a `Notice`."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._thread.is_alive()

    def tell(self, message: ToSettler) -> None:
        """Says something to the settler, without waiting."""
        self._in.append(message)
        self._wake.set()

    def heard(self) -> list[FromSettler]:
        """What it has said since the last call, oldest first."""
        told: list[FromSettler] = []
        while self._out:
            told.append(self._out.popleft())
        return told

    def close(self, timeout_s: float = 10.0) -> bool:
        """Ends it after the present turn; whether it has ended. Jobs in flight are found again."""
        self._stop = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        elsewhere()
        try:
            settler = self._make(self._out.append)
        except (InvmmError, OSError) as error:
            self._out.append(Notice(f"nothing can be settled: {error}", True))
            return
        try:
            while not self._stop:
                while self._in:
                    settler.hear(self._in.popleft())
                settler.turn(self._now_ns())
                self._wake.wait(self._period_s)
                self._wake.clear()
        except Exception as error:  # nobody has foreseen it: it must not end silently
            self._out.append(Notice(f"settlement failed: {origin_of(error)}", True))
        finally:
            settler.close()
