"""The original inventory strategy, bit for bit: quotes, profitability, taker and diff in IEEE doubles.

Takes floats in dollars and shares, gives the ladder, what to cancel, what to place and at most one taker
order. Pure: no clock, no allocation, no Python object in a kernel. The order of operations in every formula
is part of the contract, since `floor(x / t) * t` turns the last bit into a tick; rewrite none of them
algebraically. Known defects are kept on purpose; the integer kernels of `solver` are the corrected ones.
"""

from libc.math cimport fabs, floor, isfinite
from libc.stdint cimport uint8_t

from invmm._ext.records cimport DOWN, UP


cdef enum:
    REASON_NOT_WANTED = 3       # invmm.types.Reason
    REASON_NO_ASK = 20
    REASON_IMBALANCE = 21
    REASON_UNPROFITABLE = 22
    REASON_BELOW_MIN_PRICE = 23

cdef double MIN_PRICE = 0.01            # dollars; the original skips a level below it
cdef double FLAT = 1e-9                 # shares; below it the imbalance is 0
cdef double TAKER_IMBALANCE = 0.1       # |delta| from which the original looks for a taker order
cdef double SAME_PRICE = 1e-4           # dollars; a live order this near to a quote serves it
cdef double SAME_SIZE_RATIO = 0.01      # of the quote's size
cdef double SAME_SIZE_SHARES = 0.1


cdef double imbalance_of(double up, double down) noexcept nogil:
    """Return (|U| - |D|) / (|U| + |D|), 0 when there is practically nothing."""
    cdef:
        double held_up = fabs(up)
        double held_down = fabs(down)
        double total = held_up + held_down

    if total < FLAT:
        return 0.0
    return (held_up - held_down) / total


cdef double vwap_of(double size, double average, double added, double price) noexcept nogil:
    """Return the average price after adding `added` shares at `price` to a holding."""
    return (size * average + added * price) / (size + added)


cdef inline double positive(double x) noexcept nogil:
    return x if x > 0.0 else 0.0


cdef inline double cap_of(
    const ladder_config_t* config, const double_input_t* view, int token
) noexcept nogil:
    """Return the highest bid that still pairs with the other token at the margin; dollars."""
    cdef int other = 1 - token

    if view.average[other] > 0.0:
        return 1.0 - view.average[other] - config.min_profit_margin
    if view.has_ask[other]:
        return 1.0 - view.ask_price[other] - config.min_profit_margin
    return 0.5 - config.min_profit_margin


cdef void quote_token(
    const ladder_config_t* config, const double_input_t* view, int token, double_output_t* out
) noexcept nogil:
    """Fill one ladder, best level first, and say why where it stays empty."""
    cdef:
        double heavy = out.imbalance if token == UP else -out.imbalance
        double offset
        double cap
        double price
        double tick = config.tick_size
        int level
        int n = 0

    out.n_quotes[token] = 0
    out.reason[token] = 0
    if not heavy < config.max_imbalance:
        out.reason[token] = REASON_IMBALANCE
        return
    if not view.has_ask[token]:
        out.reason[token] = REASON_NO_ASK
        return
    offset = config.base_offset * (1.0 + positive(heavy))
    cap = cap_of(config, view, token)
    for level in range(config.num_levels):
        price = view.ask_price[token] - offset - level * config.spread_per_level / 100.0
        if cap < price:
            price = cap
        price = floor(price / tick) * tick
        if price < MIN_PRICE:
            continue
        out.price[token][n] = price
        out.level[token][n] = level
        n += 1
    out.n_quotes[token] = n
    if n == 0:
        out.reason[token] = REASON_BELOW_MIN_PRICE if config.num_levels > 0 else REASON_NOT_WANTED


cdef bint is_profitable(
    const ladder_config_t* config, const double_input_t* view, const double_output_t* out
) noexcept nogil:
    """Tell whether the pair stays below 1 - margin once level 0 of both ladders fills."""
    cdef:
        double total = 0.0
        double bid
        int token

    for token in range(2):
        if out.n_quotes[token] == 0:
            if not view.average[token] > 0.0:
                return False
            total += view.average[token]
            continue
        bid = out.price[token][0]
        if view.size[token] > 0.0 and view.average[token] > 0.0:
            bid = vwap_of(view.size[token], view.average[token], config.order_size, bid)
        total += bid
    return total < 1.0 - config.min_profit_margin


cdef inline bint serves(const ladder_config_t* config, const open_bid_t* bid, double price) noexcept nogil:
    cdef double tolerance = config.order_size * SAME_SIZE_RATIO

    if tolerance < SAME_SIZE_SHARES:
        tolerance = SAME_SIZE_SHARES
    return fabs(bid.price - price) < SAME_PRICE and fabs(bid.remaining - config.order_size) < tolerance


cdef void diff_orders(
    const ladder_config_t* config, const double_input_t* view, double_output_t* out
) noexcept nogil:
    """Mark bids that serve no quote and quotes that no bid serves; one bid may serve several quotes."""
    cdef:
        int i
        int k
        int token

    for i in range(view.n_bids):
        token = view.bids[i].token
        out.cancel[i] = True
        for k in range(out.n_quotes[token]):
            if serves(config, &view.bids[i], out.price[token][k]):
                out.cancel[i] = False
                break
    for token in range(2):
        for k in range(out.n_quotes[token]):
            out.place[token][k] = True
            for i in range(view.n_bids):
                if view.bids[i].token == token and serves(config, &view.bids[i], out.price[token][k]):
                    out.place[token][k] = False
                    break


