"""The in-process face: records in, records out, on a virtual clock."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from invmm._ext.decode import MarketBooks
from invmm._ext.queue import QueueEstimate
from invmm.replay.tape import Tape, load
from invmm.sim.batches import cut, up_terms
from invmm.sim.embedded import EmbeddedVenue
from invmm.sim.profile import VenueProfile
from invmm.types import (
    COMMAND_DTYPE,
    EVENT_DTYPE,
    CommandFlag,
    CommandKind,
    EventFlag,
    EventKind,
    OrderStatus,
    OrderType,
    Outcome,
    Reason,
    Side,
    Venue,
)
from tests.reference.frames import MARKET, UP, at, book_frame, change, snapshot, tape, trade
from tests.reference.matching import PlainBooks
from tests.reference.stage import ASKS, BIDS, SHARE

PROFILE = VenueProfile(
    order_jitter_ns=0, retry_rate=0.0, failure_rate=0.0, settlement_jitter_ns=0, record_truth=True
)


def venue(*batches: tuple[int, list[bytes]], derived: bool = True, **profile: Any) -> EmbeddedVenue:
    market = replace(MARKET, winner=Outcome.UP)
    made = tape([(0, [snapshot(BIDS, ASKS, 0)]), *batches], derived=derived, market=market)
    venue = EmbeddedVenue(made, seed=3, profile=replace(PROFILE, **profile), market=9)
    events(venue, 0)
    return venue


def command(kind: CommandKind, key: int = 0, **fields: Any) -> np.ndarray[Any, Any]:
    made = np.zeros(1, COMMAND_DTYPE)
    made[0]["kind"], made[0]["key"], made[0]["market"], made[0]["batch"] = kind, key, 9, key
    for name, value in fields.items():
        made[0][name] = value
    return made


def bid(key: int, price_e4: int, shares: int, **fields: Any) -> np.ndarray[Any, Any]:
    return command(CommandKind.PLACE, key, price_e4=price_e4, size_micro=shares * SHARE, **fields)


def events(of: EmbeddedVenue, ms: float) -> list[tuple[Any, ...]]:
    """(status, reason, key, ms since the start) of everything about orders that is known by then."""
    out = np.zeros(2, EVENT_DTYPE)
    told = []
    while count := of.poll(at(ms), out):
        for row in out[:count][out[:count]["kind"] != EventKind.SETTLEMENT]:
            told.append(
                (
                    OrderStatus(row["status"]),
                    Reason(row["reason"]),
                    int(row["key"]),
                    since(int(row["time_ns"])),
                )
            )
    return told


def since(time_ns: int) -> float:
    return (time_ns - at(0)) / 1e6


def test_it_is_a_venue() -> None:
    assert isinstance(venue(), Venue)


def test_order_takes_its_way_there_and_its_answer_the_way_back() -> None:
    it = venue()
    assert it.submit(bid(1, 5000, 10), at(100)) == 1
    assert events(it, 100) == [(OrderStatus.SENT, Reason.NONE, 1, 100.0)]
    assert it.true_ahead_micro(1) is None
    assert events(it, 105) == []
    assert it.true_ahead_micro(1) == 100 * SHARE
    assert it.next_ns() == at(115)
    assert events(it, 115) == [(OrderStatus.LIVE, Reason.NONE, 1, 115.0)]


def test_sent_tells_the_id_by_which_a_cancel_finds_the_order() -> None:
    it = venue()
    it.submit(bid(1, 5000, 10), at(100))
    out = np.zeros(1, EVENT_DTYPE)
    assert it.poll(at(100), out) == 1
    order_id = bytes(out[0]["order_id"])
    assert order_id != bytes(32)
    events(it, 200)
    it.submit(command(CommandKind.CANCEL, 0, order_id=order_id), at(200))
    # The answer, and the user channel's own word of it.
    assert events(it, 300) == [(OrderStatus.CANCELED, Reason.NONE, 1, 215.0)] * 2


def test_fill_is_told_at_each_stage_with_its_figures() -> None:
    it = venue((1000, [change("BUY", "0.5", "0", 1000)]))
    it.submit(bid(1, 5000, 10), at(100))
    out = np.zeros(16, EVENT_DTYPE)
    count = it.poll(at(290_000), out)
    fills = [row for row in out[:count] if row["kind"] == EventKind.USER_EVENT]
    assert [(OrderStatus(row["status"]), since(int(row["time_ns"]))) for row in fills] == [
        (OrderStatus.TRADE_MATCHED, 1010.0),
        (OrderStatus.TRADE_MINED, 3010.0),
        (OrderStatus.TRADE_CONFIRMED, 7010.0),
    ]
    assert len({int(row["trade"]) for row in fills} - {0}) == 1
    for row in fills:
        assert (row["market"], row["token"], row["side"], row["flags"]) == (9, Outcome.UP, Side.BUY, 0)
        assert (row["price_e4"], row["size_micro"], row["filled_micro"]) == (5000, 10 * SHARE, 10 * SHARE)


def test_cancel_that_arrives_after_the_match_loses() -> None:
    it = venue((1000, [change("BUY", "0.5", "0", 1000)]))
    it.submit(bid(1, 5000, 10), at(100))
    events(it, 200)
    it.submit(command(CommandKind.CANCEL, 1), at(995))  # arrives at 1000, together with the sweep
    assert events(it, 1015) == [
        (OrderStatus.TRADE_MATCHED, Reason.NONE, 1, 1010.0),
        (OrderStatus.NOT_CANCELED, Reason.NONE, 1, 1010.0),
    ]


def test_cancel_a_moment_before_the_match_wins() -> None:
    it = venue((1000, [change("BUY", "0.5", "0", 1000)]))
    it.submit(bid(1, 5000, 10), at(100))
    events(it, 200)
    it.submit(command(CommandKind.CANCEL, 1), at(994.999))
    assert [told[:3] for told in events(it, 2000)] == [(OrderStatus.CANCELED, Reason.NONE, 1)] * 2


def test_nothing_of_ours_lands_inside_a_venue_timestamp() -> None:
    # Two frames of one timestamp: at 0.51 between them the bid would have been alone, and the second frame
    # reaches it.
    frames = [change("SELL", "0.53", "0", 1000), change("SELL", "0.51", "5", 1000)]
    it = venue((1000, frames), derived=False)
    it.submit(bid(1, 5100, 10), at(995))  # arrives at 1000: after the whole batch, so it takes instead
    told = events(it, 1500)
    assert [status for status, *_ in told] == [
        OrderStatus.SENT,
        OrderStatus.MATCHED,
        OrderStatus.TRADE_MATCHED,
    ] or [status for status, *_ in told] == [
        OrderStatus.SENT,
        OrderStatus.TRADE_MATCHED,
        OrderStatus.MATCHED,
    ]
    leg = it.account.trades[0].legs[0]
    assert leg.is_taker
    assert (since(it.account.trades[0].time_ns), leg.size_micro) == (1150.0, 5 * SHARE)


def test_taker_is_answered_after_its_hold_or_at_once_as_delayed() -> None:
    it = venue()
    it.submit(bid(1, 5300, 10), at(100))
    told = [row for row in events(it, 1000) if row[0] in (OrderStatus.MATCHED, OrderStatus.DELAYED)]
    assert told == [(OrderStatus.MATCHED, Reason.NONE, 1, 265.0)]
    it = venue(answer_delayed=True)
    it.submit(bid(1, 5300, 10), at(100))
    told = [row for row in events(it, 1000) if row[0] in (OrderStatus.MATCHED, OrderStatus.DELAYED)]
    assert told == [(OrderStatus.DELAYED, Reason.NONE, 1, 115.0)]


def test_taker_fill_carries_its_flag() -> None:
    it = venue()
    it.submit(bid(1, 5300, 10), at(100))
    out = np.zeros(16, EVENT_DTYPE)
    count = it.poll(at(1000), out)
    fill = next(row for row in out[:count] if row["status"] == OrderStatus.TRADE_MATCHED)
    assert fill["flags"] == EventFlag.TAKER


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"price_e4": 5300, "flags": CommandFlag.POST_ONLY}, Reason.VENUE_POST_ONLY),
        ({"price_e4": 5050}, Reason.VENUE_REJECTED),
        ({"size_micro": 4 * SHARE}, Reason.BELOW_MIN_SIZE),
        ({"size_micro": 30_000 * SHARE}, Reason.VENUE_BALANCE),
        ({"side": Side.SELL, "price_e4": 6000}, Reason.VENUE_BALANCE),
        ({"order_type": OrderType.FAK}, Reason.VENUE_REJECTED),
    ],
)
def test_refusals_have_typed_reasons(fields: dict[str, Any], reason: Reason) -> None:
    it = venue()
    order = bid(1, 5000, 10)
    for name, value in fields.items():
        order[0][name] = value
    it.submit(order, at(100))
    assert events(it, 115)[1:] == [(OrderStatus.REJECTED, reason, 1, 115.0)]
    assert it.texts[1]


def test_killed_fok_is_a_refusal() -> None:
    it = venue()
    it.submit(bid(1, 5300, 101, order_type=OrderType.FOK), at(100))
    told = events(it, 1000)
    assert [row for row in told if row[0] == OrderStatus.REJECTED] == [
        (OrderStatus.REJECTED, Reason.VENUE_REJECTED, 1, 265.0)
    ]
    assert "FOK" in it.texts[1]


def test_command_past_its_deadline_is_not_sent() -> None:
    it = venue()
    it.submit(bid(1, 5000, 10, deadline_ns=at(99)), at(100))
    assert events(it, 1000) == [(OrderStatus.REFUSED, Reason.DEADLINE, 1, 100.0)]


def test_sixteen_orders_in_one_request_are_refused_together() -> None:
    it = venue()
    it.submit(np.concatenate([bid(key, 4000, 5, batch=7) for key in range(1, 17)]), at(100))
    told = events(it, 1000)
    assert [row[:2] for row in told] == [(OrderStatus.REJECTED, Reason.VENUE_REJECTED)] * 16
    assert it.texts[1] == "Too many orders in payload: 16, max allowed: 15"
    it.submit(np.concatenate([bid(key, 4000, 5, batch=8) for key in range(21, 36)]), at(1000))
    assert [row[0] for row in events(it, 2000)].count(OrderStatus.LIVE) == 15


def test_cancel_all_answers_for_each_order_and_for_itself() -> None:
    it = venue()
    it.submit(np.concatenate([bid(1, 5000, 10), bid(2, 4900, 10)]), at(100))
    events(it, 200)
    it.submit(command(CommandKind.CANCEL_ALL), at(200))
    told = Counter(row[:3] for row in events(it, 300))
    assert told == {
        (OrderStatus.CANCELED, Reason.NONE, 1): 2,  # the answer, and the user channel's own word of it
        (OrderStatus.CANCELED, Reason.NONE, 2): 2,
        (OrderStatus.CANCELED, Reason.NONE, 0): 1,
    }


def test_end_of_the_market_cancels_and_settles() -> None:
    it = venue((1000, [change("BUY", "0.5", "0", 1000)]))
    it.submit(np.concatenate([bid(1, 5000, 10), bid(2, 4000, 10)]), at(100))
    events(it, 299_999)
    out = np.zeros(16, EVENT_DTYPE)
    count = it.poll(at(400_000), out)
    assert [(EventKind(row["kind"]), since(int(row["time_ns"]))) for row in out[:count]] == [
        (EventKind.USER_EVENT, 300_010.0),
        (EventKind.SETTLEMENT, 305_010.0),
    ]
    assert (out[0]["status"], out[0]["reason"], out[0]["key"]) == (
        OrderStatus.CANCELED,
        Reason.MARKET_ENDING,
        2,
    )
    assert (out[1]["token"], out[1]["size_micro"]) == (Outcome.UP, 10 * SHARE)
    assert it.next_ns() is None
    assert it.account.cash_micro == 10_005 * SHARE
    it.check()


def test_account_carries_over_to_the_next_market() -> None:
    first = venue()
    first.submit(bid(1, 5300, 10), at(100))
    events(first, 400_000)
    second = EmbeddedVenue(first.tape, account=first.account, profile=PROFILE)
    assert second.account.cash_micro == 10_010 * SHARE - 5_300_000 - 174_370
    assert second.account.tokens_micro(Outcome.UP) == 0
    second.check()


def test_tokens_of_an_unresolved_market_do_not_turn_up_in_the_next() -> None:
    first = EmbeddedVenue(tape([(0, [snapshot(BIDS, ASKS, 0)])]), profile=PROFILE)
    events(first, 0)
    first.submit(bid(1, 5300, 10), at(100))
    events(first, 400_000)
    assert first.account.tokens_micro(Outcome.UP) == 10 * SHARE
    second = EmbeddedVenue(first.tape, account=first.account, profile=PROFILE)
    assert second.account.tokens_micro(Outcome.UP) == 0
    second.check()


def test_closed_venue_takes_nothing_more() -> None:
    it = venue()
    it.close()
    assert it.submit(bid(1, 5000, 10), at(100)) == 0


def test_truth_is_kept_for_scoring() -> None:
    it = venue((1000, [trade(UP, "SELL", "0.5", "60", 1000), change("BUY", "0.5", "40", 1000)]))
    it.submit(bid(1, 5000, 10), at(100))
    events(it, 2000)
    assert it.truth(1) == [(at(105), 100 * SHARE), (at(1000), 40 * SHARE)]
    assert it.true_ahead_micro(1, at(999)) == 100 * SHARE
    assert it.true_ahead_micro(1, at(104)) is None


def test_book_frames_without_own_orders_still_date_the_prints_that_follow() -> None:
    frames = [(1000, book_frame(BIDS[1:], ASKS, 1000)), (1035, [trade(UP, "SELL", "0.5", "100", 1035)])]
    it = venue(*frames, derived=False)
    it.submit(bid(1, 5000, 10), at(1005))
    told = events(it, 2000)
    assert OrderStatus.TRADE_MATCHED not in [status for status, *_ in told]


# ---- recorded markets ----

RECORDED = os.environ.get("INVMM_RECORDED")
needs_recorded = pytest.mark.skipif(not RECORDED, reason="INVMM_RECORDED is not set")


def joining(made: Tape, books: PlainBooks | None, model: str = "conservative") -> tuple[EmbeddedVenue, bytes]:
    """Joins both bests every two seconds and leaves after two; all events as bytes."""
    it = EmbeddedVenue(made, seed=5, profile=VenueProfile(queue_model=model, record_truth=True), books=books)
    out = np.zeros(64, EVENT_DTYPE)
    told = bytearray()
    key, moved = 0, 0
    for row in np.flatnonzero(made.rows["flags"] & 4).tolist():
        now_ns = int(made.rows[row]["recv_ns"])
        while count := it.poll(now_ns, out):
            told += out[:count].tobytes()
        best = it.books.up.best_bid(), it.books.up.best_ask()
        if now_ns - moved > 2_000_000_000 and best[0] is not None and best[1] is not None:
            moved = now_ns
            cancel = command(CommandKind.CANCEL_ALL)
            up = bid(key + 1, best[0][0], 20, flags=CommandFlag.POST_ONLY)
            down = bid(key + 2, 10_000 - best[1][0], 20, flags=CommandFlag.POST_ONLY, token=Outcome.DOWN)
            it.submit(np.concatenate([cancel, up, down]), now_ns)
            key += 2
    while (due := it.next_ns()) is not None:
        while count := it.poll(due, out):
            told += out[:count].tobytes()
    it.check()
    return it, bytes(told)


@pytest.mark.recorded
@needs_recorded
def test_recorded_market_plays_the_same_on_compiled_and_on_plain_books() -> None:
    assert RECORDED
    made = load(Path(RECORDED) / "btc5m-20260416" / "replay" / "btc-updown-5m-1776325800.jsonl.gz")
    plain = PlainBooks(made.market.up_token_id, made.market.down_token_id)
    compiled, first = joining(made, None)
    twin, second = joining(made, plain)
    assert first == second
    filled = [order for order in compiled.core.orders.values() if order.filled_micro]
    assert len(compiled.core.orders) > 200
    assert 0.05 < len(filled) / len(compiled.core.orders) < 0.8
    assert compiled.core.settlement.winner == made.market.winner
    assert twin.core.settlement.winner == made.market.winner


@pytest.mark.recorded
@needs_recorded
def test_conservative_truth_is_never_ahead_of_another_models_truth() -> None:
    assert RECORDED
    made = load(Path(RECORDED) / "btc5m-20260416" / "replay" / "btc-updown-5m-1776325800.jsonl.gz")
    conservative, _ = joining(made, None)
    other, _ = joining(made, None, "proportional")
    compared = 0
    for key, order in conservative.core.by_key.items():
        for time_ns, ahead in order.truth:
            there = other.true_ahead_micro(key, time_ns)
            if there is not None:
                assert there <= ahead
                compared += 1
    assert compared > 300


@pytest.mark.recorded
@needs_recorded
def test_conservative_estimate_is_never_ahead_of_the_truth() -> None:
    """The engine's estimate from frames and answers as received, against the venue's queues."""
    assert RECORDED
    made = load(Path(RECORDED) / "btc5m-20260416" / "replay" / "btc-updown-5m-1776325800.jsonl.gz")
    it = EmbeddedVenue(made, seed=5, profile=VenueProfile(record_truth=True))
    books = MarketBooks(made.market.up_token_id, made.market.down_token_id)
    prints = {batch.first: batch.prints for batch in cut(made, 0)}
    own: dict[int, tuple[Side, int, QueueEstimate]] = {}
    out = np.zeros(64, EVENT_DTYPE)
    key, moved, compared = 0, 0, 0
    for row in range(len(made)):
        now_ns, venue_ms = int(made.rows[row]["recv_ns"]), int(made.rows[row]["venue_ms"])
        while (due := it.next_ns()) is not None and due < now_ns:
            for told in out[: it.poll(due, out)]:
                which = int(told["key"])
                if told["status"] == OrderStatus.LIVE:
                    side, price = up_terms(Outcome(told["token"]), Side.BUY, int(told["price_e4"]))
                    estimate = QueueEstimate(books.up.size(side, price), int(told["venue_ms"]))
                    own[which] = side, price, estimate
                elif told["status"] in (OrderStatus.CANCELED, OrderStatus.TRADE_MATCHED):
                    own.pop(which, None)
        for told_print in prints.get(row, ()):
            for side, price, estimate in own.values():
                if (side, price) == (told_print.side, told_print.price_e4):
                    estimate.on_trade(told_print.size_micro)
        before = [books.up.size(side, price) for side, price, _ in own.values()]
        books.apply_frame(made.frame(row), now_ns)
        for old, (side, price, estimate) in zip(before, own.values(), strict=True):
            if (new := books.up.size(side, price)) != old:
                estimate.on_level(old, new, venue_ms)
        if not made.rows[row]["flags"] & 4:
            continue
        for which, (_, _, estimate) in own.items():
            truth = it.true_ahead_micro(which, now_ns - it.profile.feed_latency_ns)
            if truth is not None:
                assert estimate.ahead_micro >= truth
                compared += 1
        best = books.up.best_bid(), books.up.best_ask()
        if now_ns - moved > 2_000_000_000 and best[0] is not None and best[1] is not None:
            moved = now_ns
            up = bid(key + 1, best[0][0], 20, flags=CommandFlag.POST_ONLY)
            down = bid(key + 2, 10_000 - best[1][0], 20, flags=CommandFlag.POST_ONLY, token=Outcome.DOWN)
            it.submit(np.concatenate([command(CommandKind.CANCEL_ALL), up, down]), now_ns)
            key += 2
    assert compared > 1500
