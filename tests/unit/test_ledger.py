"""Fills to dollars, computed by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invmm.settlement.ledger import E10_PER_MICRO_DOLLAR, Ledger, taker_fee_micro
from invmm.types import OrderStatus, Outcome, Side


def fill(ledger: Ledger, trade: int, outcome: Outcome, price_e4: int, shares: float, **more: object) -> bool:
    return ledger.fill(
        trade=trade,
        key=trade,
        outcome=outcome,
        side=Side.BUY,
        price_e4=price_e4,
        size_micro=round(shares * 1e6),
        **more,
    )


def test_pairs_below_a_dollar_earn_their_edge_whoever_wins():
    for winner in Outcome:
        ledger = Ledger()
        fill(ledger, 1, Outcome.UP, 4800, 100)
        fill(ledger, 2, Outcome.DOWN, 5000, 100)
        profit = ledger.settle(winner)
        assert ledger.pairs_micro == 100_000_000
        assert ledger.pair_cost == pytest.approx(0.98)
        assert profit.pair_edge == pytest.approx(2.0)
        assert profit.orphans == pytest.approx(0.0)
        assert profit.total == pytest.approx(2.0)


def test_unmatched_shares_win_or_lose_at_resolution():
    ledger = Ledger()
    fill(ledger, 1, Outcome.UP, 4000, 10)
    assert ledger.settle(Outcome.UP).orphans == pytest.approx(6.0)
    assert ledger.settle(Outcome.DOWN).orphans == pytest.approx(-4.0)
    assert ledger.settle(None).total == pytest.approx(0.0)


def test_repeats_change_nothing_and_failure_voids_once():
    ledger = Ledger()
    assert fill(ledger, 1, Outcome.UP, 4000, 10)
    assert not fill(ledger, 1, Outcome.UP, 4000, 10)
    assert fill(ledger, 1, Outcome.UP, 4000, 10, status=OrderStatus.TRADE_FAILED)
    assert ledger.held_micro(Outcome.UP) == 0
    assert not fill(ledger, 1, Outcome.UP, 4000, 10, status=OrderStatus.TRADE_CONFIRMED)
    assert ledger.held_micro(Outcome.UP) == 0


def test_confirmed_is_final():
    ledger = Ledger()
    fill(ledger, 1, Outcome.UP, 4000, 10, status=OrderStatus.TRADE_CONFIRMED)
    assert not fill(ledger, 1, Outcome.UP, 4000, 10, status=OrderStatus.TRADE_FAILED)
    assert ledger.held_micro(Outcome.UP) == 10_000_000


@pytest.mark.parametrize(
    ("shares", "price_e4", "dollars"),
    [(100, 5000, 1.75), (1, 5000, 0.0175), (1, 100, 0.00069), (0.001, 5000, 0.00002), (0.0001, 5000, 0.0)],
)
def test_taker_fee_follows_the_published_table(shares, price_e4, dollars):
    assert taker_fee_micro(round(shares * 1e6), price_e4, 70_000) == round(dollars * 1e6)


def test_makers_pay_nothing_and_expect_a_fifth_of_the_fee_back():
    ledger = Ledger()
    fill(ledger, 1, Outcome.UP, 5000, 100)
    fill(ledger, 2, Outcome.DOWN, 5000, 100, taker=True)
    assert ledger.fees_micro == 1_750_000
    assert ledger.rebates_micro == 350_000
    assert ledger.settle(Outcome.UP).total == pytest.approx(-1.75)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(Outcome)), st.integers(1, 9999), st.integers(1, 10**10), st.booleans()
        ),
        max_size=30,
    ),
    st.sampled_from(list(Outcome)),
)
def test_parts_of_the_profit_sum_to_the_cash_that_moved(fills, winner):
    ledger = Ledger()
    for number, (outcome, price_e4, size_micro, taker) in enumerate(fills, 1):
        ledger.fill(
            trade=number,
            key=number,
            outcome=outcome,
            side=Side.BUY,
            price_e4=price_e4,
            size_micro=size_micro,
            taker=taker,
        )
    profit = ledger.settle(winner)
    assert profit.pair_edge + profit.orphans + profit.fees == pytest.approx(profit.total, abs=1e-6)
    assert ledger.cash_e10(0, winner) / E10_PER_MICRO_DOLLAR / 1e6 == pytest.approx(profit.total, abs=1e-6)


def test_a_position_is_an_interval_until_its_fills_are_confirmed():
    ledger = Ledger()
    fill(ledger, 1, Outcome.UP, 4000, 10, status=OrderStatus.TRADE_CONFIRMED)
    fill(ledger, 2, Outcome.UP, 4000, 5, status=OrderStatus.TRADE_MINED)
    assert ledger.interval(Outcome.UP) == (10_000_000, 15_000_000)
    fill(ledger, 2, Outcome.UP, 4000, 5, status=OrderStatus.TRADE_FAILED)
    assert ledger.interval(Outcome.UP) == (10_000_000, 10_000_000)


def test_confirmed_and_failed_of_one_leg_is_a_conflict_that_stays():
    ledger = Ledger()
    fill(ledger, 1, Outcome.UP, 4000, 10, status=OrderStatus.TRADE_CONFIRMED)
    fill(ledger, 1, Outcome.UP, 4000, 10, status=OrderStatus.TRADE_FAILED)
    assert [(leg.trade, leg.status) for leg in ledger.conflicts] == [(1, OrderStatus.TRADE_CONFIRMED)]
    assert ledger.held_micro(Outcome.UP) == 10_000_000


def test_cash_is_rounded_once_per_order_and_against_us():
    ledger = Ledger()
    for trade in (1, 2, 3):  # a third of a share each at 33.33 cents: 0.1110999… dollars
        ledger.fill(trade=trade, key=9, outcome=Outcome.UP, side=Side.BUY, price_e4=3333, size_micro=333_333)
    assert ledger.paid_micro(Outcome.UP, Side.BUY) == 333_300  # 999 999 × 0.3333 = 333 299.6667
    ledger.fill(trade=4, key=10, outcome=Outcome.UP, side=Side.SELL, price_e4=3333, size_micro=333_333)
    assert ledger.paid_micro(Outcome.UP, Side.SELL) == 111_099


def test_what_is_sold_takes_its_part_of_the_cost_and_the_rest_is_profit():
    ledger = Ledger()
    fill(ledger, 1, Outcome.UP, 4000, 10)
    fill(ledger, 2, Outcome.UP, 5000, 10)
    ledger.fill(trade=3, key=3, outcome=Outcome.UP, side=Side.SELL, price_e4=6000, size_micro=5_000_000)
    assert ledger.cost_micro(Outcome.UP) == 6_750_000  # 15 shares at 45 cents
    assert ledger.realised_micro() == 750_000  # 5 shares, 15 cents each


def test_a_merge_pays_a_dollar_per_pair_once_however_often_it_is_told():
    ledger = Ledger()
    fill(ledger, 1, Outcome.UP, 4800, 100)
    fill(ledger, 2, Outcome.DOWN, 5000, 80)
    assert ledger.merge("0xaa", 60_000_000)
    assert not ledger.merge("0xaa", 60_000_000)
    assert ledger.cash_micro() == -48_000_000 - 40_000_000 + 60_000_000
    assert (ledger.held_micro(Outcome.UP), ledger.held_micro(Outcome.DOWN)) == (40_000_000, 20_000_000)
    assert ledger.pairs_micro == 20_000_000
    assert ledger.realised_micro() == 1_200_000  # 60 pairs, 2 cents each
    for winner in Outcome:
        assert ledger.settle(winner).pair_edge == pytest.approx(80 * 0.02)
        assert ledger.settle(winner).total * 1e6 == pytest.approx(ledger.realised_micro(winner))


def test_the_fills_that_stand_are_rounded_together():
    """Each fill is worth 333,300.3333 micro-dollars."""
    ledger = Ledger()
    for trade in (1, 2, 3):
        status = OrderStatus.TRADE_FAILED if trade == 1 else OrderStatus.TRADE_CONFIRMED
        told = {"price_e4": 3_333, "size_micro": 1_000_001, "status": status}
        ledger.fill(trade=trade, key=7, outcome=Outcome.UP, side=Side.BUY, **told)
    assert ledger.cash_micro() == -666_601


def test_what_a_resting_order_took_first_counts_in_its_rounding_but_is_rounded_alone():
    ledger = Ledger(fee_rate_ppm=0)
    told = {"outcome": Outcome.UP, "side": Side.BUY, "size_micro": 1_000_001}
    ledger.fill(trade=2, key=7, price_e4=3_333, **told)
    ledger.fill(trade=1, key=7, price_e4=3_333, taker=True, **told)
    assert ledger.cash_micro() == -333_301 - 333_300
