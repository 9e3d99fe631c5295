"""What one market could cost at worst, in integers: checked on everything that may be alive at once.

    up over down   = high(Up) − low(Down) + bids Up + offers Down      ≤ max_direction
    down over up   = high(Down) − low(Up) + bids Down + offers Up      ≤ max_direction
    cash           = spent + Σ bids size·price·(1 + fee)               ≤ max_cash
    cash needed    = unsettled buys + Σ bids size·price·(1 + fee)      ≤ funds, where known
    offers of k    + reserved for a merge                              ≤ low(k)
    gross          = Σ sizes                                           ≤ max_gross
    orders                                                             ≤ max_orders
    bid Up + bid Down < 1 dollar, offer Up + offer Down > 1 dollar, own bid < own offer of a token

The sums run over every order that may be alive, whatever its state, with its unfilled size. Positions are
intervals: a provisional buy raises only `high`, a provisional sell lowers only `low`. Every left side grows
with the set of orders, and a fill moves a size from the sums into the interval with the same coefficient. So
a set that is within the limits stays within them whichever of its orders reach the venue, in whatever order,
however far they fill: checking old and new orders together, once, covers every state between.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memset

from invmm._ext.evidence cimport DUST_MICRO, SAID_CANCELED, SAID_CLOSED, order_t
from invmm._ext.records cimport (
    BUY, DOWN, FOK, R_CASH, R_DIRECTION, R_GROSS, R_ORDER_LIMIT, R_SELF_CROSS, SELL, UP
)
from invmm._ext.registry cimport MAX_ENDED, Registry

cdef enum:
    ONE_E4 = 10000
    NO_ASK = 20000
    OWING = 256                 # ended orders looked at for matched shares without a leg

cdef int64_t LISTING_LAG_NS = 5000000000    # what the venue lists may be so old


cdef int64_t exposure_owed_c(const order_t* order, Registry registry) noexcept nogil:
    """Shares of an ended order whose fills may still be told.

    What a venue's answer said was matched. An acknowledged cancel does not say what was matched before it:
    all of the order, until the user channel's own word of its end, which does, or until trades are listed
    that were asked for afterwards.
    """
    cdef int64_t owed_micro = order.original_micro

    if not order.said & SAID_CANCELED or order.said & SAID_CLOSED or (
        order.ended_ns + LISTING_LAG_NS <= registry.listed_ns
    ):
        owed_micro = min(order.hinted_micro, owed_micro)
    return owed_micro - order.filled_micro


cdef void exposure_begin_c(exposure_t* sums, Registry registry, bint with_owed) noexcept nogil:
    """Positions of a market and what ended orders still owe, and no order yet.

    An order may end before its fills are told: what it may still owe counts until they are, `with_owed`.
    """
    cdef:
        int token
        uint64_t i
        uint64_t first = registry.owing_from
        bint owing = False
        const order_t* order
        int64_t owed_micro

    memset(sums, 0, sizeof(exposure_t))
    for token in range(2):
        sums.lowest_ask_e4[token] = NO_ASK
        sums.high_micro[token] = registry.confirmed_micro[token] + registry.unsettled_buys_micro[token]
        sums.low_micro[token] = registry.confirmed_micro[token] - registry.unsettled_sells_micro[token]
        sums.reserved_micro[token] = registry.reserved_micro[token]
    sums.spent_e10 = registry.spent_e10
    sums.unsettled_e10 = registry.unsettled_e10
    if not with_owed:
        return
    if registry.n_ended > first + OWING:
        first = registry.n_ended - OWING
    for i in range(first, registry.n_ended):
        order = &registry.ended[i % MAX_ENDED]
        owed_micro = exposure_owed_c(order, registry)
        if order.key == 0 or owed_micro < DUST_MICRO:
            continue
        owing = True
        if order.side == BUY:
            sums.buys_micro[order.token] += owed_micro
            sums.bids_e10 += exposure_cost_c(
                order.price_e4, owed_micro, registry.fee_rate_ppm if order.order_type >= FOK else 0
            )
        else:
            sums.sells_micro[order.token] += owed_micro
    if not owing:
        registry.owing_from = registry.n_ended


cdef void exposure_of_c(exposure_t* sums, Registry registry) noexcept nogil:
    """Positions of a market and every order of it that may be alive."""
    cdef int i

    exposure_begin_c(sums, registry, True)
    for i in range(registry.n_live):
        exposure_order_c(sums, registry, &registry.live[i])


cdef void exposure_order_c(exposure_t* sums, Registry registry, const order_t* order) noexcept nogil:
    """One more order that may be alive. What takes pays the fee of the market's rule."""
    exposure_add_c(
        sums, order.token, order.side, order.price_e4, registry.exposed_c(order),
        registry.fee_rate_ppm if order.order_type >= FOK else 0,
    )


cdef void exposure_add_c(
    exposure_t* sums, int token, int side, int32_t price_e4, int64_t size_micro, int32_t fee_rate_ppm
) noexcept nogil:
    """One more order of `size_micro` unfilled shares."""
    sums.orders += 1
    sums.gross_micro += size_micro
    if side == BUY:
        sums.buys_micro[token] += size_micro
        sums.bids_e10 += exposure_cost_c(price_e4, size_micro, fee_rate_ppm)
        sums.highest_bid_e4[token] = max(sums.highest_bid_e4[token], price_e4)
    else:
        sums.sells_micro[token] += size_micro
        sums.lowest_ask_e4[token] = min(sums.lowest_ask_e4[token], price_e4)


