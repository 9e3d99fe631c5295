"""Three-way merge of one market's wanted quotes with its own orders. Plain structs and functions, no GIL."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from invmm._ext.decode cimport MarketBooks
from invmm._ext.evidence cimport order_t
from invmm._ext.registry cimport Registry
from invmm._ext.solver cimport policy_output_t, top_t


cdef enum:
    MAX_SLOTS = 192             # kept orders and actions of one decision

    BASE_NONE = 0               # an order at the time of the decision, or now
    BASE_LIVE = 1
    BASE_PENDING = 2            # UNKNOWN, or its cancel is under way
    BASE_FILLED = 3
    BASE_GONE = 4               # cancelled or expired
    BASE_RECOVERED = 5          # from before a restart, ours
    BASE_FOREIGN = 6

    MERGE_NOTHING = 0           # results
    MERGE_KEEP = 1              # nothing is sent: its place in the queue is worth money
    MERGE_CHILD = 2             # add an order for the difference
    MERGE_REPLACE = 3
    MERGE_CANCEL = 4
    MERGE_PLACE = 5
    MERGE_REFRESH = 6           # replace by an equal order that expires later
    MERGE_CONFLICT = 7          # solve again
    MERGE_MANAGE = 8            # take it over as if it had been in the base
    MERGE_HALT = 9              # foreign: cancel it, and quote no more

    REFRESH_BEFORE_S = 20       # quotes this close to their real end are replaced


cdef struct slot_t:
    uint64_t key                # own order at the time of the decision, 0: none
    int64_t base_filled_micro   # shares of it that were filled then
    int64_t size_micro          # wanted to rest
    int32_t base_price_e4
    int32_t price_e4            # wanted, 0: nothing
    uint8_t token
    uint8_t side
    uint8_t level
    uint8_t kind                # ACTION_QUOTE or ACTION_TAKE; without a target ACTION_CANCEL
    uint8_t reason              # Reason of what it leads to
    uint8_t base                # BASE_*


cdef struct base_t:             # the version vector that a decision rests on
    uint64_t orders
    uint64_t inventory
    uint64_t settlement
    uint64_t mode               # mode, kill, connection
    uint32_t[2] epoch           # of the books
    int32_t tick_e4
    int64_t min_size_micro
    int64_t book_ms             # venue timestamp of the books
    int64_t[2] position_micro
    int64_t deadline_ns         # not placed later than this


cdef inline int64_t tolerance_c(int64_t size_micro) noexcept nogil:
    """Sizes that differ by less are the same: dust, or 1 %."""
    return max(<int64_t> 10000, size_micro // 100)


cdef void base_of_c(
    base_t* base, Registry registry, MarketBooks books, uint64_t mode, int64_t deadline_ns
) noexcept nogil
cdef bint base_moved_c(const base_t* base, MarketBooks books, uint64_t mode) noexcept nogil
cdef uint8_t merge_c(
    uint8_t base, uint8_t now, bint same_price, bint expiring, int64_t remaining_micro, int64_t wanted_micro,
    int64_t filled_since_micro, int64_t min_size_micro, bint running, bint within_limits,
) noexcept nogil
cdef uint8_t slot_now_c(const slot_t* slot, Registry registry) noexcept nogil
cdef bint order_expiring_c(const order_t* order, int64_t early_ns, int64_t now_ns) noexcept nogil
cdef bint slot_passed_c(const slot_t* slot, const top_t* top) noexcept nogil
cdef int slots_of_c(slot_t* slots, const policy_output_t* wanted, Registry registry) noexcept nogil
