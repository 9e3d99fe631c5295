"""What Up is worth by the market's own settlement rule: the formulas, and the model of one market.

Up wins when the final price is at least the strike; ties are Up. `Rule` says what both are:

    point     the settlement feed's last price at or before the end, and the start
    average   its averages over the last `average_s` seconds before the end, and the start
    candle    close and open of the candle that is the window

For a Brownian price S of variance σ² per second, τ seconds before the end, with w = `average_s` (`left`):

    point, candle     mean S                          variance σ² τ
    average, τ ≥ w    mean S                          variance σ² (τ − 2w/3)
    average, τ < w    mean (∫ observed + τ S) / w     variance σ² τ³ / (3 w²)

and Up is worth Φ((mean − K) / √variance). An average is far less uncertain near its end than a point is: 5σ
above the strike 60 s before the end is worth .868 where 60 s are averaged, and .741 at a point.

Before the start the strike of an average is uncertain as well, and moves with the price: b ≤ w seconds
before, its mean is (∫ observed + b S) / w, and the variance of the difference is σ² (τ − 2w/3 + b³/(3w²) −
b²/w).

The compiled kernel that the step asks is `_ext/fair.pyx`, made from the settings by `fair_value`.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from invmm._ext.fair import FairValue
from invmm.price_settings import PriceSettings
from invmm.replay.tape import MarketInfo
from invmm.types import EVENT_DTYPE, EventArray, EventKind, PriceFact, Source

ASKING: Final = frozenset({"pairs"})
"""Policies that ask for a fair value; others are told no price."""
E8: Final = 100_000_000
BP: Final = 1e-4


def left(rule: str, tau_s: float, average_s: float = 0.0) -> float:
    """Variance that is left of the final price, in seconds of the price's own.

    Examples
    --------
    >>> left("point", 60.0), left("average", 60.0, 60.0), round(left("average", 30.0, 60.0), 6)
    (60.0, 20.0, 2.5)
    """
    if tau_s <= 0.0:
        return 0.0
    if rule != "average":
        return tau_s
    if tau_s >= average_s:
        return tau_s - 2.0 * average_s / 3.0
    return tau_s**3 / (3.0 * average_s**2)


def probability_up(
    rule: str,
    price: float,
    strike: float,
    sigma: float,
    tau_s: float,
    *,
    average_s: float = 0.0,
    observed: float = 0.0,
) -> float:
    """Probability that Up wins.

    Parameters
    ----------
    rule : {"point", "average", "candle"}
    price, strike : float
        Dollars, or any unit that both share.
    sigma : float
        Standard deviation of the price per square root of a second, in that unit.
    tau_s : float
        Seconds to the end.
    average_s : float
        Of the rule "average".
    observed : float
        Mean of the price since the closing average began; asked for when `tau_s < average_s`.

    Examples
    --------
    >>> round(probability_up("average", 105.0, 100.0, 1.0, 60.0, average_s=60.0), 3)
    0.868
    >>> round(probability_up("point", 105.0, 100.0, 1.0, 60.0), 3)
    0.741
    >>> probability_up("point", 100.0, 100.0, 1.0, 0.0)
    1.0
    """
    mean = price
    if rule == "average" and tau_s < average_s:
        rest = max(tau_s, 0.0)
        mean = ((average_s - rest) * observed + rest * price) / average_s
    deviation = sigma * math.sqrt(left(rule, tau_s, average_s))
    if deviation <= 0.0:
        return 1.0 if mean >= strike else 0.0
    return 0.5 * math.erfc((strike - mean) / deviation / math.sqrt(2.0))


def fair_value(settings: PriceSettings, info: MarketInfo, policy: str) -> FairValue:
    """The settlement model of a market. One that never has a value, where prices are not to be used, the
    policy does not ask, or the market's rule is not known; a market of another program's own type need not
    say any.
    """
    rule: str = getattr(info, "rule", "")
    if not settings.use or policy not in ASKING or not rule:
        return FairValue()
    return FairValue(
        rule,
        average_s=info.average_s,
        start_ms=info.start_s * 1000,
        end_ms=info.end_s * 1000,
        strike=info.strike,
        sigma=settings.sigma_bp * BP,
        sigma_floor=settings.sigma_floor_bp * BP,
        sigma_cap=settings.sigma_cap_bp * BP,
        basis=settings.basis_bp * BP,
        move=settings.move,
    )


def price_event(
    fact: PriceFact, market: int, observed_ms: int, price: float, at_ns: int, *, average_s: int = 0
) -> EventArray:
    """One price as the step hears it: an array of one, EVENT_DTYPE."""
    event = np.zeros(1, dtype=EVENT_DTYPE)
    event["kind"], event["source"], event["status"] = EventKind.PRICE, Source.PRICE_FEED, fact
    event["market"], event["venue_ms"], event["time_ns"] = market, observed_ms, at_ns
    event["offset"], event["code"] = round(price * E8), average_s
    return event
