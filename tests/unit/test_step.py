"""The engine's step: what leads to commands, what forbids them, and why."""

from __future__ import annotations

import numpy as np
import pytest

from invmm.engine import Engine
from invmm.replay.tape import MarketInfo
from invmm.settings import Settings
from invmm.types import (
    COMMAND_DTYPE,
    EVENT_DTYPE,
    CommandFlag,
    CommandKind,
    EventFlag,
    EventKind,
    Mode,
    OrderStatus,
    OrderType,
    Outcome,
    Reason,
    Side,
)
from tests.reference import wire

NS, MS = 1_000_000_000, 1_000_000
START_S = 1_700_000_000
BIDS, ASKS = {4700: 300, 4800: 200, 4900: 100}, {5100: 100, 5200: 200, 5300: 300}


class Desk:
    """An engine with one market, driven by hand. Times are in ms after the window's start. The policy is
    `inventory_mm` unless the text names one: it quotes whatever the book shows.
    """

    def __init__(self, text: str = "") -> None:
        settings = Settings.parse(text)
        self.engine = Engine(settings, policy=None if "policy = " in text else "inventory_mm")
        info = MarketInfo("m", wire.MARKET, wire.UP, wire.DOWN, START_S, START_S + 300)
        self.market = self.engine.add_market(info)
        self.sequence = 0

    def event(self, kind: EventKind, at_ms: float, frame: bytes = b"", **fields: object) -> np.ndarray:
        record = np.zeros(1, dtype=EVENT_DTYPE)
        self.sequence += 1
        record["kind"], record["sequence"], record["length"] = kind, self.sequence, len(frame)
        now_ns = START_S * NS + round(at_ms * MS)
        record["time_ns"] = now_ns
        for name, value in fields.items():
            record[name] = value
        return self.engine.step(record, now_ns, frame).copy()

    def frame(self, data: bytes, at_ms: float, *, last: bool = True) -> np.ndarray:
        commands = self.event(EventKind.FRAME, at_ms, data)
        assert not len(commands)
        return self.event(EventKind.BUFFER_END, at_ms) if last else commands

    def open(self, at_ms: float = 0, bids: dict = BIDS, asks: dict = ASKS) -> np.ndarray:
        return self.frame(wire.snapshot(bids, asks, START_S * 1000 + round(at_ms)), at_ms)

    def answer(self, command: np.void, status: OrderStatus, at_ms: float, **fields: object) -> np.ndarray:
        about = {name: command[name] for name in ("key", "token", "side", "price_e4", "size_micro", "batch")}
        commands = self.event(EventKind.ORDER_RESULT, at_ms, status=status, **{**about, **fields})
        return np.concatenate([commands, self.event(EventKind.BUFFER_END, at_ms)])

    def accept(self, commands: np.ndarray, at_ms: float) -> list[np.ndarray]:
        return [self.answer(c, OrderStatus.LIVE, at_ms) for c in commands if c["kind"] == CommandKind.PLACE]

    def fill(
        self, command: np.void, shares: float, at_ms: float, trade: int = 1, **fields: object
    ) -> np.ndarray:
        about = {name: command[name] for name in ("key", "token", "side", "price_e4")}
        status = fields.pop("status", OrderStatus.TRADE_MATCHED)
        commands = self.event(
            EventKind.USER_EVENT,
            at_ms,
            status=status,
            size_micro=round(shares * 1e6),
            trade=trade,
            **{**about, **fields},
        )
        return np.concatenate([commands, self.event(EventKind.BUFFER_END, at_ms)])

    @property
    def reasons(self) -> tuple[Reason, Reason]:
        up, down = self.market.step.no_quote_reasons
        return Reason(up), Reason(down)

    def live(self) -> list[dict]:
        return self.market.step.registry.orders_live()


def test_a_cancel_names_the_id_that_was_announced():
    """The executor forgets the keys of old orders; an order that rests for long must stay cancellable."""
    desk = Desk()
    placed = desk.open()
    for n, command in enumerate(placed):
        desk.answer(command, OrderStatus.SENT, 5, order_id=bytes([n + 1]) * 32)
    desk.accept(placed, 10)
    stop = desk.event(EventKind.MODE, 20, status=Mode.STOPPED)
    assert set(kinds(stop)) == {CommandKind.CANCEL}
    ids = {int(c["key"]): bytes([n + 1]) * 32 for n, c in enumerate(placed)}
    assert {int(c["key"]): c["order_id"].tobytes() for c in stop} == ids


def kinds(commands: np.ndarray) -> list[CommandKind]:
    return [CommandKind(int(k)) for k in commands["kind"]]


