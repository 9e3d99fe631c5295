"""What Up is worth by the market's own settlement rule, from prices of its underlying.

Up wins when the final price is at least the strike. Both are a point, a time average or the ends of a candle,
as the market's rule says (`invmm.strategy.fair_value` has the formulas at leisure). Two feeds are followed:

    direct   fast, but not what settles: its log price differs by a basis
    spot     the settlement feed, late: what settles is made of it

The basis is fitted on every spot reading, against the direct price of the same instant. The present price is
the fresher one. Volatility is the mean of squared log moves per second, of the spot feed if it is heard,
fading over MEMORY_S, with PRIOR_S seconds of the usual one beside it, within a floor and a cap. A price is
true for the time at which it was observed: time to the end counts from there.

Times are seconds after the start of the window. A series with a hole of more than GAP_S begins anew.
"""

from libc.math cimport INFINITY, erfc, exp, fabs, fmax, fmin, isfinite, log, sqrt
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from invmm._ext.records cimport PRICE_AVERAGE, PRICE_DIRECT, PRICE_SPOT, PRICE_STRIKE
from invmm._ext.reservation cimport logit

cdef double GAP_S = 5.0
cdef double READ_S = 1.5                    # a reading so long before the start still stands for it
cdef double POINT_S = 0.05                  # least distance of the points that are kept
cdef double SAMPLE_S = 1.0                  # … of the moves that volatility is measured on
cdef double MEMORY_S = 120.0
cdef double PRIOR_S = 60.0
cdef double BASIS_MEMORY_S = 30.0
cdef double BASIS_PRIOR = 3.0               # readings
cdef double SIGMA_DOUBT = 0.2               # of volatility itself, as a part of it
cdef double LEAST_DOUBT = 0.05              # standard deviation of a value in log-odds, whatever is known
cdef double MAX_Z = 4.75                    # one in a million
cdef double LOG_JUMP = 0.2                  # a price that moved by more within GAP_S is a mistake
cdef double E8 = 1e8

RULES = {"": RULE_UNKNOWN, "point": RULE_POINT, "average": RULE_AVERAGE, "candle": RULE_CANDLE}
STATES = {
    FAIR_KNOWN: "known",
    FAIR_NO_RULE: "rule not known",
    FAIR_NO_PRICE: "no price",
    FAIR_NO_STRIKE: "strike not known",
    FAIR_EARLY: "before its strike's window",
    FAIR_GAP: "hole in the closing average",
}
STRIKES = {
    STRIKE_UNKNOWN: "unknown",
    STRIKE_TOLD: "told",
    STRIKE_OBSERVED: "observed",
    STRIKE_READ: "read",
}


cdef double up_c(double mean, double strike, double variance) noexcept nogil:
    """Probability that a normal variable is at least `strike`; without variance, whether its mean is."""
    if variance <= 0.0:
        return 1.0 if mean >= strike else 0.0
    return 0.5 * erfc((strike - mean) / sqrt(2.0 * variance))


cdef double left_c(int kind, double average_s, double tau_s) noexcept nogil:
    """Variance that the final price has left `tau_s` before the end, as seconds of the price's own."""
    if tau_s <= 0.0:
        return 0.0
    if kind != RULE_AVERAGE:
        return tau_s
    if tau_s >= average_s:
        return tau_s - average_s * 2.0 / 3.0
    return tau_s * tau_s * tau_s / (3.0 * average_s * average_s)


cdef double before_c(const series_t* series, double at_s, double* area) noexcept nogil:
    """Price at a time that has passed, and the integral up to it; 0 if it is not remembered."""
    cdef:
        uint64_t i = series.points
        uint64_t oldest = i - POINTS if i > POINTS else 0
        double left_s = series.last_s
        double left = series.last
        double part
        int k

    if series.n == 0 or at_s > series.last_s or at_s < series.first_s:
        return 0.0
    while i > oldest:
        i -= 1
        k = <int> (i % POINTS)
        if series.at_s[k] <= at_s:
            part = (at_s - series.at_s[k]) / (left_s - series.at_s[k]) if left_s > series.at_s[k] else 0.0
            left = series.at_price[k] + part * (left - series.at_price[k])
            area[0] = series.at_area[k] + (series.at_price[k] + left) / 2.0 * (at_s - series.at_s[k])
            return left
        left_s = series.at_s[k]
        left = series.at_price[k]
    return 0.0


