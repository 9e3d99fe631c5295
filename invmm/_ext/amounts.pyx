"""Exact amounts of orders: the venue's rounding rules in integers, and the rule that an order breaks, in
words.

Takes prices in 1e-4 dollars and sizes in 1e-6 shares; gives maker and taker amount in 1e-6 dollars and
shares. The kernels are pure, run without the GIL and return 0 or a negative `RULE_*`.
"""

from libc.stdint cimport int64_t

from invmm.errors import InvmmError
from invmm.types import OrderType

from invmm._ext.records cimport BUY, FAK, FOK, GTC, SELL


# 100 million shares or dollars: keeps products inside int64.
cdef int64_t SIZE_LIMIT_MICRO = 100_000_000_000_000

_RULES = {
    RULE_CAPACITY: "the buffer is too small for the bytes",
    RULE_SIDE: "side must be BUY or SELL",
    RULE_ORDER_TYPE: "order type must be GTC, GTD, FOK or FAK",
    RULE_TICK: "tick size must be 0.1, 0.01, 0.005, 0.0025, 0.001 or 0.0001",
    RULE_PRICE_TICK: "price must be a multiple of the tick size",
    RULE_PRICE_RANGE: "price must lie between one tick and one dollar less one tick",
    RULE_SIZE: "size must leave both amounts above zero after rounding (shares and market dollars to 0.01)",
    RULE_SIZE_LIMIT: "size must not exceed 100 million shares",
    RULE_MIN_SIZE: "size is lower than the market's minimum order size",
    RULE_MIN_NOTIONAL: "a market buy is lower than the minimum in dollars",
    RULE_EXPIRATION: "expiration must be a unix time in seconds for GTD and 0 for every other type",
    RULE_EXPIRATION_LEAD: "expiration is nearer than the venue accepts",
    RULE_POST_ONLY: "post-only goes with GTC and GTD only",
    RULE_SALT: "salt must be below 2^53",
    RULE_TIMESTAMP: "timestamp must be a positive unix time",
    RULE_SIGNING: "the curve library refused to sign",
    RULE_CAP_TOKEN: "signer cap: the token is not one that this signer may trade",
    RULE_CAP_PRICE: "signer cap: price must lie inside the signer's price range",
    RULE_CAP_SIZE: "signer cap: size must not exceed the signer's largest order",
    RULE_CAP_NOTIONAL: "signer cap: price times size must not exceed the signer's largest amount",
    RULE_CAP_RATE: "signer cap: more orders than the signer may sign in this time",
    RULE_CLOSED: "the signer is closed: its key was wiped",
}


class OrderRuleError(InvmmError, ValueError):
    """An order breaks a rule of the venue or a cap of its signer. `rule` is the negative status that the
    kernels return for it.
    """

    def __init__(self, rule, found):
        super().__init__(f"{rule_text(rule)}; found {found}")
        self.rule = rule


def rule_text(status):
    """The venue's rule behind a negative status of `build_c` or `headers_c`, in words."""
    return _RULES.get(status, f"unknown status {status}")


cdef inline int check_price(int64_t price_e4, int64_t tick_e4) noexcept nogil:
    if tick_e4 not in (100, 10, 1000, 50, 25, 1):
        return RULE_TICK
    if price_e4 < tick_e4 or price_e4 > 10_000 - tick_e4:
        return RULE_PRICE_RANGE
    if price_e4 % tick_e4:
        return RULE_PRICE_TICK
    return 0


cdef inline int64_t market_grain(int64_t tick_e4) noexcept nogil:
    """Micro-units that the computed amount of a market order is rounded down to.

    The published table allows 3 (tick 0.1) to 6 decimals, the server refuses more than 4.
    """
    return 1000 if tick_e4 == 1000 else 100


cdef int order_amounts_c(
    int side, int order_type, int64_t price_e4, int64_t size_micro, int64_t tick_e4,
    int64_t* maker, int64_t* taker,
) noexcept nogil:
    """Amounts of an order of `size_micro` shares at limit `price_e4`; 0 or a `RULE_*`.

    GTC and GTD: shares are floored to 0.01 and dollars are their exact product with the price. FOK and FAK
    obey the market order's rounding: a buy spends floor(size x price) in whole cents and asks for what that
    buys, so never more than `size`.
    """
    cdef int64_t shares_e2, dollars_micro, status
    if side != BUY and side != SELL:
        return RULE_SIDE
    if order_type < GTC or order_type > FAK:
        return RULE_ORDER_TYPE
    status = check_price(price_e4, tick_e4)
    if status:
        return <int>status
    if size_micro > SIZE_LIMIT_MICRO:
        return RULE_SIZE_LIMIT
    if size_micro <= 0:
        return RULE_SIZE
    if order_type == FOK or order_type == FAK:
        if side == SELL:
            return market_amounts_c(SELL, size_micro, price_e4, tick_e4, maker, taker)
        # 1e-6 shares x 1e-4 dollars is 1e-10 dollars: whole cents are 1e8 of them.
        return market_amounts_c(
            BUY, size_micro * price_e4 // 100_000_000 * 10_000, price_e4, tick_e4, maker, taker
        )
    shares_e2 = size_micro // 10_000
    if shares_e2 == 0:
        return RULE_SIZE
    dollars_micro = shares_e2 * price_e4        # 1e-2 shares x 1e-4 dollars = 1e-6 dollars, exactly
    maker[0] = dollars_micro if side == BUY else shares_e2 * 10_000
    taker[0] = shares_e2 * 10_000 if side == BUY else dollars_micro
    return 0


