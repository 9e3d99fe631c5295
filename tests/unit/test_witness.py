"""The second opinion on a quiet book: when it is asked for, and what its answer means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from invmm._ext.decode import MarketBooks
from invmm.errors import TransportError, VenueError
from invmm.feed.witness import BookWitness, WitnessSettings, levels_of
from invmm.types import GuardFact, Outcome
from tests.reference import wire

MS = 1_000_000
BIDS, ASKS = {4800: 200.0, 4900: 100.5}, {5100: 100.0, 5200: 0.000001}
SETTINGS = WitnessSettings(
    quiet_ns=1200 * MS, every_ns=1000 * MS, grace_ns=300 * MS, valid_ns=3000 * MS, doubt_every_ns=30_000 * MS
)


def row(token: str, bids: dict[int, float], asks: dict[int, float], ms: int) -> dict[str, Any]:
    def levels(side: dict[int, float]) -> list[dict[str, str]]:
        return [
            {"price": wire.price_text(p), "size": f"{s:f}".rstrip("0").rstrip(".")} for p, s in side.items()
        ]

    return {"asset_id": token, "bids": levels(bids), "asks": levels(asks), "timestamp": str(ms)}


def rows(bids: dict[int, float], asks: dict[int, float], ms: int) -> list[dict[str, Any]]:
    return [row(wire.UP, bids, asks, ms), row(wire.DOWN, wire.mirrored(asks), wire.mirrored(bids), ms)]


class Rig:
    """A witness whose questions are answered by hand. Times in ms."""

    def __init__(self) -> None:
        self.books = MarketBooks(wire.UP, wire.DOWN, 100)
        self.open: list[Callable[[Any], object]] = []
        self.told: list[tuple[GuardFact, Outcome, int]] = []
        self.takes = True
        self.witness = BookWitness(
            self.books, (wire.UP, wire.DOWN), self.ask, lambda *fact: self.told.append(fact), SETTINGS
        )
        self.frame(wire.snapshot(BIDS, ASKS, 1000), 1000)

    def ask(self, done: Callable[[Any], object]) -> bool:
        if self.takes:
            self.open.append(done)
        return self.takes

    def frame(self, data: bytes, at: int) -> None:
        assert self.books.apply_frame(data, at * MS) >= 0

    def tick(self, at: int, **how: bool) -> None:
        self.witness.tick(at * MS, **how)

    def answer(self, outcome: Any) -> None:
        self.open.pop()(outcome)

    def disagrees(self, at: int, *tokens: str) -> bool:
        return self.witness.disagrees(tokens or (wire.UP, wire.DOWN), at * MS)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_token_that_is_quiet_is_asked_about_once_at_a_time_and_not_too_often(rig: Rig) -> None:
    rig.tick(2199)
    assert not rig.open
    rig.tick(2200)
    rig.tick(2300)
    rig.tick(3500)
    assert len(rig.open) == 1
    rig.answer(TransportError("no answer"))
    rig.tick(3501)
    assert len(rig.open) == 1
    rig.answer(TransportError("no answer"))
    rig.tick(4400)
    assert not rig.open
    rig.tick(4501)
    assert len(rig.open) == 1
    assert rig.witness.stats.failed == 2


def test_a_lively_token_or_an_unwanted_market_is_not_asked_about(rig: Rig) -> None:
    for at in range(1500, 9000, 500):
        rig.frame(wire.change("BUY", 4800, at, 4900, 5100, at), at)
        rig.tick(at)
    rig.tick(20_000, wanted=False)
    assert not rig.open


def test_an_equal_book_vouches_as_of_the_question_and_the_silence_is_a_quiet_market(rig: Rig) -> None:
    assert rig.disagrees(2200)
    rig.tick(2200)
    rig.answer(rows(BIDS, ASKS, 1000))
    assert rig.told == [(GuardFact.VOUCH, token, 2200 * MS) for token in Outcome]
    assert not rig.disagrees(5200)
    assert rig.disagrees(5201)
    rig.tick(3399)
    assert not rig.open
    rig.tick(3400)
    assert rig.open


def test_another_book_is_a_dispute_when_the_stream_does_not_explain_it_in_time(rig: Rig) -> None:
    rig.tick(2200)
    rig.answer(rows(BIDS | {4900: 70.0}, ASKS, 2100))
    assert rig.told == []
    rig.tick(2499)
    assert rig.told == []
    rig.tick(2500)
    assert rig.told == [(GuardFact.DISPUTE, token, 2500 * MS) for token in Outcome]


def test_a_change_that_was_on_its_way_explains_the_difference(rig: Rig) -> None:
    rig.tick(2200)
    rig.answer(rows(BIDS | {4900: 70.0}, ASKS, 2190))
    rig.frame(wire.change("BUY", 4900, 70, 4900, 5100, 2190), 2250)
    rig.tick(2600)
    assert rig.told == []
    assert rig.witness.stats.unclear == 2


@pytest.mark.parametrize(
    ("bids", "asks", "ms", "why"),
    [
        ({4800: 5.0}, {5100: 5.0}, 999, "the sample is older than our book"),
        ({100: 1000.0}, {9900: 1000.0}, 5000, "the sample is hollow"),
        ({}, {}, 5000, "the sample is empty"),
    ],
)
def test_a_sample_that_is_worse_than_our_book_disputes_nothing(
    rig: Rig, bids: dict[int, float], asks: dict[int, float], ms: int, why: str
) -> None:
    rig.tick(2200)
    rig.answer(rows(bids, asks, ms))
    rig.tick(9000)
    assert rig.told == [], why


def test_an_answer_about_a_book_of_another_connection_says_nothing(rig: Rig) -> None:
    rig.tick(2200)
    rig.books.reset()
    rig.frame(wire.snapshot(BIDS, ASKS, 2300), 2300)
    rig.answer(rows(BIDS | {4900: 70.0}, ASKS, 2250))
    rig.tick(9000, wanted=False)
    assert rig.told == []


def test_a_snapshot_without_second_source_is_asked_about_at_once(rig: Rig) -> None:
    rig.books.reset()
    rig.tick(1050)
    assert not rig.open  # no book, no question
    rig.frame(wire.snapshot(BIDS, ASKS, 1100), 1100)
    rig.tick(1150)
    rig.answer(rows(BIDS, ASKS, 1100))
    assert rig.told == [(GuardFact.VOUCH, token, 1150 * MS) for token in Outcome]


def test_one_token_alone_is_never_silent(rig: Rig) -> None:
    rig.tick(2200)
    rig.answer(rows(BIDS, ASKS, 1000))
    assert rig.disagrees(2300, wire.UP)


def test_f5_wrong_checksums_lead_to_few_questions_and_never_to_more(rig: Rig) -> None:
    for at in range(1000, 61_000, 100):
        rig.frame(wire.change("BUY", 4800, at, 4900, 5100, at), at)
        rig.witness.doubt(at * MS)
        rig.tick(at)
        if rig.open:
            rig.answer(rows({**BIDS, 4800: float(at)}, ASKS, at))
    assert rig.witness.stats.doubts == 2
    assert rig.witness.stats.doubts_refuted == 2
    assert not any(fact is GuardFact.DISPUTE for fact, *_ in rig.told)


def test_f5_a_wrong_checksum_of_a_wrong_book_leads_to_a_dispute(rig: Rig) -> None:
    rig.witness.doubt(1500 * MS)
    rig.tick(1500)
    rig.answer(rows(BIDS | {4900: 70.0}, ASKS, 1400))
    rig.tick(1800)
    assert {fact for fact, *_ in rig.told} == {GuardFact.DISPUTE}


@pytest.mark.parametrize(
    "answer",
    [
        VenueError(503, "no"),
        OSError("gone"),
        [{}, {}],
        [{"bids": 7, "asks": []}, {"bids": [], "asks": []}],
        [{"bids": [{"price": "2", "size": "1"}], "asks": []}] * 2,
        [{"bids": [{"price": "nan", "size": "1"}], "asks": []}] * 2,
        [{"bids": [{"price": "0.12345", "size": "1"}], "asks": []}] * 2,
        None,
        [],
    ],
)
def test_what_is_no_answer_says_nothing(rig: Rig, answer: Any) -> None:
    rig.tick(2200)
    rig.answer(answer)
    rig.tick(2600)
    assert rig.told == []
    assert rig.witness.stats.agreed == rig.witness.stats.disputed == 0


def test_when_nothing_can_be_asked_silence_stays_suspicious(rig: Rig) -> None:
    rig.takes = False
    rig.tick(2200)
    assert rig.witness.stats.asked == 0
    assert rig.disagrees(2300)


def test_levels_are_exact() -> None:
    listed = levels_of({"bids": [{"price": "0.4825", "size": "918.340001"}], "asks": []})
    assert listed == ({4825: 918_340_001}, {})
