"""`invmm why` has words for every reason."""

from __future__ import annotations

import pytest

from invmm.ops.reason_words import MEANINGS
from invmm.types import Reason


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.name)
def test_every_reason_has_a_meaning(reason: Reason) -> None:
    assert MEANINGS[reason]
