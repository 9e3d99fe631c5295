"""The ledger: neither order nor repetition matters, and money comes and goes by events only."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from invmm.settlement.ledger import Ledger, taker_fee_micro
from invmm.types import OrderStatus, Outcome, Side

PROVISIONAL = (OrderStatus.TRADE_MATCHED, OrderStatus.TRADE_MINED, OrderStatus.TRADE_RETRYING)
TERMINAL = (None, OrderStatus.TRADE_CONFIRMED, OrderStatus.TRADE_FAILED)
Event = tuple[str, dict[str, Any]]


@st.composite
def events(draw: Any) -> list[Event]:
    """Stages of fills of six orders, at most one terminal one per leg, and merges."""
    orders = [
        {
            "key": key,
            "outcome": draw(st.sampled_from(Outcome)),
            "side": draw(st.sampled_from(Side)),
            "price_e4": draw(st.integers(1, 9999)),
            "taker": draw(st.booleans()),
        }
        for key in range(1, 7)
    ]
    made: list[Event] = []
    for trade in range(1, draw(st.integers(0, 8)) + 1):
        for about in draw(
            st.lists(st.sampled_from(orders), min_size=1, max_size=2, unique_by=lambda o: o["key"])
        ):
            size_micro = draw(st.integers(1, 10**9))
            stages = draw(st.sets(st.sampled_from(PROVISIONAL), min_size=1))
            terminal = draw(st.sampled_from(TERMINAL))
            for status in [*stages, *([terminal] if terminal else [])]:
                made.append(("fill", about | {"trade": trade, "size_micro": size_micro, "status": status}))
    for number in range(draw(st.integers(0, 2))):
        made.append(("merge", {"name": f"0x{number}", "pairs_micro": draw(st.integers(1, 10**8))}))
    for number in range(draw(st.integers(0, 2))):
        made.append(("split", {"name": f"0x{number}", "pairs_micro": draw(st.integers(1, 10**8))}))
    for number in range(draw(st.integers(0, 1))):
        up, down = draw(st.integers(0, 10**8)), draw(st.integers(0, 10**8))
        paid = draw(st.integers(0, up + down))
        about = {"name": f"0x{number}", "up_micro": up, "down_micro": down, "paid_micro": paid}
        made.append(("redeem", about))
    return made


def book(said: list[Event]) -> Ledger:
    ledger = Ledger()
    for kind, figures in said:
        getattr(ledger, kind)(**figures)
    return ledger


def figures(ledger: Ledger) -> dict[str, Any]:
    """Everything that a ledger says, in integers."""
    return {
        "legs": {name: asdict(leg) for name, leg in ledger.legs.items()},
        "conflicts": [leg.trade for leg in ledger.conflicts],
        "spent_e10": ledger.spent_e10,
        "cash": [ledger.cash_micro(10**9, winner) for winner in (None, *Outcome)],
        "realised": [ledger.realised_micro(winner) for winner in (None, *Outcome)],
        "fees": (ledger.fees_micro, ledger.rebates_micro),
        "shares": [(ledger.held_micro(o), ledger.interval(o), ledger.cost_micro(o)) for o in Outcome],
    }


@given(events(), st.data())
@settings(deadline=None, max_examples=200)
def test_neither_order_nor_repetition_changes_a_ledger(said: list[Event], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(said), max_size=8)) if said else []
    assert figures(book(data.draw(st.permutations(said + again)))) == figures(book(said))


@given(events())
@settings(deadline=None, max_examples=150)
def test_cash_and_shares_change_by_what_an_event_says_and_by_nothing_else(said: list[Event]) -> None:
    ledger = Ledger()
    start_micro = 10**12
    for kind, about in said:
        before = (ledger.cash_micro(start_micro), [ledger.held_micro(o) for o in Outcome])
        known = ledger.legs.get((about.get("trade", 0), about.get("key", 0)))
        stood = known is not None and known.status != OrderStatus.TRADE_FAILED
        getattr(ledger, kind)(**about)
        cash_micro, held = ledger.cash_micro(start_micro), [ledger.held_micro(o) for o in Outcome]
        if kind in ("merge", "split", "redeem"):
            pairs = about.get("pairs_micro", 0)
            taken = {"merge": [pairs, pairs, pairs], "split": [-pairs, -pairs, -pairs]}.get(kind)
            taken = taken or [about["up_micro"], about["down_micro"], about["paid_micro"]]
            assert [was - now for now, was in zip(held, before[1], strict=True)] == taken[:2]
            assert cash_micro - before[0] == taken[2]
            continue
        stands = ledger.legs[about["trade"], about["key"]].status != OrderStatus.TRADE_FAILED
        sign = int(stands) - int(stood)
        shares = sign * about["size_micro"] * (1 if about["side"] == Side.BUY else -1)
        assert held[about["outcome"]] - before[1][about["outcome"]] == shares
        assert held[1 - about["outcome"]] == before[1][1 - about["outcome"]]
        fee = (
            taker_fee_micro(about["size_micro"], about["price_e4"], ledger.fee_rate_ppm)
            if about["taker"]
            else 0
        )
        exact_e10 = -shares * about["price_e4"] - sign * fee * 10_000
        assert abs((cash_micro - before[0]) * 10_000 - exact_e10) < 10_000, (
            "rounded by less than a micro-dollar"
        )
    inventory = sum(ledger.cost_micro(outcome) for outcome in Outcome)
    assert ledger.cash_micro(start_micro) + inventory == start_micro + ledger.realised_micro()


@given(events())
@settings(deadline=None, max_examples=100)
def test_the_interval_of_a_position_holds_whatever_its_unsettled_fills_become(said: list[Event]) -> None:
    ledger = book(said)
    bounds = [ledger.interval(outcome) for outcome in Outcome]
    assert all(low <= ledger.held_micro(o) <= high for o, (low, high) in zip(Outcome, bounds, strict=True))
    for number, leg in enumerate(list(ledger.legs.values())):
        if leg.status in PROVISIONAL:
            leg.status = TERMINAL[1 + number % 2]
    for outcome, (low, high) in zip(Outcome, bounds, strict=True):
        final = ledger.interval(outcome)
        assert final[0] == final[1] == ledger.held_micro(outcome)
        assert low <= final[0] <= high
