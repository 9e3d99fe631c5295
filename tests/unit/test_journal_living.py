"""Which orders may be alive, by the journal alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from invmm._ext.decode import MarketBooks
from invmm._ext.step import MarketStep
from invmm.clock import ReplayClock
from invmm.execution.journal import JournaledOrder, SessionJournal, possibly_alive, read_stream
from invmm.journal_types import JournalKind
from invmm.limits import step_limits
from invmm.market import Market
from invmm.replay.tape import MarketInfo
from invmm.settings import Settings, StateSettings
from invmm.strategy.policies import make_policy
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

INFO = MarketInfo("btc-5m", "0x" + "c0" * 32, "12345678901234567890", "98765432109876543210", 1_000, 1_300)
SETTINGS = StateSettings(journal_records=1024, journal_files=2)
NOW = 10**18


def the_id(number: int) -> bytes:
    return number.to_bytes(1) * 32


def key_of(number: int, market: int = 0) -> int:
    return ((market + 1) << 40) + number


class Session:
    """A journal with one market, and short words for what happens."""

    def __init__(self, folder: Path, settings: StateSettings = SETTINGS) -> None:
        self.clock = ReplayClock(NOW)
        self.journal = SessionJournal(folder, settings, self.clock, background=False)
        step = MarketStep(
            MarketBooks(INFO.up_token_id, INFO.down_token_id, INFO.tick_e4),
            make_policy("inventory_mm", Settings().strategy),
            step_limits(Settings(), INFO),
        )
        self.market = Market(INFO, 0, step)
        step.journal_to(self.journal.open_market(self.market))

    def place(self, number: int, at_ns: int = NOW) -> None:
        """The engine decides, the executor signs."""
        command = np.zeros(1, COMMAND_DTYPE)
        command["kind"], command["key"], command["sequence"] = CommandKind.PLACE, key_of(number), number
        command["token"], command["price_e4"], command["size_micro"] = Outcome.DOWN, 4700, 20_000_000
        command["order_type"], command["expiration_s"], command["decided_ns"] = OrderType.GTD, 9_999, at_ns
        assert self.market.step.registry.add(command)
        command["order_id"] = np.void(the_id(number))
        assert self.journal.intents.append(JournalKind.INTENT, command.tobytes(), at_ns, key_of(number))

    def result(self, number: int, status: OrderStatus, *, told: bool = True) -> None:
        """What the executor heard; `told`: the engine takes it from the ring."""
        event = np.zeros(1, EVENT_DTYPE)
        event["kind"], event["status"], event["key"] = EventKind.ORDER_RESULT, status, key_of(number)
        event["order_id"], event["time_ns"] = np.void(the_id(number)), self.clock.now_ns()
        event["token"] = Outcome.DOWN
        self.journal.intents.append(JournalKind.RESULT, event.tobytes(), self.clock.now_ns())
        if told:
            self.market.step.step(event, self.clock.now_ns())

    def fill(self, number: int, size_micro: int = 20_000_000) -> None:
        """The user channel names a trade."""
        event = np.zeros(1, EVENT_DTYPE)
        event["kind"], event["status"] = EventKind.USER_EVENT, OrderStatus.TRADE_MATCHED
        event["key"], event["trade"], event["token"] = key_of(number), number, Outcome.DOWN
        event["price_e4"], event["size_micro"], event["time_ns"] = 4700, size_micro, self.clock.now_ns()
        self.market.step.step(event, self.clock.now_ns())

    def resend(self, number: int) -> None:
        command = np.zeros(1, COMMAND_DTYPE)
        command["kind"], command["key"] = CommandKind.RESEND, key_of(number)
        command["order_id"] = np.void(the_id(number))
        self.journal.intents.append(JournalKind.COMMAND, command.tobytes(), self.clock.now_ns())

    def checkpoint(self, adopted: Any = ()) -> None:
        self.clock.set(self.clock.now_ns() + 1)
        assert self.journal.checkpoint([self.market], adopted)


def alive(folder: Path) -> list[int]:
    return sorted(int(order.order_id[2:4], 16) for order in possibly_alive(folder))


def test_an_order_whose_id_was_journaled_may_be_alive(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.place(1)
    (order,) = possibly_alive(tmp_path)
    file = next(read_stream(tmp_path, "intents"))
    assert order == JournaledOrder(
        order_id="0x" + "01" * 32,
        key=key_of(1),
        market=0,
        slug="btc-5m",
        condition_id=INFO.condition_id,
        token_id=INFO.down_token_id,
        outcome=Outcome.DOWN,
        side=Side.BUY,
        order_type=OrderType.GTD,
        price_e4=4700,
        size_micro=20_000_000,
        filled_micro=0,
        expiration_s=9_999,
        sent_ns=NOW,
        last_evidence="SENT",
        heard_ns=NOW,
        session=file.session,
        file="intents-00000001.journal",
    )


@pytest.mark.parametrize(
    "status",
    [s for s in OrderStatus if s not in (OrderStatus.CANCELED, OrderStatus.REFUSED, OrderStatus.REJECTED)],
)
def test_only_proof_ends_it(tmp_path: Path, status: OrderStatus) -> None:
    session = Session(tmp_path)
    session.place(1)
    session.result(1, status, told=False)
    (order,) = possibly_alive(tmp_path)
    assert order.last_evidence == status.name


@pytest.mark.parametrize("status", [OrderStatus.CANCELED, OrderStatus.REFUSED, OrderStatus.REJECTED])
def test_an_answer_that_is_proof_ends_it(tmp_path: Path, status: OrderStatus) -> None:
    session = Session(tmp_path)
    session.place(1)
    session.place(2)
    session.result(1, status, told=False)
    assert alive(tmp_path) == [2]


@pytest.mark.parametrize("told", [OrderStatus.LIVE, OrderStatus.MATCHED, OrderStatus.DUPLICATED])
def test_a_refusal_of_an_order_that_was_seen_alive_proves_nothing(tmp_path: Path, told: OrderStatus) -> None:
    session = Session(tmp_path)
    session.place(1)
    session.result(1, told, told=False)
    session.result(1, OrderStatus.REJECTED, told=False)
    assert alive(tmp_path) == [1]


def test_one_refusal_of_an_order_that_was_sent_twice_proves_nothing(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.place(1)
    session.resend(1)
    session.result(1, OrderStatus.REJECTED, told=False)
    assert alive(tmp_path) == [1]


def test_two_refusals_of_an_order_that_was_sent_twice_are_proof(tmp_path: Path) -> None:
    session = Session(tmp_path)
    for number in (1, 2, 3):
        session.place(number)
        session.resend(number)
        session.result(number, OrderStatus.COPY_REFUSED, told=False)
    session.result(1, OrderStatus.REJECTED, told=False)
    session.result(2, OrderStatus.COPY_REFUSED, told=False)
    session.result(3, OrderStatus.REJECTED, told=False)
    session.result(3, OrderStatus.FOUND, told=False)
    assert alive(tmp_path) == [2, 3]


def test_what_the_engine_knows_to_be_filled_is_not_alive(tmp_path: Path) -> None:
    session = Session(tmp_path)
    for number in (1, 2):
        session.place(number)
        session.result(number, OrderStatus.SENT)
        session.result(number, OrderStatus.LIVE)
    session.fill(1)
    session.fill(2, 5_000_000)
    assert alive(tmp_path) == [2]
    records = next(read_stream(tmp_path, "inputs")).records
    assert (records["kind"] == JournalKind.ENDED).sum() == 1


def test_an_order_that_lives_again_may_be_alive(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.place(1)
    session.result(1, OrderStatus.SENT)
    session.result(1, OrderStatus.CANCELED)
    assert alive(tmp_path) == []
    session.clock.set(NOW + 10)
    session.result(1, OrderStatus.FOUND)
    assert alive(tmp_path) == [1]


def test_a_checkpoint_stands_for_all_before_it(tmp_path: Path) -> None:
    session = Session(tmp_path)
    for number in (1, 2, 3):
        session.place(number)
        session.result(number, OrderStatus.SENT)
    session.result(2, OrderStatus.CANCELED)
    session.checkpoint()
    session.place(4, session.clock.now_ns())
    (tmp_path / "intents-00000001.journal").rename(tmp_path / "kept")
    assert alive(tmp_path) == [1, 3]  # by the checkpoint alone
    (tmp_path / "kept").rename(tmp_path / "intents-00000001.journal")
    assert alive(tmp_path) == [1, 3, 4]
    session.result(3, OrderStatus.CANCELED)
    assert alive(tmp_path) == [1, 4]


def test_a_checkpoint_counts_an_order_whose_id_the_engine_had_not_heard_of(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.place(1)  # signed, and SENT still lies in the ring
    session.checkpoint()
    assert alive(tmp_path) == [1]


def test_half_a_checkpoint_does_not_count(tmp_path: Path) -> None:
    session = Session(tmp_path)
    for number in (1, 2):
        session.place(number)
        session.result(number, OrderStatus.SENT)
    session.checkpoint()
    path = tmp_path / "inputs-00000001.journal"
    records = next(read_stream(tmp_path, "inputs")).records
    at = int(np.flatnonzero(records["kind"] == JournalKind.ORDER)[1]) + 1
    data = bytearray(path.read_bytes())
    data[at * 160 + 50] ^= 0xFF
    path.write_bytes(data)
    assert alive(tmp_path) == [1, 2]


def test_orders_of_earlier_sessions_stay_until_they_are_ended(tmp_path: Path) -> None:
    first = Session(tmp_path)
    for number in (1, 2):
        first.place(number)
        first.result(number, OrderStatus.SENT)
    # Killed: nothing is closed.
    second = Session(tmp_path)
    assert [order.order_id[2:4] for order in second.journal.inherited] == ["01", "02"]
    second.checkpoint()
    assert alive(tmp_path) == [1, 2]
    (order, _) = possibly_alive(tmp_path)
    assert (order.slug, order.token_id, order.condition_id) == (
        "btc-5m",
        INFO.down_token_id,
        INFO.condition_id,
    )
    second.journal.ended("0x" + "01" * 32)
    assert alive(tmp_path) == [2]
    second.checkpoint()
    assert alive(tmp_path) == [2]
    second.journal.close()
    assert [order.order_id[2:4] for order in Session(tmp_path).journal.inherited] == ["02"]


def test_what_the_engine_adopted_is_the_engines(tmp_path: Path) -> None:
    first = Session(tmp_path)
    first.place(1)
    second = Session(tmp_path)
    second.place(1)  # the same order, in the registry of the new session
    second.result(1, OrderStatus.SENT)
    second.checkpoint(adopted={the_id(1)})
    assert alive(tmp_path) == [1]
    second.result(1, OrderStatus.CANCELED)
    second.checkpoint(adopted={the_id(1)})
    assert alive(tmp_path) == []


def test_files_with_living_orders_are_kept_and_others_go(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.place(1)
    session.result(1, OrderStatus.SENT)
    for _ in range(5):
        for stream in (session.journal.inputs, session.journal.intents):
            for _ in range(1024):
                assert stream.append(JournalKind.NOTE, b"x")
        session.journal.tend()
        assert session.journal.needs_checkpoint
        session.checkpoint()
        assert not session.journal.needs_checkpoint
    session.journal.tend()
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert "intents-00000001.journal" in kept
    assert "intents-00000002.journal" not in kept
    assert "inputs-00000001.journal" not in kept
    assert alive(tmp_path) == [1]
    (order,) = possibly_alive(tmp_path)
    assert order.slug == "btc-5m"


def test_no_input_is_removed_before_a_checkpoint(tmp_path: Path) -> None:
    session = Session(tmp_path)
    for _ in range(5):
        for _ in range(1024):
            session.journal.inputs.append(JournalKind.NOTE, b"x")
        session.journal.tend()
    assert len(list(read_stream(tmp_path, "inputs"))) == 7


def test_living_orders_are_read_past_a_file_that_is_no_journal(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.place(1)
    (tmp_path / "intents-00000000.journal").write_bytes(b"")
    (tmp_path / "inputs-00000000.journal").write_bytes(bytes(1000))
    assert alive(tmp_path) == [1]
