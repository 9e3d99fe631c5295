"""The market feed against a small WebSocket server that misbehaves on demand."""

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence

import pytest

from invmm._ext.sink import CallbackSink
from invmm.clock import LiveClock
from invmm.errors import ConfigError
from invmm.feed.backoff import ReconnectBudget
from invmm.feed.connection import FeedSettings
from invmm.feed.market import MarketFeed
from invmm.feed.states import EndCause, FeedState, TokenState
from tests.e2e.feed_server import (
    DEADLINE_S,
    DOWN,
    FAST,
    OTHER,
    UP,
    Log,
    Server,
    change,
    market_feed,
    mute_server,
    raw_frame,
    run,
    until,
)


def test_first_frame_is_byte_exact_and_books_make_the_feed_live() -> None:
    async def body(server: Server, log: Log) -> None:
        async with market_feed(server, log) as feed:
            await until(lambda: feed.is_live, "live")
            assert server.peers[0].texts[0] == (
                f'{{"assets_ids":["{UP}","{DOWN}"],"type":"market","custom_feature_enabled":true}}'
            )
            assert feed.token_states() == {UP: TokenState.LIVE, DOWN: TokenState.LIVE}
            assert json.loads(log.frames()[0])[0]["asset_id"] == UP
            await until(lambda: feed.stats().pongs > 1, "second pong")
            assert feed.stats().round_trip_ns > 0
            assert feed.stats().data_age_ns is not None
        assert feed.state is FeedState.CLOSED
        assert log.kinds()[-1] == "disconnect"

    run(body)


def test_pong_never_reaches_the_sink_and_closes_the_buffer_before_it() -> None:
    async def body(server: Server, log: Log) -> None:
        async with market_feed(server, log) as feed:
            await until(lambda: feed.is_live, "live")
            log.told.clear()
            text = change(UP, DOWN).encode()
            server.peers[0].raw(raw_frame(1, text), raw_frame(1, b"PONG"))
            await until(lambda: len(log.told) == 2, "frame and end of buffer")
            assert log.told == [("frame", text, False), ("end", b"", True)]

    run(body)


def test_message_split_over_frames_arrives_whole_with_a_ping_between() -> None:
    async def body(server: Server, log: Log) -> None:
        async with market_feed(server, log) as feed:
            await until(lambda: feed.is_live, "live")
            log.told.clear()
            text = change(UP, DOWN).encode()
            server.peers[0].raw(
                raw_frame(1, text[:40], fin=False),
                raw_frame(9, b"here?"),
                raw_frame(0, text[40:50], fin=False),
            )
            server.peers[0].raw(raw_frame(0, text[50:]))
            await until(lambda: log.frames(), "joined message")
            assert log.frames() == [text]
            await until(
                lambda: "pong control frame here?" in server.peers[0].texts, "answer to a control ping"
            )
            assert feed.stats().joined == 1
            assert feed.stats().connections == 1

    run(body)


def test_bytes_that_trickle_in_make_one_message() -> None:
    async def body(server: Server, log: Log) -> None:
        async with market_feed(server, log) as feed:
            await until(lambda: feed.is_live, "live")
            log.told.clear()
            text = change(UP, DOWN).encode()
            for byte in raw_frame(1, text):
                server.peers[0].raw(bytes([byte]))
                await asyncio.sleep(0)
            await until(lambda: log.frames(), "message")
            assert log.told == [("frame", text, True)]

    run(body)


@pytest.mark.parametrize(
    "pieces",
    [
        raw_frame(1, b'{"half":', fin=False) + raw_frame(1, b"{}"),  # a new message inside one
        raw_frame(0, b"{}"),  # a continuation of nothing
        raw_frame(1, b"{}", rsv=4),  # compressed, which was not agreed on
        b"\xff\xff\xff\xff",  # no frame at all
        raw_frame(3, b"{}"),  # an opcode that does not exist
    ],
)
def test_broken_frames_replace_the_connection_and_the_feed_recovers(pieces: bytes) -> None:
    async def body(server: Server, log: Log) -> None:
        async with market_feed(server, log) as feed:
            await until(lambda: feed.is_live, "live")
            server.peers[0].raw(pieces)
            await until(lambda: len(server.peers) == 2 and feed.is_live, "new connection")
            assert feed.stats().ends == {EndCause.PROTOCOL: 1}
            assert log.kinds().count("disconnect") == 1

    run(body)