def test_snapshot_leads_to_post_only_bids_below_the_ask_of_both_tokens():
    commands = Desk().open()
    assert set(kinds(commands)) == {CommandKind.PLACE}
    assert {int(t) for t in commands["token"]} == {Outcome.UP, Outcome.DOWN}
    for command in commands:
        assert command["side"] == Side.BUY
        assert command["flags"] & CommandFlag.POST_ONLY
        assert command["price_e4"] < 5100
        assert command["order_type"] == OrderType.GTD
        assert command["expiration_s"] == START_S + 184
    assert (
        commands["price_e4"][commands["token"] == 0].max()
        + commands["price_e4"][commands["token"] == 1].max()
        < 10000
    )


def test_commands_are_numbered_without_gaps_and_batches_end_with_a_flag():
    commands = Desk().open()
    assert commands["sequence"].tolist() == list(range(1, len(commands) + 1))
    assert len(set(commands["key"].tolist())) == len(commands)
    assert len(set(commands["salt"].tolist())) == len(commands)
    assert (commands["salt"] < 2**53).all()
    last = (commands["flags"] & CommandFlag.LAST) != 0
    assert last.tolist() == [False] * (len(commands) - 1) + [True]


def test_same_events_give_the_same_bytes():
    def run() -> bytes:
        desk = Desk()
        first = desk.open()
        desk.accept(first, 10)
        return (
            first.tobytes()
            + desk.frame(wire.change("SELL", 5000, 50, 4900, 5000, START_S * 1000 + 20), 20).tobytes()
        )

    assert run() == run()


def test_deep_levels_do_not_trigger_a_solve():
    desk = Desk()
    desk.accept(desk.open(), 10)
    solves = desk.market.step.stats()["solves"]
    assert not len(desk.frame(wire.change("BUY", 4500, 777, 4900, 5100, START_S * 1000 + 20), 20))
    stats = desk.market.step.stats()
    assert (stats["solves"], stats["suppressed"]) == (solves, 1)


def test_frames_of_one_buffer_lead_to_one_solve():
    desk = Desk()
    desk.accept(desk.open(), 10)
    solves = desk.market.step.stats()["solves"]
    ms = START_S * 1000 + 20
    desk.frame(wire.change("SELL", 5000, 50, 4900, 5000, ms), 20, last=False)
    desk.frame(wire.change("SELL", 5000, 60, 4900, 5000, ms + 1), 20, last=False)
    desk.frame(wire.change("SELL", 5000, 70, 4900, 5000, ms + 2), 20)
    assert desk.market.step.stats()["solves"] == solves + 1


def test_unchanged_target_sends_nothing():
    desk = Desk()
    desk.accept(desk.open(), 10)
    for at in range(20, 2000, 100):
        assert not len(desk.event(EventKind.TIMER, at))


def test_moved_ask_replaces_quotes_that_no_longer_fit():
    desk = Desk()
    placed = desk.open()
    desk.accept(placed, 10)
    commands = desk.frame(wire.snapshot({3900: 100}, {4100: 100}, START_S * 1000 + 20), 20)
    assert CommandKind.CANCEL in kinds(commands)
    cancelled = {int(c["key"]) for c in commands if c["kind"] == CommandKind.CANCEL}
    assert cancelled <= {int(k) for k in placed["key"]}


def test_silence_pulls_every_quote_and_says_stale():
    desk = Desk()
    placed = desk.open()
    desk.accept(placed, 10)
    assert not len(desk.event(EventKind.TIMER, 2_900))
    commands = desk.event(EventKind.TIMER, 3_100)
    assert kinds(commands) == [CommandKind.CANCEL] * len(placed)
    assert desk.reasons == (Reason.STALE, Reason.STALE)


def test_data_after_silence_lets_quoting_resume():
    desk = Desk()
    for command in desk.open():
        desk.answer(command, OrderStatus.LIVE, 10)
    for command in desk.event(EventKind.TIMER, 3_100):
        desk.answer(command, OrderStatus.CANCELED, 3_110)
    commands = desk.frame(wire.change("SELL", 5100, 90, 4900, 5100, START_S * 1000 + 3_200), 3_200)
    assert CommandKind.PLACE in kinds(commands)
    assert desk.reasons == (Reason.NONE, Reason.NONE)


