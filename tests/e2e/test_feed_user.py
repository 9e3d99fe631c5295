"""The user feed against a loopback server: first frame, records, loss, and a key that never shows."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from invmm.clock import LiveClock
from invmm.feed.backoff import ReconnectBudget
from invmm.feed.connection import FeedSettings
from invmm.feed.states import EndCause, FeedState
from invmm.feed.user import UserFeed
from invmm.feed.user_messages import order_id_bytes
from invmm.types import EventArray, OrderStatus, Outcome
from tests.e2e.feed_server import FAST, Log, Server, run, until

MINE = "0x" + "0a" * 32
SECRET = "c2VjcmV0LW1hcmtlcg=="


@dataclass(frozen=True)
class Credentials:
    api_key: str = "00000000-0000-0000-0000-00000000aaaa"
    secret: str = field(default=SECRET, repr=False)
    passphrase: str = field(default="passphrase-marker", repr=False)


ORDER = {
    "asset_id": "111",
    "event_type": "order",
    "id": MINE,
    "original_size": "5",
    "size_matched": "0",
    "price": "0.51",
    "side": "BUY",
    "status": "LIVE",
    "timestamp": "1725842520990",
    "type": "PLACEMENT",
}


class Account:
    """An engine's side of the user feed."""

    def __init__(self) -> None:
        self.keys: dict[bytes, int] = {order_id_bytes(MINE): 4}
        self.records: list[EventArray] = []
        self.lost: list[int] = []
        self.fail = 0

    def on_events(self, records: EventArray) -> None:
        if self.fail:
            self.fail -= 1
            raise RuntimeError("registry refused")
        self.records += list(records)


@asynccontextmanager
async def user_feed(
    server: Server, log: Log, account: Account, settings: FeedSettings = FAST
) -> AsyncIterator[UserFeed]:
    feed = UserFeed(
        server.url + "user",
        Credentials(),
        account.on_events,
        account.keys.get,
        {"111": (2, Outcome.DOWN)},
        LiveClock(),
        settings,
        on_disconnect=account.lost.append,
        budget=ReconnectBudget(1000, 100.0),
        on_state=log.on_state,
    )
    feed.start()
    try:
        yield feed
    finally:
        await feed.close()


def test_first_frame_holds_the_credentials_and_no_markets() -> None:
    async def body(server: Server, log: Log) -> None:
        async with user_feed(server, log, Account()) as feed:
            await until(lambda: feed.is_live, "live")
            assert server.peers[0].texts[0] == (
                '{"auth":{"apiKey":"00000000-0000-0000-0000-00000000aaaa",'
                f'"secret":"{SECRET}","passphrase":"passphrase-marker"}},"type":"user"}}'
            )

    run(body)


def test_messages_become_records() -> None:
    async def body(server: Server, log: Log) -> None:
        account = Account()
        async with user_feed(server, log, account) as feed:
            await until(lambda: feed.is_live, "live")
            await server.peers[0].ws.send_str(json.dumps(ORDER))
            await server.peers[0].ws.send_str("{garbage")
            await server.peers[0].ws.send_str(json.dumps([ORDER | {"type": "CANCELLATION"}]))
            await until(lambda: len(account.records) == 2, "records")
            first, second = account.records
            assert (first["key"], first["market"], first["token"]) == (4, 2, Outcome.DOWN)
            assert (first["status"], second["status"]) == (OrderStatus.LIVE, OrderStatus.CANCELED)
            assert feed.messages.stats.refused == {"not JSON": 1}
            assert feed.stats().connections == 1

    run(body)


def test_order_that_becomes_known_late_is_read_again() -> None:
    async def body(server: Server, log: Log) -> None:
        account = Account()
        account.keys.clear()
        async with user_feed(server, log, account) as feed:
            await until(lambda: feed.is_live, "live")
            await server.peers[0].ws.send_str(json.dumps(ORDER))
            await until(lambda: account.records, "record without key")
            assert account.records[0]["key"] == 0
            account.keys[order_id_bytes(MINE)] = 7
            feed.retry_unknown()
            assert [int(record["key"]) for record in account.records] == [0, 7]

    run(body)


def test_lost_connection_is_told_and_replaced() -> None:
    async def body(server: Server, log: Log) -> None:
        account = Account()
        async with user_feed(server, log, account) as feed:
            await until(lambda: feed.is_live, "live")
            server.peers[0].kill()
            await until(lambda: account.lost, "loss")
            await until(lambda: feed.stats().connections == 2 and feed.is_live, "live again")
            assert feed.stats().ends == {EndCause.PEER: 1}

    run(body)


def test_consumer_that_raises_costs_the_connection_and_not_the_feed() -> None:
    async def body(server: Server, log: Log) -> None:
        account = Account()
        account.fail = 1
        async with user_feed(server, log, account) as feed:
            await until(lambda: feed.is_live, "live")
            await server.peers[0].ws.send_str(json.dumps(ORDER))
            await until(lambda: feed.stats().connections == 2 and feed.is_live, "live again")
            assert feed.stats().ends == {EndCause.FAULT: 1}
            await server.peers[1].ws.send_str(json.dumps(ORDER))
            await until(lambda: account.records, "record")

    run(body)


def test_venue_that_never_answers_leaves_the_feed_not_live() -> None:
    async def body(server: Server, log: Log) -> None:
        server.answer_ping = False
        settings = FeedSettings(pong_deadline_s=0.1, backoff_base_s=0.01, backoff_cap_s=0.05)
        async with user_feed(server, log, Account(), settings) as feed:
            await until(lambda: EndCause.PONG_TIMEOUT in feed.stats().ends, "timeout")
            assert FeedState.LIVE not in [state for state, _ in log.states]

    run(body)


def test_secrets_are_in_no_log_and_no_representation(caplog: pytest.LogCaptureFixture) -> None:
    async def body(server: Server, log: Log) -> None:
        async with user_feed(server, log, Account()) as feed:
            await until(lambda: feed.is_live, "live")
            server.peers[0].kill()
            await until(lambda: feed.stats().connections == 2, "reconnect")
            server.refuse_with = 403
            server.peers[1].kill()
            await asyncio.wait_for(feed.wait_stopped(), 10)
            assert SECRET not in repr(feed) + repr(vars(feed)) + str(feed.last_error)

    with caplog.at_level(logging.DEBUG):
        run(body)
    for marker in (SECRET, "passphrase-marker"):
        assert marker not in caplog.text
