"""The inventory strategy in integers: imbalance, ladder, pair test, taker and diff.

Takes a policy's view, fills its actions. Prices are 1e-4 dollars, per-share money is micro-dollars
(`_micro`), sizes are micro-shares. Every rounding is against us: averages and fees up, bids down. Pure, no
allocation, no exception.

What it does differently from the original, on purpose:

- prices are floored to the tick in integers, so no tick is lost;
- levels that meet at a cap are one order, not several;
- one pair test shapes the quotes: where both would be unprofitable together, the heavy token's bid is
  lowered until the pair fits, and nothing is cancelled wholesale;
- imbalance is net shares over max(total shares, one full ladder), so that a few shares stop nothing;
- a taker order is at most the imbalance, pays its fee in the test, and one at a time is in flight;
- every quote is passive against both displayed books, and no bid meets a possibly live own order.

Bounds that keep every product within 64 bits: positions and sizes to 10^12 micro-shares, 2 dollars a share.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t

from invmm._ext.records cimport BUY, DOWN, UP
from invmm._ext.solver cimport (
    ACTION_CANCEL, ACTION_QUOTE, ACTION_TAKE, DECIDE_BAD_MARKET, DECIDE_BAD_ORDERS, DECIDE_BAD_POSITION,
    DECIDE_BAD_TICK, DECIDE_BAD_TOP, DECIDE_OK, MAX_ORDERS, ORDER_OPEN, ORDER_PENDING_NEW, ORDER_UNKNOWN,
    action_t, ladder_rule_t, own_order_t, policy_input_t, policy_output_t,
)


cdef enum:
    LOT_MICRO = 10_000          # the venue takes sizes with two decimals

    REASON_QUOTE = 1            # invmm.types.Reason
    REASON_TAKER = 2
    REASON_NOT_WANTED = 3
    REASON_NO_ASK = 20
    REASON_IMBALANCE = 21
    REASON_UNPROFITABLE = 22
    REASON_BELOW_MIN_PRICE = 23
    REASON_SELF_CROSS = 26
    REASON_POST_ONLY = 27
    REASON_BELOW_MIN_SIZE = 28

cdef int64_t MICRO = 1_000_000
cdef int64_t MAX_MICRO = 1_000_000_000_000      # of a position or a size
cdef int64_t TAKER_IMBALANCE_PPM = 100_000      # as in the original: no taker order below 10 %
cdef int64_t MIN_TAKER_MICRO = 1_000_000        # the venue's minimum for a marketable buy: 1 dollar
cdef int64_t SAME_SIZE_MICRO = 100_000          # least size difference for which an order is replaced


cdef inline int64_t ceil_div(int64_t a, int64_t b) noexcept nogil:
    """Return a / b rounded up, for a >= 0 and b > 0."""
    return (a + b - 1) // b


cdef int check_view(const policy_input_t* view) noexcept nogil:
    """Return DECIDE_OK if every number is within the bounds that the arithmetic needs."""
    cdef:
        int i
        int token

    if view.tick_e4 <= 0 or view.tick_e4 > 1000 or ONE_E4 % view.tick_e4 != 0:
        return DECIDE_BAD_TICK
    if view.min_size_micro < 0 or view.fee_rate_ppm < 0 or view.fee_rate_ppm > MICRO:
        return DECIDE_BAD_MARKET
    for token in range(2):
        if not 0 <= view.position_micro[token] <= MAX_MICRO:
            return DECIDE_BAD_POSITION
        if not 0 <= view.cost_micro[token] <= 2 * MAX_MICRO:
            return DECIDE_BAD_POSITION
        # 1e-4 dollars to 0.9999, or -1; a book at 0 or 1 dollar cannot be
        if view.top[token].bid_e4 != -1 and not 0 < view.top[token].bid_e4 < ONE_E4:
            return DECIDE_BAD_TOP
        if view.top[token].ask_e4 != -1 and not 0 < view.top[token].ask_e4 < ONE_E4:
            return DECIDE_BAD_TOP
        if view.top[token].bid_micro < 0 or view.top[token].ask_micro < 0:
            return DECIDE_BAD_TOP
    if not 0 <= view.n_orders <= MAX_ORDERS:
        return DECIDE_BAD_ORDERS
    for i in range(view.n_orders):
        if view.orders[i].token > DOWN or not ORDER_OPEN <= view.orders[i].state <= ORDER_UNKNOWN:
            return DECIDE_BAD_ORDERS
    return DECIDE_OK


cdef inline void read_holding(const policy_input_t* view, int token, half_t* half) noexcept nogil:
    """Set held, cost and average. Shares that cost nothing tell nothing about a pair's cost and are left
    out, as in the original; more than two dollars a share is rounding on dust and is read as two.
    """
    half.held = view.position_micro[token] if view.cost_micro[token] > 0 else 0
    half.cost = view.cost_micro[token] if view.cost_micro[token] < 2 * half.held else 2 * half.held
    half.average = ceil_div(half.cost * MICRO, half.held) if half.held > 0 else 0


cdef inline int64_t projected(const ladder_rule_t* rule, const half_t* half, int64_t price) noexcept nogil:
    """Return the average after one order at `price` (1e-4) fills, rounded up; as it is now for price 0."""
    if price == 0:
        return half.average
    return ceil_div((half.cost * ONE_E4 + rule.order_micro * price) * 100, half.held + rule.order_micro)


cdef inline int64_t projected_pair(const ladder_rule_t* rule, const half_t* halves) noexcept nogil:
    cdef int64_t up = projected(rule, &halves[UP], halves[UP].price)

    return up + projected(rule, &halves[DOWN], halves[DOWN].price)


cdef inline int32_t highest_within(
    const ladder_rule_t* rule, const half_t* half, int64_t average, int32_t tick
) noexcept nogil:
    """Return the highest bid whose fill leaves the average at or below `average`; 0 if there is none."""
    cdef int64_t room = average * (half.held + rule.order_micro) // 100 - half.cost * ONE_E4

    if average <= 0 or room <= 0:
        return 0
    room = room // (rule.order_micro * tick) * tick
    return <int32_t>room if room < ONE_E4 else ONE_E4


cdef inline void drop_below_minimum(half_t* half) noexcept nogil:
    if half.price < MIN_PRICE_E4:
        half.price = 0
        if half.reason == 0:
            half.reason = REASON_UNPROFITABLE


cdef void lower_both(const ladder_rule_t* rule, half_t* halves, int64_t budget, int32_t tick) noexcept nogil:
    """Lower both bids by the same number of ticks, the least that makes the pair fit."""
    cdef:
        int64_t held = halves[UP].held if halves[UP].held < halves[DOWN].held else halves[DOWN].held
        int64_t excess = projected_pair(rule, halves) - budget - 2
        int64_t sum_excess = halves[UP].price + halves[DOWN].price + tick - ONE_E4
        int64_t ticks = 0

    # A lower bound in closed form, then tick by tick: each average was rounded up by less than one unit.
    if excess > 0:
        ticks = excess * (held + rule.order_micro) // rule.order_micro // (200 * <int64_t>tick)
    if sum_excess > 2 * ticks * tick:
        ticks = ceil_div(sum_excess, 2 * <int64_t>tick)
    while True:
        halves[UP].price -= <int32_t>ticks * tick
        halves[DOWN].price -= <int32_t>ticks * tick
        if halves[UP].price < MIN_PRICE_E4 or halves[DOWN].price < MIN_PRICE_E4:
            return
        if projected_pair(rule, halves) <= budget:
            return
        ticks = 1


cdef void lower_heavy(
    const ladder_rule_t* rule, half_t* heavy, const half_t* light, int64_t budget, int32_t tick
) noexcept nogil:
    """Lower the heavy token's bid, as little as makes the pair fit; 0 if no price does."""
    cdef int32_t limit = highest_within(rule, heavy, budget - projected(rule, light, light.price), tick)

    if limit > ONE_E4 - tick - light.price:
        limit = ONE_E4 - tick - light.price
    if limit < heavy.price:
        heavy.price = limit


