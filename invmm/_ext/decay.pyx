"""How fills become rarer with the distance from fair value, measured from own bids: the k of e^(−k·distance).

Bids rested for so many order-seconds in each half cent below fair value, and so many orders were filled
there. If fills come at a rate of A·e^(−k·distance) per order, the most likely k, whatever A is, is where the
mean distance of the fills equals the mean distance of the time rested, weighed by e^(−k·distance). The prior
is a gamma distribution around the k that settings name and counts as much as PRIOR_FILLS orders.
"""

from libc.math cimport exp


cdef double WIDTH = 0.005       # dollars
cdef double PRIOR_FILLS = 20.0
cdef double LEAST = 1.0
cdef double MOST = 1e6


cdef inline int bin_of(double distance) noexcept nogil:
    return <int> min(BINS - 1.0, max(0.0, distance / WIDTH))


cdef void decay_begin_c(decay_t* decay, double prior) noexcept nogil:
    """Nothing is counted yet; `prior`: 1/dollars."""
    cdef int i

    decay.prior = decay.decay = prior
    for i in range(BINS):
        decay.rested[i] = decay.filled[i] = 0.0


cdef void decay_rested_c(decay_t* decay, double distance, double orders) noexcept nogil:
    """Bids rested there: orders × seconds."""
    decay.rested[bin_of(distance)] += orders


cdef void decay_filled_c(decay_t* decay, double distance, double orders) noexcept nogil:
    """So many orders were filled there; estimates anew, by Newton's steps from what was believed."""
    cdef:
        double k = decay.decay
        double fills = 0.0
        double away = 0.0
        double weight
        double mass
        double mean
        double square
        double d
        double slope
        int i
        int _step

    decay.filled[bin_of(distance)] += orders
    for i in range(BINS):
        fills += decay.filled[i]
        away += decay.filled[i] * (i + 0.5) * WIDTH
    for _step in range(12):
        mass = mean = square = 0.0
        for i in range(BINS):
            d = (i + 0.5) * WIDTH
            weight = decay.rested[i] * exp(-k * d)
            mass += weight
            mean += weight * d
            square += weight * d * d
        if not mass > 0.0:
            return
        mean /= mass
        # The score falls in k, and so does its convexity: halving or doubling at most, it converges.
        slope = fills * max(0.0, square / mass - mean * mean) + PRIOR_FILLS / (k * k)
        d = (fills * mean - away + PRIOR_FILLS / k - PRIOR_FILLS / decay.prior) / slope
        k = min(MOST, max(LEAST, min(2.0 * k, max(0.5 * k, k + d))))
    decay.decay = k
