"""What a session over windows says when the venue has matched something else than its ledger holds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from invmm.rolling_session import differences
from invmm.types import MICRO, Side

CONDITION = "0xc0"


def window(up: int, down: int, *, unsettled: int = 0) -> Any:
    info = SimpleNamespace(condition_id=CONDITION, slug="btc-updown-5m-1")
    ledger = SimpleNamespace(traded_micro=lambda outcome: (up, down)[outcome] * MICRO)
    residue = SimpleNamespace(info=info, ledger=ledger, unsettled=unsettled)
    return SimpleNamespace(residue=residue)


def trade(token: int, shares: int, side: Side = Side.BUY, status: str = "TRADE_CONFIRMED") -> dict[str, Any]:
    leg = {"token": token, "side": int(side), "size_micro": shares * MICRO}
    return {"market": CONDITION, "status": status, "legs": [leg]}


TRUTH = {
    "markets": [{"market": CONDITION}],
    "trades": [
        trade(0, 30),
        trade(0, 10, Side.SELL),
        trade(1, 5),
        trade(1, 7, status="TRADE_FAILED"),
        {**trade(0, 99), "market": "0xother"},
    ],
}


def test_equal_shares_are_no_difference() -> None:
    assert differences(TRUTH, [window(20, 5)]) == []


def test_a_lost_fill_and_a_failed_one_that_was_kept_are_named() -> None:
    for held in ((20, 12), (19, 5), (0, 0)):
        (told,) = differences(TRUTH, [window(*held)])
        assert told.startswith("btc-updown-5m-1: ledger says ")
        assert told.endswith("venue says 20 Up, 5 Down")


def test_what_cannot_be_compared_is_not() -> None:
    assert differences(TRUTH, [window(0, 0, unsettled=1)]) == []
    assert differences({"markets": [], "trades": []}, [window(20, 5)]) == []