def test_message_longer_than_the_join_buffer_replaces_the_connection() -> None:
    async def body(server: Server, log: Log) -> None:
        settings = FeedSettings(backoff_base_s=0.01, backoff_cap_s=0.05, join_bytes=64)
        async with market_feed(server, log, settings=settings) as feed:
            await until(lambda: feed.is_live, "live")
            log.told.clear()
            server.peers[0].raw(raw_frame(1, b"x" * 40, fin=False), raw_frame(0, b"x" * 25))
            await until(lambda: len(server.peers) == 2 and feed.is_live, "new connection")
            assert feed.stats().ends == {EndCause.OVERSIZE: 1}
            assert not [data for data in log.frames() if b"xx" in data]

    run(body)


def test_binary_frames_are_counted_and_ignored() -> None:
    async def body(server: Server, log: Log) -> None:
        async with market_feed(server, log) as feed:
            await until(lambda: feed.is_live, "live")
            log.told.clear()
            text = change(UP).encode()
            server.peers[0].raw(raw_frame(2, b"\x00", fin=False), raw_frame(0, b"\x01"), raw_frame(1, text))
            await until(lambda: log.frames(), "text after binary")
            assert log.frames() == [text]
            assert feed.stats().binary == 1

    run(body)


def test_killed_socket_tells_the_sink_at_once_and_reconnects_with_a_first_frame() -> None:
    async def body(server: Server, log: Log) -> None:
        async with market_feed(server, log) as feed:
            await until(lambda: feed.is_live, "live")
            server.peers[0].kill()
            await until(lambda: "disconnect" in log.kinds(), "disconnect")
            assert feed.stats().connections == 1
            await until(lambda: len(server.peers) == 2 and feed.is_live, "new connection")
            assert server.peers[1].texts[0] == server.peers[0].texts[0]
            assert feed.stats().ends == {EndCause.PEER: 1}
            assert feed.stats().reconnects == 1
            assert log.kinds().count("disconnect") == 1

    run(body)


def test_silent_token_is_reported_and_the_socket_replaced_although_pong_is_answered() -> None:
    async def body(server: Server, log: Log) -> None:
        async with market_feed(server, log) as feed:
            await until(lambda: feed.is_live, "live")
            first = server.peers[0]

            with contextlib.suppress(ConnectionError):  # once the feed has left
                while len(server.peers) == 1:
                    await first.ws.send_str(change(UP))
                    await asyncio.sleep(0.02)
            await until(lambda: EndCause.SILENT in feed.stats().ends, "silence seen")
            assert (FeedState.SILENT, EndCause.NONE) in log.states
            assert feed.stats().pongs > 1
            await until(lambda: feed.is_live, "live again")

    run(body)


def test_quiet_market_keeps_the_connection_until_the_witness_disagrees() -> None:
    async def body(server: Server, log: Log) -> None:
        asked: list[tuple[str, ...]] = []
        disagrees = [False]

        def witness(token_ids: Sequence[str]) -> bool:
            asked.append(tuple(token_ids))
            return disagrees[0]

        settings = FeedSettings(silence_s=0.1, silence_cap_s=8, backoff_base_s=0.01, backoff_cap_s=0.05)
        async with market_feed(server, log, settings=settings, witness=witness) as feed:
            await until(lambda: feed.state is FeedState.SILENT and len(asked) > 2, "silence")
            assert set(asked) == {(UP, DOWN)}
            assert len(server.peers) == 1
            await server.peers[0].ws.send_str(change(UP, DOWN))
            await until(lambda: feed.is_live, "live again on the same connection")
            assert len(server.peers) == 1
            disagrees[0] = True
            await until(lambda: len(server.peers) == 2, "new connection")
            assert feed.stats().ends == {EndCause.SILENT: 1}

    run(body)


def test_silence_beyond_the_cap_replaces_the_connection_whatever_the_witness_says() -> None:
    async def body(server: Server, log: Log) -> None:
        settings = FeedSettings(silence_s=0.1, silence_cap_s=0.2, backoff_base_s=0.01, backoff_cap_s=0.05)
        async with market_feed(server, log, settings=settings, witness=lambda token_ids: False) as feed:
            await until(lambda: EndCause.SILENT in feed.stats().ends, "replacement")

    run(body)


