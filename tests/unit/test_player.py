"""Replay at full speed on a virtual clock: deterministic, complete, and clean when it is cut short."""

from __future__ import annotations

import pytest

from invmm.replay.player import Player, frame_events
from invmm.replay.tape import Tape, load
from invmm.settings import Settings
from invmm.types import EventFlag, EventKind, Outcome
from tests.reference import recording

NS = 1_000_000_000


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Tape:
    return load(recording.write_market(tmp_path_factory.mktemp("recorded")))


def test_each_frame_is_an_event_and_each_receive_time_ends_with_one(tape: Tape) -> None:
    events = frame_events(tape, 3)
    frames = events[events["kind"] == EventKind.FRAME]
    assert len(frames) == len(tape)
    assert (events["market"] == 3).all()
    assert events["sequence"].tolist() == list(range(1, len(events) + 1))
    assert (events["time_ns"][1:] >= events["time_ns"][:-1]).all()
    assert events["kind"][-1] == EventKind.BUFFER_END
    assert (events["kind"] == EventKind.BUFFER_END).sum() == len(set(tape.rows["recv_ns"].tolist()))
    assert int(((frames["flags"] & EventFlag.CHECKPOINT) != 0).sum()) == 60


def test_two_players_make_the_same_commands_and_another_seed_others(tape: Tape) -> None:
    players = [Player(Settings(), seed=seed) for seed in (1, 1, 2)]
    results = [player.play(tape) for player in players]
    assert players[0].digest == players[1].digest != players[2].digest
    assert players[0].commands == players[1].commands > 0
    assert results[0].winner == Outcome.UP
    assert results[0].reconciled
    assert results[0].queue_ahead_of_truth == 0


def test_digest_goes_on_over_several_markets(tape: Tape) -> None:
    player = Player(Settings(), seed=1)
    player.play(tape)
    after_one = player.digest
    player.play(tape)
    assert player.digest != after_one
    assert [result.step["frames"] for result in player.results] == [len(tape)] * 2


def test_a_market_that_is_cut_short_leaves_no_order_open(tape: Tape) -> None:
    player = Player(Settings(), seed=1)
    result = player.play(tape, until_ns=int(tape.rows["recv_ns"][0]) + 60 * NS)
    assert result.winner is None
    assert player.clean
    assert result.orders > 0
    assert result.reconciled


def test_stop_ends_the_market_being_played_and_keeps_what_there_is(tape: Tape) -> None:
    shares: list[float] = []

    def progress(_tape: Tape, share: float) -> None:
        shares.append(share)
        if share > 0.3:
            player.stop()

    player = Player(Settings(), seed=1, progress=progress)
    result = player.play(tape)
    assert 0 < result.step["frames"] < len(tape)
    assert shares[-1] == 1.0
    assert player.clean
    assert result.winner is None
    assert result.reconciled