cdef int64_t exposure_cost_c(int32_t price_e4, int64_t size_micro, int32_t fee_rate_ppm) noexcept nogil:
    """Cash that buying takes, 1e-10 dollars, the fee rounded up. Sizes up to 3·10^11 micro-shares."""
    cdef int64_t fee_e8 = 0

    if fee_rate_ppm:
        fee_e8 = <int64_t> price_e4 * (ONE_E4 - price_e4) * fee_rate_ppm // 1000000 + 1
    return price_e4 * size_micro + (fee_e8 * size_micro + 9999) // 10000


cdef uint8_t exposure_refuses_c(
    const exposure_t* sums, const bounds_t* bounds, int token, int side, int32_t price_e4, int64_t size_micro,
    bint takes,
) noexcept nogil:
    """The Reason why one more order would be too much, 0 if it fits."""
    cdef:
        int other = 1 - token
        int heavy = token if side == BUY else other     # which token's lead it would widen
        int light = 1 - heavy
        int64_t lead_micro = (
            sums.high_micro[heavy] - sums.low_micro[light] + sums.buys_micro[heavy] + sums.sells_micro[light]
        )
        int64_t cost_e10

    if sums.orders >= bounds.max_orders:
        return R_ORDER_LIMIT
    if side == BUY:
        # Our bids for both tokens that sum to a dollar or more would be minted against each other.
        if sums.highest_bid_e4[other] + price_e4 >= ONE_E4 or sums.lowest_ask_e4[token] <= price_e4:
            return R_SELF_CROSS
        cost_e10 = exposure_cost_c(price_e4, size_micro, bounds.fee_rate_ppm if takes else 0)
        if sums.spent_e10 + sums.bids_e10 + cost_e10 > bounds.max_cash_e10:
            return R_CASH
        if bounds.funds_e10 >= 0 and sums.unsettled_e10 + sums.bids_e10 + cost_e10 > bounds.funds_e10:
            return R_CASH
    else:
        if sums.lowest_ask_e4[other] + price_e4 <= ONE_E4 or sums.highest_bid_e4[token] >= price_e4:
            return R_SELF_CROSS
        if sums.sells_micro[token] + size_micro + sums.reserved_micro[token] > sums.low_micro[token]:
            return R_CASH
    if lead_micro + size_micro > bounds.max_direction_micro:
        return R_DIRECTION
    if sums.gross_micro + size_micro > bounds.max_gross_micro:
        return R_GROSS
    return 0


cdef uint8_t exposure_exceeds_c(const exposure_t* sums, const bounds_t* bounds) noexcept nogil:
    """The Reason why what is there already is too much, 0 if it is within the limits."""
    cdef int token

    if sums.orders > bounds.max_orders:
        return R_ORDER_LIMIT
    if sums.spent_e10 + sums.bids_e10 > bounds.max_cash_e10 and sums.bids_e10:
        return R_CASH
    if bounds.funds_e10 >= 0 and sums.unsettled_e10 + sums.bids_e10 > bounds.funds_e10 and sums.bids_e10:
        return R_CASH
    for token in range(2):
        if sums.sells_micro[token] and (
            sums.sells_micro[token] + sums.reserved_micro[token] > sums.low_micro[token]
        ):
            return R_CASH
        if sums.buys_micro[token] + sums.sells_micro[1 - token] and (
            sums.high_micro[token] - sums.low_micro[1 - token] + sums.buys_micro[token]
            + sums.sells_micro[1 - token] > bounds.max_direction_micro
        ):
            return R_DIRECTION
    if sums.gross_micro > bounds.max_gross_micro:
        return R_GROSS
    return 0


cdef class Exposure:
    """The sums of one market, filled by hand: what the engine's desk does, for tests and for people.

    Parameters
    ----------
    bounds : dict
        The fields of `bounds_t` by name, integers.
    """

    def __init__(self, dict bounds not None) -> None:
        names = set(<dict> self.bounds)
        if set(bounds) != names:
            raise ValueError(f"bounds: expected {sorted(names)}, got {sorted(bounds)}")
        self.bounds = bounds
        memset(&self.sums, 0, sizeof(exposure_t))
        self.sums.lowest_ask_e4[UP] = self.sums.lowest_ask_e4[DOWN] = NO_ASK

    def hold(
        self, int token, int64_t low_micro, int64_t high_micro, *, int64_t reserved_micro=0,
        int64_t spent_e10=0, int64_t unsettled_e10=0,
    ) -> None:
        """A token's position interval, and cash spent on it."""
        self._known(token, BUY)
        self.sums.low_micro[token], self.sums.high_micro[token] = low_micro, high_micro
        self.sums.reserved_micro[token] = reserved_micro
        self.sums.spent_e10 += spent_e10
        self.sums.unsettled_e10 += unsettled_e10

    def add(self, int token, int side, int32_t price_e4, int64_t size_micro, bint takes=False) -> None:
        """One more order that may be alive."""
        self._known(token, side)
        exposure_add_c(
            &self.sums, token, side, price_e4, size_micro, self.bounds.fee_rate_ppm if takes else 0
        )

    def refusal(self, int token, int side, int32_t price_e4, int64_t size_micro, bint takes=False) -> int:
        """The `Reason` why one more order would be too much, 0 if it fits."""
        self._known(token, side)
        return exposure_refuses_c(&self.sums, &self.bounds, token, side, price_e4, size_micro, takes)

    def excess(self) -> int:
        """The `Reason` why what is there already is too much, 0 if it is within the limits."""
        return exposure_exceeds_c(&self.sums, &self.bounds)

    def figures(self) -> dict[str, object]:
        """All sums by name."""
        return dict(<dict> self.sums)

    def _known(self, token, side):
        if token not in (UP, DOWN) or side not in (BUY, SELL):
            raise ValueError(f"token, side: expected 0 or 1 each, got {token}, {side}")