cdef int market_amounts_c(
    int side, int64_t amount_micro, int64_t price_e4, int64_t tick_e4, int64_t* maker, int64_t* taker
) noexcept nogil:
    """Amounts of a market order that gives `amount_micro` (dollars of a BUY, shares of a SELL) at worst
    `price_e4`.

    Given: floored to 0.01. Asked for: floored to four decimals (three at tick 0.1). The official rule rounds
    up four places further out first; with prices of at most four decimals that never reaches the next step,
    so flooring is the same.
    """
    cdef int64_t given_e2, grain, status
    if side != BUY and side != SELL:
        return RULE_SIDE
    status = check_price(price_e4, tick_e4)
    if status:
        return <int>status
    if amount_micro > SIZE_LIMIT_MICRO:
        return RULE_SIZE_LIMIT
    if amount_micro <= 0:
        return RULE_SIZE
    given_e2 = amount_micro // 10_000
    grain = market_grain(tick_e4)
    maker[0] = given_e2 * 10_000
    if side == BUY:
        # Shares in grains: given_e2 / 1e2 / (price_e4 / 1e4) x 1e6 / grain.
        taker[0] = given_e2 * (100_000_000 // grain) // price_e4 * grain
    else:
        taker[0] = given_e2 * price_e4 // grain * grain
    return 0 if maker[0] > 0 and taker[0] > 0 else RULE_SIZE


def order_amounts(side, int64_t price_e4, int64_t size_micro, *, int64_t tick_e4, order_type="GTC"):
    """Maker and taker amount of an order of so many shares at a limit price.

    Parameters
    ----------
    side
        `Side` or "BUY" / "SELL".
    price_e4
        Limit price in 1e-4 dollars, on the tick.
    size_micro
        Shares in 1e-6, floored to 0.01 shares for resting orders and sells.
    tick_e4
        Tick size in 1e-4 dollars: 1000, 100, 50, 25, 10 or 1.
    order_type
        `OrderType` or its name. FOK and FAK round as market orders do: a buy gives whole cents.

    Returns
    -------
    tuple of int
        (maker amount, taker amount): micro-dollars and micro-shares for a BUY, the other way round for a
        SELL.

    Raises
    ------
    OrderRuleError
        With the rule of the venue that the order would break.
    """
    cdef int64_t maker = 0, taker = 0
    status = order_amounts_c(
        side_of(side), order_type_of(order_type), price_e4, size_micro, tick_e4, &maker, &taker
    )
    if status:
        raise OrderRuleError(status, f"price_e4={price_e4}, size_micro={size_micro}, tick_e4={tick_e4}")
    return maker, taker


def market_amounts(side, int64_t amount_micro, int64_t price_e4, *, int64_t tick_e4):
    """Maker and taker amount of a market order that gives an amount at a worst price.

    Parameters
    ----------
    amount_micro
        What is given: micro-dollars of a BUY, micro-shares of a SELL; floored to 0.01.
    price_e4
        The worst price accepted, in 1e-4 dollars, on the tick.

    Returns
    -------
    tuple of int
        As `order_amounts`.
    """
    cdef int64_t maker = 0, taker = 0
    status = market_amounts_c(side_of(side), amount_micro, price_e4, tick_e4, &maker, &taker)
    if status:
        raise OrderRuleError(status, f"price_e4={price_e4}, amount_micro={amount_micro}, tick_e4={tick_e4}")
    return maker, taker


cdef int side_of(object side) except -1:
    if isinstance(side, str):
        if side not in ("BUY", "SELL"):
            raise OrderRuleError(RULE_SIDE, repr(side))
        return BUY if side == "BUY" else SELL
    if side not in (BUY, SELL):
        raise OrderRuleError(RULE_SIDE, repr(side))
    return side


cdef int order_type_of(object order_type) except -1:
    try:
        return OrderType[order_type] if isinstance(order_type, str) else OrderType(order_type)
    except (KeyError, ValueError):
        raise OrderRuleError(RULE_ORDER_TYPE, repr(order_type)) from None
