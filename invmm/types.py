"""Vocabulary: the enumerations, record layouts and protocols that the stages share.

Units end a name: `price_e4` is 1e-4 dollars (0…10000), `size_micro` is 1e-6 shares, `_ns` and `_ms` are
times. `EVENT_DTYPE` and `COMMAND_DTYPE` mirror the structs of `_ext/records.pxd` byte for byte (128 bytes
each).
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

PRICE_ONE_E4 = 10_000
MICRO = 1_000_000


class Side(IntEnum):
    """Side of an order; BUY is the bid side of a book, SELL the ask side."""

    BUY = 0
    SELL = 1


class Outcome(IntEnum):
    """Which token of a market."""

    UP = 0
    DOWN = 1


class OrderType(IntEnum):
    """The venue's order types: rest until cancelled, until a date, all or nothing, what is there."""

    GTC = 0
    GTD = 1
    FOK = 2
    FAK = 3


class EventKind(IntEnum):
    """What an engine input is."""

    FRAME = 1
    BUFFER_END = 2
    ORDER_RESULT = 3
    USER_EVENT = 4
    PRICE = 5
    TIMER = 6
    MODE = 7
    SETTLEMENT = 8
    GUARD = 9


class Source(IntEnum):
    """Where an engine input came from."""

    ENGINE = 0
    MARKET_FEED = 1
    USER_FEED = 2
    EXECUTOR = 3
    EDGE = 4
    REPLAY = 5
    PRICE_FEED = 6


class CommandKind(IntEnum):
    """What the executor is asked to do. RESEND: the bytes of an UNKNOWN order that `key` names, once more."""

    PLACE = 1
    CANCEL = 2
    CANCEL_ALL = 3
    SHUTDOWN = 4
    RESEND = 5


class OrderStatus(IntEnum):
    """Evidence about an own order: answers and queries (below 16), trade stages of the user channel.

    REJECTED is the venue's refusal of an order, REFUSED our own before it goes out; COPY_REFUSED is either
    one, of the same bytes once more.
    """

    SENT = 1
    LIVE = 2
    MATCHED = 3
    DELAYED = 4
    REJECTED = 5
    UNKNOWN = 6
    CANCELED = 7
    NOT_CANCELED = 8
    REFUSED = 9
    FOUND = 10
    NOT_FOUND = 11
    FENCED = 12
    DUPLICATED = 13
    RESENT = 14
    COPY_REFUSED = 15
    TRADE_MATCHED = 16
    TRADE_MINED = 17
    TRADE_CONFIRMED = 18
    TRADE_RETRYING = 19
    TRADE_FAILED = 20


class Mode(IntEnum):
    """What the engine may do: RUNNING quotes, PAUSED cancels and waits, STOPPED is final."""

    RUNNING = 0
    PAUSED = 1
    STOPPED = 2


class VenueMode(IntEnum):
    """What the venue takes: all; nothing for now (425); post-only and cancels; cancels; nothing."""

    RUNNING = 0
    RESTARTING = 1
    POST_ONLY = 2
    CANCEL_ONLY = 3
    HALTED = 4


class GuardFact(IntEnum):
    """What an event of kind GUARD says, in its `status` (`_ext/guards.pyx`)."""

    HOLD = 1
    VOUCH = 2
    DISPUTE = 3
    CLOCK = 4
    LISTED = 5


class PriceFact(IntEnum):
    """What an event of kind PRICE tells, in its `status` (`_ext/fair.pyx`): a price of the underlying from a
    fast feed, from the one that settles, that one's average over `code` seconds, or the strike.

    `offset` is the price in 1e-8 dollars, `venue_ms` when it was true.
    """

    DIRECT = 1
    SPOT = 2
    AVERAGE = 3
    STRIKE = 4


class SettlementFact(IntEnum):
    """What an event of kind SETTLEMENT says, in its `status`: who won (`token`), or what became of pairs
    (`_ext/settled.pyx`).
    """

    OUTCOME = 0
    PAIRS = 1


