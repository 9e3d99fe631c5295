"""How fills become rarer with the distance from fair value: a session's counts and their estimate."""

cdef enum:
    BINS = 12


cdef struct decay_t:
    double[BINS] rested         # orders × seconds that bids rested so far below fair value
    double[BINS] filled         # orders that were filled there
    double prior                # 1/dollars
    double decay                # … as it is believed


cdef void decay_begin_c(decay_t* decay, double prior) noexcept nogil
cdef void decay_rested_c(decay_t* decay, double distance, double orders) noexcept nogil
cdef void decay_filled_c(decay_t* decay, double distance, double orders) noexcept nogil
