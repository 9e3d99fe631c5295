"""The words that one thread publishes and another reads at any time.

    by the engine      mode, kill level, sign of life; version and last moment of each market
    by the executor    venue mode, missed heartbeats and until when the last one counts, its own sign of life,
                       why the venue may get no more orders
    by the journal     why nothing can be written to it any more

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
    WORD_VENUE_MODE = 2
    WORD_MISSED_HEARTBEATS = 3
    WORD_VENUE_STOP = 4
    WORD_KILL = 5
    WORD_HEARTBEAT_UNTIL = 6
    WORD_EXECUTOR_BEAT = 7
    WORD_JOURNAL_STOP = 8
    WORD_ENGINE_UNTIL = 9

BEAT_LIMIT_NS = <int64_t>SILENCE_MS * 1_000_000


@cython.final
cdef class SharedWords:
    """What the executor's gate reads of the engine, and what the executor knows of the venue.

    Parameters
    ----------
    markets : int
        Highest number of markets, 1 to 65536; a market's number is its index.
    """

    def __cinit__(self, markets=64):
        if not isinstance(markets, int) or not 0 < markets <= 65_536:
            raise ValueError(f"markets: expected 1 to 65536, got {markets!r}")
        wide = np.zeros(2 * (WORDS_FIXED + markets), dtype=np.uint64)
        skip = -wide.ctypes.data % 64 // 8
        self.memory = wide[skip:skip + WORDS_FIXED + 2 * markets]
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

    @property
    def venue_mode(self):
        """`VenueMode` as the venue's answers show it."""
        return self.venue_mode_c()

    @venue_mode.setter
    def venue_mode(self, value):
        atomic_store_release(self.words + WORD_VENUE_MODE, types.VenueMode(value))

    @property
    def heartbeat_ok(self):
        """False: the venue may be about to cancel everything, and new orders are refused."""
        return self.missed_heartbeats_c() == 0

    @property
    def missed_heartbeats(self):
        """Heartbeats to the venue that failed in a row; 0 also where none are sent. From two on every order
        may be cancelled at any moment, and still counts as alive."""
        return self.missed_heartbeats_c()

    @missed_heartbeats.setter
    def missed_heartbeats(self, uint64_t value):
        atomic_store_release(self.words + WORD_MISSED_HEARTBEATS, value)

    @property
    def heartbeat_until_ns(self):
        """Engine time at which the venue cancels everything unless it hears of us again; 0: it does not."""
        return self.heartbeat_until_c()

    @heartbeat_until_ns.setter
    def heartbeat_until_ns(self, int64_t value):
        atomic_store_release(self.words + WORD_HEARTBEAT_UNTIL, <uint64_t>value)

    @property
    def engine_until_ns(self):
        """Engine time until which the engine's last sign of life counts; 0: it does not give any."""
        return self.engine_until_c()

    @engine_until_ns.setter
    def engine_until_ns(self, int64_t value):
        atomic_store_release(self.words + WORD_ENGINE_UNTIL, <uint64_t>value)

    @property
    def executor_beat_ns(self):
        """CLOCK_MONOTONIC of the executor's last sign of life; 0: it does not give any."""
        return <int64_t>atomic_load_acquire(self.words + WORD_EXECUTOR_BEAT)

    @executor_beat_ns.setter
    def executor_beat_ns(self, int64_t value):
        atomic_store_release(self.words + WORD_EXECUTOR_BEAT, <uint64_t>value)

    @property
    def venue_stop(self):
        """`Reason` for which new orders stopped for good (credentials, region, version); 0: none did. Assign
        `Reason.NONE` once the cause is gone."""
        return self.venue_stop_c()

    @venue_stop.setter
    def venue_stop(self, value):
        atomic_store_release(self.words + WORD_VENUE_STOP, types.Reason(value))

    @property
    def kill(self):
        """Kill level, 0 to 3; from 1 on no order goes out, at 3 heartbeats end as well."""
        return self.kill_c()

    @kill.setter
    def kill(self, level):
        if level not in (0, 1, 2, 3):
            raise ValueError(f"kill: expected a level from 0 to 3, got {level!r}")
        atomic_store_release(self.words + WORD_KILL, level)

    @property
    def journal_stop(self):
        """`Reason` for which orders cannot be journaled, and so not be sent; 0: they can."""
        return self.journal_stop_c()

    @journal_stop.setter
    def journal_stop(self, value):
        atomic_store_release(self.words + WORD_JOURNAL_STOP, types.Reason(value))

    def market_close_ns(self, uint32_t market):
        """Engine time from which on nothing is placed in a market; 0: it was not published."""
        self._known(market)
        return self.market_close_c(market)

    def set_market_close(self, uint32_t market, int64_t close_ns):
        """Publishes the last moment of a market's placements."""
        self._known(market)
        atomic_store_release(self.words + WORDS_FIXED + self.markets + market, <uint64_t>max(close_ns, 0))

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

    cdef uint64_t venue_mode_c(self) noexcept nogil:
        return atomic_load_acquire(self.words + WORD_VENUE_MODE)

    cdef uint64_t missed_heartbeats_c(self) noexcept nogil:
        return atomic_load_acquire(self.words + WORD_MISSED_HEARTBEATS)

    cdef int64_t engine_until_c(self) noexcept nogil:
        return <int64_t>atomic_load_acquire(self.words + WORD_ENGINE_UNTIL)

    cdef int64_t heartbeat_until_c(self) noexcept nogil:
        return <int64_t>atomic_load_acquire(self.words + WORD_HEARTBEAT_UNTIL)

    cdef uint64_t venue_stop_c(self) noexcept nogil:
        return atomic_load_acquire(self.words + WORD_VENUE_STOP)

    cdef uint64_t market_version_c(self, uint32_t market) noexcept nogil:
        return atomic_load_acquire(self.words + WORDS_FIXED + market) if market < self.markets else 0

    cdef void set_market_version_c(self, uint32_t market, uint64_t version) noexcept nogil:
        if market < self.markets:
            atomic_store_release(self.words + WORDS_FIXED + market, version)

    cdef uint64_t kill_c(self) noexcept nogil:
        return atomic_load_acquire(self.words + WORD_KILL)

    cdef uint64_t journal_stop_c(self) noexcept nogil:
        return atomic_load_acquire(self.words + WORD_JOURNAL_STOP)

    cdef int64_t market_close_c(self, uint32_t market) noexcept nogil:
        if market >= self.markets:
            return 0
        return <int64_t>atomic_load_acquire(self.words + WORDS_FIXED + self.markets + market)