cdef void fit_pair(const ladder_rule_t* rule, const policy_input_t* view, half_t* halves) noexcept nogil:
    """Lower the best bids until both may fill: the pair averages at most 1 - margin and they cannot meet.

    The heavy token gives way first, since its fills are the less wanted; with equal holdings both give way
    alike. A token that can neither be bid for nor is held leaves nothing to pair with: then the other is not
    quoted either.
    """
    cdef:
        int64_t budget = MICRO - rule.margin_micro
        int32_t tick = view.tick_e4
        int32_t limit
        int token

    if halves[UP].price > 0 and halves[DOWN].price > 0 and (
        halves[UP].price + halves[DOWN].price > ONE_E4 - tick or projected_pair(rule, halves) > budget
    ):
        if view.position_micro[UP] > view.position_micro[DOWN]:
            lower_heavy(rule, &halves[UP], &halves[DOWN], budget, tick)
        elif view.position_micro[UP] < view.position_micro[DOWN]:
            lower_heavy(rule, &halves[DOWN], &halves[UP], budget, tick)
        else:
            lower_both(rule, halves, budget, tick)
        drop_below_minimum(&halves[UP])
        drop_below_minimum(&halves[DOWN])
    for token in range(2):
        if halves[token].price > 0 and halves[1 - token].price == 0:
            limit = 0
            if halves[1 - token].average > 0:
                limit = highest_within(rule, &halves[token], budget - halves[1 - token].average, tick)
            if limit < halves[token].price:
                halves[token].price = limit
                drop_below_minimum(&halves[token])


