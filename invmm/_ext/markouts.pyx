"""Adverse selection from own markouts: how far fair value moves against us after a maker fill.

A fill's fair value is the one that was known LOOK_BACK_MS before the fill was told, since the trade that
filled us may have moved the book before we heard of it. The move is measured after 1, 5 and 30 seconds,
and at the end of the market, where fair value is one dollar or nothing.

A bid behind the best one is filled only once that is gone, by a sweep or a move, so the move is estimated as
a line over the distance behind the best bid at that time: base + slope * distance. Where the slope is 1 or
more, a bid further down earns no more than one further up.

The estimate of a horizon is the mean of a normal posterior: the prior counts as much as its standard
deviations say, the observations as much as theirs. So the end of the market, where one observation is off
by half a dollar and a market's fills are one observation, counts for little until there are thousands, and
without fills the prior is what is left. What a quote is charged is the estimate of the horizon that is worst
at the best bid, at least nothing.
"""

from libc.math cimport fabs, isfinite
from libc.stdint cimport int64_t

from invmm._ext.decay cimport decay_begin_c, decay_filled_c, decay_rested_c
from invmm._ext.records cimport UP
from invmm._ext.trend cimport follow_of


cdef enum:
    LOOK_BACK_MS = 200
    SAMPLE_MS = 20              # least time between two samples of fair value
    VARIANCE_MS = 250           # … between two of its variance

HORIZONS_MS = (1_000, 5_000, 30_000)

cdef int64_t[TIMED] AFTER_MS = [1_000, 5_000, 30_000]
cdef double[HORIZONS] USUAL = [1e-4, 4e-4, 25e-4, 0.25]     # variances, dollars², before any observation
cdef double USUAL_WEIGHT = 10.0                             # … and as many observations as they count for
cdef double MAX_BASE = 0.10                                 # dollars
cdef double MAX_SLOPE = 3.0
cdef double USUAL_PER_SECOND = 25e-6                        # variance of fair value: half a cent in a second
cdef double MEMORY_MS = 30_000.0
cdef double USUAL_RISES = 0.01                              # dollars²: a usual market's sum


cdef class Markouts:
    """What a session's fills tell about adverse selection, over all its markets, and its books about trends.

    Parameters
    ----------
    prior, prior_sd : float
        What is believed before any fill of a best bid, and how firmly: dollars per share.
    slope, slope_sd : float
        … by how much that grows with the distance behind the best, dollars per dollar.
    follow : float
        Of a rise of the books above their average of the last moments, the part that is still to come.
    decay : float
        k, 1/dollars: fills become rarer as e^(−k·distance) from fair value.
    """

    def __init__(
        self, double prior=0.003, double prior_sd=0.005, double slope=0.0, double slope_sd=0.2,
        double follow=0.0, double decay=200.0,
    ) -> None:
        cdef int horizon

        if not (isfinite(prior) and isfinite(prior_sd) and prior >= 0.0 and prior_sd > 0.0):
            raise ValueError(f"prior, prior_sd: expected at least 0 and above 0, got {prior}, {prior_sd}")
        if not (isfinite(slope) and isfinite(slope_sd) and slope >= 0.0 and slope_sd > 0.0):
            raise ValueError(f"slope, slope_sd: expected at least 0 and above 0, got {slope}, {slope_sd}")
        if not 0.0 <= follow <= 2.0:
            raise ValueError(f"follow: expected 0 to 2, got {follow}")
        if not (isfinite(decay) and 1.0 <= decay <= 1e6):
            raise ValueError(f"decay: expected 1 to 1e6, got {decay}")
        decay_begin_c(&self.fills, decay)
        self.prior = prior
        self.prior_sd = prior_sd
        self.prior_slope = slope
        self.prior_slope_sd = slope_sd
        self.trend.rises = USUAL_RISES
        self.trend.moves = USUAL_RISES * follow
        for horizon in range(HORIZONS):
            self.fit_c(horizon)

    cdef void fit_c(self, int horizon) noexcept nogil:
        """The line of a horizon, and which horizon is the worst."""
        cdef:
            const sums_t* seen = &self.seen[horizon]
            double about = seen.yy - seen.y * seen.y / seen.n if seen.n > 0.0 else 0.0
            double spread = (max(about, 0.0) + USUAL_WEIGHT * USUAL[horizon]) / (seen.n + USUAL_WEIGHT)
            double firm = 1.0 / (self.prior_sd * self.prior_sd)
            double firm_slope = 1.0 / (self.prior_slope_sd * self.prior_slope_sd)
            double aa = firm + seen.n / spread
            double ab = seen.d / spread
            double bb = firm_slope + seen.dd / spread
            double a = firm * self.prior + seen.y / spread
            double b = firm_slope * self.prior_slope + seen.dy / spread
            double scale = 1.0 / (aa * bb - ab * ab)    # above 0: the priors are proper
            int i

        self.base[horizon] = min(MAX_BASE, max(0.0, (bb * a - ab * b) * scale))
        self.slope[horizon] = min(MAX_SLOPE, max(0.0, (aa * b - ab * a) * scale))
        self.fits += 1
        self.worst = 0
        for i in range(1, HORIZONS):
            if self.base[i] > self.base[self.worst]:
                self.worst = i

    cdef void observe_c(self, int horizon, double distance, double move) noexcept nogil:
        cdef sums_t* seen = &self.seen[horizon]

        seen.n += 1.0
        seen.d += distance
        seen.dd += distance * distance
        seen.y += move
        seen.dy += distance * move
        seen.yy += move * move
        self.fit_c(horizon)

    def add(self, int horizon, double move, double distance=0.0) -> None:
        """One observation: by how much fair value moved against a fill within `HORIZONS_MS[horizon]` (3:
        until the end), and how far behind the best bid the filled one was.
        """
        if not 0 <= horizon < HORIZONS or not fabs(move) <= 1.0 or not 0.0 <= distance <= 1.0:
            raise ValueError(
                f"expected a horizon 0 to 3, a move of -1 to 1, a distance of 0 to 1, got {horizon}, {move}, "
                f"{distance}"
            )
        self.observe_c(horizon, distance, move)

    def at(self, double distance) -> float:
        """What a bid so far behind the best is charged, dollars per share."""
        return adverse_at(self, distance)

    def rested(self, double distance, double orders) -> None:
        """Bids rested so far below fair value: orders × seconds."""
        decay_rested_c(&self.fills, distance, orders)

    def filled(self, double distance, double orders) -> None:
        """So many orders were filled so far below fair value."""
        decay_filled_c(&self.fills, distance, orders)
        self.fits += 1

    @property
    def decay(self) -> float:
        """k, 1/dollars."""
        return self.fills.decay

    @property
    def follow(self) -> float:
        """Of a rise, the part that is still to come."""
        return follow_of(&self.trend)

    def stats(self) -> list[dict[str, object]]:
        """Per horizon: milliseconds (None: the end), observations, mean move against us, mean distance behind
        the best bid, the line that is believed; dollars.
        """
        return [
            {
                "horizon_ms": HORIZONS_MS[i] if i < TIMED else None,
                "count": int(self.seen[i].n),
                "mean": self.seen[i].y / self.seen[i].n if self.seen[i].n else 0.0,
                "distance": self.seen[i].d / self.seen[i].n if self.seen[i].n else 0.0,
                "base": self.base[i],
                "slope": self.slope[i],
            }
            for i in range(HORIZONS)
        ]


