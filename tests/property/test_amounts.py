"""Amounts of orders against exact decimal arithmetic of the published rule, over the price and size grid."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invmm._ext.amounts import OrderRuleError, market_amounts, order_amounts
from tests.reference import sign as reference

TICKS = (1000, 100, 50, 25, 10, 1)
SIDES = st.sampled_from(["BUY", "SELL"])
SIZES = st.one_of(
    st.integers(10_000, 2_000_000_000),
    st.integers(10_000, 10**14),
    st.integers(1, 10**6).map(lambda n: n * 10_000),
)


@st.composite
def prices(draw: st.DrawFn) -> tuple[int, int]:
    """A tick and a price on its grid, both in 1e-4 dollars."""
    tick_e4 = draw(st.sampled_from(TICKS))
    return tick_e4, tick_e4 * draw(st.integers(1, 10_000 // tick_e4 - 1))


@pytest.mark.parametrize("tick_e4", TICKS)
@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_every_price_of_every_tick_gives_the_official_amounts(side: str, tick_e4: int) -> None:
    for step, price_e4 in enumerate(range(tick_e4, 10_000, tick_e4)):
        size_micro = 5_000_000 + step * 7_919_000 + step % 13
        assert order_amounts(side, price_e4, size_micro, tick_e4=tick_e4) == reference.limit_amounts(
            side, price_e4, size_micro, tick_e4
        )
        assert market_amounts(side, size_micro, price_e4, tick_e4=tick_e4) == reference.market_amounts(
            side, size_micro, price_e4, tick_e4
        )


@given(SIDES, prices(), SIZES)
def test_resting_orders_follow_the_rule_and_lose_nothing_of_the_product(
    side: str, grid: tuple[int, int], size_micro: int
) -> None:
    tick_e4, price_e4 = grid
    maker, taker = order_amounts(side, price_e4, size_micro, tick_e4=tick_e4)
    assert (maker, taker) == reference.limit_amounts(side, price_e4, size_micro, tick_e4)
    dollars, shares = (maker, taker) if side == "BUY" else (taker, maker)
    assert dollars * 10_000 == shares * price_e4
    assert size_micro - 10_000 < shares <= size_micro


@given(SIDES, prices(), SIZES)
def test_market_orders_follow_the_rule(side: str, grid: tuple[int, int], amount_micro: int) -> None:
    tick_e4, price_e4 = grid
    expected = reference.market_amounts(side, amount_micro, price_e4, tick_e4)
    if min(expected) == 0:
        with pytest.raises(OrderRuleError, match="above zero"):
            market_amounts(side, amount_micro, price_e4, tick_e4=tick_e4)
        return
    maker, taker = market_amounts(side, amount_micro, price_e4, tick_e4=tick_e4)
    assert (maker, taker) == expected
    assert maker % 10_000 == 0, "two decimals given"
    assert taker % 100 == 0, "four decimals asked for"


@given(SIDES, prices(), SIZES, st.sampled_from(["FOK", "FAK"]))
def test_share_sized_takers_never_exceed_shares_or_cost(
    side: str, grid: tuple[int, int], size_micro: int, order_type: str
) -> None:
    tick_e4, price_e4 = grid
    expected = reference.taker_amounts(side, price_e4, size_micro, tick_e4)
    try:
        maker, taker = order_amounts(side, price_e4, size_micro, tick_e4=tick_e4, order_type=order_type)
    except OrderRuleError:
        assert min(expected) == 0
        return
    assert (maker, taker) == expected
    if side == "BUY":
        assert taker <= size_micro
        assert maker * 10_000 <= size_micro * price_e4
    else:
        assert maker <= size_micro
    dollars, shares = (maker, taker) if side == "BUY" else (taker, maker)
    # The limit moves by less than rounding one amount can move it, towards a worse price for us.
    step = 1000 if tick_e4 == 1000 else 100
    if side == "BUY":
        assert dollars * 10_000 < (shares + step) * price_e4
    else:
        assert (dollars + step) * 10_000 > shares * price_e4


@given(SIDES, st.sampled_from(TICKS), st.integers(-10, 10_010), SIZES)
def test_a_price_off_the_grid_is_refused_and_one_on_it_is_not(
    side: str, tick_e4: int, price_e4: int, size_micro: int
) -> None:
    if price_e4 % tick_e4 == 0 and tick_e4 <= price_e4 <= 10_000 - tick_e4:
        assert order_amounts(side, price_e4, size_micro, tick_e4=tick_e4)
        return
    with pytest.raises(OrderRuleError, match="price must"):
        order_amounts(side, price_e4, size_micro, tick_e4=tick_e4)
