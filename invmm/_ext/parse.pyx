"""Frames that the scanners do not take, by orjson: every valid spelling is accepted, the rest is refused with
its reason.
"""

import orjson

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint8_t

from invmm._ext.book cimport PRICE_ONE
from invmm._ext.frame cimport (
    BEST_BID_ASK,
    BOOK,
    DECIMAL_NEGATIVE,
    DECIMAL_PRECISION,
    DECIMAL_RANGE,
    DECIMAL_SYNTAX,
    LAST_TRADE,
    MARKET_RESOLVED,
    NEW_MARKET,
    OTHER,
    PONG,
    PRICE_CHANGE,
    SCAN_EVENTS,
    SCAN_LEVELS,
    SCAN_UNKNOWN,
    SIZE_LIMIT_MICRO,
    TICK_SIZE,
    begin_event,
    begin_frame,
    decimal_exact,
    keep_event,
    scan_event_t,
    scan_frame_t,
    scan_ids_t,
    scan_level_t,
)
from invmm._ext.records cimport BUY, SELL

KIND_NAMES = {
    BOOK: "book",
    PRICE_CHANGE: "price_change",
    LAST_TRADE: "last_trade_price",
    TICK_SIZE: "tick_size_change",
    BEST_BID_ASK: "best_bid_ask",
    PONG: "pong",
    MARKET_RESOLVED: "market_resolved",
    NEW_MARKET: "new_market",
    OTHER: "other",
}
"""What an event is, by the venue's `event_type`; `pong` and `other` are ours."""

KINDS_BY_NAME = {name: kind for kind, name in KIND_NAMES.items() if kind not in (PONG, OTHER)}


class FrameRefused(Exception):
    """Why a frame is refused; never leaves the decoder. `kind` is the counter it belongs to."""

    kind = "internal"

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


cdef int64_t _number(object value, str kind, int scale, int64_t limit) except -1:
    """A JSON string or number times 10^scale, exact, from 0 to limit."""
    cdef int64_t result = 0
    cdef int status
    if isinstance(value, str):
        text = value.encode()
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        text = repr(value).encode()
    else:
        raise FrameRefused(kind, f"{kind}: expected a decimal, got {value!r:.60}")
    status = decimal_exact(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), scale, limit, &result)
    if status == DECIMAL_SYNTAX:
        raise FrameRefused(kind, f"{kind}: expected a decimal, got {value!r:.60}")
    if status == DECIMAL_NEGATIVE:
        raise FrameRefused(kind, f"{kind}: expected no negative number, got {value!r:.60}")
    if status == DECIMAL_PRECISION:
        raise FrameRefused(kind, f"{kind}: expected at most {scale} decimals, got {value!r:.60}")
    if status == DECIMAL_RANGE:
        raise FrameRefused(kind, f"{kind}: out of range, got {value!r:.60}")
    return result


cdef int32_t _price(object value, str kind) except -1:
    cdef int64_t price = _number(value, kind, 4, PRICE_ONE)
    if not 0 < price < PRICE_ONE:
        raise FrameRefused(kind, f"{kind}: expected a price inside (0, 1), got {value!r:.60}")
    return <int32_t>price


cdef int32_t _tick(object value, str kind) except -1:
    cdef int32_t tick = _price(value, kind)
    if tick > 5000:
        raise FrameRefused(kind, f"{kind}: expected at most 0.5, got {value!r:.60}")
    return tick


cdef int32_t _best(object value) except -2:
    """A best price; -1 if nothing is said."""
    if value is None or value == "":
        return -1
    return <int32_t>_number(value, "best", 4, PRICE_ONE)


cdef uint8_t _side(object value) except 255:
    if value == "BUY":
        return BUY
    if value == "SELL":
        return SELL
    raise FrameRefused("side", f"side: expected BUY or SELL, got {value!r:.60}")


cdef int64_t _milliseconds(object value) except -1:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and 0 < len(value) <= 18 and value.isascii() and value.isdigit():
        return int(value)
    raise FrameRefused("timestamp", f"timestamp: expected milliseconds, got {value!r:.60}")


cdef object _member(dict event, str key, str kind):
    try:
        return event[key]
    except KeyError:
        raise FrameRefused(kind, f"{kind}: no {key!r}") from None


cdef int _token(const scan_ids_t* ids, object value) except -1:
    if not isinstance(value, str):
        raise FrameRefused("asset_id", f"asset_id: expected a string, got {value!r:.60}")
    text = value.encode()
    for token in range(2):
        if text == (<const char*>ids.id[token])[:ids.length[token]]:
            return token
    return SCAN_UNKNOWN