def test_disconnect_pulls_every_quote_until_fresh_snapshots():
    desk = Desk()
    placed = desk.open()
    desk.accept(placed, 10)
    version = desk.market.step.version
    commands = desk.event(EventKind.BUFFER_END, 20, flags=EventFlag.DISCONNECTED)
    assert kinds(commands) == [CommandKind.CANCEL] * len(placed)
    assert desk.reasons == (Reason.DISCONNECTED, Reason.DISCONNECTED)
    assert desk.market.step.version > version
    for command in commands:
        desk.answer(command, OrderStatus.CANCELED, 30)
    assert not len(desk.frame(wire.change("SELL", 5100, 90, 4900, 5100, START_S * 1000 + 40), 40))
    desk.open(50)
    assert desk.reasons == (Reason.UNCONFIRMED, Reason.UNCONFIRMED)
    told = desk.frame(wire.change("SELL", 5100, 90, 4900, 5100, START_S * 1000 + 60), 60)
    assert CommandKind.PLACE in kinds(told)


def test_best_that_differs_from_the_message_pulls_quotes():
    desk = Desk()
    desk.accept(desk.open(), 10)
    ms = START_S * 1000 + 20
    desk.frame(wire.change("BUY", 4500, 70, 4800, 5100, ms), 20)  # it says the best bid is 4800; ours is 4900
    commands = desk.frame(wire.change("BUY", 4500, 71, 4900, 5100, ms + 10), 30)
    commands = np.concatenate([commands, desk.event(EventKind.TIMER, 40)])
    assert CommandKind.CANCEL in kinds(commands)
    assert Reason.BEST_MISMATCH in desk.reasons


def test_tick_change_starts_a_new_epoch_that_waits_for_snapshots():
    desk = Desk()
    desk.accept(desk.open(), 10)
    ms = START_S * 1000 + 20
    commands = desk.frame(wire.tick_change(wire.UP, "0.01", "0.001", ms), 20)
    assert CommandKind.CANCEL in kinds(commands)
    assert desk.reasons == (Reason.EPOCH_CHANGED, Reason.EPOCH_CHANGED)


def test_market_end_pulls_quotes_by_the_clock():
    desk = Desk()
    placed = desk.open(284_000)
    desk.accept(placed, 284_010)
    commands = desk.event(EventKind.TIMER, 285_000)
    assert kinds(commands) == [CommandKind.CANCEL] * len(placed)
    assert desk.reasons == (Reason.MARKET_ENDING, Reason.MARKET_ENDING)


def test_stopped_mode_cancels_everything_and_places_nothing():
    desk = Desk()
    placed = desk.open()
    desk.accept(placed, 10)
    commands = desk.event(EventKind.MODE, 20, status=Mode.STOPPED)
    assert kinds(commands) == [CommandKind.CANCEL] * len(placed)
    assert not len(desk.frame(wire.change("SELL", 5000, 50, 4900, 5000, START_S * 1000 + 30), 30))


def test_cancel_waits_for_the_answer_of_its_order():
    desk = Desk()
    placed = desk.open()
    assert not len(desk.event(EventKind.MODE, 1, status=Mode.STOPPED))
    commands = desk.answer(placed[0], OrderStatus.LIVE, 10)
    assert kinds(commands) == [CommandKind.CANCEL]
    assert commands["key"][0] == placed["key"][0]


def test_order_without_answer_counts_as_alive_and_is_cancelled_until_proof():
    desk = Desk()
    placed = desk.open()
    desk.answer(placed[0], OrderStatus.UNKNOWN, 1_500)

    def cancelled(at_ms: float) -> bool:
        commands = desk.event(EventKind.TIMER, at_ms)
        return int(placed["key"][0]) in {int(c["key"]) for c in commands if c["kind"] == CommandKind.CANCEL}

    assert not cancelled(1_600)  # the same bytes may still go out again
    assert cancelled(2_050)
    assert placed["key"][0] in [order["key"] for order in desk.live()]
    desk.answer(placed[0], OrderStatus.NOT_CANCELED, 2_060)
    assert placed["key"][0] in [order["key"] for order in desk.live()]
    assert [at for at in range(2_100, 20_000, 50) if cancelled(at)] == [
        *range(2_550, 7_050, 500),
        11_550,
        16_550,
    ]
    desk.answer(placed[0], OrderStatus.CANCELED, 20_000)
    assert placed["key"][0] not in [order["key"] for order in desk.live()]


def test_an_unanswered_order_that_no_query_knows_is_sent_once_more_while_it_is_young_and_wanted():
    desk = Desk()
    placed = desk.open()
    desk.answer(placed[0], OrderStatus.UNKNOWN, 500)
    assert kinds(desk.answer(placed[0], OrderStatus.NOT_FOUND, 600)) == [CommandKind.RESEND]
    assert not len(desk.answer(placed[0], OrderStatus.NOT_FOUND, 700)), "once"
    desk.answer(placed[0], OrderStatus.REJECTED, 800)
    assert placed["key"][0] in [order["key"] for order in desk.live()], "one of two copies was refused"
    desk.answer(placed[0], OrderStatus.COPY_REFUSED, 900)
    assert placed["key"][0] not in [order["key"] for order in desk.live()], "both were"


