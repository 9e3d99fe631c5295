"""Runs the embedded venue's server in this process: an event loop of its own in a thread of its own, reached
over the same sockets as a server in a child process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

from invmm.errors import TransportError
from invmm.sim.host import VenueHost

_LAST_WORDS_S = 25.0  # requests without an answer are given one second; the rest is for a busy machine


class VenueThread(VenueHost):
    """The server in a daemon thread of this process. `errors` is the traceback that ended it, if one did."""

    _thread: threading.Thread | None = None
    _end: Callable[[], object] | None = None  # tells the server's loop to end

    @property
    def pid(self) -> int | None:
        """This process's id while it runs."""
        return os.getpid() if self._thread is not None else None

    @property
    def returncode(self) -> int | None:
        """1 when it has ended by itself, None while it runs."""
        return 1 if self._thread is not None and not self._thread.is_alive() else None

    def start(self, timeout_s: float = 30.0) -> None:
        """Starts the thread, waits until it listens; TransportError with its traceback when it does not."""
        listening: Future[int] = Future()
        self._errors.clear()
        self._thread = threading.Thread(target=self._run, args=(listening,), name="invmm-venue", daemon=True)
        self._thread.start()
        try:
            self.port = listening.result(timeout_s)
        except Exception as error:
            listening.cancel()
            self.stop()
            raise TransportError(
                f"the embedded venue did not start within {timeout_s} s:\n{self.errors}"
            ) from error

    def _run(self, listening: Future[int]) -> None:
        try:
            # Whatever loops the process prefers elsewhere, the venue writes to asyncio's own transports.
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(self._serve(listening))
        except Exception as error:
            self._errors.append(traceback.format_exc())
            if not listening.done():
                listening.set_exception(error)

    async def _serve(self, listening: Future[int]) -> None:
        from invmm.sim.operator import Operator
        from invmm.sim.server import made, serve  # late: whoever starts a child does not need a server here

        until = asyncio.Event()
        self._end = partial(asyncio.get_running_loop().call_soon_threadsafe, until.set)
        if not listening.set_running_or_notify_cancel():  # it took too long to get here
            return
        config = self._config()
        operator = Operator() if config["chain"] else None
        server = made(config, self._tapes, operator)

        def ready(port: int) -> None:
            self.rpc_url = operator.url if operator is not None else ""
            listening.set_result(port)

        await serve(server, config["port"], until=until, ready=ready)

    def stop(self, timeout_s: float = _LAST_WORDS_S) -> int | None:
        """Ends the server and waits for its thread: its sockets are closed, its tasks are over. Returns 0, or
        1 when an error ended it. TransportError when it has not ended within `timeout_s`.
        """
        if self._thread is None:
            return None
        if self._end is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed: it has ended
                self._end()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise TransportError(f"the embedded venue did not end within {timeout_s} s")
        self._thread = self._end = None
        return 1 if self._errors else 0
