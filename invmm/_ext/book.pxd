"""One token's order book in C: sizes by price, with a bitmap over them.

A price is an index into a dense array: `index = price_e4 / unit_e4`. The unit starts as the tick (100 for
one cent), so that the hundred levels of a one-cent book lie side by side, and is refined in place to the
greatest common divisor when a price comes that is not on it. Nothing is allocated after construction.

    sizes   [bid 0 | bid 1 | ... | bid n | padding | ask 0 | ask 1 | ... | ask n]   micro-shares
    bits    one bit per index and side, 64 to a word, both sides' words side by side
    summary one bit per word of `bits`
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from invmm._ext.records cimport BUY, SELL


cdef extern from *:
    int __builtin_clzll(unsigned long long word) noexcept nogil
    int __builtin_ctzll(unsigned long long word) noexcept nogil


cdef enum:
    PRICE_ONE = 10_000          # one dollar in price_e4
    BOOK_WORDS = 157            # of bits per side at unit 1
    BOOK_SUMMARIES = 3          # words of summary per side at unit 1
    BOOK_STRIDE = 10_008        # sizes per side at unit 1


cdef struct level_t:            # LEVEL_DTYPE
    int32_t price_e4
    int64_t size_micro


cdef struct book_t:
    int32_t unit_e4             # of the array now; divides 10000
    int32_t tick_e4             # the venue's; the unit after clear
    uint64_t reciprocal         # 2^32 / unit + 1: division by multiplication, exact for prices
    int32_t stride              # sizes per side
    int32_t words               # words of bits per side in use
    uint32_t epoch              # grows when the levels of before mean nothing any more
    uint32_t padding
    uint64_t[3][2] summary      # [word][side]
    uint64_t[157][2] bits       # [word][side]
    int64_t[20016] sizes        # two sides of BOOK_STRIDE


cdef void book_refine(book_t* book, int32_t price_e4) noexcept nogil
cdef void book_set_tick(book_t* book, int32_t tick_e4) noexcept nogil
cdef void book_clear(book_t* book) noexcept nogil


cdef inline int32_t book_index(const book_t* book, int32_t price_e4) noexcept nogil:
    """Index at or below a price."""
    return <int32_t>((<uint64_t>price_e4 * book.reciprocal) >> 32)


cdef inline int64_t book_set(book_t* book, int side, int32_t price_e4, int64_t size_micro) noexcept nogil:
    """Sets a level's size, 0 removes it; gives the size before. The price lies inside (0, 10000), the size
    is not negative.
    """
    cdef int32_t index = book_index(book, price_e4)
    cdef int32_t word
    cdef uint64_t bit, rest, present
    cdef int64_t before
    cdef int64_t* place
    if index * book.unit_e4 != price_e4:
        book_refine(book, price_e4)
        index = book_index(book, price_e4)
    place = &book.sizes[side * book.stride + index]
    before = place[0]
    place[0] = size_micro
    # Without branches: whether a level comes or goes cannot be predicted.
    word = index >> 6
    bit = <uint64_t>1 << (index & 63)
    present = <uint64_t>0 - <uint64_t>(size_micro != 0)
    rest = (book.bits[word][side] & ~bit) | (bit & present)
    book.bits[word][side] = rest
    bit = <uint64_t>1 << (word & 63)
    present = <uint64_t>0 - <uint64_t>(rest != 0)
    book.summary[word >> 6][side] = (book.summary[word >> 6][side] & ~bit) | (bit & present)
    return before


cdef inline int64_t book_size(const book_t* book, int side, int32_t price_e4) noexcept nogil:
    """Size at a price, 0 if there is no level."""
    cdef int32_t index = book_index(book, price_e4)
    if index * book.unit_e4 != price_e4:
        return 0
    return book.sizes[side * book.stride + index]


cdef inline int32_t book_highest(const book_t* book, int side) noexcept nogil:
    """Highest price with a level on this side, -1 if there is none."""
    cdef int32_t group = (book.words - 1) >> 6
    cdef int32_t word
    while group >= 0:
        if book.summary[group][side]:
            word = (group << 6) + 63 - __builtin_clzll(book.summary[group][side])
            return ((word << 6) + 63 - __builtin_clzll(book.bits[word][side])) * book.unit_e4
        group -= 1
    return -1


cdef inline int32_t book_lowest(const book_t* book, int side) noexcept nogil:
    """Lowest price with a level on this side, -1 if there is none."""
    cdef int32_t groups = ((book.words - 1) >> 6) + 1
    cdef int32_t group = 0
    cdef int32_t word
    while group < groups:
        if book.summary[group][side]:
            word = (group << 6) + __builtin_ctzll(book.summary[group][side])
            return ((word << 6) + __builtin_ctzll(book.bits[word][side])) * book.unit_e4
        group += 1
    return -1


cdef inline int32_t book_best_bid(const book_t* book) noexcept nogil:
    """Price of the best bid, -1 if there is none."""
    return book_highest(book, BUY)


cdef inline int32_t book_best_ask(const book_t* book) noexcept nogil:
    """Price of the best ask, -1 if there is none."""
    return book_lowest(book, SELL)


cdef inline int32_t book_best(const book_t* book, int side) noexcept nogil:
    """Best price of a side, -1 if it is empty."""
    return book_highest(book, BUY) if side == BUY else book_lowest(book, SELL)


cdef inline int32_t book_next_below(const book_t* book, int side, int32_t price_e4) noexcept nogil:
    """Highest level's price below a price in 0...10000, -1 if there is none."""
    cdef int32_t index, word, group
    cdef uint64_t left
    if price_e4 <= 0:
        return -1
    index = book_index(book, price_e4 - 1)
    word = index >> 6
    left = book.bits[word][side] & (~<uint64_t>0 >> (63 - (index & 63)))
    if not left:
        group = word >> 6
        left = book.summary[group][side] & ((<uint64_t>1 << (word & 63)) - 1)
        while not left:
            group -= 1
            if group < 0:
                return -1
            left = book.summary[group][side]
        word = (group << 6) + 63 - __builtin_clzll(left)
        left = book.bits[word][side]
    return ((word << 6) + 63 - __builtin_clzll(left)) * book.unit_e4