@pytest.mark.parametrize("why", ["too old", "landed", "not wanted", "paused"])
def test_the_same_bytes_do_not_go_out_again_when(why):
    desk = Desk()
    placed = desk.open()
    at = 2_001 if why == "too old" else 600
    if why == "landed":
        desk.answer(placed[0], OrderStatus.LIVE, 400)
    desk.answer(placed[0], OrderStatus.UNKNOWN, 500)
    if why == "not wanted":
        desk.frame(wire.snapshot({3900: 100}, {4100: 100}, START_S * 1000 + 550), 550)
    if why == "paused":
        desk.event(EventKind.MODE, 550, status=Mode.PAUSED)
    assert CommandKind.RESEND not in kinds(desk.answer(placed[0], OrderStatus.NOT_FOUND, at))


@pytest.mark.parametrize("order_type", [OrderType.GTC, OrderType.FOK, OrderType.FAK])
def test_what_takes_is_not_sent_again_and_its_late_refusal_proves_its_end(order_type):
    takes = order_type is not OrderType.GTC
    desk, sent = Desk(), Desk().open()[:1].copy()
    sent["key"], sent["order_type"], sent["expiration_s"] = sent["key"] + 100, order_type, 0
    registry = desk.market.step.registry
    assert registry.add(sent)
    desk.answer(sent[0], OrderStatus.SENT, 0)
    desk.open()
    desk.answer(sent[0], OrderStatus.UNKNOWN, 500)
    again = CommandKind.RESEND in kinds(desk.answer(sent[0], OrderStatus.NOT_FOUND, 600))
    assert again is not takes
    desk.answer(sent[0], OrderStatus.REJECTED, 2_000)
    assert registry.order(int(sent["key"][0]))["state"] == ("dead" if takes else "unknown")


def test_a_settlement_that_is_both_confirmed_and_failed_closes_trading():
    desk = Desk()
    placed = desk.open()
    desk.accept(placed, 10)
    desk.fill(placed[0], 5, 20, status=OrderStatus.TRADE_CONFIRMED)
    commands = desk.fill(placed[0], 5, 30, status=OrderStatus.TRADE_FAILED)
    assert CommandKind.PLACE not in kinds(commands)
    assert CommandKind.CANCEL in kinds(commands)
    assert desk.reasons == (Reason.CONFLICT, Reason.CONFLICT)


def test_cancel_without_proof_is_repeated():
    desk = Desk()
    desk.accept(desk.open(), 10)
    first = desk.event(EventKind.MODE, 20, status=Mode.STOPPED)
    assert not len(desk.event(EventKind.TIMER, 500))
    assert sorted(desk.event(EventKind.TIMER, 1_100)["key"].tolist()) == sorted(first["key"].tolist())


def test_fill_moves_the_position_once_however_often_it_is_told():
    desk = Desk()
    placed = desk.open()
    desk.accept(placed, 10)
    up = next(c for c in placed if c["token"] == Outcome.UP)
    desk.fill(up, 40, 20)
    desk.fill(up, 40, 21)
    desk.fill(up, 40, 22, status=OrderStatus.TRADE_CONFIRMED)
    assert desk.market.step.registry.position() == (40_000_000, 0)
    assert desk.market.step.registry.confirmed() == (40_000_000, 0)
    assert desk.market.ledger.held_micro(Outcome.UP) == 40_000_000
    desk.fill(up, 10, 23, trade=2)
    desk.fill(up, 10, 24, trade=2, status=OrderStatus.TRADE_FAILED)
    assert desk.market.step.registry.position() == (40_000_000, 0)


def test_fill_that_comes_after_the_cancellation_still_counts():
    desk = Desk()
    placed = desk.open()
    desk.accept(placed, 10)
    desk.event(EventKind.MODE, 20, status=Mode.STOPPED)
    desk.answer(placed[0], OrderStatus.CANCELED, 30)
    desk.fill(placed[0], 25, 40)
    assert sum(desk.market.step.registry.position()) == 25_000_000


def test_refused_order_is_gone_and_its_token_pauses():
    desk = Desk()
    placed = desk.open()
    again = desk.answer(placed[0], OrderStatus.REJECTED, 10, reason=Reason.VENUE_POST_ONLY)
    assert not [c for c in again if c["token"] == placed["token"][0] and c["kind"] == CommandKind.PLACE]
    assert desk.market.step.stats()["reasons"][Reason.VENUE_POST_ONLY] == 1
    later = desk.event(EventKind.TIMER, 200)
    assert [c for c in later if c["kind"] == CommandKind.PLACE]


