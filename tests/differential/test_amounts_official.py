"""Amounts of orders over the whole price grid of every tick against the venue's own packages.

`polymarket-client` computes in decimals and must be met exactly. `py-clob-client-v2` computes in floats:
where its floor loses a hundredth of a share, ours keeps it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from polymarket._internal.actions.orders import limit, market
from py_clob_client_v2.order_builder.builder import ROUNDING_CONFIG, OrderBuilder
from py_clob_client_v2.signer import Signer

from invmm._ext.amounts import OrderRuleError, market_amounts, order_amounts
from tests.reference import sign as reference

TICKS = {"0.1": 1000, "0.01": 100, "0.005": 50, "0.0025": 25, "0.001": 10, "0.0001": 1}
SIDES = ("BUY", "SELL")
KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"


def grid(tick: str, sizes: int, seed: str) -> Iterator[tuple[int, int]]:
    """Every price of a tick, each with sizes in micro-shares that need not have two decimals only."""
    draw = random.Random(tick + seed)
    for price_e4 in range(TICKS[tick], 10_000, TICKS[tick]):
        for _ in range(sizes):
            size = draw.randrange(1, 1_000_000) * 10_000
            yield price_e4, size + draw.choice((0, 0, draw.randrange(10_000)))


def micro(value: int) -> Decimal:
    return Decimal(value) / 1_000_000


def limit_twin(side: Any, price_e4: int, size_micro: int, tick: str) -> tuple[int, int]:
    """`polymarket-client`'s."""
    return limit._compute_limit_order_amounts(
        price=Decimal(price_e4) / 10_000, size=micro(size_micro), side=side, tick_size=Decimal(tick)
    )


def market_twin(side: Any, amount_micro: int, price_e4: int, tick: str) -> tuple[int, int]:
    """`polymarket-client`'s."""
    return market._compute_market_order_amounts(
        amount=micro(amount_micro), price=Decimal(price_e4) / 10_000, side=side, tick_size=Decimal(tick)
    )


def check_limits(tick: str, side: str, sizes: int, seed: str = "") -> None:
    for price_e4, size in grid(tick, sizes, side + seed):
        ours = order_amounts(side, price_e4, size, tick_e4=TICKS[tick])
        assert ours == limit_twin(side, price_e4, size, tick), (price_e4, size)


def check_markets(tick: str, side: str, sizes: int, seed: str = "") -> None:
    """With the server's cap of four decimals where the table of the package goes beyond it."""
    moved = total = 0
    for price_e4, amount in grid(tick, sizes, side + seed):
        theirs = market_twin(side, amount, price_e4, tick)
        given, wanted = theirs[0], theirs[1] // 100 * 100
        try:
            ours = market_amounts(side, amount, price_e4, tick_e4=TICKS[tick])
        except OrderRuleError:
            assert min(given, wanted) == 0
            continue
        total += 1
        assert ours == reference.market_amounts(side, amount, price_e4, TICKS[tick])
        if ours != (given, wanted):
            # Rounding up happens four decimals behind the last one kept: at 8 here, at 9 or 10 there.
            assert TICKS[tick] < 100
            assert ours == (given, wanted + 100)
            moved += 1
    assert moved <= total // 100
    assert total > 0


@pytest.mark.parametrize("tick", TICKS)
@pytest.mark.parametrize("side", SIDES)
def test_limit_amounts_are_the_decimal_clients_at_every_price(side: str, tick: str) -> None:
    check_limits(tick, side, 4)


@pytest.mark.parametrize("tick", TICKS)
@pytest.mark.parametrize("side", SIDES)
def test_market_amounts_are_the_decimal_clients_with_four_decimals_at_most(side: str, tick: str) -> None:
    check_markets(tick, side, 4)


@pytest.mark.slow
@pytest.mark.parametrize("tick", TICKS)
@pytest.mark.parametrize("side", SIDES)
def test_amounts_are_the_decimal_clients_over_many_sizes(side: str, tick: str) -> None:
    sizes = 40 * min(10, TICKS[tick])
    check_limits(tick, side, sizes, "many")
    check_markets(tick, side, sizes, "many")


def float_client() -> OrderBuilder:
    return OrderBuilder(Signer(KEY, 137))


@pytest.mark.parametrize("tick", TICKS)
@pytest.mark.parametrize("side", SIDES)
def test_limit_amounts_are_the_float_clients_wherever_it_keeps_the_size(side: str, tick: str) -> None:
    official, draw, kept, lost = float_client(), random.Random(tick + side), 0, 0
    for price_e4 in range(TICKS[tick], 10_000, TICKS[tick]):
        shares_e2 = draw.randrange(500, 1_000_000)
        _, *theirs = official.get_order_amounts(
            side, shares_e2 / 100, price_e4 / 10_000, ROUNDING_CONFIG[tick]
        )
        ours = order_amounts(side, price_e4, shares_e2 * 10_000, tick_e4=TICKS[tick])
        if theirs[side == "BUY"] == shares_e2 * 10_000:
            kept += 1
            assert ours == tuple(theirs)
        else:
            # floor(size * 100) of a float such as 0.29 loses a hundredth of a share; integers do not.
            lost += 1
            assert theirs[side == "BUY"] == (shares_e2 - 1) * 10_000
    assert kept > 5 * lost


@pytest.mark.parametrize("tick", ["0.1", "0.01"])
@pytest.mark.parametrize("side", SIDES)
def test_market_amounts_are_the_float_clients_wherever_it_keeps_amount_and_price(
    side: str, tick: str
) -> None:
    """Finer ticks are left out: there the client sends five or six decimals, which the server refuses."""
    official, draw, kept = float_client(), random.Random(tick + side), 0
    for price_e4 in range(TICKS[tick], 10_000, TICKS[tick]):
        for _ in range(20):
            amount_e2 = draw.randrange(100, 1_000_000)
            _, *theirs = official.get_market_order_amounts(
                side, amount_e2 / 100, price_e4 / 10_000, ROUNDING_CONFIG[tick]
            )
            if theirs[0] != amount_e2 * 10_000 or round(price_e4 / 10_000 * 100) != int(
                price_e4 / 10_000 * 100
            ):
                continue  # its float floor lost a hundredth of the amount or of the price
            ours = market_amounts(side, amount_e2 * 10_000, price_e4, tick_e4=TICKS[tick])
            kept += ours == tuple(theirs)
            assert abs(ours[1] - theirs[1]) <= 1000, "float noise moves the client by one step at most"
    assert kept > (1000 if tick == "0.01" else 50)


def test_the_float_client_would_send_a_price_off_the_grid_that_is_refused_here() -> None:
    _, *theirs = float_client().get_order_amounts("BUY", 5.0, 0.485, ROUNDING_CONFIG["0.01"])
    assert theirs == [2_400_000, 5_000_000]  # another price than was asked for
    with pytest.raises(OrderRuleError, match="multiple of the tick"):
        order_amounts("BUY", 4850, 5_000_000, tick_e4=100)
