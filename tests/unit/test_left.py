"""What is read from the journals of earlier sessions, and who may open them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from invmm.clock import LiveClock
from invmm.engine import Engine
from invmm.errors import ConfigError, InUseError
from invmm.execution.journal import SessionJournal
from invmm.execution.left import UNTOLD, read_left
from invmm.execution.session_state import NOBODY, hold_folder, keep_journal
from invmm.execution.state import StateFolder, default_folder
from invmm.journal_types import JournalKind
from invmm.replay.tape import MarketInfo
from invmm.settings import Settings, StateSettings
from invmm.types import (
    COMMAND_DTYPE,
    EVENT_DTYPE,
    CommandKind,
    EventKind,
    OrderStatus,
    OrderType,
    Outcome,
    Side,
)
from tests.reference import wire

NS = 1_000_000_000
NOW_S = 1_795_258_800
ACCOUNT = "0x" + "Ab" * 20
SMALL = Settings(state=StateSettings(journal_records=1_024))
WINDOW = MarketInfo("btc", wire.MARKET, wire.UP, wire.DOWN, NOW_S, NOW_S + 300, tick_e4=10, fee_rate=0.02)


class Session:
    """One session that sends orders of one market; `cut` is a SIGKILL."""

    def __init__(self, folder: Path, at_s: float = 0, info: MarketInfo = WINDOW) -> None:
        self.clock = LiveClock(1.0, int((NOW_S + at_s) * NS))
        self.journal = SessionJournal(folder, SMALL.state, self.clock, account=ACCOUNT, background=False)
        self.engine = Engine(SMALL, clock=self.clock, journal=self.journal)
        self.market = self.engine.add_market(info)

    def send(self, order_id: bytes, outcome: Outcome = Outcome.UP) -> int:
        key = ((self.market.number + 1) << 40) + order_id[0]
        command = np.zeros(1, COMMAND_DTYPE)
        command["kind"], command["key"], command["market"] = CommandKind.PLACE, key, self.market.number
        command["token"], command["order_type"], command["price_e4"] = outcome, OrderType.GTD, 4800
        command["size_micro"], command["expiration_s"] = 20_000_000, NOW_S + 184
        command["decided_ns"], command["order_id"] = self.clock.now_ns(), np.void(order_id)
        assert self.journal.intents.append(JournalKind.INTENT, command.tobytes(), self.clock.now_ns(), key)
        return key

    def cancelled(self, order_id: bytes) -> None:
        event = np.zeros(1, EVENT_DTYPE)
        event["kind"], event["status"] = EventKind.ORDER_RESULT, OrderStatus.CANCELED
        event["order_id"], event["time_ns"] = np.void(order_id), self.clock.now_ns()
        assert self.journal.intents.append(JournalKind.RESULT, event.tobytes(), self.clock.now_ns(), 1)


FIRST, SECOND, THIRD = (bytes([n]) * 32 for n in (1, 2, 3))


def test_before_the_first_session_nothing_is_left(tmp_path: Path) -> None:
    left = read_left(tmp_path)
    assert (left.markets, left.orders, left.alive, left.account) == ([], {}, frozenset(), "")
    assert "no session before" in left.words()


def test_a_killed_session_leaves_its_market_its_orders_and_those_without_proof(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.send(FIRST)
    session.send(SECOND, Outcome.DOWN)
    session.cancelled(FIRST)
    left = read_left(tmp_path)
    assert left.markets == [WINDOW]
    assert set(left.orders) == {FIRST, SECOND}
    assert left.alive == {SECOND}
    assert left.account == ACCOUNT.lower()
    assert not left.is_closed
    assert left.is_same_boot
    order = left.orders[SECOND]
    assert (order.outcome, order.side, order.order_type) == (Outcome.DOWN, Side.BUY, OrderType.GTD)
    assert (order.price_e4, order.size_micro, order.expiration_s) == (4800, 20_000_000, NOW_S + 184)
    assert order.condition_id == WINDOW.condition_id
    assert "was cut off; 1 orders may be alive" in left.words()
    session.journal.close()
    assert read_left(tmp_path).is_closed


def test_orders_of_one_market_are_gathered_over_all_sessions_that_traded_it(tmp_path: Path) -> None:
    for at_s, order_id in ((0, FIRST), (10, SECOND), (20, THIRD)):
        session = Session(tmp_path, at_s)
        session.send(order_id)
    left = read_left(tmp_path)
    assert set(left.orders) == left.alive == {FIRST, SECOND, THIRD}
    assert left.markets == [WINDOW]


def test_a_market_that_ended_long_before_is_left_only_with_an_order_that_may_be_alive(tmp_path: Path) -> None:
    late_s = 300 + 600 + 1
    for dead in (False, True):
        old = Session(tmp_path / str(dead))
        old.send(FIRST)
        if dead:
            old.cancelled(FIRST)
        other = replace(WINDOW, condition_id="0x" + "cd" * 32, up_token_id="3", down_token_id="4")
        Session(tmp_path / str(dead), late_s, replace(other, end_s=NOW_S + 2_000)).send(SECOND)
        left = read_left(tmp_path / str(dead))
        assert (WINDOW in left.markets) is not dead
        assert (FIRST in left.orders) is not dead


def test_an_order_whose_market_no_record_names_is_kept_all_the_same(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.send(FIRST)
    for path in tmp_path.glob("inputs-*"):
        path.unlink()
    left = read_left(tmp_path)
    assert left.alive == {FIRST}
    (market,) = left.markets
    assert market.origin == UNTOLD
    assert left.orders[FIRST].condition_id == market.condition_id


def test_what_was_left_is_handed_on_so_that_old_files_may_go(tmp_path: Path) -> None:
    session = Session(tmp_path / "journal")
    session.send(FIRST)
    session.send(SECOND, Outcome.DOWN)
    session.cancelled(FIRST)
    session.journal.close()
    old = set((tmp_path / "journal").iterdir())
    with hold_folder(tmp_path) as folder, keep_journal(folder, SMALL, session.clock, ACCOUNT) as state:
        assert state.left is not None
        market = Engine(SMALL, clock=session.clock, journal=state.journal).add_market(WINDOW)
        state.journal.checkpoint([market])
    before = read_left(tmp_path / "journal")
    for path in old:
        path.unlink()
    after = read_left(tmp_path / "journal")
    assert (after.alive, after.orders, after.markets) == (before.alive, before.orders, before.markets)
    assert after.alive == {SECOND}


def test_a_folder_is_for_one_account_and_never_for_both_real_and_embedded_venues(tmp_path: Path) -> None:
    clock = LiveClock()
    with hold_folder(tmp_path / "a") as folder, keep_journal(folder, SMALL, clock) as state:
        assert state.left is None
    with (
        hold_folder(tmp_path / "a") as folder,
        pytest.raises(ConfigError, match=rf"expected the journal of {ACCOUNT}, found one of a session with"),
        keep_journal(folder, SMALL, clock, ACCOUNT),
    ):
        pass


def test_what_an_embedded_venue_held_ended_with_it(tmp_path: Path) -> None:
    clock = LiveClock()
    with hold_folder(tmp_path) as folder:
        with keep_journal(folder, SMALL, clock) as state:
            session = Session.__new__(Session)
            session.clock, session.journal = clock, state.journal
            session.engine = Engine(SMALL, clock=clock, journal=state.journal)
            session.market = session.engine.add_market(WINDOW)
            session.send(FIRST)
        assert read_left(folder.journal).alive == {FIRST}
        with keep_journal(folder, SMALL, clock):
            pass
        assert read_left(folder.journal).alive == frozenset()


def test_a_temporary_folder_is_gone_afterwards() -> None:
    with hold_folder(None) as folder:
        assert folder.path.is_dir()
    assert not folder.path.exists()


HOLD = """
import sys
from pathlib import Path
from invmm.execution.state import StateFolder
with StateFolder(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_engine_for_the_same_account_is_refused_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "one"), ACCOUNT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        for path in (tmp_path / "two", default_folder(ACCOUNT)):
            with pytest.raises(InUseError, match=f"process {other.pid}"), hold_folder(path, ACCOUNT):
                pass
        with hold_folder(tmp_path / "two", "0x" + "11" * 20), hold_folder(tmp_path / "three", NOBODY):
            pass
        other.kill()
    with StateFolder(tmp_path / "two", ACCOUNT):
        pass
