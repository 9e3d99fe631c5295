"""Adverse selection from own markouts: how far fair value moves against us after a maker fill.

A fill's fair value is the one that was known LOOK_BACK_MS before the fill was told, since the trade that
filled us may have moved the book before we heard of it. The move is measured after 1, 5 and 30 seconds,
and at the end of the market, where fair value is one dollar or nothing.

The estimate of a horizon is the mean of a normal posterior: the prior counts as much as its standard
deviation says, the observations as much as theirs. So the end of the market, where one observation is off
by half a dollar and a market's fills are one observation, counts for little until there are thousands, and
without fills the prior is what is left. What a quote is charged is the worst horizon's estimate, at least
nothing.
"""

from libc.math cimport fabs, isfinite
from libc.stdint cimport int64_t

from invmm._ext.records cimport UP


cdef enum:
    LOOK_BACK_MS = 200
    SAMPLE_MS = 20              # least time between two samples of fair value
    VARIANCE_MS = 250           # … between two of its variance

HORIZONS_MS = (1_000, 5_000, 30_000)

cdef int64_t[TIMED] AFTER_MS = [1_000, 5_000, 30_000]
cdef double[HORIZONS] USUAL = [1e-4, 4e-4, 25e-4, 0.25]     # variances, dollars², before any observation
cdef double USUAL_WEIGHT = 10.0                             # … and as many observations as they count for
cdef double MAX_ADVERSE = 0.10                              # dollars
cdef double USUAL_PER_SECOND = 25e-6                        # variance of fair value: half a cent in a second
cdef double MEMORY_MS = 30_000.0


cdef inline void observe(moments_t* moments, double value) noexcept nogil:
    cdef double away = value - moments.mean

    moments.n += 1.0
    moments.mean += away / moments.n
    moments.m2 += away * (value - moments.mean)


cdef class Markouts:
    """What a session's fills tell about adverse selection, over all its markets.

    Parameters
    ----------
    prior, prior_sd : float
        What is believed before any fill, and how firmly: dollars per share.
    """

    def __init__(self, double prior=0.003, double prior_sd=0.005) -> None:
        if not (isfinite(prior) and isfinite(prior_sd) and prior >= 0.0 and prior_sd > 0.0):
            raise ValueError(f"prior, prior_sd: expected at least 0 and above 0, got {prior}, {prior_sd}")
        self.prior = prior
        self.prior_sd = prior_sd

    cdef double expected_c(self, int horizon) noexcept nogil:
        cdef:
            const moments_t* seen = &self.seen[horizon]
            double spread = (seen.m2 + USUAL_WEIGHT * USUAL[horizon]) / (seen.n + USUAL_WEIGHT)
            double firm = 1.0 / (self.prior_sd * self.prior_sd)

        return (self.prior * firm + seen.n * seen.mean / spread) / (firm + seen.n / spread)

    cdef double adverse_c(self) noexcept nogil:
        cdef:
            double worst = 0.0
            int horizon

        for horizon in range(HORIZONS):
            worst = max(worst, self.expected_c(horizon))
        return min(worst, MAX_ADVERSE)

    def add(self, int horizon, double move) -> None:
        """One observation: by how much fair value moved against a fill within `HORIZONS_MS[horizon]`; 3: the
        end.
        """
        if not 0 <= horizon < HORIZONS or not fabs(move) <= 1.0:
            raise ValueError(f"expected a horizon 0 to 3, a move of -1 to 1, got {horizon}, {move}")
        observe(&self.seen[horizon], move)

    @property
    def adverse(self) -> float:
        """What a quote is charged, dollars per share."""
        return self.adverse_c()

    def stats(self) -> list[dict[str, object]]:
        """Per horizon: milliseconds (None: the end), observations, mean move against us, the estimate of it;
        dollars.
        """
        return [
            {
                "horizon_ms": HORIZONS_MS[i] if i < TIMED else None,
                "count": int(self.seen[i].n),
                "mean": self.seen[i].mean,
                "estimate": self.expected_c(i),
            }
            for i in range(HORIZONS)
        ]


cdef void watch_fair_c(watch_t* watch, Markouts markouts, double fair, int64_t now_ms) noexcept nogil:
    """Fair value of Up now: completes the markouts that are due."""
    cdef:
        pending_t* fill
        int i = 0
        double span

    if watch.n_samples == 0:
        watch.variance = USUAL_PER_SECOND
        watch.moved_ms = now_ms
        watch.moved_from = fair
    elif now_ms - watch.moved_ms >= VARIANCE_MS:
        span = <double> (now_ms - watch.moved_ms)
        watch.variance += min(span / MEMORY_MS, 1.0) * (
            (fair - watch.moved_from) * (fair - watch.moved_from) * 1000.0 / span - watch.variance
        )
        watch.moved_ms = now_ms
        watch.moved_from = fair
    if watch.n_samples == 0 or now_ms - watch.sample_ms[(watch.n_samples - 1) % MAX_SAMPLES] >= SAMPLE_MS:
        watch.sample_ms[watch.n_samples % MAX_SAMPLES] = now_ms
        watch.sample[watch.n_samples % MAX_SAMPLES] = fair
        watch.n_samples += 1
    while i < watch.n_pending:
        fill = &watch.pending[i]
        while fill.done < TIMED and now_ms - fill.at_ms >= AFTER_MS[fill.done]:
            observe(&markouts.seen[fill.done], fill.fair - (fair if fill.token == UP else 1.0 - fair))
            fill.done += 1
        if fill.done == TIMED:
            watch.n_pending -= 1
            watch.pending[i] = watch.pending[watch.n_pending]
        else:
            i += 1


cdef void watch_fill_c(watch_t* watch, int token) noexcept nogil:
    """A maker buy of a token was told, at the time of the last sample."""
    cdef:
        pending_t* fill
        uint64_t i = watch.n_samples - 1
        uint64_t oldest = watch.n_samples - MAX_SAMPLES if watch.n_samples > MAX_SAMPLES else 0
        int64_t now_ms
        double fair

    if watch.n_samples == 0:
        return
    now_ms = watch.sample_ms[i % MAX_SAMPLES]
    while i > oldest and now_ms - watch.sample_ms[i % MAX_SAMPLES] < LOOK_BACK_MS:
        i -= 1
    fair = watch.sample[i % MAX_SAMPLES]
    if token != UP:
        fair = 1.0 - fair
    watch.fills[token] += 1.0
    watch.fair_sum[token] += fair
    if watch.n_pending == MAX_PENDING:
        watch.dropped += 1
        return
    fill = &watch.pending[watch.n_pending]
    watch.n_pending += 1
    fill.at_ms = now_ms
    fill.fair = fair
    fill.token = <uint8_t> token
    fill.done = 0


cdef void watch_end_c(watch_t* watch, Markouts markouts, int winner) noexcept nogil:
    """The market is resolved. Once: what was measured is forgotten. Its fills share one fate, and so are one
    observation, their mean.
    """
    cdef:
        double n = watch.fills[0] + watch.fills[1]

    if n > 0.0:
        observe(&markouts.seen[TIMED], (watch.fair_sum[0] + watch.fair_sum[1] - watch.fills[winner]) / n)
    watch.fills[0] = watch.fills[1] = 0.0
    watch.fair_sum[0] = watch.fair_sum[1] = 0.0
    watch.n_pending = 0
