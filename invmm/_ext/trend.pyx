"""Where the books are heading: a nowcast of fair value from how it has just moved.

Quotes follow news with a delay, some sooner than others, so a book that has just risen goes on rising for
about a second. Fair value is therefore

    x + β·(x − x̄),     x̄ the average of x with a memory of MEMORY_MS, in log-odds

and β is what a session's own books say: the slope, through the origin, of the move within the next second on
the rise above the average, in dollars. The prior counts as much as the rises of one usual market.
"""

from libc.math cimport exp
from libc.stdint cimport int64_t

from invmm._ext.reservation cimport sigmoid


cdef enum:
    MEMORY_MS = 300
    STALE_MS = 2_000            # after such a silence there is no "just"
    AFTER_MS = 1_000

cdef double MOST = 0.4          # log-odds: about ten cents at evens


cdef double nowcast_c(trend_t* trend, follow_t* follow, double x, int64_t now_ms) noexcept nogil:
    """Log-odds of the books where they are heading, given what they are now; learns from what they did."""
    cdef:
        int64_t since_ms = now_ms - trend.at_ms
        double rise
        double fair
        double move

    if not trend.begun or since_ms > STALE_MS or since_ms < 0:
        trend.mean = trend.last = x
        trend.begun = True
        trend.probe_ms = 0
    elif since_ms:
        trend.mean = trend.last + (trend.mean - trend.last) * exp(-<double> since_ms / MEMORY_MS)
    trend.last = x
    trend.at_ms = now_ms
    rise = min(MOST, max(-MOST, x - trend.mean))
    if trend.probe_ms == 0 or now_ms - trend.probe_ms >= AFTER_MS:
        fair = sigmoid(x)
        if trend.probe_ms:
            move = fair - trend.probe_fair
            follow.rises += trend.probe_rise * trend.probe_rise
            follow.moves += trend.probe_rise * move
        trend.probe_ms = now_ms if now_ms else 1
        trend.probe_fair = fair
        trend.probe_rise = rise * fair * (1.0 - fair)
    return x + follow_of(follow) * rise