def test_expiring_quote_is_replaced_before_the_venue_ends_it():
    desk = Desk("[engine]\nbook_max_age_ms = 600000\n")
    placed = desk.open()
    desk.accept(placed, 10)
    assert not len(desk.event(EventKind.TIMER, 103_000))  # expires at 184 - 60 = 124 s, refreshed 20 s before
    fresh = desk.event(EventKind.TIMER, 104_100)
    assert kinds(fresh) == [CommandKind.PLACE] * len(placed)
    assert sorted(fresh["price_e4"].tolist()) == sorted(placed["price_e4"].tolist())
    assert [int(c["key"][0]) for c in desk.accept(fresh, 104_110)] == placed["key"].tolist()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[risk]\nmax_cash_dollars = 60\n", Reason.CASH),
        ("[risk]\nmax_open_orders = 1\n", Reason.ORDER_LIMIT),
        ("[risk]\nmax_order_shares = 50\n", Reason.ORDER_LIMIT),
        ("[risk]\norders_per_second = 1\norders_burst = 1\n", Reason.RATE_LIMIT),
    ],
)
def test_limits_refuse_with_their_reason(text, reason):
    desk = Desk(text)
    commands = desk.open()
    assert len(commands) < 6
    assert desk.market.step.stats()["reasons"][reason] > 0
    cash = (commands["price_e4"].astype(np.int64) * commands["size_micro"]).sum() / 1e10
    assert cash <= desk.engine.settings.risk.max_cash_dollars


def test_own_bids_never_sum_to_a_dollar_in_any_state():
    desk = Desk()
    placed = desk.open(bids={4900: 100}, asks={5100: 100})
    desk.accept(placed, 10)
    # The market jumps: Down gets cheap, the old Down bids are still possibly alive while Up bids move up.
    commands = desk.frame(wire.snapshot({7900: 100}, {8100: 100}, START_S * 1000 + 20), 20)
    alive = [(int(o["token"]), int(o["price_e4"])) for o in desk.live()]
    highest = {token: max((p for t, p in alive if t == token), default=0) for token in (0, 1)}
    assert highest[0] + highest[1] < 10000
    assert CommandKind.CANCEL in kinds(commands)


def test_settlement_ends_quoting_and_tells_the_ledger():
    desk = Desk()
    desk.accept(desk.open(), 10)
    commands = desk.event(EventKind.SETTLEMENT, 20, token=Outcome.DOWN)
    assert set(kinds(commands)) == {CommandKind.CANCEL}
    assert desk.market.winner == Outcome.DOWN
    assert desk.market.step.settled_outcome == Outcome.DOWN
    assert desk.reasons == (Reason.SETTLED, Reason.SETTLED)


def test_garbage_changes_nothing_and_is_counted():
    desk = Desk()
    desk.accept(desk.open(), 10)
    before = desk.market.step.books.up.depth(Side.BUY, 99).tolist()
    for data in (b"", b"{", b"not json", b'{"event_type":"price_change"}', b"\xff\xfe"):
        assert not len(desk.frame(data, 20))
    assert desk.market.step.books.up.depth(Side.BUY, 99).tolist() == before
    assert sum(desk.market.step.books.stats["decode_failures"].values()) >= 3


def test_payload_outside_its_buffer_is_refused():
    desk = Desk()
    record = np.zeros(1, dtype=EVENT_DTYPE)
    record["kind"], record["offset"], record["length"] = EventKind.FRAME, 5, 10
    desk.engine.step(record, START_S * NS, b"0123456789")
    assert desk.market.step.stats()["frame_errors"] == 1


def test_step_names_wrong_records_and_unknown_markets():
    desk = Desk()
    with pytest.raises(TypeError, match="EVENT_DTYPE"):
        desk.engine.step(np.zeros(1, dtype=COMMAND_DTYPE), 0)
    record = np.zeros(1, dtype=EVENT_DTYPE)
    record["market"] = 7
    with pytest.raises(ValueError, match="market 7"):
        desk.engine.step(record, 0)


def test_foreign_news_is_counted_and_changes_nothing():
    desk = Desk()
    desk.open()
    desk.event(
        EventKind.USER_EVENT, 10, status=OrderStatus.TRADE_MATCHED, key=999, trade=5, size_micro=1_000_000
    )
    assert desk.market.step.registry.position() == (0, 0)
    assert desk.market.step.registry.counts()["foreign"] == 1
