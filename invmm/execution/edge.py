"""The edge thread: an event loop of its own for whatever is slow, so that the engine never waits for it.

Messages only: a job goes out, its result comes back on the engine's loop. Nothing else is shared.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

from invmm.affinity import elsewhere

C = TypeVar("C")
T = TypeVar("T")

MOST_JOBS = 32


class EdgeThread(Generic[C]):
    """Runs jobs, one coroutine each, with one client that lives as long as the thread.

    Parameters
    ----------
    open_client : callable
        Gives the client's asynchronous context; entered and left on the edge thread. If that fails, every
        job is answered with its error.
    most : int
        Jobs under way at the same time; more are refused, so that a venue that hangs fills no memory.
    """

    def __init__(
        self, open_client: Callable[[], AbstractAsyncContextManager[C]], most: int = MOST_JOBS
    ) -> None:
        self._open_client = open_client
        self._most = most
        self._under_way = 0  # touched by the engine's thread only
        self._home: asyncio.AbstractEventLoop | None = None
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._client: asyncio.Future[C] = self._loop.create_future()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="invmm edge", daemon=True)

    def start(self) -> None:
        """On the loop that results come back to."""
        self._home = asyncio.get_running_loop()
        self._thread.start()

    def ask(self, job: Callable[[C], Awaitable[T]], done: Callable[[T | BaseException], object]) -> bool:
        """Has a job done; `done` is told its result or its exception. False if there are too many already.

        Parameters
        ----------
        job : callable
            Called with the client on the edge thread.
        done : callable
            Called on the engine's loop; not any more once the thread is closed.
        """
        if self._home is None or self._under_way >= self._most or not self._thread.is_alive():
            return False
        self._under_way += 1
        self._loop.call_soon_threadsafe(self._begin, job, done)
        return True

    async def result(self, job: Callable[[C], Awaitable[T]]) -> T:
        """As `ask`, for those who can wait; raises what the job raised."""
        told: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def done(outcome: T | BaseException) -> None:
            if told.done():
                return
            if isinstance(outcome, BaseException):
                told.set_exception(outcome)
            else:
                told.set_result(outcome)

        if not self.ask(job, done):
            raise RuntimeError("the edge thread takes no job: it is closed, or too many are under way")
        return await told

    def close(self, timeout_s: float = 2.0) -> bool:
        """Ends the jobs and the thread; whether it has ended in time (it is a daemon)."""
        if not self._thread.is_alive():
            if not self._loop.is_running():
                self._loop.close()
            return True
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # ---- on the edge thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        elsewhere()
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        try:
            async with self._open_client() as client:
                self._client.set_result(client)
                await self._until_closed()
        except Exception as error:
            if not self._client.done():
                self._client.set_exception(error)
                self._client.exception()  # jobs tell it, if there are any
            await self._until_closed()

    async def _until_closed(self) -> None:
        await self._stop.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, job: Callable[[C], Awaitable[T]], done: Callable[[T | BaseException], object]) -> None:
        task = self._loop.create_task(self._do(job, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(
        self, job: Callable[[C], Awaitable[T]], done: Callable[[T | BaseException], object]
    ) -> None:
        outcome: T | BaseException
        try:
            outcome = await job(await asyncio.shield(self._client))
        except Exception as error:
            outcome = error
        assert self._home is not None
        if not self._home.is_closed():
            self._home.call_soon_threadsafe(self._finish, done, outcome)

    def _finish(self, done: Callable[[T | BaseException], object], outcome: T | BaseException) -> None:
        """On the engine's loop again."""
        self._under_way -= 1
        done(outcome)