cdef int32_t passive_limit(const policy_input_t* view, int token) noexcept nogil:
    """Return the highest bid that no displayed ask meets, for a token that has one; 0 if there is none."""
    cdef:
        int32_t ask = view.top[token].ask_e4
        int32_t other_bid = view.top[1 - token].bid_e4

    # The mirror law makes these two equal; while one book lags the other, the lower one is the safe one.
    if other_bid > 0 and ONE_E4 - other_bid < ask:
        ask = ONE_E4 - other_bid
    return floor_to_tick(<int64_t>(ask - 1) * 100, view.tick_e4)


cdef void price_best(
    const ladder_rule_t* rule,
    const policy_input_t* view,
    int token,
    int64_t net,
    int64_t base,
    half_t* halves,
) noexcept nogil:
    """Find one token's best bid on its own, or why there is none. `net`: micro-shares it is ahead."""
    cdef:
        half_t* half = &halves[token]
        int other = 1 - token
        int64_t cap = MICRO - rule.margin_micro
        int32_t passive = view.top[token].ask_e4
        int32_t price

    half.price = 0
    half.reason = 0
    if rule.num_levels == 0:
        half.reason = REASON_NOT_WANTED
    elif rule.order_micro < view.min_size_micro:
        half.reason = REASON_BELOW_MIN_SIZE
    elif net * MICRO >= rule.max_imbalance_ppm * base:
        half.reason = REASON_IMBALANCE
    elif passive < 0:
        half.reason = REASON_NO_ASK
    if half.reason != 0:
        return

    half.anchor = <int64_t>passive * 100 - rule.offset_micro
    if net > 0:
        half.anchor -= ceil_div(rule.offset_micro * net, base)
    if halves[other].average > 0:
        cap -= halves[other].average
    elif view.top[other].ask_e4 > 0:
        cap -= <int64_t>view.top[other].ask_e4 * 100
    else:
        cap -= MICRO // 2
    passive = passive_limit(view, token)
    price = floor_to_tick(half.anchor if half.anchor < cap else cap, view.tick_e4)
    if price < MIN_PRICE_E4:
        half.reason = REASON_UNPROFITABLE if cap < half.anchor else REASON_BELOW_MIN_PRICE
    elif passive < MIN_PRICE_E4:
        half.reason = REASON_POST_ONLY
    else:
        half.price = price if price < passive else passive


