"""What the venue refuses at the door, in its order and with its words.

Texts are the venue's where one is documented or was observed; those marked (ours) are not known word for
word.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from invmm.types import PRICE_ONE_E4, OrderType, Outcome, Reason, Side

MAX_BATCH = 15
MAX_CANCELS = 1000
CENT_SHARE_MICRO = 10_000  # sizes have two decimals at every tick
MARKETABLE_MIN_MICRO = 1_000_000  # a marketable BUY must be worth at least one dollar

POST_ONLY_CROSSES = "invalid post-only order: order crosses book"
POST_ONLY_TYPE = "invalid post-only order: only GTC and GTD orders can be post-only"  # (ours)
FOK_KILLED = "order couldn't be fully filled. FOK orders are fully filled or killed."
FAK_KILLED = (
    "no orders found to match with FAK order. FAK orders are partially filled or killed if no match is found."
)
NOT_READY = "the market is not yet ready to process new orders"
TOO_OLD = "invalid timestamp: the order is too old"  # (ours)
NOT_INSERTED = "could not insert order"
NO_MARKET = "market not found"
NO_BOOK = "No orderbook exists for the requested token id"
INVALID_EXPIRATION = "invalid expiration"
TOO_OLD = "invalid timestamp"  # (ours)
INVALID_PAYLOAD = "Invalid order payload"
NOT_FOUND = "Order not found or already canceled"
ALREADY_MATCHED = "Order already matched"
HELD = "order can't be canceled while its match is delayed"  # (ours)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that ends a request: HTTP status, the venue's text and what the engine makes of it."""

    status: int
    text: str
    reason: Reason = Reason.VENUE_REJECTED


@dataclass(frozen=True, slots=True)
class Who:
    """Names of a trader on the wire: API key (UUID), address that pays, address of the account's key."""

    api_key: str = ""
    address: str = ""
    account: str = ""


@dataclass(slots=True)
class OrderRequest:
    """An order as it arrives. `making_micro` and `taking_micro` are the signed amounts, -1 when only a size
    was given.
    """

    order_id: bytes
    token: Outcome
    side: Side
    price_e4: int
    size_micro: int
    order_type: OrderType = OrderType.GTC
    post_only: bool = False
    expiration_s: int = 0
    key: int = 0
    batch: int = 0
    market: int = 0
    making_micro: int = -1
    taking_micro: int = -1
    who: Who | None = None  # None: the venue's one account

    def is_of(self, account: str) -> bool:
        """Whether the order belongs to this account or API key; everything does when either is not said."""
        return not account or self.who is None or account in (self.who.account, self.who.api_key)

    @property
    def id_text(self) -> str:
        """The id as the wire spells it."""
        return "0x" + self.order_id.hex()


@lru_cache(maxsize=1 << 14)
def decimal(value: int, digits: int) -> str:
    """An integer with `digits` decimals as the venue writes it: no trailing zeros ("0.5", "12", "0")."""
    whole, rest = divmod(value, 10**digits)
    fraction = f"{rest:0{digits}d}".rstrip("0")
    return f"{whole}.{fraction}" if fraction else str(whole)


