"""The data guards of a market, driven by hand: what forbids quoting on a book, and what asks for another."""

from __future__ import annotations

import numpy as np
import pytest

from invmm.types import CommandKind, EventFlag, EventKind, GuardFact, Mode, Outcome, Reason
from tests.reference import wire
from tests.unit.test_step import ASKS, BIDS, NS, START_S, Desk, kinds

HOLLOW_BIDS, HOLLOW_ASKS = {100: 1000}, {9900: 1000}


class Guarded(Desk):
    """A desk that is told facts; `at` are ms after the start, as everywhere."""

    def tell(self, fact: GuardFact, at_ms: float, **fields: object) -> np.ndarray:
        if fact in (GuardFact.VOUCH, GuardFact.DISPUTE):
            fields.setdefault("time_ns", START_S * NS + round(at_ms * 1e6))
        return self.event(EventKind.GUARD, at_ms, status=fact, **fields)

    def vouch(self, at_ms: float) -> None:
        for token in Outcome:
            self.tell(GuardFact.VOUCH, at_ms, token=token)

    def timer(self, at_ms: float) -> np.ndarray:
        return self.event(EventKind.TIMER, at_ms)

    def change(self, at_ms: float, size: float = 90, *, venue_ms: float | None = None) -> np.ndarray:
        """A level below the best moves; the bests are told."""
        told_ms = START_S * 1000 + round(at_ms if venue_ms is None else venue_ms)
        return self.frame(wire.change("BUY", 4700, size, 4900, 5100, told_ms), at_ms)

    def lose(self, at_ms: float) -> None:
        self.event(EventKind.BUFFER_END, at_ms, flags=EventFlag.DISCONNECTED)

    @property
    def reason(self) -> Reason:
        up, down = self.reasons
        assert up == down
        return up

    @property
    def resync(self) -> Reason:
        return Reason(self.market.step.resync_reason)


@pytest.fixture
def desk() -> Guarded:
    """A market that is quoted: five bids rest."""
    made = Guarded()
    made.accept(made.open(), 10)
    assert made.live()
    assert made.reason == Reason.NONE
    return made


# ---- F1: silence and witnesses ------------------------------------------------------------------------


def test_f1_silence_pulls_every_quote_within_the_limit_less_one_timer_period(desk):
    assert not len(desk.timer(2900))
    pulled = desk.timer(2960)
    assert set(kinds(pulled)) == {CommandKind.CANCEL}
    assert len(pulled) == len(desk.live())
    assert desk.reason == Reason.STALE


def test_f1_silence_with_an_agreeing_witness_lets_quotes_stand(desk):
    for at in range(1_000, 14_000, 1_000):
        desk.vouch(at)
        assert not len(desk.timer(at + 999))
    assert desk.reason == Reason.NONE


def test_f1_a_witness_is_good_for_the_limit_of_silence_and_no_longer(desk):
    desk.vouch(2_000)
    assert not len(desk.timer(4_900))
    assert len(desk.timer(4_960))
    assert desk.reason == Reason.STALE


def test_f1_silence_beyond_the_cap_pulls_quotes_whatever_the_witness_says(desk):
    for at in range(1_000, 16_000, 1_000):
        desk.vouch(at)
    assert len(desk.timer(15_001))
    assert desk.reason == Reason.QUIET


def test_f1_a_disagreeing_witness_pulls_quotes_at_once_and_asks_for_a_new_connection(desk):
    pulled = desk.tell(GuardFact.DISPUTE, 1_500, token=Outcome.UP)
    assert set(kinds(pulled)) == {CommandKind.CANCEL}
    assert desk.reason == Reason.DISPUTED
    assert desk.resync == Reason.DISPUTED


def test_f1_a_dispute_ends_with_the_connection_and_not_with_more_data(desk):
    desk.tell(GuardFact.DISPUTE, 1_500, token=Outcome.DOWN)
    desk.change(1_600)
    assert desk.reason == Reason.DISPUTED
    desk.lose(1_700)
    assert desk.resync == Reason.NONE
    desk.open(1_800)
    desk.change(1_900)
    assert desk.reason == Reason.NONE