def test_a_patient_feed_keeps_its_connection_through_silence_until_patience_ends() -> None:
    async def body(server: Server, log: Log) -> None:
        settings = FeedSettings(silence_s=0.1, silence_cap_s=0.2, backoff_base_s=0.01, backoff_cap_s=0.05)
        async with market_feed(server, log, settings=settings) as feed:
            feed.patient = True
            await until(lambda: len(server.peers) == 1, "connected")
            await asyncio.sleep(1)  # five times the cap
            assert len(server.peers) == 1
            assert EndCause.SILENT not in feed.stats().ends
            feed.patient = False
            await until(lambda: EndCause.SILENT in feed.stats().ends, "replacement")

    run(body)


def test_both_tokens_heard_keep_the_connection() -> None:
    async def body(server: Server, log: Log) -> None:
        async with market_feed(server, log) as feed:
            await until(lambda: feed.is_live, "live")
            end = time.monotonic() + 3 * FAST.silence_s
            while time.monotonic() < end:
                await server.peers[0].ws.send_str(change(UP, DOWN))
                await asyncio.sleep(0.02)
            assert len(server.peers) == 1
            assert feed.is_live

    run(body)


def test_ignored_subscription_is_sent_three_times_more_and_then_on_a_new_connection() -> None:
    async def body(server: Server, log: Log) -> None:
        server.ignored = {DOWN}
        settings = FeedSettings(
            first_event_s=0.1, silence_s=5, silence_cap_s=5, backoff_base_s=0.01, backoff_cap_s=0.05
        )
        async with market_feed(server, log, settings=settings) as feed:
            await until(lambda: len(server.peers) == 2, "second connection")
            add = f'{{"operation":"subscribe","assets_ids":["{DOWN}"],"custom_feature_enabled":true}}'
            remove = f'{{"operation":"unsubscribe","assets_ids":["{DOWN}"]}}'
            sent = [text for text in server.peers[0].texts if text != "PING"]
            assert sent[1:] == [remove, add] * 3
            assert feed.stats().ends == {EndCause.FIRST_EVENT: 1}
            assert (FeedState.LIVE, EndCause.NONE) not in log.states
            server.ignored = set()
            await until(lambda: feed.is_live, "live once the venue answers")

    run(body)


def test_missing_pong_replaces_the_connection() -> None:
    async def body(server: Server, log: Log) -> None:
        server.answer_ping = False
        settings = FeedSettings(
            keep_alive_s=0.05, pong_deadline_s=0.2, backoff_base_s=0.01, backoff_cap_s=0.05
        )
        async with market_feed(server, log, settings=settings) as feed:
            await until(lambda: len(server.peers) == 2, "second connection")
            assert feed.stats().ends == {EndCause.PONG_TIMEOUT: 1}

    run(body)


@pytest.mark.parametrize("status", [401, 403])
def test_refused_upgrade_stops_the_feed(status: int) -> None:
    async def body(server: Server, log: Log) -> None:
        server.refuse_with = status
        async with market_feed(server, log) as feed:
            assert await asyncio.wait_for(feed.wait_stopped(), DEADLINE_S) is FeedState.REFUSED
            assert log.states[-1] == (FeedState.REFUSED, EndCause.REFUSED)
            assert server.attempts == 1
            assert feed.last_error == f"upgrade answered with {status}"

    run(body)


def test_other_refusals_are_tried_again() -> None:
    async def body(server: Server, log: Log) -> None:
        server.refuse_with = 503
        async with market_feed(server, log) as feed:
            await until(lambda: server.attempts >= 3, "third attempt")
            server.refuse_with = None
            await until(lambda: feed.is_live, "live")
            assert feed.stats().ends[EndCause.CONNECT] >= 3

    run(body)


def test_tokens_change_without_a_new_connection() -> None:
    async def body(server: Server, log: Log) -> None:
        async with market_feed(server, log) as feed:
            await until(lambda: feed.is_live, "live")
            feed.set_tokens([DOWN, OTHER])
            await until(lambda: feed.token_states().get(OTHER) is TokenState.LIVE, "new token live")
            assert [text for text in server.peers[0].texts if text != "PING"][1:] == [
                f'{{"operation":"unsubscribe","assets_ids":["{UP}"]}}',
                f'{{"operation":"subscribe","assets_ids":["{OTHER}"],"custom_feature_enabled":true}}',
            ]
            assert UP not in feed.token_states()
            assert len(server.peers) == 1

    run(body)


