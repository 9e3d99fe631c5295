"""Published words, for the engine's step and the executor's gate."""

from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef enum:
    WORDS_FIXED = 16                # words before the market versions: two cache lines
    SILENCE_MS = 3_000              # of an engine or executor that had given signs of life


cdef class SharedWords:
    """The atomics that the engine and the executor thread publish to each other."""
    cdef uint64_t* words            # the fixed ones (WORD_* of words.pyx), versions, last moments
    cdef readonly object memory     # numpy array (uint64) they live in
    cdef readonly uint32_t markets

    cdef uint64_t mode_c(self) noexcept nogil
    cdef void set_mode_c(self, uint64_t mode) noexcept nogil
    cdef int64_t beat_c(self) noexcept nogil
    cdef void set_beat_c(self, int64_t monotonic_ns) noexcept nogil
    cdef uint64_t venue_mode_c(self) noexcept nogil
    cdef uint64_t missed_heartbeats_c(self) noexcept nogil
    cdef int64_t engine_until_c(self) noexcept nogil
    cdef int64_t heartbeat_until_c(self) noexcept nogil
    cdef uint64_t venue_stop_c(self) noexcept nogil
    cdef uint64_t kill_c(self) noexcept nogil
    cdef uint64_t journal_stop_c(self) noexcept nogil
    cdef int64_t market_close_c(self, uint32_t market) noexcept nogil
    cdef uint64_t market_version_c(self, uint32_t market) noexcept nogil
    cdef void set_market_version_c(self, uint32_t market, uint64_t version) noexcept nogil
