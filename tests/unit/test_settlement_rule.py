"""How a market settles is read from its listing, and not guessed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from invmm.venue.settlement_rule import UNKNOWN, SettlementRule, settlement_rule

STREAMS = "https://data.chain.link/streams/"


@pytest.mark.parametrize(
    ("gamma", "expected"),
    [
        ({"resolutionSource": STREAMS + "eth-usd-twap-30s-streams"}, SettlementRule("average", 30, "eth")),
        ({"resolutionSource": STREAMS + "btc-usd"}, SettlementRule("point", 0, "btc")),
        (
            {"resolutionSource": "https://www.binance.com/en/trade/SOL_USDT"},
            SettlementRule("candle", 0, "sol"),
        ),
        (
            {"cryptoMarketConfig": {"asset": "xrp", "twapEnabled": True, "twapLookbackSeconds": 60}},
            SettlementRule("average", 60, "xrp"),
        ),
        (
            {
                "resolutionSource": STREAMS + "btc-usd",
                "events": [{"eventMetadata": {"priceToBeat": 61_035.86}}],
            },
            SettlementRule("point", 0, "btc", 61_035.86),
        ),
    ],
)
def test_each_rule_is_known_by_its_source(gamma: dict[str, object], expected: SettlementRule) -> None:
    assert settlement_rule(gamma) == expected


@pytest.mark.parametrize(
    "gamma",
    [
        {},
        {"resolutionSource": None, "cryptoMarketConfig": 7, "events": {}},
        {"resolutionSource": "https://data.chain.link.evil.example/streams/btc-usd"},
        {"resolutionSource": STREAMS + "btc-usd-twap-99999s"},
        {"cryptoMarketConfig": {"asset": "btc", "twapEnabled": True, "twapLookbackSeconds": "60"}},
        {"cryptoMarketConfig": {"asset": "btc", "twapEnabled": True, "twapLookbackSeconds": True}},
        {"cryptoMarketConfig": {"asset": "btc", "twapEnabled": False, "twapLookbackSeconds": 60}},
        # Two statements that differ are none.
        {
            "resolutionSource": STREAMS + "btc-usd-twap-30s",
            "cryptoMarketConfig": {"asset": "btc", "twapEnabled": True, "twapLookbackSeconds": 60},
        },
    ],
)
def test_what_does_not_say_a_rule_leaves_it_unknown(gamma: dict[str, object]) -> None:
    assert settlement_rule(gamma) == UNKNOWN


@pytest.mark.recorded
def test_a_captured_market_settles_by_the_average_over_a_minute() -> None:
    if "INVMM_RECORDED" not in os.environ:
        pytest.skip("INVMM_RECORDED is not set: no recordings")
    samples = Path(os.environ["INVMM_RECORDED"]).parent / "reference" / "samples"
    gamma = json.loads((samples / "rest_gamma_market_v1_btc15m.json").read_text())
    found = settlement_rule(gamma)
    assert (found.rule, found.average_s, found.asset) == ("average", 60, "btc")
