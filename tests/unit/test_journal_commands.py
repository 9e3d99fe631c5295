"""`invmm journal` and `invmm why` over the journal of a market that was played."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from invmm.clock import ReplayClock
from invmm.engine import Engine
from invmm.errors import ConfigError, DataError
from invmm.execution.journal import SessionJournal
from invmm.ops import journal as command
from invmm.ops import why
from invmm.replay.player import Player
from invmm.replay.tape import load
from invmm.settings import Settings, StateSettings
from tests.reference import recording

NS = 1_000_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder of a market played for 40 seconds, then pulled."""
    place = tmp_path_factory.mktemp("state")
    tape = load(recording.write_market(tmp_path_factory.mktemp("recorded")))
    first_ns = int(tape.rows["recv_ns"][0])
    state = StateSettings(journal_frames=True)
    kept = SessionJournal(place / "journal", state, ReplayClock(first_ns), background=False)
    with kept as journal, pytest.MonkeyPatch.context() as patch:
        patch.setattr("invmm.replay.player.Engine", partial(Engine, journal=journal))
        Player(Settings(), seed=7, policy="inventory_mm").play(tape, until_ns=first_ns + 40 * NS)
        journal.note("a line for people")
    return place


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert command.main(list(words)) == 0
    return capsys.readouterr().out.splitlines()


def told(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> str:
    assert why.main([*words, "--state", str(folder)]) == 0
    return capsys.readouterr().out


def test_every_record_is_a_line_and_each_file_says_how_it_ends(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = shown(capsys, str(folder), "--all")
    assert "SESSION" in lines[1]
    assert any(" PLACE  btc-updown-5m-1700000100 BUY 100 UP @ 0.48 until " in line for line in lines)
    assert any(line.endswith("a line for people") for line in lines)
    assert "inputs-00000001.journal" in lines[-2]
    assert "closed in order" in lines[-2]
    quiet = shown(capsys, str(folder / "journal"))
    assert len(quiet) < len(lines)
    assert not any(" TIMER" in line for line in quiet)
    assert any(" TIMER" in line for line in lines)


def test_records_are_chosen_by_kind_stream_order_and_number(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.loads(line) for line in shown(capsys, str(folder), "--json", "--kind", "command,ended")]
    assert {row["kind"] for row in rows[:-2]} == {"COMMAND", "ENDED"}
    first = next(row for row in rows if row["kind"] == "COMMAND")
    assert (first["command"], first["price_e4"], first["size_micro"]) == ("PLACE", 4800, 100_000_000)
    assert first["link"] == (1 << 40) + 1
    one = [json.loads(line) for line in shown(capsys, str(folder), "--json", "--order", "0.0.2")][:-2]
    assert [row["kind"] for row in one[:3]] == ["COMMAND", "EVENT", "EVENT"]
    assert {row["key"] for row in one} == {(1 << 40) + 2}
    assert len(shown(capsys, str(folder), "--json", "--last", "3")) == 3 + 2
    assert len(shown(capsys, str(folder), "--json", "--stream", "intents")) == 1 + 2
    by_id = shown(capsys, str(folder), "--json", "--order", one[1]["order_id"][:14])
    assert len(by_id) == len(one) + 2


def test_the_session_runs_again_from_the_command_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (line,) = shown(capsys, str(folder), "--rerun", "--json")
    again = json.loads(line)
    assert again["differing"] is None
    assert again["commands"] == again["journaled"] > 0


def test_what_is_not_there_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        command.main([str(tmp_path / "absent")])
    with pytest.raises(DataError, match="found none"):
        command.main([str(tmp_path)])
    with pytest.raises(ConfigError, match="--kind: expected one of FILE"):
        command.main([str(folder), "--kind", "ORDERS"])
    for text, words in (
        ("0xffff", "does not name it"),
        ("0.0.9999", "does not name it"),
        ("hello", "expected 0x and hex"),
        ("0x", "expected one, found"),
    ):
        with pytest.raises(DataError, match=words):
            command.main([str(folder), "--order", text])
    with pytest.raises(DataError, match=r"expected one of [0-9a-f]{16}$"):
        command.main([str(folder), "--session", "ffffffffffffffffff"])


def test_why_tells_the_story_of_an_order(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys, folder, "0.0.2")
    assert "BUY 100 DOWN @ 0.48" in text
    assert "for QUOTE" in text
    assert "book 0.49 / 0.51" in text
    assert text.rstrip().endswith("ended filled, 100 shares")
    story = json.loads(told(capsys, folder, "0.0.2", "--json"))
    assert story["key"] == "0.0.2"
    assert len(story["order_id"]) == 66
    assert json.loads(told(capsys, folder, story["order_id"][:20], "--json")) == story


def test_why_tells_which_reason_ended_a_quote(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [json.loads(line) for line in shown(capsys, str(folder), "--json", "--kind", "ENDED")]
    dead = next(row for row in rows if row.get("state") == "dead")
    key = dead["key"]
    story = json.loads(told(capsys, folder, str(key), "--json"))
    assert "proven by CANCELED" in story["verdict"]
    assert "its cancel was asked for" in story["verdict"]


def test_why_tells_what_bound_at_a_time(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = json.loads(told(capsys, folder, "1700000110", "--json"))
    assert [each["token"] for each in answer["tokens"]] == ["UP", "DOWN"]
    assert all(each["is_quoted"] for each in answer["tokens"])
    assert all(each["live_orders"] for each in answer["tokens"])
    stopped = json.loads(told(capsys, folder, "now", "--json"))["tokens"]
    assert {each["reason"] for each in stopped} == {"MODE"}
    assert not any(each["live_orders"] for each in stopped)
    assert stopped[0]["values"]["bid_e4"] == 4900
    text = told(capsys, folder, "22:15:10")
    assert text.startswith("at 2023-11-14 22:15:10.000000 UTC")
    assert "UP: quoted for 9.500 s" in text
    assert told(capsys, folder, "2023-11-14 22:15:10") == text
    with pytest.raises(DataError, match="begins later or names no market"):
        told(capsys, folder, "2023-11-14 10:00")
