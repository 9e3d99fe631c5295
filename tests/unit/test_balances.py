"""What the venue's balances may be while settlement is under way: bounds, and equality once it is seen."""

from __future__ import annotations

from invmm.execution.balances import SETTLING_NS, Balance, cash_bounds, token_bounds
from invmm.settlement.ledger import Ledger
from invmm.types import OrderStatus, Outcome, Side

S = 10**9
LATER_NS = 10 * SETTLING_NS


def bought() -> Ledger:
    """Fifty pairs at 90 cents, final long ago."""
    ledger = Ledger()
    for trade, outcome in enumerate(Outcome, 1):
        about = {"trade": trade, "key": trade, "outcome": outcome, "side": Side.BUY, "price_e4": 4_500}
        ledger.fill(**about, size_micro=50 * 10**6, status=OrderStatus.TRADE_CONFIRMED, time_ns=1)  # type: ignore[arg-type]
    return ledger


def test_a_merge_may_be_seen_before_it_is_booked_and_after() -> None:
    ledger = bought()
    assert cash_bounds([ledger], LATER_NS) == (-45_000_000, -45_000_000)
    ledger.promised_micro = 30 * 10**6
    assert cash_bounds([ledger], LATER_NS) == (-45_000_000, -15_000_000)
    assert token_bounds(ledger, Outcome.UP, LATER_NS) == (20 * 10**6, 50 * 10**6)
    ledger.promised_micro = 0
    ledger.pairs_left("job", 30 * 10**6, LATER_NS)
    assert cash_bounds([ledger], LATER_NS + S) == (-45_000_000, -15_000_000)
    assert token_bounds(ledger, Outcome.DOWN, LATER_NS + S) == (20 * 10**6, 50 * 10**6)
    seen_ns = LATER_NS + SETTLING_NS
    assert cash_bounds([ledger], seen_ns) == (-15_000_000, -15_000_000)
    assert token_bounds(ledger, Outcome.DOWN, seen_ns) == (20 * 10**6, 20 * 10**6)


def test_a_split_takes_dollars_and_brings_shares_within_the_same_time() -> None:
    ledger = bought()
    ledger.pairs_left("job", -10 * 10**6, LATER_NS)
    assert cash_bounds([ledger], LATER_NS + S) == (-55_000_000, -45_000_000)
    assert token_bounds(ledger, Outcome.UP, LATER_NS + S) == (50 * 10**6, 60 * 10**6)


def test_a_merge_that_the_venue_never_shows_is_a_difference() -> None:
    ledger, balance = bought(), Balance()
    assert balance.differs(55_000_000, *cash_bounds([ledger], LATER_NS), at_ns=LATER_NS) == 0
    ledger.pairs_left("job", 30 * 10**6, LATER_NS)
    differences = []
    for seconds in (10, 30, 55, 65, 80):
        at_ns = LATER_NS + seconds * S
        differences.append(balance.differs(55_000_000, *cash_bounds([ledger], at_ns), at_ns=at_ns))
    assert differences == [0, 0, 0, 0, -30_000_000]