cdef void look_for_taker(
    const ladder_config_t* config, const double_input_t* view, double_output_t* out
) noexcept nogil:
    """Take the light token's ask when that keeps the pair's average at or below 1 - margin."""
    cdef:
        int heavy = UP if out.imbalance > 0.0 else DOWN
        int light = 1 - heavy
        double size
        double combined

    if fabs(out.imbalance) < TAKER_IMBALANCE or not view.has_ask[light] or view.ask_is_ours[light]:
        return
    if not (view.size[heavy] > 0.0 and view.average[heavy] > 0.0):
        return
    size = view.ask_size[light]
    if config.order_size < size:
        size = config.order_size
    if not size > 0.0:
        return
    combined = view.ask_price[light]
    if view.size[light] > 0.0:
        combined = vwap_of(view.size[light], view.average[light], size, combined)
    combined = view.average[heavy] + combined
    if combined <= 1.0 - config.min_profit_margin:
        out.has_taker = True
        out.taker_token = <uint8_t>light
        out.taker_price = view.ask_price[light]
        out.taker_size = size
        out.taker_score = 100.0 * (1.0 - combined)


cdef void solve_doubles(
    const ladder_config_t* config, const double_input_t* view, double_output_t* out
) noexcept nogil:
    """Solve once: ladder, gate, diff, taker. A failed gate cancels every bid and does nothing else."""
    cdef int i

    out.imbalance = imbalance_of(view.size[UP], view.size[DOWN])
    out.gate_failed = False
    out.has_taker = False
    quote_token(config, view, UP, out)
    quote_token(config, view, DOWN, out)
    if out.n_quotes[UP] + out.n_quotes[DOWN] > 0 and not is_profitable(config, view, out):
        out.gate_failed = True
        for i in range(2):
            if out.n_quotes[i] > 0:
                out.reason[i] = REASON_UNPROFITABLE
            out.n_quotes[i] = 0
        for i in range(view.n_bids):
            out.cancel[i] = True
        return
    diff_orders(config, view, out)
    look_for_taker(config, view, out)


cdef double finite(object value, str what) except? -1.0:
    cdef double number = value

    if not isfinite(number):
        raise ValueError(f"{what}: expected a finite number, got {value!r}")
    return number


cdef int read_config(object config, ladder_config_t* out) except -1:
    cdef int levels = config.num_levels

    if not 0 <= levels <= MAX_LEVELS:
        raise ValueError(f"num_levels: expected 0 to {MAX_LEVELS}, got {levels}")
    out.num_levels = levels
    out.tick_size = finite(config.tick_size, "tick_size")
    if not out.tick_size > 0.0:
        raise ValueError(f"tick_size: expected more than 0 dollars, got {config.tick_size!r}")
    out.base_offset = finite(config.base_offset, "base_offset")
    out.min_profit_margin = finite(config.min_profit_margin, "min_profit_margin")
    out.max_imbalance = finite(config.max_imbalance, "max_imbalance")
    out.order_size = finite(config.order_size, "order_size")
    if not out.order_size > 0.0:
        raise ValueError(f"order_size: expected more than 0 shares, got {config.order_size!r}")
    out.spread_per_level = finite(config.spread_per_level, "spread_per_level")
    return 0


cdef int read_bids(object bids, uint8_t token, double_input_t* view) except -1:
    for order in bids:
        if view.n_bids == MAX_OPEN:
            raise ValueError(f"open orders: expected at most {MAX_OPEN} over both tokens")
        view.bids[view.n_bids].price = finite(order.price, "order price")
        view.bids[view.n_bids].remaining = finite(order.remaining_size, "order remaining_size")
        view.bids[view.n_bids].token = token
        view.n_bids += 1
    return 0


def solve_compatible(config, inventory, books, bids):
    """Solve once on float values, exactly as the original does.

    Parameters
    ----------
    config : SolverConfig
        Any object with its attributes; 0 to 31 levels.
    inventory : InventorySnapshot
        Sizes in shares, averages in dollars.
    books : pair of OrderbookSnapshot
        Up, then Down; only `best_ask` and `best_ask_is_ours` are read.
    bids : pair of sequences of OpenOrder
        Our live bids, Up then Down; 64 at most together.

    Returns
    -------
    tuple
        `(imbalance, cancel, place, taker, reasons, gate_failed)`: indices into the joined bids; (token,
        level, price) of each quote to place; (token, price, size, score) or None; per token why it has no
        quote (`Reason`, 0 if it has one).

    Raises
    ------
    ValueError
        A number is not finite or out of range.
    """
    cdef:
        ladder_config_t settings
        double_input_t view
        double_output_t out
        int token
        int k

    read_config(config, &settings)
    view.size[UP] = finite(inventory.up_size, "up_size")
    view.size[DOWN] = finite(inventory.down_size, "down_size")
    view.average[UP] = finite(inventory.up_avg_price, "up_avg_price")
    view.average[DOWN] = finite(inventory.down_avg_price, "down_avg_price")
    view.n_bids = 0
    for token in range(2):
        ask = books[token].best_ask
        view.has_ask[token] = ask is not None
        view.ask_is_ours[token] = books[token].best_ask_is_ours
        if ask is not None:
            view.ask_price[token] = finite(ask[0], "best_ask price")
            view.ask_size[token] = finite(ask[1], "best_ask size")
        read_bids(bids[token], <uint8_t>token, &view)
    solve_doubles(&settings, &view, &out)
    cancel = [k for k in range(view.n_bids) if out.cancel[k]]
    place = [
        (token, out.level[token][k], out.price[token][k])
        for token in range(2)
        for k in range(out.n_quotes[token])
        if out.place[token][k]
    ]
    taker = (out.taker_token, out.taker_price, out.taker_size, out.taker_score) if out.has_taker else None
    return out.imbalance, cancel, place, taker, (out.reason[UP], out.reason[DOWN]), bool(out.gate_failed)
