"""What one more share is worth to somebody with a lead of one token: exact, for a binary payoff. No GIL."""

from libc.math cimport exp, expm1, fabs, log, log1p


cdef inline double sigmoid(double x) noexcept nogil:
    return 1.0 / (1.0 + exp(-x))


cdef inline double logit(double p) noexcept nogil:
    """For 0 < p < 1."""
    return log(p / (1.0 - p))


cdef inline double softplus(double x) noexcept nogil:
    """ln(1 + e^x) without overflow."""
    return (x if x > 0.0 else 0.0) + log1p(exp(-fabs(x)))


cdef inline double reservation(double x, double gamma, double lead, double n) noexcept nogil:
    """The most that `n` more shares are worth, dollars per share; see `reservation_price`."""
    cdef:
        double y = x - gamma * lead
        double g = gamma * n

    if g == 0.0:
        return sigmoid(y)
    if g > 0.5:
        return (softplus(y) - softplus(y - g)) / g
    return -log1p(sigmoid(y) * expm1(-g)) / g


cdef inline double half_spread_of(double gamma, double n, double decay) noexcept nogil:
    cdef double g = gamma * n

    return 1.0 / decay if g == 0.0 else log1p(g / decay) / g