def test_failing_consumer_is_contained_and_the_connection_replaced() -> None:
    async def body(server: Server, log: Log) -> None:
        fail = [True]

        def on_frame(data: bytes, now_ns: int, last: bool) -> None:
            log.told.append(("frame", data, last))
            if b"price_change" in data and fail.pop():
                raise ValueError("cannot read that")

        log.sink = CallbackSink(on_frame, None, lambda now_ns: log.told.append(("disconnect", b"", True)))
        async with market_feed(server, log) as feed:
            await until(lambda: feed.is_live, "live")
            text = change(UP).encode()
            server.peers[0].raw(raw_frame(1, text), raw_frame(1, text), raw_frame(1, text))
            await until(lambda: len(server.peers) == 2 and feed.is_live, "new connection")
            assert log.frames().count(text) == 1
            assert feed.stats().ends == {EndCause.FAULT: 1}
            assert feed.stats().late == 2
            assert isinstance(log.sink.last_error, ValueError)

    run(body)


def test_repeated_events_are_passed_on_as_they_came() -> None:
    async def body(server: Server, log: Log) -> None:
        async with market_feed(server, log) as feed:
            await until(lambda: feed.is_live, "live")
            log.told.clear()
            text = change(UP, DOWN).encode()
            server.peers[0].raw(raw_frame(1, text) * 3)
            await until(lambda: len(log.told) == 3, "three messages")
            assert log.told == [("frame", text, False), ("frame", text, False), ("frame", text, True)]

    run(body)


def test_timers_follow_a_scaled_clock() -> None:
    async def body(server: Server, log: Log) -> None:
        # 3 s of silence are 60 real ms when engine time runs fifty times as fast.
        feed = MarketFeed(
            server.url + "market",
            [UP],
            log.sink,
            LiveClock(50.0),
            FeedSettings(),
            budget=ReconnectBudget(1000, 100.0),
        )
        feed.start()
        started = time.monotonic()
        try:
            await until(lambda: EndCause.SILENT in feed.stats().ends, "silence")
            assert time.monotonic() - started < FeedSettings().silence_s
        finally:
            await feed.close()

    run(body)


def test_feed_closes_while_it_waits_for_a_handshake_that_never_comes() -> None:
    async def body(server: Server, log: Log) -> None:
        async with mute_server() as (url, accepted):
            feed = MarketFeed(url, [UP], log.sink, LiveClock(), on_state=log.on_state)
            feed.start()
            await until(lambda: accepted, "connection")
            started = time.monotonic()
            await feed.close()
            assert time.monotonic() - started < FeedSettings().connect_deadline_s / 2
            assert feed.state is FeedState.CLOSED
            assert log.told == []

    run(body)


def test_handshake_that_never_comes_is_given_up_and_tried_again() -> None:
    async def body(server: Server, log: Log) -> None:
        settings = FeedSettings(connect_deadline_s=0.1, backoff_base_s=0.01, backoff_cap_s=0.05)
        async with mute_server() as (url, accepted):
            feed = MarketFeed(url, [UP], log.sink, LiveClock(), settings)
            feed.start()
            await until(lambda: len(accepted) == 2, "second attempt")
            assert set(feed.stats().ends) == {EndCause.CONNECT}
            await feed.close()

    run(body)


def test_feed_without_tokens_waits_and_connects_when_it_gets_one() -> None:
    async def body(server: Server, log: Log) -> None:
        async with market_feed(server, log, tokens=()) as feed:
            await asyncio.sleep(0)
            assert server.attempts == 0
            feed.add_tokens([UP])
            await until(lambda: feed.is_live, "live")
            feed.remove_tokens([UP])
            await until(lambda: feed.state is FeedState.IDLE, "idle")
            assert log.kinds()[-1] == "disconnect"

    run(body)


def test_addresses_tokens_and_settings_out_of_range_are_refused() -> None:
    clock, sink = LiveClock(), CallbackSink()
    with pytest.raises(ConfigError, match="ws://"):
        MarketFeed("http://127.0.0.1", [UP], sink, clock)
    with pytest.raises(ConfigError, match="decimal number"):
        MarketFeed("ws://127.0.0.1", ["0x12"], sink, clock)
    with pytest.raises(ConfigError, match="at most 200 tokens"):
        MarketFeed("ws://127.0.0.1", [str(number) for number in range(201)], sink, clock)
    with pytest.raises(ConfigError, match="silence_s"):
        FeedSettings(silence_s=20.0)
    with pytest.raises(ConfigError, match="keep_alive_s: expected above 0"):
        FeedSettings(keep_alive_s=0)
    assert MarketFeed("ws://127.0.0.1", [UP, UP], sink, clock).token_ids == (UP,)