cdef scan_level_t* _next_level(scan_frame_t* frame) except NULL:
    if frame.n_levels == SCAN_LEVELS:
        raise FrameRefused("too_long", f"too_long: more than {SCAN_LEVELS} levels")
    return &frame.levels[frame.n_levels]


cdef int _read_levels(scan_frame_t* frame, object rows, str key, uint8_t token, uint8_t side) except -1:
    cdef scan_level_t* level
    if not isinstance(rows, list):
        raise FrameRefused("levels", f"levels: expected a list of {key}, got {rows!r:.60}")
    for row in rows:
        if not isinstance(row, dict):
            raise FrameRefused("levels", f"levels: expected objects in {key}, got {row!r:.60}")
        level = _next_level(frame)
        level.token = token
        level.side = side
        level.price_e4 = _price(_member(row, "price", "price"), "price")
        level.size_micro = _number(_member(row, "size", "size"), "size", 6, SIZE_LIMIT_MICRO)
        frame.n_levels += 1
    return 0


cdef int _read_entries(
    scan_frame_t* frame, const scan_ids_t* ids, scan_event_t* event, object rows
) except -1:
    cdef scan_level_t* level
    cdef int32_t bid, ask
    cdef int token
    if not isinstance(rows, list):
        raise FrameRefused("levels", f"levels: expected a list of price_changes, got {rows!r:.60}")
    for row in rows:
        if not isinstance(row, dict):
            raise FrameRefused("levels", f"levels: expected objects in price_changes, got {row!r:.60}")
        level = _next_level(frame)
        token = _token(ids, _member(row, "asset_id", "asset_id"))
        level.price_e4 = _price(_member(row, "price", "price"), "price")
        level.size_micro = _number(_member(row, "size", "size"), "size", 6, SIZE_LIMIT_MICRO)
        level.side = _side(_member(row, "side", "side"))
        bid = _best(row.get("best_bid"))
        ask = _best(row.get("best_ask"))
        if token == SCAN_UNKNOWN:
            frame.unknown += 1
            continue
        level.token = <uint8_t>token
        event.best_bid[token] = bid
        event.best_ask[token] = ask
        frame.n_levels += 1
    return 0


cdef int _read_event(scan_frame_t* frame, const scan_ids_t* ids, object given) except -1:
    cdef scan_event_t event
    cdef int kind
    cdef int token = SCAN_UNKNOWN
    if not isinstance(given, dict):
        raise FrameRefused("shape", f"shape: expected an object, got {given!r:.60}")
    name = given.get("event_type")
    kind = KINDS_BY_NAME.get(name, OTHER) if isinstance(name, str) else OTHER
    begin_event(frame, &event)
    if kind >= MARKET_RESOLVED:
        try:
            event.venue_ms = _milliseconds(given.get("timestamp"))
        except FrameRefused:
            event.venue_ms = 0
        winner = given.get("winning_asset_id")
        if kind == MARKET_RESOLVED and isinstance(winner, str):
            token = _token(ids, winner)
            if token != SCAN_UNKNOWN:
                frame.winner = token
    else:
        event.venue_ms = _milliseconds(_member(given, "timestamp", "timestamp"))
        if kind == PRICE_CHANGE:
            _read_entries(frame, ids, &event, _member(given, "price_changes", "levels"))
        else:
            token = _token(ids, _member(given, "asset_id", "asset_id"))
    if kind == BOOK:
        _read_levels(frame, _member(given, "bids", "levels"), "bids", <uint8_t>token, BUY)
        _read_levels(frame, _member(given, "asks", "levels"), "asks", <uint8_t>token, SELL)
        tick = given.get("tick_size")
        if tick is not None and tick != "":
            event.tick_e4 = _tick(tick, "tick_size")
    elif kind == LAST_TRADE:
        event.price_e4 = _price(_member(given, "price", "price"), "price")
        event.size_micro = _number(_member(given, "size", "size"), "size", 6, SIZE_LIMIT_MICRO)
        event.side = _side(_member(given, "side", "side"))
    elif kind == TICK_SIZE:
        event.tick_e4 = _tick(_member(given, "new_tick_size", "tick_size"), "tick_size")
    if not keep_event(frame, &event, kind, token):
        raise FrameRefused("too_long", f"too_long: more than {SCAN_EVENTS} events for one market")
    return 0


cdef int parse_frame(scan_frame_t* frame, const scan_ids_t* ids, bytes raw) except -1:
    """Reads a whole frame; raises FrameRefused if anything in it is not valid."""
    begin_frame(frame)
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise FrameRefused("json", f"json: {error}") from None
    if isinstance(document, list):
        for event in document:
            _read_event(frame, ids, event)
    else:
        _read_event(frame, ids, document)
    return 0
