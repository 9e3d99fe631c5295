"""C interface of the signer's caps. `OrderTemplate` asks them before every signature; threads share one."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from invmm._ext.records cimport command_t


cdef enum:
    CAP_SLOTS = 512             # tokens that can be allowed at the same time
    COUNT_SIGNED = 0            # signed and released at once
    COUNT_AHEAD = 1             # signed ahead, not counted by the rate
    COUNT_RELEASED = 2          # signed ahead earlier, released now
    COUNT_REFUSED = 3           # followed by one counter per RULE_CAP_*, from RULE_CAP_TOKEN down
    COUNTS = 8


cdef class SignerCaps:
    cdef readonly int32_t min_price_e4
    cdef readonly int32_t max_price_e4
    cdef readonly int64_t max_size_micro
    cdef readonly int64_t max_notional_micro
    cdef readonly int64_t orders_per_second     # 0: not limited
    cdef readonly int64_t burst
    cdef readonly bint frozen                   # the list of tokens stays as it is
    cdef bint any_token
    cdef uint64_t[5 * CAP_SLOTS] slots          # in use, then the id as four words
    cdef uint64_t slots_seen                    # slots that were ever used
    cdef uint64_t busy_until_us                 # when the bucket is full again
    cdef uint64_t[COUNTS] tally

    # Pieces; none of these counts, except that `count_c` takes one order out of the rate.
    cdef bint allows_c(self, const uint8_t* token) noexcept nogil
    cdef int check_c(self, const command_t* command, int64_t time_ms) noexcept nogil
    cdef int count_c(self, int64_t time_ms) noexcept nogil

    # What signing calls: 0, or the RULE_CAP_* that refused; both are counted. `token` is the id as 32 bytes.
    cdef int admit_c(self, const command_t* command, const uint8_t* token, int64_t time_ms) noexcept nogil
    cdef int admit_ahead_c(
        self, const command_t* command, const uint8_t* token, int64_t time_ms
    ) noexcept nogil
    cdef int release_c(self, const command_t* command, const uint8_t* token, int64_t time_ms) noexcept nogil
    cdef int decide_c(
        self, const command_t* command, const uint8_t* token, int64_t time_ms, int count
    ) noexcept nogil
