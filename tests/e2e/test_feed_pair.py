"""A market over two sockets: the stream survives the loss, the silence and the renewal of one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from invmm.clock import LiveClock
from invmm.feed.backoff import ReconnectBudget
from invmm.feed.connection import FeedSettings
from invmm.feed.pair import PairedFeed, market_stream
from invmm.feed.states import EndCause
from tests.e2e.feed_server import DOWN, FAST, UP, Log, Server, book, change, run, until

CALM = replace(FAST, silence_s=30.0, silence_cap_s=30.0)


def stamped(ms: int) -> str:
    return change(UP, DOWN)[:-1] + f', "timestamp": "{ms}"}}'


@asynccontextmanager
async def paired(
    server: Server, log: Log, renew_s: float = 0.0, settings: FeedSettings = CALM
) -> AsyncIterator[PairedFeed]:
    feed = market_stream(
        2,
        renew_s,
        server.url + "market",
        (UP, DOWN),
        log.sink,
        LiveClock(),
        settings,
        budget=ReconnectBudget(1000, 100.0),
        on_state=log.on_state,
    )
    assert isinstance(feed, PairedFeed)
    feed.start()
    try:
        await until(lambda: feed.merge.carrying == (True, True), "both carry")
        yield feed
    finally:
        await feed.close()


MS = int(str(book(UP)["timestamp"]))


def test_the_second_socket_repeats_nothing() -> None:
    async def test(server: Server, log: Log) -> None:
        async with paired(server, log):
            for ms in range(1, 4):
                for peer in server.peers:
                    await peer.ws.send_str(stamped(MS + ms))
            await until(lambda: len(log.frames()) == 4, "three changes after the books")
            await asyncio.sleep(0.05)
            assert len(log.frames()) == 4

    run(test)


def test_a_killed_socket_is_replaced_and_the_stream_goes_on() -> None:
    async def test(server: Server, log: Log) -> None:
        async with paired(server, log) as feed:
            server.peers[0].kill()
            await until(lambda: feed.merge.switches == 1, "the loss")
            await server.peers[1].ws.send_str(stamped(MS + 1))
            await until(lambda: len(log.frames()) == 2, "the message of the other")
            await until(lambda: feed.merge.carrying == (True, True), "a replacement")
            assert "disconnect" not in log.kinds()
            assert len(log.frames()) == 2  # its books were known

    run(test)


def test_f1_a_socket_that_goes_silent_while_the_other_has_data_is_replaced_without_a_word() -> None:
    async def test(server: Server, log: Log) -> None:
        async with paired(server, log, settings=replace(FAST, silence_s=1.5, silence_cap_s=1.5)) as feed:
            number = 0

            async def lively() -> None:
                nonlocal number
                while True:
                    number += 1
                    for peer in server.peers[1:]:
                        if not peer.ws.closed:
                            await peer.ws.send_str(stamped(MS + number))
                    await asyncio.sleep(0.02)

            talking = asyncio.create_task(lively())
            try:
                await until(lambda: feed.feeds[0].stats().ends[EndCause.SILENT] == 1, "the silent one ends")
                await until(lambda: feed.feeds[0].stats().connections == 2, "and is replaced")
            finally:
                talking.cancel()
            assert "disconnect" not in log.kinds()
            assert feed.feeds[1].stats().reconnects == 0

    run(test)


def test_planned_renewals_replace_one_socket_after_the_other() -> None:
    async def test(server: Server, log: Log) -> None:
        async with paired(server, log, renew_s=0.3) as feed:

            async def lively() -> None:
                number = 0
                while True:
                    number += 1
                    for peer in server.peers:
                        if not peer.ws.closed:
                            await peer.ws.send_str(stamped(MS + number))
                    await asyncio.sleep(0.02)

            talking = asyncio.create_task(lively())
            try:
                await until(
                    lambda: all(one.stats().ends[EndCause.RENEWED] >= 1 for one in feed.feeds), "both renewed"
                )
            finally:
                talking.cancel()
            assert "disconnect" not in log.kinds()

    run(test)


def test_a_resync_replaces_both_and_tells_the_sink_once() -> None:
    async def test(server: Server, log: Log) -> None:
        async with paired(server, log) as feed:
            assert feed.replace()
            await until(lambda: log.kinds().count("disconnect") == 1, "the loss")
            await until(lambda: feed.merge.carrying == (True, True), "both again")
            assert log.kinds().count("disconnect") == 1
            assert len(log.frames()) == 2

    run(test)
