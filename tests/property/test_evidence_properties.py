"""Every permutation and repetition of a set of evidence gives the same record, and it is the twin's."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invmm._ext.registry import Registry
from invmm.types import COMMAND_DTYPE, EVENT_DTYPE, CommandKind, EventKind, OrderStatus, OrderType, Side
from tests.reference.evidence import Evidence, verdict

NS = 1_000_000_000
SIZE_MICRO = 20_000_000
START_S = 1_700_000_000
EXPIRES_S = START_S + 184
FENCE_S = 184 - 60 + 1 + 5  # expiry at the venue, clock bound, slack
KEY = 77

# The flag of a cancel and what hangs on it are our own actions, and when an order became unknown is no
# evidence.
OWN = {"cancel_sent", "unknown_ns", "ahead_micro", "key", "level", "remaining_micro"}

FACTS = (
    OrderStatus.LIVE,
    OrderStatus.DELAYED,
    OrderStatus.REJECTED,
    OrderStatus.REFUSED,
    OrderStatus.UNKNOWN,
    OrderStatus.CANCELED,
    OrderStatus.NOT_CANCELED,
    OrderStatus.FOUND,
    OrderStatus.NOT_FOUND,
    OrderStatus.FENCED,
    OrderStatus.DUPLICATED,
    OrderStatus.RESENT,
    OrderStatus.COPY_REFUSED,
)
TERMINAL = (None, OrderStatus.TRADE_CONFIRMED, OrderStatus.TRADE_FAILED)


def registry(order_type: OrderType = OrderType.GTD, side: Side = Side.BUY) -> Registry:
    """One prepared order of 20 shares at 0.48."""
    made = Registry()
    command = np.zeros(1, COMMAND_DTYPE)
    command["kind"], command["key"], command["side"], command["order_type"] = (
        CommandKind.PLACE,
        KEY,
        side,
        order_type,
    )
    command["price_e4"], command["size_micro"], command["decided_ns"] = 4800, SIZE_MICRO, START_S * NS
    command["expiration_s"] = EXPIRES_S if order_type == OrderType.GTD else 0
    assert made.add(command)
    return made


def tell(to: Registry, one: Evidence) -> None:
    event = np.zeros(1, EVENT_DTYPE)
    event["kind"], event["key"], event["status"], event["trade"] = (
        EventKind.ORDER_RESULT,
        KEY,
        one.status,
        one.trade,
    )
    event["time_ns"] = (START_S + one.at) * NS
    event["filled_micro" if one.status == OrderStatus.MATCHED else "size_micro"] = one.size_micro
    to.apply(event)


def record(of: Registry) -> dict[str, Any]:
    """All that is known, without what is our own."""
    order = of.order(KEY)
    assert order is not None
    return {
        "order": {name: value for name, value in order.items() if name not in OWN},
        "legs": sorted(of.legs_of(KEY), key=lambda leg: int(str(leg["trade"]))),
        "position": of.position(),
        "interval": of.interval(0),
        "confirmed": of.confirmed(),
        "cost": of.cost(),
        "alarms": of.alarms(),
        "alive": of.counts()["live"],
        "fills": of.counts()["fills"],
    }


@st.composite
def sets(draw: Any) -> list[Evidence]:
    """Evidence of one order; of a trade at most one terminal stage."""
    at = st.integers(0, 200)
    said = [Evidence(status, draw(at)) for status in draw(st.lists(st.sampled_from(FACTS), max_size=5))]
    if draw(st.booleans()):
        said.append(Evidence(OrderStatus.SENT, draw(at), draw(st.sampled_from([0, SIZE_MICRO - 5_000]))))
    said += [
        Evidence(OrderStatus.MATCHED, draw(at), draw(st.sampled_from([0, 7_000_000, SIZE_MICRO])))
        for _ in range(draw(st.integers(0, 2)))
    ]
    for trade in range(1, draw(st.integers(0, 3)) + 1):
        sizes = [draw(st.sampled_from([1, 5_000_000, 10_000_000, SIZE_MICRO]))]
        sizes += [3_000_000] if draw(st.integers(0, 9)) == 0 else []
        stages = draw(
            st.sets(
                st.sampled_from(
                    [OrderStatus.TRADE_MATCHED, OrderStatus.TRADE_MINED, OrderStatus.TRADE_RETRYING]
                )
            )
        )
        terminal = draw(st.sampled_from(TERMINAL))
        stages |= {terminal} if terminal is not None or stages else {OrderStatus.TRADE_MATCHED}
        said += [
            Evidence(stage, draw(at), draw(st.sampled_from(sizes)), trade)
            for stage in stages
            if stage is not None
        ]
    return said


@given(sets(), st.sampled_from(list(OrderType)), st.data())
@settings(deadline=None, max_examples=250)
def test_neither_order_nor_repetition_of_evidence_changes_the_record(
    said: list[Evidence], order_type: OrderType, data: st.DataObject
) -> None:
    straight, shuffled = registry(order_type), registry(order_type)
    for one in said:
        tell(straight, one)
    again = data.draw(st.lists(st.sampled_from(said), max_size=6)) if said else []
    for one in data.draw(st.permutations(said + again)):
        tell(shuffled, one)
    assert record(shuffled) == record(straight)
    twin = verdict(
        said,
        SIZE_MICRO,
        takes=order_type in (OrderType.FOK, OrderType.FAK),
        fence_at=FENCE_S if order_type == OrderType.GTD else 0,
    )
    assert {name: record(straight)["order"][name] for name in twin} == twin
    assert record(straight)["alive"] == (twin["state"] not in ("dead", "filled"))


@given(sets(), st.sampled_from(list(Side)))
@settings(deadline=None, max_examples=100)
def test_the_interval_holds_every_position_that_may_come_of_it(said: list[Evidence], side: Side) -> None:
    held = registry(side=side)
    for one in said:
        tell(held, one)
    low, high = held.interval(0)
    assert low <= held.position()[0] <= high
    for trade in {one.trade for one in said if one.trade}:
        ends = {one.status for one in said if one.trade == trade} & set(TERMINAL)
        if not ends:
            tell(held, Evidence(OrderStatus.TRADE_FAILED, 300, 0, trade))
    assert held.interval(0)[0] == held.interval(0)[1] == held.position()[0] == held.confirmed()[0]
    assert low <= held.position()[0] <= high


STORIES: dict[str, tuple[list[Evidence], str]] = {
    "time-out, then found by query": (
        [Evidence(OrderStatus.UNKNOWN, 2), Evidence(OrderStatus.FOUND, 3)],
        "live",
    ),
    "time-out, not found: alive all the same": (
        [Evidence(OrderStatus.UNKNOWN, 2), Evidence(OrderStatus.NOT_FOUND, 3)],
        "unknown",
    ),
    "live, then not found before a fence": (
        [Evidence(OrderStatus.LIVE, 1), Evidence(OrderStatus.NOT_FOUND, 3)],
        "unknown",
    ),
    "not found by an older question than the answer": (
        [Evidence(OrderStatus.LIVE, 5), Evidence(OrderStatus.NOT_FOUND, 3)],
        "live",
    ),
    "clean after the fence": (
        [
            Evidence(OrderStatus.UNKNOWN, 2),
            Evidence(OrderStatus.NOT_FOUND, 140),
            Evidence(OrderStatus.FENCED, 140),
        ],
        "dead",
    ),
    "clean before the fence": (
        [Evidence(OrderStatus.UNKNOWN, 2), Evidence(OrderStatus.FENCED, 129)],
        "unknown",
    ),
    "duplicated: an earlier copy landed": (
        [
            Evidence(OrderStatus.UNKNOWN, 2),
            Evidence(OrderStatus.RESENT, 2),
            Evidence(OrderStatus.DUPLICATED, 3),
        ],
        "unknown",
    ),
    "one of two copies refused": (
        [
            Evidence(OrderStatus.UNKNOWN, 2),
            Evidence(OrderStatus.RESENT, 2),
            Evidence(OrderStatus.REJECTED, 3),
        ],
        "unknown",
    ),
    "the copy was refused, of the original nothing was heard": (
        [
            Evidence(OrderStatus.UNKNOWN, 2),
            Evidence(OrderStatus.RESENT, 2),
            Evidence(OrderStatus.COPY_REFUSED, 3),
        ],
        "unknown",
    ),
    "both copies refused": (
        [
            Evidence(OrderStatus.UNKNOWN, 2),
            Evidence(OrderStatus.RESENT, 2),
            Evidence(OrderStatus.COPY_REFUSED, 3),
            Evidence(OrderStatus.REJECTED, 4),
        ],
        "dead",
    ),
    "the copy refused, the original accepted": (
        [
            Evidence(OrderStatus.UNKNOWN, 2),
            Evidence(OrderStatus.RESENT, 2),
            Evidence(OrderStatus.COPY_REFUSED, 3),
            Evidence(OrderStatus.LIVE, 4),
        ],
        "live",
    ),
    "refused": ([Evidence(OrderStatus.SENT, 0), Evidence(OrderStatus.REJECTED, 1)], "dead"),
    "not cancelled proves nothing": (
        [Evidence(OrderStatus.LIVE, 1), Evidence(OrderStatus.NOT_CANCELED, 2)],
        "live",
    ),
    "cancelled, filled before that": (
        [Evidence(OrderStatus.CANCELED, 2), Evidence(OrderStatus.TRADE_MATCHED, 3, 5_000_000, 1)],
        "dead",
    ),
    "cancelled, but a later query finds it": (
        [Evidence(OrderStatus.CANCELED, 2), Evidence(OrderStatus.FOUND, 3)],
        "unknown",
    ),
    "found by a query asked before it was cancelled": (
        [Evidence(OrderStatus.CANCELED, 4), Evidence(OrderStatus.FOUND, 3)],
        "dead",
    ),
}


@pytest.mark.parametrize("story", STORIES)
def test_the_evidence_table_holds_in_every_order_of_arrival(story: str) -> None:
    said, expected = STORIES[story]
    for order in permutations(said):
        held = registry()
        for one in order:
            tell(held, one)
        assert record(held)["order"]["state"] == expected


def test_a_query_that_contradicts_a_death_is_an_alarm_and_the_order_counts_again() -> None:
    held = registry()
    tell(held, Evidence(OrderStatus.CANCELED, 2))
    assert held.counts()["live"] == 0
    tell(held, Evidence(OrderStatus.FOUND, 3))
    assert held.counts()["live"] == 1
    assert held.alarms()["revived"] == 1
    tell(held, Evidence(OrderStatus.CANCELED, 5))
    assert held.counts()["live"] == 0


def test_the_first_terminal_stage_wins_and_the_other_one_is_a_conflict_told_once() -> None:
    for first, held_micro in ((OrderStatus.TRADE_CONFIRMED, 5_000_000), (OrderStatus.TRADE_FAILED, 0)):
        held = registry()
        other = next(stage for stage in TERMINAL[1:] if stage != first)
        for status in (first, other, first, other):
            tell(held, Evidence(status, 3, 5_000_000, 1))
        assert held.position()[0] == held_micro
        assert held.alarms()["terminal_conflicts"] == 1


def test_an_order_without_expiration_has_no_fence() -> None:
    held = registry(OrderType.GTC)
    tell(held, Evidence(OrderStatus.UNKNOWN, 2))
    tell(held, Evidence(OrderStatus.FENCED, 10**6))
    order = held.order(KEY)
    assert order is not None
    assert (order["state"], order["fence_ns"]) == ("unknown", 0)


def test_the_resolution_of_its_market_is_the_fence_of_an_order_without_expiration() -> None:
    held = registry(OrderType.FOK)
    tell(held, Evidence(OrderStatus.UNKNOWN, 2))
    held.set_fence(resolved_ns=(START_S + 300) * NS)
    tell(held, Evidence(OrderStatus.FENCED, 305))
    assert held.counts()["live"] == 1
    tell(held, Evidence(OrderStatus.FENCED, 306))
    assert held.counts()["live"] == 0


def test_the_fence_moves_with_the_clock_bound_and_the_early_expiry_of_the_venue() -> None:
    held = registry()
    held.set_fence(30 * NS, 3 * NS)
    order = held.order(KEY)
    assert order is not None
    assert order["fence_ns"] == (EXPIRES_S - 30 + 3 + 5) * NS
