"""The data guards of one market: may its books be quoted on, and if not, why not?

Takes the two books, what witnesses have said about them and the time; gives a Reason, 0 if quoting is
allowed. Pure: no clock, no allocation, no GIL. A guard never changes a book. What a guard cannot decide from
the stream itself comes as an event of kind GUARD, so that a replay decides the same:

| fact    | says                                                                                   |
|---------|----------------------------------------------------------------------------------------|
| HOLD    | `reason` why nothing may be quoted: user stream, reconciliation; 0 lifts it            |
| VOUCH   | a witness had `token`'s book as it is here at `time_ns`                                |
| DISPUTE | a witness had another book of `token` at `time_ns`: not quoted until a fresh snapshot  |
| CLOCK   | `code` is the venue's clock minus ours in ms                                           |

`resync` asks the owner of the socket for fresh snapshots: a contradiction that lasts is not going to heal.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memset

from invmm._ext.book cimport PRICE_ONE, book_best_ask, book_best_bid
from invmm._ext.decode cimport MarketBooks
from invmm._ext.desk cimport limits_t
from invmm._ext.records cimport (
    DOWN,
    GUARD_CLOCK,
    GUARD_DISPUTE,
    GUARD_HOLD,
    GUARD_VOUCH,
    R_BEST_MISMATCH,
    R_CLOCK,
    R_CROSSED,
    R_DISPUTED,
    R_EPOCH_CHANGED,
    R_LATE,
    R_MIRROR_MISMATCH,
    R_NO_SNAPSHOT,
    R_QUIET,
    R_STALE,
    R_UNCONFIRMED,
    event_t,
)

cdef int64_t MILLISECOND_NS = 1000000


cdef bint told_c(MarketBooks books, int token) noexcept nogil:
    """Whether a message after the token's snapshot has told the bests that we have."""
    return (
        books.checks.told_bid[token] >= 0
        and books.checks.told_bid[token] == max(book_best_bid(books.book[token]), 0)
        and books.checks.told_ask[token] == ask_c(books, token)
    )


cdef int32_t ask_c(MarketBooks books, int token) noexcept nogil:
    """The best ask as a message would tell it: a dollar where there is none."""
    cdef int32_t ask_e4 = book_best_ask(books.book[token])

    return ask_e4 if ask_e4 >= 0 else PRICE_ONE


cdef bint lasting_c(int64_t* since_ns, bint is_so, int64_t now_ns, int64_t limit_ns) noexcept nogil:
    """Keeps since when something is so; whether that is longer than the limit."""
    if not is_so:
        since_ns[0] = 0
        return False
    if since_ns[0] == 0:
        since_ns[0] = now_ns
    return now_ns - since_ns[0] > limit_ns


cdef uint8_t guards_check_c(
    guards_t* guards, const limits_t* limits, MarketBooks books, int64_t now_ns
) noexcept nogil:
    """The Reason why the books may not be quoted on, 0 if they may. Sets `resync` when one is wanted."""
    cdef:
        int token
        int32_t bid_e4, ask_e4
        int64_t heard_ns
        bint crossed = False
        bint waiting = False
        bint unlike = not books.mirror_ok
        uint8_t reason = guards.held

    guards.resync = 0
    if not reason and not -limits.clock_ns <= guards.clock_ns <= limits.clock_ns:
        reason = R_CLOCK
    for token in range(2):
        if not books.has_snapshot[token]:
            # Nothing below means anything before the books are there, and what was true of others is over.
            guards.crossed_ns = guards.unlike_ns = guards.unconfirmed_ns = 0
            if lasting_c(&guards.missing_ns, True, now_ns, limits.confirm_ns):
                guards.resync = R_NO_SNAPSHOT
            if reason:
                return reason
            return R_EPOCH_CHANGED if books.epoch[token] else R_NO_SNAPSHOT
    guards.missing_ns = 0
    for token in range(2):
        if books.checks.unconfirmed[token] and (guards.vouched_ns[token] or told_c(books, token)):
            books.checks.unconfirmed[token] = False
        waiting |= books.checks.unconfirmed[token]
        unlike |= not books.best_ok[token]
        bid_e4 = book_best_bid(books.book[token])
        ask_e4 = book_best_ask(books.book[token])
        crossed |= bid_e4 >= 0 and ask_e4 >= 0 and bid_e4 >= ask_e4
    if lasting_c(&guards.unconfirmed_ns, waiting, now_ns, limits.confirm_ns):
        guards.resync = R_UNCONFIRMED
    if lasting_c(&guards.unlike_ns, unlike, now_ns, limits.lasting_ns):
        guards.resync = R_MIRROR_MISMATCH if not books.mirror_ok else R_BEST_MISMATCH
    if lasting_c(&guards.crossed_ns, crossed, now_ns, limits.lasting_ns):
        guards.resync = R_CROSSED
    for token in range(2):
        if guards.disputed_ns[token]:
            guards.resync = R_DISPUTED
    if reason:
        return reason
    if guards.resync == R_DISPUTED:
        return R_DISPUTED
    if waiting:
        return R_UNCONFIRMED
    for token in range(2):
        heard_ns = books.token_ns[token]
        if now_ns - max(heard_ns, guards.vouched_ns[token]) > limits.book_max_age_ns:
            return R_STALE
        if now_ns - heard_ns > limits.quiet_cap_ns:
            return R_QUIET
        # A snapshot's time is that of the book's last change, which may be long ago.
        if (
            books.token_ms[token] != books.checks.snapshot_ms[token]
            and heard_ns + guards.clock_ns - books.token_ms[token] * MILLISECOND_NS > limits.late_ns
        ):
            return R_LATE
        if not books.best_ok[token]:
            return R_BEST_MISMATCH
    if not books.mirror_ok:
        return R_MIRROR_MISMATCH
    return R_CROSSED if crossed else 0


cdef bint guards_told_c(guards_t* guards, MarketBooks books, const event_t* event) noexcept nogil:
    """Takes an event of kind GUARD; whether it can change what `guards_check_c` says."""
    cdef uint8_t before

    if event.status == GUARD_HOLD:
        before = guards.held
        guards.held = event.reason
        return before != event.reason
    if event.status == GUARD_CLOCK:
        guards.clock_ns = event.code * MILLISECOND_NS
        return True
    if event.token > DOWN or not books.has_snapshot[event.token]:
        return False
    if event.status == GUARD_VOUCH:
        guards.vouched_ns[event.token] = max(guards.vouched_ns[event.token], event.time_ns)
        return True
    if event.status == GUARD_DISPUTE:
        guards.disputed_ns[event.token] = event.time_ns
        return True
    return False


cdef void guards_reset_c(guards_t* guards) noexcept nogil:
    """The books start anew: what was said about the old ones is over; what was said from outside stays."""
    cdef:
        uint8_t held = guards.held
        int64_t clock_ns = guards.clock_ns

    memset(guards, 0, sizeof(guards_t))
    guards.held = held
    guards.clock_ns = clock_ns
