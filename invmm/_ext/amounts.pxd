"""C interface of the amount rules: pure kernels, and the statuses that every signing kernel returns."""

from libc.stdint cimport int64_t


cdef enum:
    RULE_CAPACITY = -1          # the caller's buffer is smaller than `body_capacity` or `capacity`
    RULE_SIDE = -2
    RULE_ORDER_TYPE = -3
    RULE_TICK = -4
    RULE_PRICE_TICK = -5
    RULE_PRICE_RANGE = -6
    RULE_SIZE = -7
    RULE_SIZE_LIMIT = -8
    RULE_MIN_SIZE = -9
    RULE_MIN_NOTIONAL = -10
    RULE_EXPIRATION = -11
    RULE_EXPIRATION_LEAD = -12
    RULE_POST_ONLY = -13
    RULE_SALT = -14
    RULE_TIMESTAMP = -15
    RULE_SIGNING = -16          # the curve library refused; it does so for no valid key
    RULE_CAP_TOKEN = -17        # the signer's own caps: RULE_CAP_RATE <= status <= RULE_CAP_TOKEN
    RULE_CAP_PRICE = -18
    RULE_CAP_SIZE = -19
    RULE_CAP_NOTIONAL = -20
    RULE_CAP_RATE = -21
    RULE_CLOSED = -22


cdef int order_amounts_c(
    int side, int order_type, int64_t price_e4, int64_t size_micro, int64_t tick_e4,
    int64_t* maker, int64_t* taker,
) noexcept nogil
cdef int market_amounts_c(
    int side, int64_t amount_micro, int64_t price_e4, int64_t tick_e4, int64_t* maker, int64_t* taker
) noexcept nogil
cdef int side_of(object side) except -1
cdef int order_type_of(object order_type) except -1