cdef inline int32_t book_next_above(const book_t* book, int side, int32_t price_e4) noexcept nogil:
    """Lowest level's price above a price in 0...10000, -1 if there is none."""
    cdef int32_t index, word, group
    cdef uint64_t left
    if price_e4 >= PRICE_ONE:
        return -1
    index = book_index(book, price_e4) + 1
    word = index >> 6
    if word >= book.words:
        return -1
    left = book.bits[word][side] & (~<uint64_t>0 << (index & 63))
    if not left:
        group = word >> 6
        left = book.summary[group][side] & (~<uint64_t>1 << (word & 63))
        while not left:
            group += 1
            if group > (book.words - 1) >> 6:
                return -1
            left = book.summary[group][side]
        word = (group << 6) + __builtin_ctzll(left)
        left = book.bits[word][side]
    return ((word << 6) + __builtin_ctzll(left)) * book.unit_e4


cdef inline int32_t book_next_worse(const book_t* book, int side, int32_t price_e4) noexcept nogil:
    """The level behind a price on its own side: below for bids, above for asks; -1 if there is none."""
    return book_next_below(book, BUY, price_e4) if side == BUY else book_next_above(book, SELL, price_e4)


cdef inline int book_depth(const book_t* book, int side, level_t* out, int limit) noexcept nogil:
    """Writes up to `limit` levels, best first; gives how many."""
    cdef int32_t price = book_best(book, side)
    cdef int count = 0
    while price >= 0 and count < limit:
        out[count].price_e4 = price
        out[count].size_micro = book_size(book, side, price)
        count += 1
        price = book_next_worse(book, side, price)
    return count


cdef inline int64_t book_walk(
    const book_t* book, int side, int64_t size_micro, int64_t* cost_e4_micro
) noexcept nogil:
    """Takes up to `size_micro` from the best level on; gives what is there and, exact, the sum of price_e4 x
    size_micro.

    The size is at most VWAP_LIMIT_MICRO, so that the sum fits.
    """
    cdef int32_t price = book_best(book, side)
    cdef int64_t left = size_micro
    cdef int64_t cost = 0
    cdef int64_t take
    while price >= 0 and left > 0:
        take = book_size(book, side, price)
        if take > left:
            take = left
        cost += take * price
        left -= take
        price = book_next_worse(book, side, price)
    cost_e4_micro[0] = cost
    return size_micro - left


cdef class Book:
    cdef book_t* c              # cache-line aligned inside `block`
    cdef void* block            # what was allocated
    cdef readonly str name      # for messages of check()