def test_f1_one_token_that_falls_silent_breaks_the_mirror_with_the_first_change_of_the_other(desk):
    """The venue tells both tokens of each change: the sibling is a witness."""
    up_alone = wire.change("BUY", 4900, 50, 4900, 5100, START_S * 1000 + 100).replace(
        wire.DOWN.encode(), b"3" * 77
    )
    desk.frame(up_alone, 100)
    desk.market.step.end_batch()
    assert len(desk.timer(150))
    assert desk.reason == Reason.MIRROR_MISMATCH


# ---- F2, F4: snapshots ----------------------------------------------------------------------------------


def test_f2_a_token_without_snapshot_is_not_quoted_and_neither_is_its_market():
    desk = Guarded()
    desk.frame(f"[{wire.book_text(wire.UP, BIDS, ASKS, START_S * 1000)}]".encode(), 0)
    assert desk.reason == Reason.NO_SNAPSHOT
    assert desk.resync == Reason.NONE
    desk.timer(5_001)
    assert desk.resync == Reason.NO_SNAPSHOT  # whatever the socket believes


def test_f4_a_snapshot_older_than_the_stream_does_not_replace_a_good_book(desk):
    desk.change(500)
    ghost = wire.snapshot({3000: 50}, {7000: 50}, START_S * 1000 + 400)
    assert not len(desk.frame(ghost, 600))
    assert desk.market.step.books.up.best_bid()[0] == 4900
    assert desk.market.step.books.stats["old_snapshots"] == 2


def test_f4_an_old_snapshot_during_resync_is_not_quoted_on_until_a_second_source_agrees(desk):
    desk.change(500)
    desk.lose(600)
    desk.frame(wire.snapshot({3000: 50}, {7000: 50}, START_S * 1000 + 100), 700)
    assert desk.reason == Reason.UNCONFIRMED
    desk.frame(wire.change("BUY", 4700, 80, 4900, 5100, START_S * 1000 + 800), 800)
    assert desk.reason == Reason.UNCONFIRMED  # the message's bests are others
    assert desk.resync == Reason.NONE
    desk.timer(5_800)
    assert desk.resync == Reason.UNCONFIRMED


def test_f4_a_hollow_snapshot_is_not_quoted_on_until_a_second_source_agrees():
    desk = Guarded()
    desk.open(0, HOLLOW_BIDS, HOLLOW_ASKS)
    assert desk.reason == Reason.UNCONFIRMED
    desk.vouch(50)
    assert desk.reason != Reason.UNCONFIRMED


def test_f4_after_a_reconnect_the_messages_best_is_a_second_source(desk):
    desk.lose(600)
    desk.open(700)
    assert desk.reason == Reason.UNCONFIRMED
    desk.change(800)
    assert desk.reason == Reason.NONE


def test_f4_the_books_after_trades_need_no_second_source_each(desk):
    desk.lose(600)
    desk.open(700)
    desk.change(800)
    desk.open(900, {4700: 300, 4800: 200, 4900: 60})
    assert desk.reason == Reason.NONE


def test_f4_after_a_reconnect_a_witness_is_a_second_source_for_a_quiet_market(desk):
    desk.lose(600)
    desk.open(700)
    desk.vouch(750)
    assert desk.reason == Reason.NONE


def test_f4_a_witness_of_the_old_connection_confirms_no_book_of_the_new_one(desk):
    desk.vouch(500)
    desk.lose(600)
    desk.vouch(650)  # an answer that comes while there is no book
    desk.open(700)
    assert desk.reason == Reason.UNCONFIRMED


# ---- F3: repetition -------------------------------------------------------------------------------------


def test_f3_every_event_twice_gives_the_same_books_and_the_same_commands():
    frames = [
        wire.snapshot(BIDS, ASKS, START_S * 1000),
        wire.change("SELL", 5100, 90, 4900, 5100, START_S * 1000 + 40),
        wire.change("BUY", 4900, 0, 4800, 5100, START_S * 1000 + 80),
        wire.change("BUY", 4900, 70, 4900, 5100, START_S * 1000 + 120),
    ]

    def played(times: int) -> tuple[bytes, dict]:
        desk = Guarded()
        sent = b""
        for number, frame in enumerate(frames):
            for _ in range(times):
                desk.frame(frame, 40 * number, last=False)
            sent += desk.event(EventKind.BUFFER_END, 40 * number).tobytes()
        return sent, desk.market.step.books.up.depth(0, 100).tolist()

    once, twice = played(1), played(2)
    assert once[1] == twice[1]
    assert len(once[0]) == len(twice[0])


