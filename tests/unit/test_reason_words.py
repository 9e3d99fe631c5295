"""`invmm why` has words for every reason."""

from __future__ import annotations

import pytest

from invmm.ops.reason_words import MEANINGS, SETTLEMENT
from invmm.settlement.policy import SettleReason
from invmm.types import Reason


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.name)
def test_every_reason_has_a_meaning(reason: Reason) -> None:
    assert MEANINGS[reason]


@pytest.mark.parametrize("reason", SettleReason)
def test_every_reason_of_settlement_has_a_meaning(reason: SettleReason) -> None:
    assert SETTLEMENT[reason]