def cost_micro(size_micro: int, price_e4: int, side: Side) -> int:
    """Micro-dollars of `size_micro` at `price_e4`; a fraction is paid by whoever pays, so it never makes
    money.
    """
    product = size_micro * price_e4
    return -(-product // PRICE_ONE_E4) if side == Side.BUY else product // PRICE_ONE_E4


def taker_fee_micro(size_micro: int, price_e4: int, fee_rate: float) -> int:
    """Taker fee in micro-dollars: C·r·p·(1−p), rounded half up to 5 decimals of a dollar, nothing below
    0.00001.
    """
    rate_e6 = round(fee_rate * 1_000_000)
    exact = size_micro * rate_e6 * price_e4 * (PRICE_ONE_E4 - price_e4)  # micro-dollars times 1e14
    step = 10 * 10**14
    return 0 if exact < step else (2 * exact + step) // (2 * step) * 10


def check_shape(
    request: OrderRequest, *, tick_e4: int, min_size_micro: int, now_s: float, gtd_min_ahead_s: int
) -> Refusal | None:
    """The checks that need neither book nor balance, in the venue's order: price, size, amounts, expiration,
    post-only.
    """
    name = f"order {request.id_text} is invalid. "
    price, size = request.price_e4, request.size_micro
    if price % tick_e4 or not tick_e4 <= price <= PRICE_ONE_E4 - tick_e4:
        text = (
            f"{name}Price ({decimal(max(0, price), 4)}) breaks minimum tick size rule: {decimal(tick_e4, 4)}"
        )
        return Refusal(400, text)
    if size < min_size_micro:
        text = f"{name}Size ({decimal(max(0, size), 6)}) lower than the minimum: {decimal(min_size_micro, 6)}"
        return Refusal(400, text, Reason.BELOW_MIN_SIZE)
    refusal = _check_amounts(request, tick_e4)
    if refusal is not None:
        return refusal
    if request.order_type == OrderType.GTD:
        if request.expiration_s < now_s + gtd_min_ahead_s:
            return Refusal(400, INVALID_EXPIRATION)
    elif request.expiration_s:
        return Refusal(400, INVALID_EXPIRATION)
    if request.post_only and request.order_type not in (OrderType.GTC, OrderType.GTD):
        return Refusal(400, POST_ONLY_TYPE)
    return None


# Decimals of the collateral amount by tick.
_AMOUNT_DECIMALS = {1000: 3, 100: 4, 50: 5, 25: 6, 10: 5, 1: 6}


def _check_amounts(request: OrderRequest, tick_e4: int) -> Refusal | None:
    buys = request.side == Side.BUY
    verb = "buy" if buys else "sell"
    collateral = request.making_micro if buys else request.taking_micro
    if request.order_type in (OrderType.FOK, OrderType.FAK):
        # Market orders at every tick: what is given has 2 decimals, what is wanted at most 4. An order that
        # came with a size alone (in process) is a limit on shares and price, so only its shares are held to
        # two decimals.
        if request.making_micro >= 0:
            fits = request.making_micro % 10_000 == 0 and request.taking_micro % 100 == 0
        else:
            fits = request.size_micro % CENT_SHARE_MICRO == 0
        if fits:
            return None
        return Refusal(
            400,
            f"invalid amounts, the market {verb} orders maker amount supports a max accuracy of 2 decimals, "
            "taker amount a max of 4 decimals",
        )
    if request.size_micro % CENT_SHARE_MICRO:
        places = _AMOUNT_DECIMALS.get(tick_e4, 6)
        maker, taker = (places, 2) if buys else (2, places)
        return Refusal(
            400,
            f"invalid amounts, the {verb} orders maker amount supports a max accuracy of {maker} decimals, "
            f"taker amount a max of {taker} decimals",
        )
    exact = request.size_micro * request.price_e4 // PRICE_ONE_E4
    if collateral >= 0 and collateral != exact:
        given = "maker" if buys else "taker"
        return Refusal(
            400,
            f"invalid amounts, the {given} amount for a ${decimal(request.price_e4, 4)} order of size "
            f"{decimal(request.size_micro, 6)} should be '{decimal(exact, 6)}' but the value submited is "
            f"'{decimal(collateral, 6)}'",
        )
    return None


def duplicated(request: OrderRequest) -> Refusal:
    """The same hash is known already."""
    return Refusal(400, f"order {request.id_text} is invalid. Duplicated.")


def balance_short(balance_micro: int, amount_micro: int) -> Refusal:
    """The strict gate of 11.3; both figures are 6-decimal integers as on the wire."""
    text = (
        f"not enough balance / allowance: the balance is not enough -> balance: {balance_micro}, "
        f"order amount: {amount_micro}"
    )
    return Refusal(400, text, Reason.VENUE_BALANCE)


def allowance_short(spender: str, allowance_micro: int, amount_micro: int) -> Refusal:
    """The exchange may not take that much of the collateral. (The end of the text is ours.)"""
    text = (
        f"not enough balance / allowance: the allowance is not enough -> spender: {spender}, "
        f"allowance: {allowance_micro}, order amount: {amount_micro}"
    )
    return Refusal(400, text, Reason.VENUE_BALANCE)


def marketable_too_small(amount_micro: int) -> Refusal:
    """A BUY that would match must be worth at least $1."""
    return Refusal(
        400, f"invalid amount for a marketable BUY order (${decimal(amount_micro, 6)}), min size: $1"
    )


def too_many(count: int) -> Refusal:
    """More than 15 orders in one request."""
    return Refusal(400, f"Too many orders in payload: {count}, max allowed: {MAX_BATCH}")