# ---- F6, F7: books that cannot be ------------------------------------------------------------------------


def crossed(at_ms: float) -> bytes:
    """A bid above the ask, in both tokens, told as it is."""
    return wire.change("BUY", 5200, 10, 5200, 5100, START_S * 1000 + round(at_ms))


def test_f6_a_crossed_book_is_not_quoted_and_fetched_anew_after_250_ms(desk):
    pulled = desk.frame(crossed(100), 100)
    assert set(kinds(pulled)) == {CommandKind.CANCEL}
    assert desk.reason == Reason.CROSSED
    desk.timer(340)
    assert desk.resync == Reason.NONE
    desk.timer(360)
    assert desk.resync == Reason.CROSSED


def test_f6_a_book_that_is_crossed_for_a_moment_heals_without_a_new_connection(desk):
    desk.frame(crossed(100), 100)
    desk.timer(200)
    desk.frame(wire.change("BUY", 5200, 0, 4900, 5100, START_S * 1000 + 220), 220)
    assert desk.reason == Reason.NONE
    desk.frame(crossed(300), 300)
    desk.timer(500)
    assert desk.resync == Reason.NONE  # counted from the second time


def test_f7_a_best_that_differs_from_the_message_for_long_asks_for_fresh_books(desk):
    desk.frame(wire.change("BUY", 4700, 80, 4800, 5100, START_S * 1000 + 100), 100)
    desk.market.step.end_batch()
    assert len(desk.timer(150))
    assert desk.reason == Reason.BEST_MISMATCH
    desk.timer(390)
    assert desk.resync == Reason.NONE
    desk.timer(410)
    assert desk.resync == Reason.BEST_MISMATCH


def test_f7_books_that_do_not_mirror_each_other_for_long_are_fetched_anew(desk):
    both = wire.change("BUY", 4700, 80, 4900, 5100, START_S * 1000 + 100)
    desk.frame(both.replace(b'"price":"0.53", "size":"80"', b'"price":"0.53", "size":"81"'), 100)
    desk.market.step.end_batch()
    assert len(desk.timer(150))
    assert desk.reason == Reason.MIRROR_MISMATCH
    desk.timer(410)
    assert desk.resync == Reason.MIRROR_MISMATCH


def test_f7_a_message_is_routed_by_the_token_inside_it(desk):
    """Down's entry first, and one of a third token between: each goes to its own book."""
    told = START_S * 1000 + 100
    entries = [
        wire._entry(wire.DOWN, "SELL", 5300, 44, 4900, 5100),
        wire._entry("9" * 77, "BUY", 4700, 1, 4900, 5100),
        wire._entry(wire.UP, "BUY", 4700, 44, 4900, 5100),
    ]
    frame = (
        f'{{"market":"{wire.MARKET}", "price_changes":[{", ".join(entries)}], '
        f'"timestamp":"{told}", "event_type":"price_change"}}'
    )
    desk.frame(frame.encode(), 100)
    books = desk.market.step.books
    assert (books.up.size(0, 4700), books.down.size(1, 5300)) == (44_000_000, 44_000_000)
    assert books.stats["unknown_assets"] == 1
    assert desk.reason == Reason.NONE


# ---- F8: tick changes -------------------------------------------------------------------------------------


def test_f8_each_tick_change_drops_the_book_cancels_and_waits_for_a_snapshot(desk):
    at, version = 100, desk.market.step.version
    for old, new, tick_e4 in (("0.01", "0.001", 10), ("0.001", "0.0025", 25)):
        for token in (wire.UP, wire.DOWN):
            desk.frame(wire.tick_change(token, old, new, START_S * 1000 + at), at, last=False)
        pulled = desk.event(EventKind.BUFFER_END, at)
        assert desk.reason == Reason.EPOCH_CHANGED
        assert set(kinds(pulled)) == {CommandKind.CANCEL}
        assert desk.market.step.version > version
        version = desk.market.step.version
        for command in pulled:
            desk.answer(command, 7, at + 5)  # CANCELED
        asks = {5100 + tick_e4: 100, 5200: 200}
        placed = desk.frame(
            wire.snapshot({4900: 100, 4800: 100}, asks, START_S * 1000 + at + 50).replace(
                b'"tick_size":"0.01"', f'"tick_size":"{new}"'.encode()
            ),
            at + 50,
        )
        assert CommandKind.PLACE in kinds(placed)
        assert desk.market.step.books.state["tick_e4"] == tick_e4
        assert all(int(c["price_e4"]) % tick_e4 == 0 for c in placed if c["kind"] == CommandKind.PLACE)
        desk.accept(placed, at + 60)
        at += 100


