"""The exposure algebra: what it admits stays within the limits, whatever arrives and however far it fills."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from invmm._ext.exposure import Exposure
from invmm.types import Side
from tests.reference.transaction import Bounds, Resting, State

SHARE = 1_000_000
BOUNDS = Bounds(direction=250 * SHARE, gross=400 * SHARE, cash_e10=150 * 10**10, orders=5)

orders = st.builds(
    Resting,
    st.integers(0, 1),
    st.sampled_from([Side.BUY, Side.BUY, Side.SELL]),
    st.integers(30, 70).map(lambda cents: cents * 100),
    st.integers(5, 200).map(lambda shares: shares * SHARE),
)
held = st.integers(0, 120).map(lambda shares: shares * SHARE)


def compiled(bounds: Bounds, state: State) -> Exposure:
    """The same sums in the compiled algebra."""
    sums = Exposure(
        {
            "max_direction_micro": bounds.direction,
            "max_gross_micro": bounds.gross,
            "max_cash_e10": bounds.cash_e10,
            "funds_e10": -1,
            "max_orders": bounds.orders,
            "fee_rate_ppm": 0,
        }
    )
    for token in (0, 1):
        sums.hold(token, state.low[token], state.high[token], spent_e10=state.spent_e10 if token == 0 else 0)
    for order in state.orders:
        sums.add(order.token, order.side, order.price_e4, order.left)
    return sums


@given(held, held, st.lists(orders, max_size=8))
@settings(deadline=None, max_examples=100)
def test_each_order_is_admitted_or_refused_as_by_the_twin(up: int, down: int, wanted: list[Resting]) -> None:
    state = State([up, down], [up, down])
    for new in wanted:
        sums = compiled(BOUNDS, state)
        refused = sums.refusal(new.token, new.side, new.price_e4, new.left)
        assert refused == state.refusal(BOUNDS, new)
        if not refused:
            state.orders.append(new)
    assert compiled(BOUNDS, state).excess() == 0


@given(st.data(), st.lists(orders, max_size=8))
@settings(deadline=None, max_examples=60)
def test_any_part_of_what_was_admitted_is_within_the_limits_however_far_it_fills(
    data: st.DataObject, wanted: list[Resting]
) -> None:
    admitted = State()
    for new in wanted:
        if not compiled(BOUNDS, admitted).refusal(new.token, new.side, new.price_e4, new.left):
            admitted.orders.append(new)
    true = State()
    for order in admitted.orders:
        if not data.draw(st.booleans(), "arrives"):
            continue
        filled = data.draw(st.integers(0, order.left), "filled")
        sign = 1 if order.side == Side.BUY else -1
        true.low[order.token] += sign * filled
        true.high[order.token] += sign * filled
        true.spent_e10 += sign * filled * order.price_e4
        if order.left > filled and data.draw(st.booleans(), "still rests"):
            true.orders.append(Resting(order.token, order.side, order.price_e4, order.left - filled))
        assert not true.breaches(BOUNDS)


@given(st.integers(1, 9_999), st.integers(5, 100_000), st.integers(0, 1_000_000))
def test_the_fee_of_an_order_that_takes_is_counted_and_rounded_up(price: int, shares: int, rate: int) -> None:
    sums = Exposure(
        {
            "max_direction_micro": 10**18,
            "max_gross_micro": 10**18,
            "max_cash_e10": 10**18,
            "funds_e10": -1,
            "max_orders": 9,
            "fee_rate_ppm": rate,
        }
    )
    sums.add(0, Side.BUY, price, shares * SHARE, True)
    exact = shares * SHARE * (price + rate * price * (10_000 - price) / 1e10)
    counted = sums.figures()["bids_e10"]
    assert isinstance(counted, int)
    assert exact - 1e-6 * exact <= counted <= exact + shares * SHARE / 1e4 + 1 + 1e-6 * exact