cdef void expand_levels(const ladder_rule_t* rule, int32_t tick, half_t* half) noexcept nogil:
    """List the ladder: levels step down from the anchor, none above the best bid, one order per price."""
    cdef:
        int32_t price
        int level

    half.n = 0
    if half.price == 0:
        return
    for level in range(rule.num_levels):
        price = floor_to_tick(half.anchor - level * rule.spread_micro, tick)
        if price > half.price:
            price = half.price
        if price < MIN_PRICE_E4:
            break
        if half.n > 0 and price == half.prices[half.n - 1]:
            continue
        half.prices[half.n] = price
        half.levels[half.n] = <uint8_t>level
        half.served[half.n] = False
        half.n += 1


cdef inline action_t* add_action(
    policy_output_t* out, uint8_t kind, int token, uint8_t reason, int32_t price, int64_t size
) noexcept nogil:
    cdef action_t* action = &out.actions[out.n_actions]

    action.kind = kind
    action.token = <uint8_t>token
    action.side = BUY
    action.level = 0
    action.reason = reason
    action.price_e4 = price
    action.size_micro = size
    action.key = 0
    out.n_actions += 1
    return action


cdef inline bint meets_own(const half_t* halves, int token, int32_t price) noexcept nogil:
    """Tell whether a buy could match an own order: a mirror bid that completes 1 dollar, or an offer."""
    return price + halves[1 - token].highest_buy >= ONE_E4 or price >= halves[token].lowest_sell


cdef inline bint serve_slot(
    const ladder_rule_t* rule, const own_order_t* order, half_t* half
) noexcept nogil:
    """Give a live order its slot if one is free at its price and size; one order serves one slot."""
    cdef:
        int64_t gap = order.remaining_micro - rule.order_micro
        int64_t tolerance = rule.order_micro // 100
        int k

    if order.side != BUY:
        return False
    if tolerance < SAME_SIZE_MICRO:
        tolerance = SAME_SIZE_MICRO
    if gap >= tolerance or -gap >= tolerance:
        return False
    for k in range(half.n):
        if half.prices[k] == order.price_e4 and not half.served[k]:
            half.served[k] = True
            return True
    return False


cdef void diff_token(
    const ladder_rule_t* rule, const policy_input_t* view, int token, half_t* half, policy_output_t* out
) noexcept nogil:
    """Cancel resting orders of one token that serve no slot. Orders of unknown fate are left alone."""
    cdef:
        const own_order_t* order
        action_t* action
        int i

    for i in range(view.n_orders):
        order = &view.orders[i]
        if order.token != token or order.is_taker or order.state > ORDER_PENDING_NEW:
            continue
        if not serve_slot(rule, order, half):
            action = add_action(
                out, ACTION_CANCEL, token, half.reason if half.n == 0 else REASON_NOT_WANTED,
                order.price_e4, order.remaining_micro,
            )
            action.key = order.key
            action.side = order.side


cdef int64_t taker_size(
    const ladder_rule_t* rule, const policy_input_t* view, int light, int64_t net, const half_t* halves
) noexcept nogil:
    """Return how many micro-shares of the light token to take at its ask, 0 for none.

    The pair's average after the take, fee included, must stay at or below 1 - margin. Fee per share:
    rate*p*(1-p).
    """
    cdef:
        int heavy = 1 - light
        int64_t price = view.top[light].ask_e4
        int64_t size = net
        int64_t paid
        int i

    if price < 0 or view.top[light].ask_is_ours or halves[heavy].average == 0:
        return 0
    for i in range(view.n_orders):
        if view.orders[i].is_taker and view.orders[i].remaining_micro > 0:
            return 0
    if view.top[light].ask_micro < size:
        size = view.top[light].ask_micro
    if rule.order_micro < size:
        size = rule.order_micro
    size -= size % LOT_MICRO
    if size < view.min_size_micro or size * price < MIN_TAKER_MICRO * ONE_E4:
        return 0
    if meets_own(halves, light, <int32_t>price):
        return 0
    paid = price * 100 + ceil_div(view.fee_rate_ppm * price * (ONE_E4 - price), 100_000_000)
    if halves[light].held > 0:
        paid = ceil_div(halves[light].cost * MICRO + size * paid, halves[light].held + size)
    return size if halves[heavy].average + paid <= MICRO - rule.margin_micro else 0


