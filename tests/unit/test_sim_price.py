"""Prices of generated markets: what the feeds tell is what the market settles by, in replay and behind the
embedded venue's sockets.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from invmm.clock import ReplayClock
from invmm.engine import Engine
from invmm.execution.journal import SessionJournal
from invmm.replay.player import Player
from invmm.replay.rerun import rerun
from invmm.settings import Settings, StateSettings
from invmm.sim import gamma, spool
from invmm.sim.price import FEEDS, price_events, readings, rule_of
from invmm.sim.price_server import Reference
from invmm.sim.windows import Window
from invmm.types import EventKind, PriceFact
from invmm.venue.settlement_rule import UNKNOWN, SettlementRule, settlement_rule
from tests.reference.priced import priced_tape

START_S = 1_790_766_900
NS, MS = 1_000_000_000, 1_000_000


def told(rows: np.ndarray, fact: PriceFact, at_s: int) -> float:
    """What a feed said of one moment."""
    (row,) = rows[(rows["fact"] == fact) & (rows["observed_ms"] == at_s * 1000)]
    return float(row["price"])


def test_the_feeds_tell_strike_and_final_price_late_and_equal_seeds_tell_the_same() -> None:
    tape = priced_tape(1, START_S)
    rows = readings(tape)
    assert told(rows, PriceFact.AVERAGE, START_S) == pytest.approx(tape.meta["strike"], rel=1e-12)
    assert told(rows, PriceFact.AVERAGE, START_S + 120) == pytest.approx(tape.meta["final"], rel=1e-12)
    assert (np.diff(rows["at_ns"]) >= 0).all()
    late_ms = (rows["at_ns"] - rows["observed_ms"] * MS) / MS
    assert late_ms[rows["fact"] == PriceFact.SPOT].min() >= FEEDS.spot_delay_ms
    assert 100.0 <= late_ms[rows["fact"] == PriceFact.DIRECT].min() < 110.0
    assert readings(tape).tobytes() == rows.tobytes()
    assert readings(replace(tape, meta={})).shape == (0,)
    assert rule_of(replace(tape, meta={})).rule == ""


def test_what_was_told_before_the_tape_comes_at_its_beginning() -> None:
    tape = priced_tape(1, START_S)
    events = price_events(tape, 3)
    first_ns, last_ns = int(tape.rows["recv_ns"][0]), int(tape.rows["recv_ns"][-1])
    assert events["time_ns"].min() == first_ns
    assert events["time_ns"].max() <= last_ns
    assert (events["kind"] == EventKind.PRICE).all()
    assert (events["market"] == 3).all()
    assert events["venue_ms"].min() < (START_S - 60) * 1000


def settings(use: bool, policy: str = "pairs") -> Settings:
    return Settings.parse(f'[strategy]\npolicy = "{policy}"\n[price]\nuse = {str(use).lower()}\n')


def test_a_replay_hears_prices_where_the_policy_asks_and_plays_the_same_twice() -> None:
    tape = priced_tape(2, START_S)
    players = [Player(settings(True), seed=1) for _ in range(2)]
    results = [player.play(tape) for player in players]
    assert players[0].digest == players[1].digest
    fair = results[0].step["fair"]
    assert fair["strike_from"] == "read"
    assert fair["strike"] == pytest.approx(tape.meta["strike"], abs=1e-6)
    assert fair["prices"] > 1_000
    won = tape.market.winner
    assert won is not None
    assert (fair["up"] > 0.5) == (won == 0)
    assert players[0].digest != silent(tape).digest
    other = Player(settings(True, "inventory_mm"), seed=1)
    assert other.play(tape).step["fair"]["prices"] == 0


def silent(tape: object) -> Player:
    player = Player(settings(False), seed=1)
    result = player.play(tape)  # type: ignore[arg-type]
    assert result.step["fair"]["state"] == "rule not known"
    return player


def test_without_prices_a_market_with_a_path_plays_as_one_without() -> None:
    tape = priced_tape(2, START_S)
    bare = Player(settings(True), seed=1)
    bare.play(replace(tape, meta={}))
    assert bare.digest == silent(tape).digest


def test_a_session_with_prices_replays_exactly_from_its_journal(tmp_path: Path) -> None:
    tape = priced_tape(3, START_S)
    state = StateSettings(journal_frames=True)
    with (
        SessionJournal(tmp_path, state, ReplayClock(1), background=False) as journal,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr("invmm.replay.player.Engine", partial(Engine, journal=journal))
        player = Player(settings(True), seed=7)
        player.play(tape, until_ns=int(tape.rows["recv_ns"][0]) + 40 * NS)
    again = rerun(tmp_path)
    assert again.is_equal
    assert again.commands == player.commands > 0
    fair = again.engine.markets[0].step.stats()["fair"]
    assert fair == player.results[0].step["fair"]
    assert fair["prices"] > 400


def test_windows_that_follow_each_other_are_told_as_one_price() -> None:
    tapes = [
        priced_tape(seed, START_S + 120 * i, begin=75_000.0 + 900 * i) for i, seed in enumerate((4, 5, 6))
    ]
    reference = Reference(9)
    for tape in tapes:
        reference.take(tape)
    rows = reference.told(0, 1 << 62)
    spot = rows[rows["fact"] == PriceFact.SPOT]
    assert (np.diff(spot["observed_ms"]) == 1_000).all()
    assert np.abs(np.diff(np.log(spot["price"]))).max() < 6e-4
    for i, tape in enumerate(tapes):
        strike = told(rows, PriceFact.AVERAGE, START_S + 120 * i)
        final = told(rows, PriceFact.AVERAGE, START_S + 120 * (i + 1))
        assert (final >= strike) == (tape.market.winner == 0)
        assert final / strike == pytest.approx(tape.meta["final"] / tape.meta["strike"], rel=1e-9)


def test_a_window_that_overlaps_begins_another_story() -> None:
    reference = Reference(9)
    reference.take(priced_tape(4, START_S))
    reference.take(priced_tape(5, START_S, begin=100.0))
    assert reference.rows["price"].max() < 200.0


def test_a_tape_keeps_its_path_on_its_way_to_another_process(tmp_path: Path) -> None:
    tape = priced_tape(4, START_S)
    tape = replace(tape, market=rule_of(tape))
    again = spool.read(spool.write(tape, tmp_path / "tape"))
    assert again.market == tape.market
    assert readings(again).tobytes() == readings(tape).tobytes()


def test_the_embedded_venue_lists_the_rule_of_a_market_that_has_a_price() -> None:
    bare = priced_tape(4, START_S).market
    for market, expected in (
        (rule_of(priced_tape(4, START_S)), SettlementRule("average", 60, "btc")),
        (bare, UNKNOWN),
    ):
        window = Window(market, "0x" + "00" * 32, 1, 0, 0, 0)
        assert settlement_rule(gamma.market(window, START_S * NS)) == expected
