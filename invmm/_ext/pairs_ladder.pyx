"""One token's bids: what they should be, which own orders stay, what is placed.

Levels are priced one after the other, each behind the better ones. What a bid earns if it is filled is

    edge = reservation − price − adverse selection at its distance behind the best bid + rebate

and a level is wanted at the highest price at which that is the half-spread, or at least the least edge. Where
adverse selection grows faster than the distance, lower bids earn less: then only the highest one comes into
question. A level is served by an own order that still keeps the least edge to its reservation and earns
something, unless the better price is worth more than the messages of the move.
"""

from libc.math cimport exp, log
from libc.stdint cimport int32_t, int64_t, uint8_t

from invmm._ext.quoting cimport MIN_PRICE_E4, ONE_E4, passive_limit
from invmm._ext.records cimport BUY
from invmm._ext.reservation cimport half_spread_of, reservation


cdef enum:
    REASON_NOT_WANTED = 3       # invmm.types.Reason
    REASON_NO_ASK = 20
    REASON_BELOW_MIN_PRICE = 23
    REASON_SELF_CROSS = 26
    REASON_POST_ONLY = 27
    REASON_BELOW_MIN_SIZE = 28
    REASON_LEAD = 117
    REASON_NARROWING = 118
    REASON_TOO_DEAR = 120
    REASON_PAIR_COST = 121
    REASON_MOVED = 122
    REASON_ADVERSE = 126

    LOT_MICRO = 10_000          # the venue takes sizes with two decimals

cdef double AGAINST_US = 1e-9   # dollars: more than the error of any figure here
cdef double DUST = 0.01         # shares
cdef double MOST_LOGIT = 40.0   # above, a share is worth a dollar to the last digit


cdef inline void quote_c(
    side_t* side, int32_t price_e4, int64_t size_micro, int level, bint offers
) noexcept nogil:
    side.price_e4[side.n_quotes] = price_e4
    side.size_micro[side.n_quotes] = size_micro
    side.level[side.n_quotes] = <uint8_t> level
    side.offers[side.n_quotes] = offers
    side.n_quotes += 1


cdef inline int32_t floor_price(const terms_t* terms, double price) noexcept nogil:
    """The highest tick at or below a price in dollars (below 2), 0 if there is none."""
    if not price > AGAINST_US:
        return 0
    return <int32_t> ((price - AGAINST_US) * terms.ticks) * terms.tick_e4


cdef inline double edge_of(
    const terms_t* terms, const side_t* side, double value, double price
) noexcept nogil:
    """What a filled bid earns, dollars per share, over its reservation `value`."""
    return (
        value - price - terms.base - terms.slope * max(side.best - price, 0.0)
        + terms.rebate * price * (1.0 - price)
    )


cdef inline double target(
    const pairs_rule_t* rule, const terms_t* terms, const side_t* side, double value, double needed
) noexcept nogil:
    """The price that is wanted for shares of a reservation price, before any cap, dollars; `needed`: to earn
    and to make up for adverse selection at the best bid.
    """
    needed -= terms.rebate * value * (1.0 - value)
    if value - needed < side.best and not is_steep(terms):
        needed = (needed + terms.slope * (side.best - value)) * terms.per_rest
    return value - max(needed, rule.min_edge)


cdef double earns(
    const terms_t* terms, const policy_input_t* view, int token, const side_t* side,
    double value, int32_t price_e4, double n, int64_t ahead_micro,
) noexcept nogil:
    """What a bid earns if a flow comes of its own size and what stands before it, dollars: its edge,
    by how often a price so far from fair is reached, by its part of that flow. `value`: its reservation.
    """
    cdef double price = dollars(price_e4)

    if ahead_micro < 0:
        ahead_micro = view.top[token].bid_micro if price_e4 <= view.top[token].bid_e4 else 0
    return (
        n * edge_of(terms, side, value, price) * exp(-terms.decay * max(0.0, side.fair - price))
        * n / (n + ahead_micro * 1e-6)
    )


