"""What a market's two books are checked against at the end of each batch: the bests that the venue told, and
each other.

A batch is all content of one venue timestamp: within it the told bests run ahead of the levels, and one
token's levels run ahead of the other's.
"""

from libc.stdint cimport int32_t, int64_t

from invmm._ext.book cimport (
    PRICE_ONE, book_best_ask, book_best_bid, book_lowest, book_next_above, book_size, book_t,
)


cdef enum:
    TOUCHED_ROOM = 128
    HOLLOW_E4 = 100             # a book without a bid above this and an ask as far from a dollar says nothing


cdef struct checks_t:
    int64_t batch_ms            # timestamp of the batch under way, -1: none
    bint[2] has_best            # the batch's last price_change told bests for this token
    int32_t[2] told_bid, told_ask
    bint whole_due              # compare whole books at the end of the batch
    int n_touched
    int64_t best_checks, best_mismatches, mirror_checks, mirror_mismatches
    int64_t old_snapshots       # not adopted: the stream was further
    int64_t[2] snapshot_ms
    int64_t[2] stream_ms        # newest venue timestamp of the token before the last reset
    bint[2] unconfirmed         # the token's snapshot asks for a second source before it is quoted on
    int32_t[128] touched        # levels of the batch in Up's terms: 2 x price_e4 + side


cdef inline void checks_touch(checks_t* checks, int32_t touched) noexcept nogil:
    """Remembers a level for the mirror check at the end of the batch."""
    if checks.n_touched < TOUCHED_ROOM:
        checks.touched[checks.n_touched] = touched
        checks.n_touched += 1
    else:
        checks.whole_due = True


cdef inline bint checks_take_book(
    checks_t* checks, int token, int64_t venue_ms, int64_t token_ms, bint has_snapshot
) noexcept nogil:
    """Whether a snapshot is adopted: not over a book that the stream has taken further. Says whether it asks
    for a second source: the first snapshot is held against the other token's, a later one may come from a
    source that lags.
    """
    cdef bint older = venue_ms < max(token_ms, checks.stream_ms[token])
    checks.old_snapshots += older
    if has_snapshot:
        return not older
    checks.unconfirmed[token] = older or checks.stream_ms[token] > 0
    return True


cdef inline bint is_hollow(const book_t* book) noexcept nogil:
    """Whether a book shows next to nothing: bids of a cent and asks of 99, as a broken source serves it."""
    cdef int32_t ask = book_best_ask(book)
    return book_best_bid(book) <= HOLLOW_E4 and (ask < 0 or ask >= PRICE_ONE - HOLLOW_E4)


cdef inline void checks_reset(checks_t* checks, int token, int64_t token_ms) noexcept nogil:
    """Forgets what a token's book was held against; `token_ms`: how far the stream had taken it."""
    checks.has_best[token] = False
    checks.unconfirmed[token] = False
    checks.snapshot_ms[token] = -1
    checks.stream_ms[token] = max(checks.stream_ms[token], token_ms)


cdef inline bint mirror_holds(book_t** books) noexcept nogil:
    """Whether every level of either book stands in the other at one minus its price, with its size."""
    cdef int side, token
    cdef int32_t price
    for token in range(2):
        for side in range(2):
            price = book_lowest(books[token], side)
            while price >= 0:
                if book_size(books[token], side, price) != book_size(
                    books[1 - token], 1 - side, PRICE_ONE - price
                ):
                    return False
                price = book_next_above(books[token], side, price)
    return True


cdef inline void checks_end_batch(
    checks_t* checks, book_t** books, const bint* has_snapshot, bint* best_ok, bint* mirror_ok
) noexcept nogil:
    """Runs the checks that are due, and says per token and for both how they came out; a batch that was ended
    before has none.
    """
    cdef int32_t bid, ask, price
    cdef int token, i, side
    cdef bint holds
    for token in range(2):
        if not checks.has_best[token]:
            continue
        checks.has_best[token] = False
        if not has_snapshot[token]:
            continue
        bid = book_best_bid(books[token])
        ask = book_best_ask(books[token])
        checks.best_checks += 1
        bid = bid if bid >= 0 else 0
        ask = ask if ask >= 0 else PRICE_ONE
        best_ok[token] = checks.told_bid[token] == bid and checks.told_ask[token] == ask
        checks.best_mismatches += not best_ok[token]
    if has_snapshot[0] and has_snapshot[1] and (checks.n_touched or checks.whole_due):
        checks.mirror_checks += 1
        if checks.whole_due or not mirror_ok[0]:
            # After a mismatch nothing less than the whole book proves that it is over.
            mirror_ok[0] = mirror_holds(books)
        else:
            holds = True
            for i in range(checks.n_touched):
                side = checks.touched[i] & 1
                price = checks.touched[i] >> 1
                holds &= book_size(books[0], side, price) == book_size(books[1], 1 - side, PRICE_ONE - price)
            mirror_ok[0] = holds
        checks.mirror_mismatches += not mirror_ok[0]
    checks.n_touched = 0
    checks.whole_due = False
