"""What Up is worth by each settlement rule: against simulated settlements, and what the kernel makes of
prices as they come.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from invmm._ext.fair import FairValue
from invmm.strategy.fair_value import left, probability_up
from invmm.types import PriceFact

START_MS = 1_700_000_000_000
STEP_S = 1.0
SIGMA = 1e-4  # of log price, per √s
PRICE = 50_000.0


def model(rule: str = "average", **more: float) -> FairValue:
    """Of a market of 300 s, with a volatility that is known."""
    given = {"average_s": 60.0 if rule == "average" else 0.0, "basis": 0.0, **more}
    fixed = {"sigma": SIGMA, "sigma_floor": SIGMA, "sigma_cap": SIGMA}
    return FairValue(rule, start_ms=START_MS, end_ms=START_MS + 300_000, **{**fixed, **given})


def hear(fair: FairValue, fact: PriceFact, prices: dict[float, float], **more: int) -> None:
    for at_s, price in prices.items():
        fair.tell(fact, START_MS + round(at_s * 1000), price, **more)


def up(fair: FairValue, at_s: float) -> float | None:
    return fair.at(START_MS + round(at_s * 1000)).get("up")  # type: ignore[return-value]


def settlements(rule: str, price: float, tau_s: float, observed: float, count: int) -> np.ndarray:
    """Final prices of simulated walks from `price` on, by the rule as it is written."""
    rng = np.random.default_rng(7)
    steps = round(tau_s / STEP_S)
    walks = price + np.cumsum(rng.standard_normal((count, steps)) * SIGMA * PRICE * math.sqrt(STEP_S), axis=1)
    if rule != "average":
        return walks[:, -1]
    inside = round(60.0 / STEP_S)
    # The average is a trapezoid's, as that of a continuous price that is seen at the steps.
    ends = np.concatenate([np.full((count, 1), price), walks], axis=1)
    mids = (ends[:, 1:] + ends[:, :-1]) / 2
    past = max(0, inside - steps)
    return (mids[:, -min(inside, steps) :].sum(axis=1) + past * observed) / inside


@pytest.mark.parametrize("rule", ["point", "average", "candle"])
@pytest.mark.parametrize("tau_s", [200.0, 90.0, 60.0, 45.0, 10.0])
@pytest.mark.parametrize("distance", [-1.0, 0.4])
def test_the_probability_is_how_often_simulated_settlements_are_up(
    rule: str, tau_s: float, distance: float
) -> None:
    sigma, observed = SIGMA * PRICE, PRICE - 3.0
    strike = PRICE - distance * sigma * math.sqrt(left(rule, tau_s, 60.0))
    if rule == "average" and tau_s < 60.0:
        strike += (60.0 - tau_s) / 60.0 * (observed - PRICE)
    count = 5_000
    share = float(np.mean(settlements(rule, PRICE, tau_s, observed, count) >= strike))
    expected = probability_up(rule, PRICE, strike, sigma, tau_s, average_s=60.0, observed=observed)
    assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / count)
    assert expected == pytest.approx(0.5 * math.erfc(-distance / math.sqrt(2)))


@pytest.mark.parametrize("tau_s", [240.0, 60.0, 30.0, 5.0])
@pytest.mark.parametrize("rule", ["point", "average", "candle"])
def test_the_kernel_says_what_the_formula_says(rule: str, tau_s: float) -> None:
    fair = model(rule)
    strike = PRICE * (1 + 2e-4)
    at_s = 300.0 - tau_s
    times = np.arange(-61.0, at_s + 0.5, 1.0).tolist()
    prices = {t: strike if t <= 0.0 else PRICE * (1 + 3e-4 * math.sin(t / 40.0)) for t in times}
    hear(fair, PriceFact.SPOT, prices)
    inside = [t for t in times if t >= 240.0]
    values = [prices[t] for t in inside]
    observed = float(np.mean([(a + b) / 2 for a, b in pairwise(values)] or [0.0]))
    expected = probability_up(
        rule,
        prices[at_s],
        strike,
        SIGMA * prices[at_s],
        tau_s,
        average_s=60.0 if rule == "average" else 0.0,
        observed=observed,
    )
    assert fair.stats()["strike_from"] == "observed"
    assert fair.stats()["strike"] == pytest.approx(prices[0.0], rel=1e-12)
    assert up(fair, at_s) == pytest.approx(min(max(expected, 1e-6), 1 - 1e-6), abs=1e-9)


def test_sixty_seconds_before_the_end_an_average_is_surer_than_a_point() -> None:
    worth = {}
    for rule in ("average", "point"):
        fair = model(rule, strike=PRICE)
        hear(fair, PriceFact.SPOT, {240.0: PRICE * (1 + 5 * SIGMA)})
        worth[rule] = up(fair, 240.0)
    # The deviation counts in the price that is now, 5 bp above the strike's.
    assert worth == {"average": pytest.approx(0.868, abs=6e-4), "point": pytest.approx(0.741, abs=6e-4)}


@pytest.mark.parametrize("rule", ["point", "average", "candle"])
def test_a_tie_is_up(rule: str) -> None:
    fair = model(rule)
    hear(fair, PriceFact.SPOT, {float(t): PRICE for t in range(-60, 301)})
    assert up(fair, 300.0) == 1 - 1e-6
    lower = model(rule)
    hear(lower, PriceFact.SPOT, {float(t): PRICE - (0.01 if t >= 240 else 0.0) for t in range(-60, 301)})
    assert up(lower, 300.0) == 1e-6


def test_before_the_start_the_strike_of_an_average_is_as_open_as_it_is() -> None:
    fair, rng = model(), np.random.default_rng(5)
    walked = {float(t): PRICE * (1 + 6e-5 * (t + 60)) for t in range(-60, -19)}
    hear(fair, PriceFact.SPOT, walked)
    now = walked[-20.0]
    begun = sum((walked[float(t)] + walked[float(t + 1)]) / 2 for t in range(-60, -20))
    count = 5_000
    steps = rng.standard_normal((count, 320)) * SIGMA * now
    ends = np.concatenate([np.full((count, 1), now), now + np.cumsum(steps, axis=1)], axis=1)
    mids = (ends[:, 1:] + ends[:, :-1]) / 2
    strikes = (begun + mids[:, :20].sum(axis=1)) / 60.0
    share = float(np.mean(mids[:, -60:].mean(axis=1) >= strikes))
    known = up(fair, -20.0)
    assert known is not None
    assert 0.6 < known < 0.9
    assert abs(share - known) < 4 * math.sqrt(known * (1 - known) / count)


def test_a_published_average_at_the_start_is_the_strike_and_goes_before_what_was_told_or_averaged() -> None:
    fair = model(strike=1.0)
    assert fair.stats()["strike_from"] == "told"
    hear(fair, PriceFact.SPOT, {float(t): PRICE for t in range(-61, 3)})
    assert (fair.stats()["strike_from"], fair.stats()["strike"]) == ("observed", PRICE)
    hear(fair, PriceFact.AVERAGE, {-1.0: 7.0, 0.0: PRICE + 5.0, 1.0: 9.0}, average_s=60)
    assert (fair.stats()["strike_from"], fair.stats()["strike"]) == ("read", PRICE + 5.0)
    hear(fair, PriceFact.AVERAGE, {0.5: 11.0}, average_s=30)
    hear(fair, PriceFact.STRIKE, {2.0: 12.0})
    assert fair.stats()["strike"] == PRICE + 5.0


@pytest.mark.parametrize("rule", ["point", "average", "candle"])
def test_without_its_strikes_window_a_market_has_no_value_until_somebody_says_the_strike(rule: str) -> None:
    fair = model(rule)
    hear(fair, PriceFact.SPOT, {float(t): PRICE for t in range(10, 20)})
    assert fair.at(START_MS + 20_000) == {"state": "strike not known"}
    hear(fair, PriceFact.STRIKE, {20.0: PRICE})
    assert up(fair, 20.0) == 0.5
    assert fair.stats()["strike_from"] == "told"


def test_a_point_is_the_last_price_before_the_start_and_a_candle_opens_with_the_first_after_it() -> None:
    strikes = {}
    for rule in ("point", "candle"):
        fair = model(rule)
        hear(fair, PriceFact.SPOT, {-1.5: 90.0, -0.4: 91.0, 0.6: 92.0, 1.6: 93.0})
        strikes[rule] = fair.stats()["strike"]
    assert strikes == {"point": 91.0, "candle": 92.0}


def test_a_hole_in_the_closing_average_leaves_the_market_without_a_value() -> None:
    fair = model(strike=PRICE)
    hear(fair, PriceFact.SPOT, {float(t): PRICE for t in (*range(230, 250), *range(260, 270))})
    assert fair.at(START_MS + 270_000) == {"state": "hole in the closing average"}
    # A snapshot after the connection was made anew fills what was missed, if it comes first.
    filled = model(strike=PRICE)
    hear(filled, PriceFact.SPOT, {float(t): PRICE for t in range(230, 270)})
    assert up(filled, 270.0) == 0.5


def test_the_basis_between_the_feeds_is_fitted_and_the_fresher_one_is_the_price() -> None:
    fair = model(strike=PRICE, basis=2e-4)
    for tenth in range(600):
        at_s = tenth / 10
        hear(fair, PriceFact.DIRECT, {at_s: PRICE * (1 - 1e-3) * math.exp(1e-5 * at_s)})
        if tenth % 10 == 0 and at_s >= 2.0:  # the settlement feed is two seconds behind
            hear(fair, PriceFact.SPOT, {at_s - 2.0: PRICE * math.exp(1e-5 * (at_s - 2.0))})
    known = fair.stats()
    assert known["basis"] == pytest.approx(1e-3, rel=1e-3)
    assert 0.0 < known["basis_deviation"] < 1e-4  # type: ignore[operator]
    expected = probability_up(
        "average", PRICE * math.exp(1e-5 * 59.9), PRICE, SIGMA * PRICE, 240.1, average_s=60.0
    )
    assert up(fair, 60.0) == pytest.approx(expected, abs=2e-3)
    assert fair.at(START_MS + 60_000)["age_s"] == pytest.approx(0.1)


def test_where_the_settlement_feed_is_never_heard_strike_and_price_are_both_the_fast_ones() -> None:
    fair = model()
    hear(fair, PriceFact.DIRECT, {t / 2: PRICE for t in range(-125, 1)})
    hear(fair, PriceFact.DIRECT, {t / 2: PRICE * (1 + 1e-4) for t in range(1, 481)})
    expected = probability_up("point", PRICE * (1 + 1e-4), PRICE, SIGMA * PRICE, 20.0)
    assert up(fair, 240.0) == pytest.approx(expected, abs=1e-3)


def test_volatility_is_that_of_the_prices_within_its_limits() -> None:
    rng = np.random.default_rng(3)
    for true, low, high in ((3e-4, 2.4e-4, 3.3e-4), (1e-6, 0.4e-4, 0.6e-4), (9e-3, 1e-3, 1e-3)):
        fair = model(sigma=SIGMA, sigma_floor=0.4e-4, sigma_cap=1e-3)
        walk = PRICE * np.exp(np.cumsum(rng.standard_normal(300)) * true)
        hear(fair, PriceFact.SPOT, {float(t): float(p) for t, p in enumerate(walk)})
        assert low <= fair.stats()["sigma"] <= high  # type: ignore[operator]


def test_late_repeated_and_absurd_prices_are_refused() -> None:
    fair = model(strike=PRICE)
    hear(fair, PriceFact.SPOT, {10.0: PRICE})
    for fact, at_s, price in (
        (PriceFact.SPOT, 10.0, PRICE + 1),
        (PriceFact.SPOT, 9.0, PRICE + 1),
        (PriceFact.SPOT, 11.0, PRICE * 10),
        (PriceFact.SPOT, 11.0, 0.0),
        (PriceFact.AVERAGE, 0.0, PRICE),  # over no time at all
    ):
        assert fair.tell(fact, START_MS + round(at_s * 1000), price) is False
    assert (fair.prices, fair.refused) == (1, 5)
    assert up(fair, 11.0) == 0.5


def test_the_older_its_price_the_less_sure_a_model_is() -> None:
    fair = model(strike=PRICE * (1 - 1e-4))
    hear(fair, PriceFact.SPOT, {200.0: PRICE})
    first, later = fair.at(START_MS + 200_000), fair.at(START_MS + 210_000)
    assert first["up"] == later["up"]
    assert later["deviation"] > first["deviation"]  # type: ignore[operator]


def test_a_rule_that_is_not_known_has_no_model() -> None:
    fair = FairValue()
    assert not fair.is_modelled
    assert fair.tell(PriceFact.SPOT, START_MS, PRICE) is False
    assert fair.at(START_MS) == {"state": "rule not known"}
    with pytest.raises(ValueError, match="rule: expected one of"):
        FairValue("dice")
    with pytest.raises(ValueError, match="average_s"):
        model("average", average_s=301.0)
    with pytest.raises(ValueError, match="window"):
        FairValue("point", start_ms=5, end_ms=5)