cdef int ladder_c(
    const pairs_rule_t* rule, const terms_t* terms, const policy_input_t* view, int token, side_t* sides,
    uint8_t* ends, pairs_counters_t* counters,
) noexcept nogil:
    """One token's levels: which orders end and why, and what is placed. How many ends were noted."""
    cdef:
        side_t* side = &sides[token]
        side_t* other = &sides[1 - token]
        double most = rule.max_lead_micro * 1e-6
        double ahead = 0.0              # shares of the better own levels
        double room
        double free                     # … beside orders that are dying
        double held = 0.0               # shares of a group
        double value = 0.0              # reservation price …
        int64_t priced                  # … of so many resting shares, -1: of none
        double odds = -1.0              # that a share pays, risk in, at this level's lead; -1: not known
        double before = 0.0             # ln(1 + odds)
        double behind                   # … after the level
        double needed
        int64_t size
        int64_t resting = 0             # held, 1e-6
        int32_t passive = passive_limit(view, token)
        int32_t last = ONE_E4           # price of the level before
        int32_t wanted
        int32_t price = 0
        int level
        int first = 0                   # next group of own bids at one price
        int after = 0                   # … and the one after it
        int i
        int n_ends = 0
        bint offers
        bint stays
        uint8_t reason                  # why no new order is wanted
        uint8_t end                     # why an own one ends

    if view.ms_to_end <= rule.narrow_ms:
        most = 0.0
    if rule.max_pair_cost > 0.0 and view.position_micro[1 - token] > view.position_micro[token]:
        price = floor_price(terms, rule.max_pair_cost - other.paid + 2 * AGAINST_US)
        if price < side.cap_e4:
            side.cap_e4 = price
            side.cap_reason = REASON_PAIR_COST
    for level in range(rule.num_levels):
        room = most - side.lead - ahead
        free = room - side.dying
        size = rule.order_micro
        if free < rule.order:
            size = min(size, <int64_t> (max(0.0, free) * 100.0 + 1e-6) * LOT_MICRO)
        wanted = 0
        priced = -1
        if view.top[token].ask_e4 < 0:
            reason = REASON_NO_ASK
        elif rule.order_micro < view.min_size_micro:
            reason = REASON_BELOW_MIN_SIZE
        elif size < view.min_size_micro or size == 0:
            reason = REASON_LEAD if most > 0.0 else REASON_NARROWING
        elif side.cap_e4 < MIN_PRICE_E4:
            reason = side.cap_reason
        elif passive < MIN_PRICE_E4:
            reason = REASON_POST_ONLY
        else:
            reason = REASON_BELOW_MIN_PRICE
            if size == rule.order_micro and rule.per_step > 0.0:
                # The reservation of one whole order more, [ln(1 + odds) − ln(1 + odds·e^−γn)]/(γn).
                if odds < 0.0:
                    odds = side.lead + side.dying + ahead
                    odds = (
                        side.odds if odds == 0.0 else exp(min(MOST_LOGIT, side.x - rule.gamma * odds))
                    )
                    before = log(1.0 + odds)
                odds *= rule.step_exp
                behind = log(1.0 + odds)
                value = (before - behind) * rule.per_step
                before = behind
                wanted = floor_price(terms, target(rule, terms, side, value, terms.needed))
            else:
                odds = -1.0
                value = reservation(side.x, rule.gamma, side.lead + side.dying + ahead, size * 1e-6)
                needed = half_spread_of(rule.gamma, size * 1e-6, terms.decay) * terms.rest
                wanted = floor_price(
                    terms, target(rule, terms, side, value, max(needed, rule.min_edge) + terms.base)
                )
            if side.dying == 0.0:
                priced = size
            wanted = min(min(wanted, passive), min(side.cap_e4, last - terms.tick_e4))
            if wanted < MIN_PRICE_E4:
                wanted = 0
            elif is_steep(terms) and (
                edge_of(terms, side, value, dollars(wanted)) < rule.min_edge - AGAINST_US
            ):
                wanted = 0
                reason = REASON_ADVERSE
        stays = False
        while first < side.n_bids and not stays:
            price = side.bid_e4[first]
            after = first
            resting = 0
            while after < side.n_bids and side.bid_e4[after] == price:
                resting += view.orders[side.bids[after]].remaining_micro
                after += 1
            held = resting * 1e-6
            if resting != priced:
                value = reservation(side.x, rule.gamma, side.lead + ahead, held)
                priced = resting
            if price > side.cap_e4:
                end = side.cap_reason
            elif held > room + DUST:
                end = REASON_LEAD if most > 0.0 else REASON_NARROWING
            elif dollars(price) > value - rule.min_edge - AGAINST_US or (
                price != wanted and price % terms.tick_e4
            ):
                end = REASON_TOO_DEAR
                counters.too_dear += 1
            elif edge_of(terms, side, value, dollars(price)) * held < -rule.message - AGAINST_US:
                end = REASON_ADVERSE
                counters.adverse += 1
            elif wanted == 0 or wanted == price:
                stays = True
            elif (
                earns(terms, view, token, side, value, wanted, held, -1)
                - earns(
                        terms, view, token, side, value, price, held,
                        view.ahead_micro[side.bids[first]],
                    )
                <= 2.0 * rule.message
            ):
                stays = True
                counters.kept += 1
            elif price < wanted:
                break                   # it may serve a level below
            else:
                end = REASON_MOVED
                counters.moved += 1
            if not stays:
                for i in range(first, after):
                    ends[side.bids[i]] = end
                n_ends += 1
                first = after
        if stays:
            i = side.bids[after - 1]
            first = after
            side.n_kept += 1
            last = price
            # What is missing is added behind it, as soon as it is enough for an order.
            if (
                wanted == price and size - resting >= max(view.min_size_micro, rule.order_micro // 4)
                and view.orders[i].side == BUY
            ):
                ends[i] = REASON_NOT_WANTED
                n_ends += 1
                quote_c(side, price, size - resting + view.orders[i].remaining_micro, level, False)
                resting = size
            if resting != rule.order_micro:
                odds = -1.0
            ahead += resting * 1e-6
        elif wanted:
            if wanted + other.highest_bid >= ONE_E4:
                side.reason = REASON_SELF_CROSS
            else:
                offers = rule.offers and view.sellable_micro[1 - token] - other.offered_micro >= size
                if offers:
                    other.offered_micro += size
                    counters.offers += 1
                quote_c(side, wanted, size, level, offers)
            ahead += size * 1e-6
            last = wanted
        else:
            side.reason = reason
            break
    while first < side.n_bids:
        ends[side.bids[first]] = side.reason if side.reason else REASON_NOT_WANTED
        n_ends += 1
        first += 1
    return n_ends