class Reason(IntEnum):
    """Why an order is wanted, or why there is none. Every non-quote has one."""

    NONE = 0
    QUOTE = 1
    TAKER = 2
    NOT_WANTED = 3
    NO_SNAPSHOT = 10
    STALE = 11
    CROSSED = 12
    BEST_MISMATCH = 13
    MIRROR_MISMATCH = 14
    EPOCH_CHANGED = 15
    MARKET_ENDING = 16
    MODE = 17
    DISCONNECTED = 18
    NO_ASK = 20
    IMBALANCE = 21
    UNPROFITABLE = 22
    BELOW_MIN_PRICE = 23
    CASH = 24
    ORDER_LIMIT = 25
    SELF_CROSS = 26
    POST_ONLY = 27
    BELOW_MIN_SIZE = 28
    RING_FULL = 29
    IN_FLIGHT = 30
    DEADLINE = 31
    SHUTDOWN = 32
    RATE_LIMIT = 33
    COOL_DOWN = 34
    EXPIRING = 35
    SETTLED = 36
    POLICY_ERROR = 37
    VENUE_REJECTED = 40
    VENUE_POST_ONLY = 41
    VENUE_BALANCE = 42
    VENUE_NOT_READY = 43
    TRANSPORT = 44
    SIGNER_CAP = 45
    VENUE_MODE = 46
    THROTTLED = 47
    VENUE_VERSION = 48
    UNAUTHORIZED = 49
    GEOBLOCKED = 50
    HEARTBEAT = 51
    CONFLICT = 52
    DIRECTION = 53
    GROSS = 54
    COLLAR = 55
    DUPLICATE = 56
    CHILDREN = 57
    BASE_MOVED = 58
    COMPENSATED = 59
    KILLED = 60
    LOSS_MARKET = 61
    LOSS_DAY = 62
    TOTAL_CASH = 63
    TOTAL_ORDERS = 64
    MINUTE_RATE = 65
    SEEN_ID = 66
    OLD_BOOK = 67
    RESERVE = 68
    REJECT_STORM = 69
    SETTLEMENT_FAILURES = 70
    SLOW_VENUE = 71
    LIMIT_ATTEMPT = 72
    MESSAGE_RATE = 73
    STATE_LOST = 75
    QUIET = 76
    DISPUTED = 77
    LATE = 78
    UNCONFIRMED = 79
    CLOCK = 80
    USER_FEED = 81
    UNRECONCILED = 82
    RECOVERED = 86
    JOURNAL = 90
    MODEL_NO_RESULT = 111
    MODEL_ERROR = 112
    MODEL_NONSENSE = 113
    MODEL_FALLBACK = 114
    NO_MID = 115
    NO_FAIR = 116
    LEAD = 117
    NARROWING = 118
    NO_EXIT = 119
    TOO_DEAR = 120
    PAIR_COST = 121
    MOVED = 122
    COMPLETES = 123
    SELLS_LEAD = 124
    MAKES_WAY = 125
    ADVERSE = 126


class CommandFlag(IntFlag):
    """Bits of a command's `flags`."""

    POST_ONLY = 1
    LAST = 2


class EventFlag(IntFlag):
    """Bits of an event's `flags`."""

    CHECKPOINT = 1
    TAKER = 2
    DISCONNECTED = 4


EVENT_DTYPE = np.dtype(
    [
        ("kind", "u1"),
        ("source", "u1"),
        ("flags", "<u2"),
        ("market", "<u4"),
        ("sequence", "<u8"),
        ("venue_ms", "<i8"),
        ("offset", "<u8"),
        ("length", "<u4"),
        ("status", "u1"),
        ("token", "u1"),
        ("side", "u1"),
        ("reason", "u1"),
        ("key", "<u8"),
        ("price_e4", "<i4"),
        ("batch", "<u4"),
        ("size_micro", "<i8"),
        ("filled_micro", "<i8"),
        ("time_ns", "<i8"),
        ("trade", "<u8"),
        ("order_id", "V32"),
        ("code", "<i4"),
        ("padding", "<u4"),
    ]
)

COMMAND_DTYPE = np.dtype(
    [
        ("kind", "u1"),
        ("token", "u1"),
        ("side", "u1"),
        ("order_type", "u1"),
        ("flags", "<u2"),
        ("reason", "u1"),
        ("level", "u1"),
        ("market", "<u4"),
        ("batch", "<u4"),
        ("sequence", "<u8"),
        ("key", "<u8"),
        ("price_e4", "<i4"),
        ("entered_ns_low", "<u4"),
        ("size_micro", "<i8"),
        ("expiration_s", "<i8"),
        ("market_version", "<u8"),
        ("book_ms", "<i8"),
        ("decided_ns", "<i8"),
        ("deadline_ns", "<i8"),
        ("salt", "<u8"),
        ("order_id", "V32"),
    ]
)

RESERVATION_DTYPE = np.dtype(
    [("cash_e10", "<i8"), ("transaction", "<u8"), ("padding", "<u8", 2)],
)
"""What the 32 bytes of a placement's `order_id` hold until it is signed: see `reservations`."""

LEVEL_DTYPE = np.dtype([("price_e4", "<i4"), ("size_micro", "<i8")], align=True)
"""One row of `Book.depth`: best level first."""

EventArray = npt.NDArray[np.void]
CommandArray = npt.NDArray[np.void]


def reservations(commands: CommandArray) -> npt.NDArray[np.void]:
    """What the engine set aside for placements: `RESERVATION_DTYPE`, one row per command, a copy.

    Means something for PLACE only, and until its order is signed: then the same bytes are the order's id.

    >>> int(reservations(np.zeros(1, COMMAND_DTYPE))["cash_e10"][0])
    0
    """
    return np.ascontiguousarray(commands["order_id"]).view(RESERVATION_DTYPE)


@runtime_checkable
class Venue(Protocol):
    """Whatever takes commands and answers with events: the executor thread or an in-process venue.

    `submit` never blocks and never raises for a full queue: it returns how many of the commands it took, in
    order. `poll` writes what has become known by `now_ns` into `out` (`EVENT_DTYPE`) and returns how many
    records it wrote.
    """

    def start(self) -> None: ...

    def submit(self, commands: CommandArray, now_ns: int) -> int: ...

    def poll(self, now_ns: int, out: EventArray) -> int: ...

    def close(self) -> None: ...
