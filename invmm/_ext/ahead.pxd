"""C interface of the orders signed in advance. One thread, the one that signs and sends."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from invmm._ext.records cimport command_t
from invmm._ext.template cimport OrderTemplate, sealed_t


cdef struct lane_t:             # where one token is quoted: side and size, and the prices of the last quotes
    uint32_t place              # market × 2 + token
    uint8_t side
    int32_t low_e4              # of the quotes that went together last
    int32_t high_e4
    int64_t size_micro
    int64_t noted_ms            # when they went
    uint64_t turn               # of the last quote, over all lanes; 0: the lane is free


cdef struct slot_t:             # one order that is ready
    uint64_t serial             # of the template that signed it; 0: empty
    int32_t tick_e4             # of the market when it was signed
    int32_t price_e4
    sealed_t sealed


cdef class SignedAhead:
    cdef readonly size_t limit          # orders held at most
    cdef readonly int64_t max_age_ms    # an older one is not used
    cdef size_t width                   # prices of one lane, so many slots each
    cdef size_t n_lanes
    cdef lane_t* lanes
    cdef slot_t* slots
    cdef uint64_t turn
    cdef uint64_t salt_state
    cdef uint64_t signed                # counts since the start
    cdef uint64_t used
    cdef uint64_t missed
    cdef uint64_t dropped

    cdef void note_c(self, uint32_t place, const command_t* command, int64_t now_ms) noexcept nogil
    cdef const sealed_t* take_c(
        self, uint32_t place, OrderTemplate template, const command_t* command, int64_t maker, int64_t taker,
        int64_t now_ms,
    ) noexcept nogil
    cdef bint fill_c(self, void** places, int64_t now_ms) noexcept nogil
    cdef void drop_c(self) noexcept nogil
    cdef lane_t* find_c(self, uint32_t place, uint8_t side, int64_t size_micro) noexcept nogil
    cdef slot_t* slot_c(self, const lane_t* lane, int64_t price_e4, int64_t tick_e4) noexcept nogil
    cdef void empty_c(self, slot_t* slot) noexcept nogil
    cdef bint fresh_c(
        self, const slot_t* slot, OrderTemplate template, int64_t price_e4, int64_t now_ms, int64_t age_ms
    ) noexcept nogil
    cdef bint sign_c(
        self, const lane_t* lane, OrderTemplate template, size_t step, int64_t now_ms
    ) noexcept nogil
    cdef uint64_t salt_c(self) noexcept nogil
