"""C layout of the records that cross a border: engine to executor and back. The twins are in `invmm.types`.

Both are two cache lines (128 bytes), so one ring serves either direction.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef enum:
    UP = 0                      # Outcome
    DOWN = 1
    BUY = 0                     # Side; BUY is the bid side of a book
    SELL = 1

    GTC = 0                     # OrderType
    GTD = 1
    FOK = 2
    FAK = 3

    EVENT_FRAME = 1             # EventKind
    EVENT_BUFFER_END = 2
    EVENT_ORDER_RESULT = 3
    EVENT_USER_EVENT = 4
    EVENT_PRICE = 5
    EVENT_TIMER = 6
    EVENT_MODE = 7
    EVENT_SETTLEMENT = 8
    EVENT_GUARD = 9

    COMMAND_PLACE = 1           # CommandKind
    COMMAND_CANCEL = 2
    COMMAND_CANCEL_ALL = 3
    COMMAND_SHUTDOWN = 4
    COMMAND_RESEND = 5

    STATUS_SENT = 1             # OrderStatus
    STATUS_LIVE = 2
    STATUS_MATCHED = 3
    STATUS_DELAYED = 4
    STATUS_REJECTED = 5
    STATUS_UNKNOWN = 6
    STATUS_CANCELED = 7
    STATUS_NOT_CANCELED = 8
    STATUS_REFUSED = 9
    STATUS_FOUND = 10           # a query by id lists it open
    STATUS_NOT_FOUND = 11       # a query by id does not know it
    STATUS_FENCED = 12          # nor do orders and trades, asked after its fence
    STATUS_DUPLICATED = 13      # an earlier copy had landed
    STATUS_RESENT = 14          # the same bytes go out again
    STATUS_COPY_REFUSED = 15    # … and are refused, by the venue or before they go out
    STATUS_TRADE_MATCHED = 16
    STATUS_TRADE_MINED = 17
    STATUS_TRADE_CONFIRMED = 18
    STATUS_TRADE_RETRYING = 19
    STATUS_TRADE_FAILED = 20

    MODE_RUNNING = 0            # Mode

    SETTLED_OUTCOME = 0         # SettlementFact
    SETTLED_PAIRS = 1
    GUARD_HOLD = 1              # GuardFact
    GUARD_VOUCH = 2
    GUARD_DISPUTE = 3
    GUARD_CLOCK = 4
    GUARD_LISTED = 5

    PRICE_DIRECT = 1            # PriceFact
    PRICE_SPOT = 2
    PRICE_AVERAGE = 3
    PRICE_STRIKE = 4

    R_NOT_WANTED = 3            # Reason
    R_NO_SNAPSHOT = 10
    R_STALE = 11
    R_CROSSED = 12
    R_BEST_MISMATCH = 13
    R_MIRROR_MISMATCH = 14
    R_EPOCH_CHANGED = 15
    R_MARKET_ENDING = 16
    R_MODE = 17
    R_DISCONNECTED = 18
    R_CASH = 24
    R_ORDER_LIMIT = 25
    R_SELF_CROSS = 26
    R_POST_ONLY = 27
    R_BELOW_MIN_SIZE = 28
    R_RING_FULL = 29
    R_IN_FLIGHT = 30
    R_RATE_LIMIT = 33
    R_COOL_DOWN = 34
    R_EXPIRING = 35
    R_SETTLED = 36
    R_POLICY_ERROR = 37
    R_VENUE_MODE = 46
    R_HEARTBEAT = 51
    R_CONFLICT = 52
    R_DIRECTION = 53
    R_GROSS = 54
    R_COLLAR = 55
    R_DUPLICATE = 56
    R_CHILDREN = 57
    R_BASE_MOVED = 58
    R_COMPENSATED = 59
    R_QUIET = 76
    R_DISPUTED = 77
    R_LATE = 78
    R_UNCONFIRMED = 79
    R_CLOCK = 80
    R_RECOVERED = 86
    R_JOURNAL = 90

    FLAG_POST_ONLY = 1          # command flags
    FLAG_LAST = 2               # last leg of its batch: the executor may send
    FLAG_CHECKPOINT = 1         # event flags: this recorded book must equal the maintained one
    FLAG_TAKER = 2              # event flags: the fill was on the taker side
    FLAG_DISCONNECTED = 4       # event flags, BUFFER_END: the feed's connection is gone


cdef struct event_t:
    uint8_t kind                # EVENT_*
    uint8_t source              # Source: where it came from
    uint16_t flags              # FLAG_*
    uint32_t market             # engine's number of the market
    uint64_t sequence           # of its source, from 1
    int64_t venue_ms            # venue timestamp, 0 if it has none
    uint64_t offset             # FRAME: payload position in the buffer handed along; PRICE: 1e-8 dollars
    uint32_t length             # FRAME: payload length in bytes
    uint8_t status              # STATUS_* of results and user events; new mode of MODE
    uint8_t token               # UP or DOWN
    uint8_t side                # BUY or SELL
    uint8_t reason              # Reason
    uint64_t key                # own order key
    int32_t price_e4
    uint32_t batch              # of the command answered
    int64_t size_micro          # order or fill size
    int64_t filled_micro        # cumulative matched size where the venue tells it
    int64_t time_ns             # when the sender made this record, engine clock
    uint64_t trade              # 64-bit key of the trade, 0 if none
    uint8_t[32] order_id        # the venue's id of the order
    int32_t code                # HTTP status, 0 if none; PRICE: seconds averaged over
    uint32_t padding


cdef struct command_t:
    uint8_t kind                # COMMAND_*
    uint8_t token
    uint8_t side
    uint8_t order_type          # GTC, GTD, FOK, FAK
    uint16_t flags              # FLAG_*
    uint8_t reason              # Reason it is sent for
    uint8_t level               # ladder level it serves
    uint32_t market
    uint32_t batch
    uint64_t sequence           # of commands, from 1, without gaps
    uint64_t key                # own order key: unique over the engine's life
    int32_t price_e4
    uint32_t entered_ns_low     # monotonic clock when its frame entered, low 32 bits; 0 unknown
    int64_t size_micro
    int64_t expiration_s        # GTD: unix seconds; otherwise 0
    uint64_t market_version     # the gate refuses older versions than the published one
    int64_t book_ms             # venue timestamp of the book it rests on
    int64_t decided_ns          # engine clock
    int64_t deadline_ns         # engine clock; not sent later than this
    uint64_t salt               # below 2^53, from the engine's injected source
    uint8_t[32] order_id        # CANCEL: if its key is not known; PLACE: reservation_t, then the id


cdef struct reservation_t:
    int64_t cash_e10            # BUY: set aside for it by the engine, 1e-10 dollars, a taker's fee in
    uint64_t transaction        # number of the replace transaction in its market, from 1
    uint64_t[2] padding
