"""How a market settles, as its Gamma object says: by a point, a time average or a candle. Pure.

Two fields tell: `resolutionSource`, the address of a Chainlink stream or of an exchange's chart, and
`cryptoMarketConfig`. What neither tells, or on which they disagree, is not known: such a market is traded
without a model of its settlement. The sentence in `description` is not read; where it speaks of the average
over the whole window, stream and configuration say otherwise.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

STREAM: Final = re.compile(
    r"https://data\.chain\.link/streams/([a-z0-9]{2,10})-usd(?:-twap-(\d{1,5})s)?(?:-streams)?/?"
)
CHART: Final = re.compile(r"https://www\.binance\.com/[a-z]{2}/trade/([A-Z0-9]{2,10})_USDT/?(?:\?.{0,80})?")
MAX_AVERAGE_S: Final = 3_600


@dataclass(frozen=True, slots=True)
class SettlementRule:
    """`rule` is "point", "average" (over `average_s` seconds), "candle" or "" (not known); `asset` as in
    "btc"; `strike` in dollars where the venue names it already, else 0.
    """

    rule: str = ""
    average_s: int = 0
    asset: str = ""
    strike: float = 0.0


UNKNOWN: Final = SettlementRule()


def settlement_rule(gamma: Mapping[str, Any]) -> SettlementRule:
    """What a Gamma market object says. Never raises.

    Examples
    --------
    >>> settlement_rule({"resolutionSource": "https://data.chain.link/streams/btc-usd-twap-60s-streams"})
    SettlementRule(rule='average', average_s=60, asset='btc', strike=0.0)
    >>> settlement_rule({"resolutionSource": "https://www.binance.com/en/trade/BTC_USDT"}).rule
    'candle'
    >>> settlement_rule({"resolutionSource": "a committee"}).rule
    ''
    """
    said = [each for each in (_by_source(gamma), _by_config(gamma)) if each.rule]
    if not said or any(each != said[0] for each in said):
        return UNKNOWN
    one = said[0]
    return SettlementRule(one.rule, one.average_s, one.asset, _strike(gamma))


def _by_source(gamma: Mapping[str, Any]) -> SettlementRule:
    source = gamma.get("resolutionSource")
    if not isinstance(source, str):
        return UNKNOWN
    if found := STREAM.fullmatch(source):
        average_s = int(found[2] or 0)
        if average_s > MAX_AVERAGE_S:
            return UNKNOWN
        return SettlementRule("average" if average_s else "point", average_s, found[1])
    if found := CHART.fullmatch(source):
        return SettlementRule("candle", 0, found[1].lower())
    return UNKNOWN


def _by_config(gamma: Mapping[str, Any]) -> SettlementRule:
    config = gamma.get("cryptoMarketConfig")
    if not isinstance(config, Mapping) or config.get("twapEnabled") is not True:
        return UNKNOWN  # without an average it may be a point or a candle
    asset, average_s = config.get("asset"), config.get("twapLookbackSeconds")
    if not isinstance(asset, str) or not re.fullmatch(r"[a-z0-9]{2,10}", asset):
        return UNKNOWN
    if type(average_s) is not int or not 0 < average_s <= MAX_AVERAGE_S:
        return UNKNOWN
    return SettlementRule("average", average_s, asset)


def _strike(gamma: Mapping[str, Any]) -> float:
    events = gamma.get("events")
    event = events[0] if isinstance(events, list) and events else None
    told = event.get("eventMetadata") if isinstance(event, Mapping) else None
    price = told.get("priceToBeat") if isinstance(told, Mapping) else None
    if isinstance(price, bool) or not isinstance(price, int | float) or not math.isfinite(price):
        return 0.0
    return float(price) if 0.0 < price < 1e10 else 0.0