cdef void watch_fair_c(
    watch_t* watch, Markouts markouts, double fair, const policy_input_t* view
) noexcept nogil:
    """Fair value of Up now: completes the markouts that are due."""
    cdef:
        pending_t* fill
        int64_t now_ms = -view.ms_to_end
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
        watch.best_e4[watch.n_samples % MAX_SAMPLES][0] = view.top[0].bid_e4
        watch.best_e4[watch.n_samples % MAX_SAMPLES][1] = view.top[1].bid_e4
        watch.n_samples += 1
    while i < watch.n_pending:
        fill = &watch.pending[i]
        while fill.done < TIMED and now_ms - fill.at_ms >= AFTER_MS[fill.done]:
            markouts.observe_c(
                fill.done, fill.distance, fill.fair - (fair if fill.token == UP else 1.0 - fair)
            )
            fill.done += 1
        if fill.done == TIMED:
            watch.n_pending -= 1
            watch.pending[i] = watch.pending[watch.n_pending]
        else:
            i += 1


cdef void watch_fill_c(
    watch_t* watch, Markouts markouts, int token, int32_t price_e4, double orders
) noexcept nogil:
    """A maker buy of a token was told, at the time of the last sample: of so much of an order."""
    cdef:
        pending_t* fill
        uint64_t i = watch.n_samples - 1
        uint64_t oldest = watch.n_samples - MAX_SAMPLES if watch.n_samples > MAX_SAMPLES else 0
        int64_t now_ms
        double fair
        double distance

    if watch.n_samples == 0:
        return
    now_ms = watch.sample_ms[i % MAX_SAMPLES]
    while i > oldest and now_ms - watch.sample_ms[i % MAX_SAMPLES] < LOOK_BACK_MS:
        i -= 1
    fair = watch.sample[i % MAX_SAMPLES]
    if token != UP:
        fair = 1.0 - fair
    distance = max(0, watch.best_e4[i % MAX_SAMPLES][token] - price_e4) / 10_000.0
    decay_filled_c(&markouts.fills, fair - price_e4 / 10_000.0, orders)
    markouts.fits += 1
    watch.fills[token] += 1.0
    watch.fair_sum[token] += fair
    watch.distance_sum[token] += distance
    if watch.n_pending == MAX_PENDING:
        watch.dropped += 1
        return
    fill = &watch.pending[watch.n_pending]
    watch.n_pending += 1
    fill.at_ms = now_ms
    fill.fair = fair
    fill.distance = distance
    fill.token = <uint8_t> token
    fill.done = 0


cdef void watch_end_c(watch_t* watch, Markouts markouts, int winner) noexcept nogil:
    """The market is resolved. Once: what was measured is forgotten. Its fills share one fate, and so are one
    observation, their mean.
    """
    cdef double n = watch.fills[0] + watch.fills[1]

    if n > 0.0:
        markouts.observe_c(
            TIMED, (watch.distance_sum[0] + watch.distance_sum[1]) / n,
            (watch.fair_sum[0] + watch.fair_sum[1] - watch.fills[winner]) / n,
        )
    watch.fills[0] = watch.fills[1] = 0.0
    watch.fair_sum[0] = watch.fair_sum[1] = 0.0
    watch.distance_sum[0] = watch.distance_sum[1] = 0.0
    watch.n_pending = 0
