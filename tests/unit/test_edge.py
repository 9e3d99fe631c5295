"""The edge thread: jobs go out, results come back on the loop that asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from invmm.errors import TransportError
from invmm.execution.edge import EdgeThread

CLOSED: list[str] = []


@asynccontextmanager
async def client() -> AsyncIterator[str]:
    try:
        yield "client"
    finally:
        CLOSED.append(threading.current_thread().name)


async def where(given: str) -> tuple[str, str]:
    await asyncio.sleep(0)
    return given, threading.current_thread().name


def test_a_job_runs_on_the_thread_and_its_result_comes_back_on_the_loop() -> None:
    async def play() -> None:
        edge = EdgeThread(client)
        edge.start()
        told: asyncio.Future[tuple[object, str]] = asyncio.get_running_loop().create_future()
        assert edge.ask(where, lambda found: told.set_result((found, threading.current_thread().name)))
        assert await told == (("client", "invmm edge"), threading.current_thread().name)
        assert await edge.result(where) == ("client", "invmm edge")
        CLOSED.clear()
        assert await asyncio.to_thread(edge.close)
        assert CLOSED == ["invmm edge"]
        assert not edge.ask(where, print)

    asyncio.run(play())


def test_what_a_job_raises_is_told_and_hurts_nobody_else() -> None:
    async def fail(_: str) -> None:
        raise TransportError("no route")

    async def play() -> None:
        edge = EdgeThread(client)
        edge.start()
        with pytest.raises(TransportError, match="no route"):
            await edge.result(fail)
        assert await edge.result(where) == ("client", "invmm edge")
        await asyncio.to_thread(edge.close)

    asyncio.run(play())


def test_a_venue_that_hangs_fills_no_memory_and_does_not_keep_the_thread() -> None:
    async def hang(_: str) -> None:
        await asyncio.sleep(3600)

    async def play() -> None:
        edge = EdgeThread(client, most=2)
        edge.start()
        assert edge.ask(hang, print)
        assert edge.ask(hang, print)
        assert not edge.ask(hang, print)
        with pytest.raises(RuntimeError, match="takes no job"):
            await edge.result(where)
        assert await asyncio.to_thread(edge.close)

    asyncio.run(play())


def test_every_job_is_told_why_the_client_could_not_be_opened() -> None:
    @asynccontextmanager
    async def broken() -> AsyncIterator[str]:
        raise TransportError("no such host")
        yield ""

    async def play() -> None:
        edge = EdgeThread(broken)
        edge.start()
        for _ in range(2):
            with pytest.raises(TransportError, match="no such host"):
                await asyncio.wait_for(edge.result(where), 20)
        assert await asyncio.to_thread(edge.close)

    asyncio.run(play())
