"""The campaign bites: each bug put in on purpose is found, and without it the same seed finds nothing.

`python -m tests.bugs --control` prints the table.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bugs.catalogue import BUGS
from tests.bugs.seeding import CHECKERS, Bug, hunt, infected, play, replace_once


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_campaign_finds(bug: Bug, record_property: Callable[[str, object], None]) -> None:
    with infected(bug) as play_seed:
        catch = hunt(bug, play_seed)
    assert catch is not None, f"no seed shows that {bug.text}"
    record_property("seed", catch.seed)
    record_property("checkers", catch.counts)
    record_property("wall_s", catch.wall_s)
    print(f"{bug.name}: seed {catch.seed} at {catch.at_s} s, {catch.counts}, {catch.wall_s} s: {catch.text}")
    assert bug.caught_by in catch.counts
    assert catch.counts.keys() <= CHECKERS


CONTROLS = list({(bug.seed, bug.minutes, str(bug.plan), bug.open_orders): bug for bug in BUGS}.values())


@pytest.mark.parametrize("bug", CONTROLS, ids=lambda bug: bug.name)
def test_without_the_bug_the_same_seed_finds_nothing(bug: Bug) -> None:
    catch = play(bug.seed, bug.minutes, bug.plan, bug.open_orders)
    assert catch.counts == {}, catch.text


def test_there_are_at_least_twelve_bugs_and_their_names_differ() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 12


def test_an_edit_that_does_not_match_exactly_once_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "source.pyx"
    source.write_text("a = 1\na = 1\nb = 2\n")
    with pytest.raises(ValueError, match="found 2 times"):
        replace_once(source, "a = 1\n", "")
    with pytest.raises(ValueError, match="found 0 times"):
        replace_once(source, "c = 3\n", "")
    replace_once(source, "b = 2\n", "b = 3\n")
    assert source.read_text().endswith("b = 3\n")
