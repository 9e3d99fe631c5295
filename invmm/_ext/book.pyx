"""Order book of one token: absolute sizes by price, O(1) update and best, walks over a bitmap.

Takes prices in 1e-4 dollars (1...9999) and sizes in 1e-6 shares. Allocates when it is constructed and never
again; the C functions of `book.pxd` need no GIL and make no Python object. A book belongs to one thread.
"""

import hashlib
from math import gcd

import numpy as np

from invmm.types import LEVEL_DTYPE

cimport cython
from libc.stdint cimport int32_t, int64_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from invmm._ext.records cimport BUY, SELL


cdef extern from "digits.h":
    const int64_t SIZE_LIMIT_MICRO

MAX_SIZE_MICRO = SIZE_LIMIT_MICRO
"""Largest size of a level: 1e12 shares."""

VWAP_LIMIT_MICRO = 900_000_000_000_000
"""Largest size of a VWAP walk: 9e8 shares, so that price x size sums stay exact in 64 bits."""

cdef uint64_t colour = 0        # where in its page the next book begins

cdef int32_t _gcd(int32_t a, int32_t b) noexcept nogil:
    cdef int32_t rest
    while b:
        rest = a % b
        a = b
        b = rest
    return a


cdef void _set_unit(book_t* book, int32_t unit_e4) noexcept nogil:
    book.unit_e4 = unit_e4
    book.reciprocal = (<uint64_t>1 << 32) // <uint64_t>unit_e4 + 1
    book.stride = (PRICE_ONE // unit_e4 + 8) & ~7
    book.words = PRICE_ONE // unit_e4 // 64 + 1


cdef void book_refine(book_t* book, int32_t price_e4) noexcept nogil:
    """Makes the unit fine enough for a price, moving the levels to their new places."""
    cdef uint64_t[157][2] bits
    cdef int32_t stride = book.stride
    cdef int32_t words = book.words
    cdef int32_t factor = book.unit_e4
    cdef int32_t word, index, place
    cdef uint64_t left
    cdef int64_t size
    cdef int side
    for word in range(words):
        for side in range(2):
            bits[word][side] = book.bits[word][side]
            book.bits[word][side] = 0
    memset(book.summary, 0, sizeof(book.summary))
    _set_unit(book, _gcd(book.unit_e4, price_e4))
    factor = factor // book.unit_e4
    # From the highest place down, asks first: a level moves up, never onto one that has not moved yet.
    side = SELL
    while side >= BUY:
        word = words - 1
        while word >= 0:
            left = bits[word][side]
            while left:
                index = 63 - __builtin_clzll(left)
                left ^= <uint64_t>1 << index
                index += word << 6
                size = book.sizes[side * stride + index]
                book.sizes[side * stride + index] = 0
                place = index * factor
                book.sizes[side * book.stride + place] = size
                book.bits[place >> 6][side] |= <uint64_t>1 << (place & 63)
                book.summary[place >> 12][side] |= <uint64_t>1 << ((place >> 6) & 63)
            word -= 1
        side -= 1


cdef void book_clear(book_t* book) noexcept nogil:
    """Forgets every level, returns to the tick's unit, starts an epoch."""
    cdef int32_t word
    cdef int side
    cdef uint64_t left
    for word in range(book.words):
        for side in range(2):
            left = book.bits[word][side]
            while left:
                book.sizes[side * book.stride + (word << 6) + __builtin_ctzll(left)] = 0
                left &= left - 1
            book.bits[word][side] = 0
    memset(book.summary, 0, sizeof(book.summary))
    _set_unit(book, _gcd(PRICE_ONE, book.tick_e4))
    book.epoch += 1


cdef void book_set_tick(book_t* book, int32_t tick_e4) noexcept nogil:
    """A new tick starts an epoch; levels stay, and the array is refined only by prices that need it."""
    book.tick_e4 = tick_e4
    book.epoch += 1


cdef int _side(object side) except -1:
    if side == 0:
        return BUY
    if side == 1:
        return SELL
    raise ValueError(f"side: expected Side.BUY (0) or Side.SELL (1), got {side!r}")


cdef int32_t _price(object price_e4) except -1:
    try:
        if 0 < price_e4 < PRICE_ONE and price_e4 == int(price_e4):
            return <int32_t>int(price_e4)
    except TypeError:
        raise TypeError(f"price_e4: expected an integer in 1e-4 dollars, got {price_e4!r}") from None
    raise ValueError(f"price_e4: expected an integer from 1 to 9999 (1e-4 dollars), got {price_e4!r}")


cdef int64_t _size(object size_micro, object limit) except -1:
    try:
        if 0 <= size_micro <= limit and size_micro == int(size_micro):
            return <int64_t>int(size_micro)
    except TypeError:
        raise TypeError(f"size_micro: expected an integer in 1e-6 shares, got {size_micro!r}") from None
    raise ValueError(f"size_micro: expected an integer from 0 to {limit} (1e-6 shares), got {size_micro!r}")


cdef str _decimal(object value, object decimals):
    """Decimal text without trailing zeros, as the venue writes prices and sizes."""
    whole, fraction = divmod(value, 10 ** decimals)
    if not fraction:
        return str(whole)
    return f"{whole}.{fraction:0{decimals}d}".rstrip("0")


@cython.final
cdef class Book:
    """Order book of one token.

    Parameters
    ----------
    tick_e4 : int
        Tick in 1e-4 dollars, 1...5000. Prices off this grid are accepted; they only cost a one-time
        rearrangement.
    name : str
        Shown in the messages of `check`.
    """

    def __cinit__(self, tick_e4=100, name="book"):
        global colour
        tick = int(tick_e4)
        if tick != tick_e4 or not 1 <= tick <= PRICE_ONE // 2:
            raise ValueError(f"tick_e4: expected an integer from 1 to 5000 (1e-4 dollars), got {tick_e4!r}")
        self.name = str(name)
        # A fresh block begins a memory page; books that all began at one offset in it would fight for the
        # same cache sets. 11 lines apart, the next 64 books lie on different ones.
        self.block = calloc(1, sizeof(book_t) + 4096 + 64)
        if self.block == NULL:
            raise MemoryError("no memory for a book")
        self.c = <book_t*>(((<uintptr_t>self.block + 63) & ~<uintptr_t>63) + (colour * 11 % 64) * 64)
        colour += 1
        self.c.tick_e4 = tick
        _set_unit(self.c, gcd(PRICE_ONE, tick))

    def __dealloc__(self):
        free(self.block)

    @property
    def tick_e4(self):
        """Tick in 1e-4 dollars."""
        return self.c.tick_e4

    @property
    def epoch(self):
        """Grows by `clear` and by a change of tick: whoever keeps levels across it keeps nothing of worth."""
        return self.c.epoch

    def apply(self, side, price_e4, size_micro):
        """Set the size of one level; 0 removes it.

        Parameters
        ----------
        side : Side
            BUY is the bid side.
        price_e4 : int
            1...9999.
        size_micro : int
            The level's new total, 0...MAX_SIZE_MICRO.

        Returns
        -------
        int
            The size that stood there before.
        """
        cdef int side_c = _side(side)
        cdef int32_t price_c = _price(price_e4)
        return book_set(self.c, side_c, price_c, _size(size_micro, MAX_SIZE_MICRO))

    def size(self, side, price_e4):
        """Size at a price in micro-shares, 0 if there is no level."""
        return book_size(self.c, _side(side), _price(price_e4))

    def best_bid(self):
        """`(price_e4, size_micro)` of the highest bid, or None."""
        cdef int32_t price = book_best_bid(self.c)
        if price < 0:
            return None
        return price, book_size(self.c, BUY, price)

    def best_ask(self):
        """`(price_e4, size_micro)` of the lowest ask, or None."""
        cdef int32_t price = book_best_ask(self.c)
        if price < 0:
            return None
        return price, book_size(self.c, SELL, price)

    def is_crossed(self):
        """Whether the best bid is at or above the best ask."""
        cdef int32_t ask = book_best_ask(self.c)
        return ask >= 0 and book_best_bid(self.c) >= ask

    def count(self, side):
        """Number of levels on a side."""
        cdef int side_c = _side(side)
        cdef int32_t price = book_best(self.c, side_c)
        cdef int count = 0
        while price >= 0:
            count += 1
            price = book_next_worse(self.c, side_c, price)
        return count

    def depth(self, side, levels=PRICE_ONE):
        """The best levels of a side.

        Returns
        -------
        numpy.ndarray
            `LEVEL_DTYPE` rows, best first, as many as there are but at most `levels`.
        """
        cdef int side_c = _side(side)
        cdef level_t[::1] view
        wanted = int(levels)
        if wanted < 0:
            raise ValueError(f"levels: expected a count of 0 or more, got {levels!r}")
        rows = np.empty(min(wanted, self.count(side)), LEVEL_DTYPE)
        if len(rows):
            view = rows
            book_depth(self.c, side_c, &view[0], <int>view.shape[0])
        return rows

    def vwap(self, side, size_micro):
        """Average price of taking a size from a side, walking it from its best level.

        Parameters
        ----------
        side : Side
            The side that is walked: SELL for a buyer.
        size_micro : int
            0...VWAP_LIMIT_MICRO.

        Returns
        -------
        (float, int)
            Average price in dollars and the size in micro-shares that was there; `(0.0, 0)` if nothing is.
        """
        cdef int side_c = _side(side)
        cdef int64_t cost = 0
        cdef int64_t filled = book_walk(self.c, side_c, _size(size_micro, VWAP_LIMIT_MICRO), &cost)
        if filled == 0:
            return 0.0, 0
        return <double>cost / <double>filled / PRICE_ONE, filled

    def clear(self):
        """Forget every level; the epoch grows."""
        book_clear(self.c)

    def replace(self, bids, asks):
        """Replace every level, or change nothing if a value is out of range.

        Parameters
        ----------
        bids, asks : iterable of (price_e4, size_micro)
            In any order; of equal prices the last counts, sizes of 0 are no levels.
        """
        cdef int side
        sides = []
        for given in (bids, asks):
            sides.append({_price(price): _size(size, MAX_SIZE_MICRO) for price, size in given})
        for side in range(2):
            for row in self.depth(side):
                if int(row["price_e4"]) not in sides[side]:
                    book_set(self.c, side, row["price_e4"], 0)
            for price, size in sides[side].items():
                book_set(self.c, side, price, size)

    def venue_hash(
        self, market, asset_id, timestamp, last_trade_price, min_order_size="5", neg_risk=False, version=None
    ):
        """The venue's hash of this book: SHA-1 of its compact JSON (recipe verified on REST, snapshots,
        price changes).

        Parameters
        ----------
        market, asset_id : str
            Condition id and token id.
        timestamp : str or int
            Milliseconds, of the frame that carries the hash.
        last_trade_price : str
            The market's, with three decimals ("0.490"), "" before the first trade.
        min_order_size : str
            From REST; not in frames.
        neg_risk : bool
            From REST; not in frames.
        version : str or None
            "v2" for markets of the newer protocol.

        Returns
        -------
        str
            40 lower-case hexadecimal digits.
        """
        texts = []
        for side in (BUY, SELL):
            levels = ",".join(
                f'{{"price":"{_decimal(price, 4)}","size":"{_decimal(size, 6)}"}}'
                for price, size in reversed(self.depth(side).tolist())
            )
            texts.append(levels)
        text = (
            f'{{"market":"{market}","asset_id":"{asset_id}","timestamp":"{timestamp}","hash":"",'
            f'"bids":[{texts[0]}],"asks":[{texts[1]}],"min_order_size":"{min_order_size}",'
            f'"tick_size":"{_decimal(self.c.tick_e4, 4)}","neg_risk":{"true" if neg_risk else "false"},'
            f'"last_trade_price":"{last_trade_price}"'
        )
        text += f',"version":"{version}"}}' if version is not None else "}"
        return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def check(self):
        """Assert every invariant: AssertionError says which one is broken. Walks the whole array."""
        cdef book_t* book = self.c
        cdef int32_t index, word, last = PRICE_ONE // book.unit_e4
        cdef int side
        cdef int64_t size
        cdef bint bit
        if book.unit_e4 < 1 or PRICE_ONE % book.unit_e4:
            raise AssertionError(f"{self.name}: unit {book.unit_e4} does not divide {PRICE_ONE}")
        if book.words != last // 64 + 1 or book.stride < last + 1 or book.stride > BOOK_STRIDE:
            raise AssertionError(f"{self.name}: stride {book.stride}, words {book.words}, {book.unit_e4}")
        for side in range(2):
            for index in range(book.words * 64):
                bit = (book.bits[index >> 6][side] >> (index & 63)) & 1
                size = book.sizes[side * book.stride + index] if index < book.stride else 0
                if size < 0 or size > SIZE_LIMIT_MICRO:
                    raise AssertionError(f"{self.name}: side {side} index {index} has size {size}")
                if bit != (size != 0):
                    raise AssertionError(f"{self.name}: side {side} index {index}: size {size}, bit {bit:d}")
                if bit and not 0 < index < last:
                    raise AssertionError(f"{self.name}: side {side} has a level at index {index}")
            for word in range(BOOK_WORDS):
                bit = (book.summary[word >> 6][side] >> (word & 63)) & 1
                if bit != (book.bits[word][side] != 0):
                    raise AssertionError(f"{self.name}: side {side} word {word} and its summary disagree")
        for index in range(2 * book.stride, 2 * BOOK_STRIDE):
            if book.sizes[index]:
                raise AssertionError(f"{self.name}: size {book.sizes[index]} beyond the array in use")

    def __repr__(self):
        return f"Book({self.name!r}, bid={self.best_bid()}, ask={self.best_ask()}, tick_e4={self.tick_e4})"


def _bench_update(Book book, rows, int rounds):
    """Applies `(side, price_e4, size_micro)` rows of an int64 array, both bests after each, from C; gives a
    sum. For benches.
    """
    cdef const int64_t[:, ::1] view = rows
    cdef book_t* c = book.c
    cdef Py_ssize_t i
    cdef int _round
    cdef int64_t total = 0
    if not (
        rows.shape[1] == 3 and (rows >= 0).all() and (rows[:, 0] <= 1).all() and (rows[:, 1] > 0).all()
        and (rows[:, 1] < PRICE_ONE).all() and (rows[:, 2] <= SIZE_LIMIT_MICRO).all()
    ):
        raise ValueError("rows: expected (side, price_e4, size_micro) in their ranges")
    with nogil:
        for _round in range(rounds):
            for i in range(view.shape[0]):
                total += book_set(c, <int>view[i, 0], <int32_t>view[i, 1], view[i, 2])
                total += book_best_bid(c) + book_best_ask(c)
    return total