def test_f8_a_snapshot_that_never_comes_after_a_tick_change_is_asked_for(desk):
    desk.frame(wire.tick_change(wire.UP, "0.01", "0.001", START_S * 1000 + 100), 100)
    desk.timer(5_000)
    assert desk.resync == Reason.NONE
    desk.timer(5_200)
    assert desk.resync == Reason.NO_SNAPSHOT


# ---- F10, F11: time ----------------------------------------------------------------------------------------


def test_f10_ten_seconds_of_nothing_then_a_burst_is_acted_on_once_and_only_when_it_is_up_to_date(desk):
    desk.timer(3_000)
    assert desk.reason == Reason.STALE
    solves = desk.market.step.stats()["solves"]
    for late_ms in range(100, 6_900, 100):
        desk.change(10_000, size=late_ms, venue_ms=late_ms)
        assert desk.reason == Reason.LATE
    assert desk.market.step.stats()["solves"] == solves
    desk.change(10_001, size=1, venue_ms=10_000)
    assert desk.reason == Reason.NONE
    assert desk.market.step.stats()["solves"] == solves + 1


def test_f10_a_burst_in_one_buffer_leads_to_one_solve_on_the_newest_state(desk):
    solves = desk.market.step.stats()["solves"]
    for number in range(200):
        frame = wire.change("BUY", 4900, number + 1, 4900, 5100, START_S * 1000 + 500 + number)
        desk.frame(frame, 800, last=False)
    desk.event(EventKind.BUFFER_END, 800)
    assert desk.market.step.stats()["solves"] <= solves + 1
    assert desk.market.step.books.up.best_bid()[1] == 200_000_000


def test_f10_the_measured_offset_of_the_venues_clock_is_taken_out_of_the_age(desk):
    desk.change(4_000, venue_ms=500)
    desk.timer(4_000)
    assert desk.reason == Reason.LATE
    desk.tell(GuardFact.CLOCK, 4_001, code=-900)  # the venue's clock is behind: its stamps look old
    assert desk.reason == Reason.NONE


@pytest.mark.parametrize("offset_ms", [1_001, -1_001])
def test_a_clock_more_than_a_second_off_forbids_quoting(desk, offset_ms):
    assert len(desk.tell(GuardFact.CLOCK, 100, code=offset_ms))
    assert desk.reason == Reason.CLOCK
    desk.tell(GuardFact.CLOCK, 200, code=-1_000)
    assert desk.reason == Reason.NONE


def test_f11_the_market_ends_by_the_clock_though_no_event_ever_comes(desk):
    for at in range(1_000, 285_000, 1_000):
        desk.change(at)
    assert desk.reason == Reason.NONE
    desk.timer(285_000)
    assert desk.reason == Reason.MARKET_ENDING


@pytest.mark.parametrize("reason", [Reason.USER_FEED, Reason.UNRECONCILED])
def test_what_the_engine_holds_against_quoting_pulls_quotes_and_is_lifted(desk, reason):
    pulled = desk.tell(GuardFact.HOLD, 100, reason=reason)
    assert set(kinds(pulled)) == {CommandKind.CANCEL}
    assert desk.reason == reason
    desk.lose(150)
    desk.open(160)
    desk.change(170)
    assert desk.reason == reason  # a new market connection does not lift it
    desk.tell(GuardFact.HOLD, 200, reason=Reason.NONE)
    assert desk.reason == Reason.NONE


def test_facts_that_name_no_token_of_the_market_are_passed_over(desk):
    assert not len(desk.tell(GuardFact.DISPUTE, 100, token=7))
    assert not len(desk.event(EventKind.GUARD, 100, status=99))
    assert desk.reason == Reason.NONE


def test_no_guard_lifts_a_mode(desk):
    desk.event(EventKind.MODE, 100, status=Mode.PAUSED)
    desk.vouch(150)
    desk.tell(GuardFact.HOLD, 160, reason=Reason.NONE)
    assert desk.reason == Reason.MODE
