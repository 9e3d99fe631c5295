"""Fills matched in order of time, against sums worked out by hand and against the ledger."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invmm.replay.leads import leads_of
from invmm.settlement.ledger import E10, E10_PER_MICRO_DOLLAR, Ledger
from invmm.types import Outcome, Side

RATE_PPM = 70_000


def ledger_of(fills: list[tuple[Outcome, Side, int, int, bool]]) -> Ledger:
    ledger = Ledger(RATE_PPM)
    for number, (outcome, side, price_e4, size_micro, taker) in enumerate(fills):
        ledger.fill(
            trade=number,
            key=number,
            outcome=outcome,
            side=side,
            price_e4=price_e4,
            size_micro=size_micro,
            taker=taker,
            time_ns=number,
        )
    return ledger


def test_the_oldest_shares_of_the_lead_are_completed_first() -> None:
    ledger = ledger_of(
        [
            (Outcome.UP, Side.BUY, 4000, 10_000_000, False),
            (Outcome.UP, Side.BUY, 5000, 10_000_000, False),
            (Outcome.DOWN, Side.BUY, 5500, 15_000_000, False),
        ]
    )
    leads = leads_of(ledger.standing, RATE_PPM)
    # 10 pairs at 0.40 + 0.55, then 5 at 0.50 + 0.55; 5 Up at 0.50 lead.
    assert leads.pairs_micro == 15_000_000
    assert leads.pairs_e10 / E10 == pytest.approx(10 * 0.05 - 5 * 0.05)
    assert (leads.dear_micro, leads.dear_e10 / E10) == (5_000_000, pytest.approx(0.25))
    assert leads.lead_micro == 5_000_000
    assert leads.orphans_e10(10_000) / E10 == pytest.approx(2.5)


def test_a_pair_that_costs_a_dollar_only_with_its_fee_counts_as_dear() -> None:
    ledger = ledger_of(
        [
            (Outcome.UP, Side.BUY, 5000, 10_000_000, False),
            (Outcome.DOWN, Side.BUY, 4900, 10_000_000, True),
        ]
    )
    leads = leads_of(ledger.standing, RATE_PPM)
    # The fee is 10 × 0.07 × 0.49 × 0.51 = 0.17493 dollars, the gain before it 0.10.
    assert leads.pair_fees_e10 / E10 == pytest.approx(0.17493)
    assert (leads.dear_micro, leads.dear_e10 / E10) == (10_000_000, pytest.approx(0.07493))


def test_selling_up_completes_a_lead_as_buying_down_at_the_rest_of_a_dollar_does() -> None:
    buys = [(Outcome.UP, Side.BUY, 4000, 10_000_000, False)]
    sold = leads_of(ledger_of([*buys, (Outcome.UP, Side.SELL, 4300, 10_000_000, False)]).standing, RATE_PPM)
    bought = leads_of(
        ledger_of([*buys, (Outcome.DOWN, Side.BUY, 5700, 10_000_000, False)]).standing, RATE_PPM
    )
    assert (sold.pairs_micro, sold.pairs_e10) == (bought.pairs_micro, bought.pairs_e10)
    assert sold.pairs_e10 / E10 == pytest.approx(0.3)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(Outcome),
            st.sampled_from(Side),
            st.integers(1, 9_999),
            st.integers(1, 500_000_000),
            st.booleans(),
        ),
        max_size=30,
    ),
    st.sampled_from(Outcome),
)
def test_pairs_and_orphans_less_fees_are_the_profit_exactly(
    fills: list[tuple[Outcome, Side, int, int, bool]], winner: Outcome
) -> None:
    ledger = ledger_of(fills)
    leads = leads_of(ledger.standing, RATE_PPM)
    orphans_e10 = leads.orphans_e10(10_000 if winner == Outcome.UP else 0)
    profit_e10 = leads.pairs_e10 + orphans_e10 - leads.fees_micro * E10_PER_MICRO_DOLLAR
    assert profit_e10 == ledger.cash_e10(0, winner)
    assert leads.lead_micro == ledger.traded_micro(Outcome.UP) - ledger.traded_micro(Outcome.DOWN)
    assert 0 <= leads.dear_micro <= leads.pairs_micro
