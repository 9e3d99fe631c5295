"""Limits of one market, each with its reason, on what a target would lead to."""

from __future__ import annotations

import pytest

from invmm.types import OrderStatus, Reason, reservations
from tests.unit.test_step import MS, NS, START_S, kinds
from tests.unit.test_transaction import DOWN, PLACE, SELL, SHARE, UP, Quote, Replacing, bid, quoting


@pytest.mark.parametrize(
    ("text", "quote", "reason"),
    [
        ("[risk]\nmax_cash_dollars = 40\n", bid(UP, 4800), Reason.CASH),
        ("[risk]\nmax_direction_shares = 99\n", bid(UP, 4800), Reason.DIRECTION),
        ("[risk]\nmax_gross_shares = 99\n", bid(UP, 4800), Reason.GROSS),
        ("[risk]\nmax_order_dollars = 40\n", bid(UP, 4800), Reason.ORDER_LIMIT),
        ("[risk]\nmax_order_shares = 99\n", bid(UP, 4800), Reason.ORDER_LIMIT),
        ("", bid(UP, 5100), Reason.POST_ONLY),
        ("", bid(UP, 4800, 1), Reason.BELOW_MIN_SIZE),
        ("", (UP, SELL, 5200, 10 * SHARE), Reason.CASH),
    ],
)
def test_a_quote_beyond_a_limit_is_refused_with(text: str, quote: Quote, reason: Reason) -> None:
    desk = Replacing(text)
    desk.open()
    assert not len(desk.want(100, quote))
    assert desk.market.step.stats()["reasons"][reason] == 1
    assert desk.replaced["begun"] == 0


def test_a_bid_far_above_the_mid_is_refused_by_the_collar() -> None:
    desk = Replacing("[risk]\nprice_collar = 0.05\n")
    desk.open(bids={1000: 100}, asks={9000: 100})
    assert not len(desk.want(100, bid(UP, 5600)))
    assert desk.market.step.stats()["reasons"][Reason.COLLAR] == 1
    assert kinds(desk.want(200, bid(UP, 5500))) == [PLACE]


def test_own_bids_of_both_tokens_never_reach_a_dollar() -> None:
    desk = Replacing()
    desk.open(bids={1000: 100}, asks={9000: 100})
    commands = desk.want(100, bid(UP, 5000), bid(DOWN, 5000))
    assert kinds(commands) == [PLACE]
    assert desk.market.step.stats()["reasons"][Reason.SELF_CROSS] == 1


def test_a_second_order_at_a_price_whose_first_one_is_dying_is_refused() -> None:
    desk, placed = quoting()
    desk.want(200, bid(DOWN, 4700))
    assert not len(desk.want(210, bid(UP, 4800), bid(DOWN, 4700)))
    assert desk.market.step.stats()["reasons"][Reason.DUPLICATE] >= 1
    assert kinds(desk.answer(placed[0], OrderStatus.CANCELED, 220)) == [PLACE]


def test_one_target_leads_to_at_most_so_many_messages() -> None:
    desk = Replacing("[risk]\nmax_children = 3\n")
    desk.open()
    assert len(desk.want(100, *(bid(UP, 4900 - 100 * n, 10) for n in range(5)))) == 3
    assert desk.market.step.stats()["reasons"][Reason.CHILDREN] == 2


def test_a_placement_says_what_was_reserved_for_it_and_by_which_transaction() -> None:
    desk = Replacing()
    desk.open()
    commands = desk.want(100, bid(UP, 4800), bid(DOWN, 4700, 50))
    told = reservations(commands)
    assert told["cash_e10"].tolist() == [4800 * 100 * SHARE, 4700 * 50 * SHARE]
    assert told["transaction"].tolist() == [1, 1]
    assert (commands["deadline_ns"] == START_S * NS + 350 * MS).all()
    assert (commands["book_ms"] == START_S * 1000).all()
