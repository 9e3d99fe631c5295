"""The words that one thread publishes and another reads at any time: mode, heart-beat, market versions.

Everything else between the threads travels as records on a ring. Loads acquire, stores release.
"""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

cimport numpy as cnp

import numpy as np

from invmm import types
from invmm._ext.atomics cimport atomic_load_acquire, atomic_store_release

cnp.import_array()

cdef enum:
    WORD_MODE = 0
    WORD_BEAT = 1


@cython.final
cdef class SharedWords:
    """What the engine publishes and the executor's gate reads: mode, heart-beat, version of each market.

    Parameters
    ----------
    markets : int
        Highest number of markets, 1 to 65536; a market's number is its index.
    """

    def __cinit__(self, markets=64):
        if not isinstance(markets, int) or not 0 < markets <= 65_536:
            raise ValueError(f"markets: expected 1 to 65536, got {markets!r}")
        wide = np.zeros(WORDS_FIXED * 2 + markets, dtype=np.uint64)
        skip = -wide.ctypes.data % 64 // 8
        self.memory = wide[skip:skip + WORDS_FIXED + markets]
        self.memory.flags.writeable = False     # for readers; writers go through the methods
        self.words = <uint64_t*>cnp.PyArray_DATA(self.memory)
        self.markets = markets

    @property
    def mode(self):
        """`Mode`; assign to publish."""
        return self.mode_c()

    @mode.setter
    def mode(self, value):
        self.set_mode_c(types.Mode(value))

    @property
    def beat_ns(self):
        """CLOCK_MONOTONIC of the engine's last sign of life; 0: it does not give any."""
        return self.beat_c()

    @beat_ns.setter
    def beat_ns(self, int64_t value):
        self.set_beat_c(value)

    def market_version(self, uint32_t market):
        """The published version of a market; commands of an older one are refused."""
        self._known(market)
        return self.market_version_c(market)

    def set_market_version(self, uint32_t market, uint64_t version):
        """Publishes a market's version."""
        self._known(market)
        self.set_market_version_c(market, version)

    def _known(self, market):
        if market >= self.markets:
            raise IndexError(f"market: expected below {self.markets}, got {market}")

    cdef uint64_t mode_c(self) noexcept nogil:
        return atomic_load_acquire(self.words + WORD_MODE)

    cdef void set_mode_c(self, uint64_t mode) noexcept nogil:
        atomic_store_release(self.words + WORD_MODE, mode)

    cdef int64_t beat_c(self) noexcept nogil:
        return <int64_t>atomic_load_acquire(self.words + WORD_BEAT)

    cdef void set_beat_c(self, int64_t monotonic_ns) noexcept nogil:
        atomic_store_release(self.words + WORD_BEAT, <uint64_t>monotonic_ns)

    cdef uint64_t market_version_c(self, uint32_t market) noexcept nogil:
        return atomic_load_acquire(self.words + WORDS_FIXED + market) if market < self.markets else 0

    cdef void set_market_version_c(self, uint32_t market, uint64_t version) noexcept nogil:
        if market < self.markets:
            atomic_store_release(self.words + WORDS_FIXED + market, version)
