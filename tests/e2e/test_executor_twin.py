"""The executor at the embedded venue: its limits, restarts and dead man's switch, on its own clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from invmm.execution.remote import RemoteVenue
from invmm.settings import ExecutorSettings, RiskSettings, Settings
from invmm.testing import TestVenue
from invmm.types import COMMAND_DTYPE, EVENT_DTYPE, CommandFlag, CommandKind, OrderStatus, Reason, VenueMode
from invmm.venue.auth import OrderSigner

SPEED = 4.0
WINDOW_S = 1_790_766_900  # a window begins: none of the tests sees its end


class Desk:
    """An executor that follows one market of the embedded venue, and what it has told so far."""

    def __init__(self, venue: TestVenue, heartbeat: str = "off") -> None:
        settings = replace(
            Settings(),
            executor=ExecutorSettings(wait="park", heartbeat=heartbeat),
            risk=RiskSettings(orders_per_second=600, orders_burst=900),
        )
        self.clock = venue.clock()
        self.venue = RemoteVenue(
            venue.profile,
            venue.credentials,
            OrderSigner(venue.private_key),
            self.clock,
            settings,
        )
        self.executor = self.venue.executor
        self.venue.open_market(0, venue.market())
        self.executor.start()
        assert self.executor.wait_warm()
        self.told: list[tuple[int, OrderStatus, Reason]] = []

    def send(self, kind: CommandKind, *keys: int) -> None:
        legs = np.zeros(len(keys), COMMAND_DTYPE)
        legs["kind"], legs["key"], legs["salt"] = kind, keys, np.array(keys) + 1
        legs["price_e4"], legs["size_micro"] = 100, 5_000_000
        legs["flags"] = CommandFlag.POST_ONLY
        legs["flags"][-1] |= CommandFlag.LAST
        assert self.executor.submit(legs, 0) == len(keys)

    def beat(self) -> None:
        self.executor.words.beat_ns = time.monotonic_ns()

    def until(self, condition: Callable[[], object], timeout_s: float = 20.0) -> None:
        """Polls and beats, as an engine does."""
        out, end = np.zeros(256, EVENT_DTYPE), time.monotonic() + timeout_s
        while not condition():
            got = self.executor.poll(0, out)
            self.told += [
                (int(row["key"]), OrderStatus(row["status"]), Reason(row["reason"])) for row in out[:got]
            ]
            assert time.monotonic() < end, (self.told[-10:], self.executor.statistics())
            time.sleep(0.002)

    def count(self, status: OrderStatus) -> int:
        return sum(told == status for _, told, _ in self.told)


@pytest.fixture(params=[SPEED])
def venue(request: pytest.FixtureRequest) -> Iterator[TestVenue]:
    with TestVenue("btc-updown-5m", speed=request.param, light=True, start_s=WINDOW_S + 5) as venue:
        yield venue


@pytest.fixture
def desks() -> Iterator[Callable[..., Desk]]:
    made: list[Desk] = []

    def make(venue: TestVenue, heartbeat: str = "off") -> Desk:
        made.append(Desk(venue, heartbeat))
        return made[-1]

    yield make
    for desk in made:
        desk.venue.close()
        assert desk.executor.error is None


@pytest.mark.parametrize("venue", [2.0], indirect=True)  # faster, and the machine's jitter is seconds
def test_within_our_own_limits_the_venue_never_refuses_for_its_own(
    venue: TestVenue, desks: Callable[..., Desk]
):
    desk = desks(venue)
    for first in range(1, 301, 15):
        desk.send(CommandKind.PLACE, *range(first, first + 15))
    desk.until(lambda: desk.count(OrderStatus.LIVE) + desk.count(OrderStatus.REFUSED) == 300)
    throttled = {key for key, status, reason in desk.told if reason is Reason.THROTTLED}
    assert throttled
    assert len(throttled) == desk.count(OrderStatus.REFUSED)
    live = [key for key, status, _ in desk.told if status == OrderStatus.LIVE]
    desk.send(CommandKind.CANCEL, *live)
    desk.until(lambda: desk.count(OrderStatus.CANCELED) == len(live))
    assert set(desk.executor.statistics().answers) == {200}
    assert desk.executor.statistics().throttle["warnings"] == 0


@pytest.mark.slow
def test_a_restart_of_the_venue_is_walked_through(venue: TestVenue, desks: Callable[..., Desk]):
    desk = desks(venue)
    words = desk.executor.words
    desk.send(CommandKind.PLACE, 1)
    desk.until(lambda: desk.count(OrderStatus.LIVE))
    venue.restart(restart_s=12, post_only_s=24)
    desk.send(CommandKind.PLACE, 2)
    desk.until(lambda: (2, OrderStatus.UNKNOWN, Reason.VENUE_MODE) in desk.told)
    assert words.venue_mode == VenueMode.RESTARTING
    desk.send(CommandKind.CANCEL, 1)
    desk.until(lambda: any(told[0] == 1 and told[1] >= OrderStatus.CANCELED for told in desk.told))
    while desk.told[-1][:2] != (1, OrderStatus.CANCELED):
        assert desk.told[-1] == (1, OrderStatus.NOT_CANCELED, Reason.VENUE_MODE)
        heard = len(desk.told)
        desk.send(CommandKind.CANCEL, 1)
        desk.until(lambda heard=heard: len(desk.told) > heard)
    assert words.venue_mode == VenueMode.POST_ONLY
    desk.send(CommandKind.PLACE, 3)
    desk.until(lambda: desk.count(OrderStatus.LIVE) == 2)
    desk.until(lambda: words.venue_mode == VenueMode.RUNNING, 30)
    deaf = desk.executor.statistics().answers[425]
    assert deaf < 12, "questions, not a storm"


def test_the_switch_cancels_when_the_engine_falls_silent_and_not_before(
    venue: TestVenue, desks: Callable[..., Desk]
):
    desk = desks(venue, "on")

    def beats(condition: Callable[[], object]) -> Callable[[], object]:
        def both() -> object:
            desk.beat()
            return condition()

        return both

    desk.until(beats(lambda: desk.executor.words.heartbeat_ok))
    desk.send(CommandKind.PLACE, 1)
    desk.until(beats(lambda: desk.count(OrderStatus.LIVE)))
    end = time.monotonic() + 25 / SPEED  # more than two windows of the venue
    desk.until(beats(lambda: time.monotonic() > end))
    assert desk.executor.statistics().requests["heartbeat"] >= 4
    assert [order["state"] for order in open_orders(venue)] == ["LIVE"]
    desk.executor.words.beat_ns = time.monotonic_ns() - 2_900_000_000  # 0.1 s before it counts as silent
    desk.until(lambda: [order["state"] for order in open_orders(venue)] != ["LIVE"], 10)
    assert not desk.executor.words.heartbeat_ok


def open_orders(venue: TestVenue) -> list[dict[str, object]]:
    """The venue's own truth about our orders."""
    return list(venue.truth()["orders"])