cdef class FairValue:
    """The settlement model of one market.

    Parameters
    ----------
    rule : {"", "point", "average", "candle"}
        How it settles; "": not known, no value is ever given.
    average_s : float
        Of the rule "average", seconds.
    start_ms, end_ms : int
        Its window, unix milliseconds.
    strike : float
        As told, dollars; 0: not told.
    sigma, sigma_floor, sigma_cap : float
        Of log price per square root of a second: what is believed of a day that is not known, least, most.
    basis : float
        Standard deviation of the log basis between the feeds before readings tell.
    move : float
        By how much the value must change for a new decision.
    """

    def __init__(
        self,
        str rule="",
        *,
        average_s=0.0,
        int64_t start_ms=0,
        int64_t end_ms=0,
        strike=0.0,
        sigma=0.9e-4,
        sigma_floor=0.2e-4,
        sigma_cap=1e-3,
        basis=2e-4,
        move=0.001,
    ) -> None:
        if rule not in RULES:
            raise ValueError(f"rule: expected one of {', '.join(map(repr, RULES))}, got {rule!r}")
        self.rule.kind = RULES[rule]
        self.rule.average_s = average_s
        self.rule.length_s = (end_ms - start_ms) / 1e3
        if rule and not self.rule.length_s > 0.0:
            raise ValueError(f"window: expected its end after its start, got {start_ms} to {end_ms} ms")
        if rule == "average" and not 0.0 < self.rule.average_s <= self.rule.length_s:
            raise ValueError(f"average_s: expected more than 0, at most the window, got {average_s!r}")
        if not 0.0 < sigma_floor <= sigma <= sigma_cap < 1.0:
            raise ValueError(
                f"expected 0 < sigma_floor <= sigma <= sigma_cap < 1, got {sigma_floor}, {sigma}, {sigma_cap}"
            )
        if not (0.0 <= basis < 0.1 and 0.0 <= move <= 1.0 and 0.0 <= strike < 1e10):
            raise ValueError(f"expected basis below 0.1, move to 1, strike, got {basis}, {move}, {strike}")
        self.rule.sigma = sigma
        self.rule.sigma_floor = sigma_floor
        self.rule.sigma_cap = sigma_cap
        self.rule.basis = basis
        self.rule.move = move
        self.start_ms = start_ms
        if strike > 0.0:
            self.strike = strike
            self.strike_from = STRIKE_TOLD
        self.strike_s = -INFINITY
        self.shown = -1.0
        self.value.state = FAIR_NO_PRICE if self.rule.kind else FAIR_NO_RULE

    cdef bint told_c(self, const event_t* event, int64_t now_ns) noexcept nogil:
        """Takes an event of kind PRICE; whether the value has moved enough for a new decision."""
        cdef:
            double at_s = (event.venue_ms - self.start_ms) / 1e3
            double price = event.offset / E8
            bint taken = False

        if self.rule.kind == RULE_UNKNOWN or not 0.0 < price < 1e10:
            self.refused += 1
            return False
        if event.status == PRICE_DIRECT:
            taken = self.push_c(&self.direct, at_s, price)
        elif event.status == PRICE_SPOT:
            taken = self.push_c(&self.spot, at_s, price)
            if taken:
                self.basis_c(at_s, price)
        elif event.status == PRICE_AVERAGE:
            taken = event.code == <int32_t> self.rule.average_s
            if (
                taken
                and self.rule.kind == RULE_AVERAGE
                and -READ_S < at_s <= 0.0
                and at_s > self.strike_s
            ):
                self.strike = price
                self.strike_s = at_s
                self.strike_from = STRIKE_READ
                self.strike_is_direct = False
        elif event.status == PRICE_STRIKE:
            taken = True
            if self.strike_from <= STRIKE_TOLD:
                self.strike = price
                self.strike_from = STRIKE_TOLD
        if not taken:
            self.refused += 1
            return False
        self.prices += 1
        self.value_c((now_ns // 1000 - self.start_ms * 1000) / 1e6)
        return self.value.state == FAIR_KNOWN and fabs(self.value.up - self.shown) >= self.rule.move

    cdef void fill_c(self, policy_input_t* view, int64_t now_ns) noexcept nogil:
        """What a policy is told: nothing (0) where nothing is known."""
        view.fair_ppm = 0
        if self.rule.kind == RULE_UNKNOWN:
            return
        self.value_c((now_ns // 1000 - self.start_ms * 1000) / 1e6)
        self.shown = self.value.up if self.value.state == FAIR_KNOWN else -1.0
        if self.value.state == FAIR_KNOWN:
            view.fair_ppm = <int32_t> fmin(fmax(self.value.up * 1e6 + 0.5, 1.0), 999_999.0)
            view.fair_age_ns = <int64_t> (self.value.age_s * 1e9)
            view.fair_variance = self.value.variance

    cdef bint push_c(self, series_t* series, double at_s, double price) noexcept nogil:
        """One more reading; False for one that is not newer than the last, or absurd."""
        cdef:
            double step_s
            double before_s = series.last_s
            double before = series.last
            double move
            double keep
            double[3] edge
            int i

        if series.n and (at_s <= series.last_s or at_s - series.last_s < GAP_S
                         and fabs(log(price / series.last)) > LOG_JUMP):
            return False
        step_s = at_s - series.last_s
        if series.n == 0 or step_s > GAP_S:
            series.first_s = at_s
            series.area = 0.0
            series.points = 0
            series.marked[0] = series.marked[1] = series.marked[2] = False
            series.sampled_s = at_s
            series.sampled = price
            before_s = -INFINITY
        edge[0] = -self.rule.average_s
        edge[1] = 0.0
        edge[2] = self.rule.length_s - self.rule.average_s
        for i in range(3):
            if before_s <= edge[i] <= at_s and (isfinite(before_s) or edge[i] == at_s):
                series.marked[i] = True
                series.mark[i] = series.area
                if isfinite(before_s):
                    keep = edge[i] - before_s
                    series.mark[i] += keep * (before + (price - before) * keep / step_s / 2.0)
        if isfinite(before_s):
            series.area += step_s * (before + price) / 2.0
        series.n += 1
        series.last_s = at_s
        series.last = price
        i = <int> ((series.points + POINTS - 1) % POINTS)
        if series.points == 0 or at_s - series.at_s[i] >= POINT_S:
            i = <int> (series.points % POINTS)
            series.points += 1
            series.at_s[i] = at_s
            series.at_price[i] = price
            series.at_area[i] = series.area
        if at_s - series.sampled_s >= SAMPLE_S:
            move = log(price / series.sampled)
            keep = exp(-(at_s - series.sampled_s) / MEMORY_S)
            series.squares = series.squares * keep + move * move
            series.seconds = series.seconds * keep + at_s - series.sampled_s
            series.sampled_s = at_s
            series.sampled = price
        self.strike_c(series, before_s, before, at_s)
        return True

    cdef void strike_c(
        self, const series_t* series, double before_s, double before, double at_s
    ) noexcept nogil:
        """The strike, when the start of the window has just passed in this series."""
        cdef:
            bint is_direct = series == &self.direct
            double strike = 0.0

        if self.strike_from == STRIKE_READ or at_s < 0.0 or before_s >= 0.0:
            return
        if is_direct and self.strike_from == STRIKE_OBSERVED:
            return
        if self.rule.kind == RULE_AVERAGE:
            if series.marked[0] and series.marked[1]:
                strike = (series.mark[1] - series.mark[0]) / self.rule.average_s
        elif self.rule.kind == RULE_POINT:
            strike = series.last if at_s == 0.0 else before if isfinite(before_s) else 0.0
        elif isfinite(before_s) or at_s == 0.0:
            strike = series.last
        if strike > 0.0:
            self.strike = strike
            self.strike_from = STRIKE_OBSERVED
            self.strike_is_direct = is_direct

    cdef void basis_c(self, double at_s, double price) noexcept nogil:
        """A reading of the settlement feed against the direct price of its time."""
        cdef:
            double area = 0.0
            double there = before_c(&self.direct, at_s, &area)
            double keep
            double off

        if there <= 0.0:
            return
        keep = exp(-1.0 / BASIS_MEMORY_S)
        off = log(price / there) - self.basis
        if self.basis_n > 0.0:
            self.basis_squares = self.basis_squares * keep + off * off
        self.basis_n = self.basis_n * keep + 1.0
        self.basis += off / self.basis_n

    cdef double basis_variance_c(self) noexcept nogil:
        """Of the log basis around what is fitted."""
        cdef double prior = self.rule.basis * self.rule.basis * BASIS_PRIOR

        return (self.basis_squares + prior) / (self.basis_n + BASIS_PRIOR)

    cdef double sigma_c(self) noexcept nogil:
        """Volatility of log price per square root of a second."""
        cdef:
            const series_t* series = &self.spot if self.spot.seconds >= 10.0 else &self.direct
            double prior = self.rule.sigma * self.rule.sigma * PRIOR_S

        return fmin(
            fmax(sqrt((prior + series.squares) / (PRIOR_S + series.seconds)), self.rule.sigma_floor),
            self.rule.sigma_cap,
        )

    cdef void value_c(self, double now_s) noexcept nogil:
        """Fills `value` as of now."""
        cdef:
            fair_rule_t* rule = &self.rule
            fair_t* value = &self.value
            bint by_direct = self.direct.n > 0 and (
                self.spot.n == 0 or self.direct.last_s >= self.spot.last_s
            )
            double factor = exp(self.basis)
            double at_s = self.direct.last_s if by_direct else self.spot.last_s
            double price = self.direct.last * factor if by_direct else self.spot.last
            double tau_s = rule.length_s - at_s
            double width = rule.average_s
            double strike = self.strike * (factor if self.strike_is_direct else 1.0)
            double mean = price
            double seconds
            double counts = 1.0             # how much of the present price is in the final one
            double past
            double sigma
            double unsure = 0.0             # variance of the present log price, by the basis
            double variance
            double z
            double slope

        if rule.kind == RULE_UNKNOWN:
            return
        value.state = FAIR_NO_PRICE
        if self.direct.n == 0 and self.spot.n == 0:
            return
        value.age_s = fmax(now_s - at_s, 0.0)
        sigma = self.sigma_c()
        seconds = left_c(rule.kind, width, tau_s)
        if by_direct and (self.spot.n or not self.strike_is_direct):
            unsure = self.basis_variance_c()
        if at_s < 0.0:
            # The strike is not known yet either: the average so far, and the present price for the rest.
            value.state = FAIR_EARLY
            if rule.kind != RULE_AVERAGE or at_s <= -width:
                return
            past = self.past_c(0, at_s, by_direct, factor)
            if past < 0.0:
                return
            strike = (past - at_s * price) / width
            seconds += at_s * at_s * (-at_s / 3.0 / width - 1.0) / width
            counts = (width + at_s) / width
        elif self.strike_from == STRIKE_UNKNOWN or not strike > 0.0:
            value.state = FAIR_NO_STRIKE
            return
        elif rule.kind == RULE_AVERAGE and tau_s < width:
            past = self.past_c(2, at_s, by_direct, factor)
            if past < 0.0:
                value.state = FAIR_GAP
                return
            mean = (past + fmax(tau_s, 0.0) * price) / width
            counts = fmax(tau_s, 0.0) / width
        value.state = FAIR_KNOWN
        unsure *= counts * counts
        variance = sigma * sigma * seconds + unsure
        value.up = up_c(mean, strike, price * price * variance)
        value.up = fmin(fmax(value.up, 1e-6), 1.0 - 1e-6)
        value.x = logit(value.up)
        if variance <= 0.0:
            value.variance = LEAST_DOUBT * LEAST_DOUBT
            return
        z = fmin(fmax((mean - strike) / (price * sqrt(variance)), -MAX_Z), MAX_Z)
        slope = exp(-z * z / 2.0) * 0.3989422804014327 / (value.up * (1.0 - value.up))
        value.variance = LEAST_DOUBT * LEAST_DOUBT + slope * slope * (
            z * z * SIGMA_DOUBT * SIGMA_DOUBT
            + (unsure + sigma * sigma * value.age_s * counts * counts) / variance
        )

    cdef double past_c(self, int edge, double at_s, bint by_direct, double factor) noexcept nogil:
        """Integral of the price from an edge (`series_t.mark`) to `at_s`; -1 if some of it was not heard."""
        cdef:
            double area = 0.0
            double past

        if self.spot.n and self.spot.marked[edge]:
            past = self.spot.area - self.spot.mark[edge]
            if not by_direct or at_s <= self.spot.last_s:
                return past
            if before_c(&self.direct, self.spot.last_s, &area) > 0.0:
                return past + factor * (self.direct.area - area)
            if at_s - self.spot.last_s <= GAP_S:
                return past + (at_s - self.spot.last_s) * (self.spot.last + self.direct.last * factor) / 2.0
        if by_direct and self.direct.marked[edge]:
            return factor * (self.direct.area - self.direct.mark[edge])
        return -1.0

    @property
    def is_modelled(self) -> bool:
        """Whether the rule is known, and prices are of use."""
        return self.rule.kind != RULE_UNKNOWN

    # ---- for people and tests ------------------------------------------------------------------------------

    def tell(self, int fact, int64_t observed_ms, price, *, int average_s=0, now_ms=None) -> bool:
        """One price, as the step hears it (`PriceFact`); whether the value has moved."""
        cdef event_t event

        event.status = <uint8_t> fact
        event.venue_ms = observed_ms
        event.offset = <uint64_t> (price * E8 + 0.5)
        event.code = average_s
        return self.told_c(&event, <int64_t> (observed_ms if now_ms is None else now_ms) * 1_000_000)

    def at(self, int64_t now_ms) -> dict[str, object]:
        """The value now: `state`, and where that is "known" `up`, `log_odds`, `deviation` (of the log-odds)
        and `age_s`.
        """
        self.value_c((now_ms - self.start_ms) / 1e3)
        if self.value.state != FAIR_KNOWN:
            return {"state": STATES[self.value.state]}
        return {
            "state": STATES[FAIR_KNOWN],
            "up": self.value.up,
            "log_odds": self.value.x,
            "deviation": sqrt(self.value.variance),
            "age_s": self.value.age_s,
        }

    def stats(self) -> dict[str, object]:
        """What is known: `state`, `up` (None without), `strike` and where it is from, `sigma` per √s, `basis`
        as log price with its deviation, prices taken and refused.
        """
        known = self.value.state == FAIR_KNOWN
        factor = exp(self.basis) if self.strike_is_direct else 1.0
        return {
            "state": STATES[self.value.state],
            "up": self.value.up if known else None,
            "age_s": self.value.age_s if known else None,
            "strike": self.strike * factor if self.strike_from else None,
            "strike_from": STRIKES[self.strike_from],
            "sigma": self.sigma_c(),
            "basis": self.basis,
            "basis_deviation": sqrt(self.basis_variance_c()),
            "prices": self.prices,
            "refused": self.refused,
        }
