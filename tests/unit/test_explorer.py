"""The explorer: the protocol keeps its obligations, each shortcut breaks what it is known to break, and the
sequence that it prints can be followed.
"""

from __future__ import annotations

import orjson
import pytest

from invmm.sim.explorer import SETTINGS, SHORT, SHORTCUTS, Shortcut, main, told, try_shortcut
from invmm.sim.protocol import Around, Order, Rules, Said, State, Wire
from invmm.sim.statespace import LIMIT, ORPHAN, STUCK, Setting, explore


@pytest.mark.parametrize("setting", SHORT, ids=lambda setting: setting.name)
def test_the_protocol_keeps_every_obligation(setting: Setting) -> None:
    outcome = explore(setting)
    assert not outcome.violations, told(outcome)
    assert outcome.states > 1000
    assert outcome.rests > 10  # it comes to rest in more ways than doing nothing
    assert outcome.rest_steps > 3


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_the_protocol_keeps_every_obligation_against_all_means(setting: Setting) -> None:
    outcome = explore(setting)
    assert not outcome.violations, told(outcome)


@pytest.mark.parametrize("shortcut", SHORTCUTS, ids=lambda shortcut: shortcut.name)
def test_each_shortcut_breaks_what_it_is_known_to_break(shortcut: Shortcut) -> None:
    outcome = try_shortcut(shortcut)
    assert set(outcome.broken) == set(shortcut.breaks), told(outcome)
    for violation in outcome.violations:
        assert 2 <= len(violation.steps) <= 15


def test_every_switch_of_the_rules_is_tried_by_a_shortcut() -> None:
    switches = {name for name, value in vars(Rules()).items() if value is False} - {"retry"}
    assert switches == {name for each in SHORTCUTS for name in switches if getattr(each.rules, name)}


def test_an_order_that_nothing_proves_dead_is_seen_as_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search for rest can fail: without time and without questions, a lost answer stays lost."""
    venue, engine = Rules.venue_moves, Rules.engine_moves
    monkeypatch.setattr(
        Rules, "venue_moves", lambda self, order: [m for m in venue(self, order) if "expiry" not in m.text]
    )
    monkeypatch.setattr(
        Rules,
        "engine_moves",
        lambda self, order, around: [m for m in engine(self, order, around) if "asks" not in m.text],
    )
    outcome = explore(Setting("no way out", drops=1, copies=0, crashes=0))
    assert outcome.broken == (STUCK,)
    assert any("lost" in step for step in outcome.violations[0].steps)


def test_the_steps_that_are_printed_lead_to_what_they_say() -> None:
    outcome = try_shortcut(next(each for each in SHORTCUTS if each.name == "timeout-is-failure"))
    orphan = next(violation for violation in outcome.violations if violation.obligation == ORPHAN)
    assert [step.split("\n")[0] for step in orphan.steps] == [
        "engine (A): prepares and journals",
        "engine (A): sends",
        "engine (A): has no answer in time and takes the order for failed",
        "venue (A): gets the order, which rests",
    ]
    assert orphan.steps[-1].split("\n")[1].strip().startswith("A: forgotten, venue resting")


def test_a_cancel_never_overtakes_its_order() -> None:
    rules, sent = Rules(), Order(prepared=True, journaled=True, said=Said.SENT, wire=Wire.PLACE)
    for bits in range(128):
        around = Around(*(bool(bits >> n & 1) for n in range(7)))
        assert not any("cancels" in move.text for move in rules.moves(sent, around))
    assert rules.state(sent) == State.SENT


def test_the_command_says_in_json_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--shortcut", "no-wait", "--json"]) == 0
    report = orjson.loads(capsys.readouterr().out)
    assert report["passed"] is True
    assert report["protocol"] == []
    assert len(report["shortcuts"][0]["broken"]["limit"]) > 3


def test_the_command_refuses_a_shortcut_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--shortcut", "luck"])
    assert stop.value.code == 2
    assert "no-journal" in capsys.readouterr().err


@pytest.mark.parametrize("options", ["--capacity 2 --retry", "--orders 3 --capacity 2", "--orders 3 --retry"])
def test_the_command_refuses_worlds_that_do_not_exist(
    options: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(options.split())
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "there is no world of" in told
    assert all(word in told for word in options.split())


def test_the_command_fails_when_a_shortcut_breaks_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    harmless = Shortcut("harmless", "nothing is wrong with it", (LIMIT,), Rules())
    monkeypatch.setattr("invmm.sim.explorer.SHORTCUTS", (harmless,))
    assert main(["--shortcut", "harmless"]) == 1
    assert "does NOT break “limit”" in capsys.readouterr().out
