"""A session replays exactly from its journal."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from invmm.clock import ReplayClock
from invmm.engine import Engine
from invmm.errors import DataError
from invmm.execution.journal import SessionJournal
from invmm.execution.journaled import payload, read_stream
from invmm.journal_types import JournalKind
from invmm.replay.player import Player
from invmm.replay.rerun import rerun
from invmm.replay.tape import Tape, load
from invmm.settings import Settings, StateSettings
from invmm.types import COMMAND_DTYPE
from tests.reference import recording

NS = 1_000_000_000


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Tape:
    return load(recording.write_market(tmp_path_factory.mktemp("recorded")))


def played(tape: Tape, folder: Path, state: StateSettings, seconds: int = 60) -> Player:
    """A market, played with a journal."""
    with (
        SessionJournal(folder, state, ReplayClock(1), background=False) as journal,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr("invmm.replay.player.Engine", partial(Engine, journal=journal))
        player = Player(Settings(), seed=7)
        player.play(tape, until_ns=int(tape.rows["recv_ns"][0]) + seconds * NS)
    return player


def test_equal_commands_come_from_the_journal_of_a_session(tape: Tape, tmp_path: Path) -> None:
    player = played(tape, tmp_path, StateSettings(journal_frames=True))
    again = rerun(tmp_path)
    assert again.is_equal
    assert again.commands == again.journaled == player.commands > 0
    market = again.engine.markets[0]
    assert market.step.stats()["frames"] == player.results[0].step["frames"]
    assert market.ledger.legs == player.results[0].ledger.legs


def test_another_command_in_the_journal_is_seen(tape: Tape, tmp_path: Path) -> None:
    played(tape, tmp_path, StateSettings(journal_frames=True), seconds=30)
    (file,) = read_stream(tmp_path, "inputs")
    at = np.flatnonzero(file.records["kind"] == JournalKind.COMMAND)[3]
    changed = file.records.copy()
    words = payload(changed[at : at + 1], COMMAND_DTYPE).copy()
    words["price_e4"] += 100
    changed["payload"][at] = np.void(words.tobytes())

    with pytest.MonkeyPatch.context() as patch:
        other = type(file)(file.path, file.header, changed, file.end)
        patch.setattr("invmm.replay.rerun.read_stream", lambda *_: [other])
        assert rerun(tmp_path).differing == 3


def test_without_the_frames_there_is_nothing_to_run(tape: Tape, tmp_path: Path) -> None:
    played(tape, tmp_path, StateSettings(), seconds=30)
    with pytest.raises(DataError, match="journal_frames"):
        rerun(tmp_path)
    (file,) = read_stream(tmp_path, "inputs")
    buffers = file.records[file.records["kind"] == JournalKind.BUFFER]
    assert len(buffers)  # but what was received is counted, and its checksum is there
    assert (buffers["link"] > 0).all()


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found none"):
        rerun(tmp_path)
