"""The journal's reader equals its twin on damaged files (long runs: `fuzz_journal`)."""

import random

import pytest

from tests.differential.fuzz_journal import campaign


def test_a_short_campaign_of_damaged_files_agrees() -> None:
    done = campaign(seed=20260416, seconds=60, count=120)
    assert done["files"] == 120
    assert done["records"] > 250
    assert done["torn"] > 15


@pytest.mark.slow
def test_a_long_campaign_of_damaged_files_agrees() -> None:
    assert campaign(seed=random.randrange(2**32), seconds=120)["files"] > 1_000
