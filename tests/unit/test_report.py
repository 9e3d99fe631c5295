"""Figures of the report from ledgers that were written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from invmm.replay.report import markouts, one_sided_share, planned_merges, summarise
from invmm.replay.result import MID_DTYPE, MarketResult
from invmm.replay.tape import MarketInfo, pack
from invmm.settlement.ledger import Ledger
from invmm.settlement.merger import MergerConfig
from invmm.types import OrderStatus, Outcome, Side

NS = 1_000_000_000
SHARE = 1_000_000
START_S = 1_700_000_100
COUNTERS = {
    "frames": 10,
    "solves": 5,
    "suppressed": 3,
    "checkpoints": 2,
    "checkpoint_mismatches": 1,
    "reasons": {11: 4},
}
BOOKS = {"best_checks": 7, "best_mismatches": 0, "mirror_checks": 6, "mirror_mismatches": 2}


def ledger(*fills: tuple[Outcome, int, float]) -> Ledger:
    """Maker buys of (outcome, price_e4, shares), one a second."""
    made = Ledger()
    for number, (outcome, price_e4, shares) in enumerate(fills, 1):
        made.fill(
            trade=number,
            key=number,
            outcome=outcome,
            side=Side.BUY,
            price_e4=price_e4,
            size_micro=round(shares * SHARE),
            time_ns=(START_S + number) * NS,
        )
    return made


def result(
    made: Ledger, *, winner: Outcome | None = None, cash: float | None = None, slug: str = "m", **rest: object
) -> MarketResult:
    info = MarketInfo(
        slug, "0xc", "1", "2", START_S, START_S + 300, origin=str(rest.pop("origin", "RECORDED"))
    )
    books = {**BOOKS, "decode_failures": rest.pop("failures", {})}
    return MarketResult(
        tape=pack(info, []),
        ledger=made,
        step=COUNTERS,
        books=books,
        orders=4,
        placed_micro=400 * SHARE,
        winner=winner,
        start_cash_micro=1000 * SHARE,
        venue_cash_micro=None if cash is None else round(cash * SHARE),
        **rest,
    )


def summary(*results: MarketResult) -> dict:
    return summarise(results, digest="d", commands=9, merger=MergerConfig())


def test_pairs_cost_and_profit_parts_add_up_to_the_cash_of_the_ledger() -> None:
    made = ledger((Outcome.UP, 4800, 100), (Outcome.DOWN, 4900, 60))
    told = summary(result(made, winner=Outcome.DOWN, cash=1000 - 48 - 29.4 + 60))
    assert told["pairs"] == 60
    assert told["pair_cost"] == pytest.approx(0.97)
    assert told["profit"]["pair_edge"] == pytest.approx(60 * 0.03)
    assert told["profit"]["orphans"] == pytest.approx(-40 * 0.48)
    assert told["profit"]["total"] == pytest.approx(1.8 - 19.2)
    assert told["reconciled"] is True
    assert told["winners"] == {"m": "Down"}


def test_a_venue_that_says_another_balance_is_not_reconciled() -> None:
    made = ledger((Outcome.UP, 5000, 10))
    assert summary(result(made, cash=995.0))["reconciled"] is True
    assert summary(result(made, cash=995.01))["reconciled"] is False
    assert summary(result(made))["reconciled"] is False


def test_markets_are_summed_and_failures_kept_by_kind() -> None:
    told = summary(
        result(Ledger(), slug="a", failures={"json": 1, "price": 2}),
        result(Ledger(), slug="b", failures={"json": 3}),
    )
    assert (told["markets"], told["frames"], told["orders"]) == (2, 20, 8)
    assert (told["checkpoint_mismatches"], told["mirror_mismatches"], told["best_checks"]) == (2, 4, 14)
    assert told["decode_failures"] == {"json": 4, "price": 2}
    assert told["reasons"] == {"stale": 8}
    assert (told["pair_cost"], told["one_sided_share"]) == (None, None)


def test_one_generated_market_marks_the_whole_report() -> None:
    assert summary(result(Ledger()), result(Ledger(), slug="g", origin="GENERATED"))["origin"] == "GENERATED"
    assert summary(result(Ledger()))["origin"] == "RECORDED"


def test_markouts_weigh_shares_and_turn_around_for_down() -> None:
    made = ledger((Outcome.UP, 5000, 10), (Outcome.DOWN, 4000, 30))
    times = [(START_S + s) * NS for s in range(10)]
    mids = np.array([(t, 0.52) for t in times], dtype=MID_DTYPE)
    total, weight = markouts(result(made, mids=mids), (1,))[1]
    assert weight == 40
    assert total == pytest.approx(10 * 0.02 + 30 * 0.08)
    assert markouts(result(made, mids=mids), (30,))[30] == (0.0, 0.0)  # nothing is known so late


def test_failed_fills_count_nowhere() -> None:
    made = ledger((Outcome.UP, 5000, 10), (Outcome.DOWN, 4000, 30))
    failed = {"outcome": Outcome.DOWN, "side": Side.BUY, "price_e4": 4000, "size_micro": 30 * SHARE}
    made.fill(trade=2, key=2, status=OrderStatus.TRADE_FAILED, **failed)
    told = summary(result(made, cash=995))
    assert (told["fills"], told["bought_shares"], told["pairs"]) == (1, 10, 0)
    assert one_sided_share(result(made)) == 1.0


def test_merges_are_planned_when_enough_balanced_cheap_pairs_are_held() -> None:
    made = ledger((Outcome.UP, 4800, 20), (Outcome.DOWN, 4900, 5), (Outcome.DOWN, 4900, 15))
    assert planned_merges(made.standing, MergerConfig(10.0, 0.3, 0.99)) == [20 * SHARE]
    assert planned_merges(made.standing, MergerConfig(30.0, 0.3, 0.99)) == []
    assert planned_merges(made.standing, MergerConfig(10.0, 0.3, 0.96)) == []
