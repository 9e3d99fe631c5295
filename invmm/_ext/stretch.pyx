"""Goes over the batches of a tape in which nothing happens to own orders, for the embedded venue.

Frame after frame is applied; the first that changes the size of a watched level, or the first batch that ends
with another best price, is where the venue has to look for itself.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t

from invmm._ext.book cimport book_best_ask, book_best_bid, book_size, book_t
from invmm._ext.decode cimport MarketBooks


cdef enum:
    MAX_WATCHED = 256           # levels; more are not gone over


def pass_over(
    MarketBooks books not None,
    const uint8_t[::1] data not None,
    const int64_t[::1] offsets not None,
    const int64_t[::1] ends not None,
    const int64_t[::1] firsts not None,
    const int64_t[::1] times_ns not None,
    const uint8_t[::1] is_plain not None,
    Py_ssize_t batch,
    int64_t until_ns,
    list watched not None,
    best,
):
    """Apply the frames of plain batches up to `until_ns`, as long as what is watched stays as it is.

    Parameters
    ----------
    books : MarketBooks
        Of the venue.
    data : bytes
        All frames of the tape.
    offsets, ends : arrays of int64
        Where each frame begins and ends.
    firsts : array of int64
        First frame of each batch, and one more: the number of frames.
    times_ns, is_plain : arrays
        Of each batch: when it happens, and 1 if its frames tell of level changes only.
    batch : int
        The first batch to apply, none of its frames applied yet.
    until_ns : int
        Batches after this time are left.
    watched : list of (side, price_e4, size_micro)
        Levels of the Up book.
    best : (int, int) or None
        Best bid and ask of Up, -1 for none; None: they may change.

    Returns
    -------
    tuple
        `(batch, row)`: the batch at which it stopped and the first of its frames that is not applied.
        If that is not its first frame, what is watched has changed with the frame before, or, if it is the
        first frame of the next batch, possibly the best price with the whole batch.
    """
    cdef:
        const char* bytes_c = <const char*> &data[0] if data.shape[0] else NULL
        const book_t* up = books.book[0]
        Py_ssize_t count = times_ns.shape[0]
        int32_t[MAX_WATCHED] prices
        int64_t[MAX_WATCHED] sizes
        int[MAX_WATCHED] sides
        int n_watched = 0
        int32_t bid = -1
        int32_t ask = -1
        bint is_best_watched = best is not None
        int64_t row
        int k

    if (
        not 0 <= batch <= count
        or firsts.shape[0] != count + 1
        or is_plain.shape[0] != count
        or offsets.shape[0] != ends.shape[0]
        or firsts[count] != ends.shape[0]
        or (ends.shape[0] and ends[ends.shape[0] - 1] > data.shape[0])
    ):
        raise ValueError("expected arrays of one tape")
    if is_best_watched:
        bid, ask = best
    if len(watched) > MAX_WATCHED:
        return batch, firsts[batch]
    for side, price_e4, size_micro in watched:
        sides[n_watched], prices[n_watched], sizes[n_watched] = side, price_e4, size_micro
        n_watched += 1
    with nogil:
        while batch < count and is_plain[batch] and times_ns[batch] <= until_ns:
            row = firsts[batch]
            while row < firsts[batch + 1]:
                books.apply_c(bytes_c + offsets[row], ends[row] - offsets[row], times_ns[batch])
                row += 1
                for k in range(n_watched):
                    if book_size(up, sides[k], prices[k]) != sizes[k]:
                        with gil:
                            return batch, row
            if is_best_watched and (book_best_bid(up) != bid or book_best_ask(up) != ask):
                with gil:
                    return batch, row
            batch += 1
    return batch, firsts[batch]
