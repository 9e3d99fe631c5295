"""Where the books are heading: one market's state, and what a session learnt of how they follow it."""

from libc.stdint cimport int64_t


cdef struct follow_t:           # least squares through the origin, a prior in it from the start
    double rises                # sum of rises²: dollars²
    double moves                # sum of rise * later move


cdef struct trend_t:            # of one market
    double mean                 # log-odds of the books, averaged over the last moments
    double last                 # … now
    int64_t at_ms
    int64_t probe_ms            # a rise was noted then, 0: none
    double probe_fair           # the books' fair value then
    double probe_rise           # by how much that was above its average
    bint begun


cdef inline double follow_of(const follow_t* follow) noexcept nogil:
    """Of a rise, the part that is still to come; between 0 and 2."""
    if follow.rises <= 0.0:
        return 0.0
    return min(2.0, max(0.0, follow.moves / follow.rises))


cdef double nowcast_c(trend_t* trend, follow_t* follow, double x, int64_t now_ms) noexcept nogil