cdef void note_orders(const policy_input_t* view, half_t* halves) noexcept nogil:
    """Set highest_buy and lowest_sell of both tokens from the orders that may be alive."""
    cdef:
        half_t* half
        int32_t price
        int i

    for i in range(2):
        halves[i].highest_buy = 0
        halves[i].lowest_sell = ONE_E4
    for i in range(view.n_orders):
        half = &halves[view.orders[i].token]
        price = view.orders[i].price_e4
        if view.orders[i].remaining_micro <= 0:
            continue
        if view.orders[i].side == BUY:
            if price > half.highest_buy:
                half.highest_buy = price
        elif price < half.lowest_sell:
            half.lowest_sell = price


cdef void emit_quotes(
    const ladder_rule_t* rule, const policy_input_t* view, half_t* halves, policy_output_t* out
) noexcept nogil:
    """Fill cancels, quotes and reasons from the price, anchor and reason of both tokens; `note_orders` first.

    A ladder steps down from the anchor, no level above the price. A token of price 0 has its orders cancelled
    for its reason.
    """
    cdef:
        half_t* half
        action_t* action
        int token
        int kept
        int k

    for token in range(2):
        expand_levels(rule, view.tick_e4, &halves[token])
        diff_token(rule, view, token, &halves[token], out)
    for token in range(2):
        half = &halves[token]
        kept = 0
        for k in range(half.n):
            if half.served[k]:
                kept += 1
            elif not meets_own(halves, token, half.prices[k]):
                action = add_action(out, ACTION_QUOTE, token, REASON_QUOTE, half.prices[k], rule.order_micro)
                action.level = half.levels[k]
                kept += 1
        out.reason[token] = 0
        if kept == 0:
            out.reason[token] = half.reason if half.n == 0 else REASON_SELF_CROSS


cdef void decide_integers(
    const ladder_rule_t* rule, const policy_input_t* view, policy_output_t* out
) noexcept nogil:
    """Fill the actions of one decision for a view that `check_view` accepted."""
    cdef:
        half_t[2] halves
        int64_t net = view.position_micro[UP] - view.position_micro[DOWN]
        int64_t base = view.position_micro[UP] + view.position_micro[DOWN]
        int64_t take = 0
        int light = DOWN if net > 0 else UP

    if base < rule.floor_micro:
        base = rule.floor_micro
    out.n_actions = 0
    out.imbalance = <double>net / <double>base
    read_holding(view, UP, &halves[UP])
    read_holding(view, DOWN, &halves[DOWN])
    note_orders(view, halves)
    price_best(rule, view, UP, net, base, halves)
    price_best(rule, view, DOWN, -net, base, halves)
    fit_pair(rule, view, halves)
    if net < 0:
        net = -net
    if net * MICRO >= TAKER_IMBALANCE_PPM * base and net > 0:
        take = taker_size(rule, view, light, net, halves)
        # From here on it is an order that may be live: no quote of this decision may meet it.
        if take > 0 and view.top[light].ask_e4 > halves[light].highest_buy:
            halves[light].highest_buy = view.top[light].ask_e4

    emit_quotes(rule, view, halves, out)
    if take > 0:
        add_action(out, ACTION_TAKE, light, REASON_TAKER, view.top[light].ask_e4, take)
