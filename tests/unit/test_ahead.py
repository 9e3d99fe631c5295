"""Orders signed ahead: equal to orders signed on demand, used once, gone with the rules they rest on."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import orjson
import pytest

from invmm._ext.ahead import SignedAhead
from invmm._ext.caps import SignerCaps
from invmm._ext.l2 import L2Signer
from invmm._ext.ring import CommandRing, ResultRing
from invmm._ext.sign import OrderSigner
from invmm._ext.template import OrderTemplate
from invmm._ext.words import SharedWords
from invmm.clock import LiveClock
from invmm.execution.intake import Intake
from invmm.types import (
    COMMAND_DTYPE,
    EVENT_DTYPE,
    CommandFlag,
    CommandKind,
    Mode,
    OrderStatus,
    OrderType,
    Reason,
)

KEY = "0x" + "55" * 32
WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
TOKENS = ("123456789", "987654321")
NOW_MS = 1_790_767_298_635
SHARES = 10_000_000


def a_signer(kind: int = 0, caps: SignerCaps | None = None) -> OrderSigner:
    signer = OrderSigner(KEY, kind, WALLET if kind else None)
    if caps is not None:
        signer.caps = caps
    return signer


def a_command(**fields: Any) -> Any:
    command = np.zeros(1, COMMAND_DTYPE)
    given = {"kind": CommandKind.PLACE, "price_e4": 4800, "size_micro": SHARES, "salt": 1} | fields
    for name, value in given.items():
        command[name] = value
    return command.view("u1")


def filled(ahead: SignedAhead, template: OrderTemplate, now_ms: int = NOW_MS, **fields: Any) -> int:
    """A quote is noted and everything around it signed; how many orders."""
    ahead.note(0, a_command(**fields), now_ms)
    count = 0
    while ahead.fill([template], now_ms):
        count += 1
    return count


@pytest.mark.parametrize("kind", [0, 3])
@pytest.mark.parametrize("exchange", ["v2", "v2-neg-risk", "v3"])
@pytest.mark.parametrize("side", [0, 1])
def test_a_prepared_order_is_the_order_that_would_have_been_signed(
    kind: int, exchange: str, side: int
) -> None:
    signer = a_signer(kind)
    template = OrderTemplate(signer, TOKENS[0], exchange, "owner")
    ahead = SignedAhead(16, 1_000, 5)
    assert filled(ahead, template, side=side) == 16
    for cents in range(40, 56):
        wanted = a_command(
            side=side,
            price_e4=100 * cents,
            order_type=OrderType.GTD,
            expiration_s=NOW_MS // 1000 + 200,
            flags=CommandFlag.POST_ONLY,
        )
        given = ahead.take(0, template, wanted, NOW_MS + 900)
        assert given is not None
        order_id, body = given
        order = orjson.loads(body)["order"]
        assert int(order["timestamp"]) == NOW_MS
        again = signer.sign(
            TOKENS[0],
            ["BUY", "SELL"][side],
            100 * cents,
            SHARES,
            tick_e4=100,
            order_type="GTD",
            expiration=NOW_MS // 1000 + 200,
            post_only=True,
            exchange=exchange,
            timestamp_ms=NOW_MS,
            salt=int(order["salt"]),
        )
        assert body == again.body("owner")
        assert "0x" + order_id.hex() == again.order_id
    assert ahead.counts() == {"signed": 16, "used": 16, "missed": 0, "dropped": 0}


def test_an_order_is_given_once() -> None:
    template = OrderTemplate(a_signer(), TOKENS[0])
    ahead = SignedAhead(16, 1_000, 5)
    filled(ahead, template)
    first = ahead.take(0, template, a_command(), NOW_MS)
    assert first is not None
    assert ahead.take(0, template, a_command(), NOW_MS) is None
    assert ahead.fill([template], NOW_MS)
    second = ahead.take(0, template, a_command(), NOW_MS)
    assert second is not None
    assert first[0] != second[0]


def test_prices_are_prepared_from_the_centre_outwards_and_inside_the_market() -> None:
    template = OrderTemplate(a_signer(), TOKENS[0])
    ahead = SignedAhead(16, 1_000, 5)
    ahead.note(0, a_command(price_e4=300), NOW_MS)
    seen = []
    while ahead.fill([template], NOW_MS):
        seen += [held[2] for held in ahead.held() if held[2] not in seen]
    assert seen == [300, 200, 400, 100, 500, 600, 700, 800, 900, 1000]


def test_the_centre_of_a_ladder_is_the_middle_of_what_went_together() -> None:
    template = OrderTemplate(a_signer(), TOKENS[0])
    ahead = SignedAhead(16, 1_000, 5)
    filled(ahead, template, now_ms=NOW_MS - 1, price_e4=9000)
    for price_e4 in range(4800, 4000, -100):
        ahead.note(0, a_command(price_e4=price_e4), NOW_MS)
    while ahead.fill([template], NOW_MS):
        pass
    assert sorted(held[2] for held in ahead.held()) == list(range(3600, 5200, 100))


def test_takes_open_no_lane_but_are_served_where_their_amounts_are_those_of_a_quote() -> None:
    template = OrderTemplate(a_signer(), TOKENS[0])
    ahead = SignedAhead(16, 1_000, 5)
    assert filled(ahead, template, order_type=OrderType.FOK) == 0
    filled(ahead, template)
    assert ahead.take(0, template, a_command(order_type=OrderType.FOK), NOW_MS) is not None
    # 10.01 shares at 0.47 cost 4.7047: a quote states just that, a FOK whole cents only.
    filled(ahead, template, size_micro=10_010_000, price_e4=4700)
    odd = a_command(order_type=OrderType.FAK, size_micro=10_010_000, price_e4=4700)
    assert ahead.take(0, template, odd, NOW_MS) is None
    assert ahead.take(0, template, a_command(size_micro=10_010_000, price_e4=4700), NOW_MS) is not None


@pytest.mark.parametrize("age_ms", [-1, 1_001])
def test_an_order_too_old_or_of_the_future_is_not_used(age_ms: int) -> None:
    template = OrderTemplate(a_signer(), TOKENS[0])
    ahead = SignedAhead(16, 1_000, 5)
    filled(ahead, template)
    assert ahead.take(0, template, a_command(), NOW_MS + age_ms) is None


def test_an_order_that_gets_old_is_signed_again_before_it_is_too_old() -> None:
    template = OrderTemplate(a_signer(), TOKENS[0])
    ahead = SignedAhead(1, 1_000, 5)
    filled(ahead, template)
    assert not ahead.fill([template], NOW_MS + 750)
    assert ahead.fill([template], NOW_MS + 751)
    assert [held[4] for held in ahead.held()] == [NOW_MS + 751]
    assert ahead.counts()["dropped"] == 1


def test_a_lane_without_quotes_for_a_minute_is_left_to_age() -> None:
    template = OrderTemplate(a_signer(), TOKENS[0])
    ahead = SignedAhead(16, 1_000, 5)
    filled(ahead, template)
    assert ahead.fill([template], NOW_MS + 59_999)
    assert not ahead.fill([template], NOW_MS + 60_000)


def test_another_tick_another_exchange_or_a_new_template_end_what_was_prepared() -> None:
    signer = a_signer()
    for change in ("tick", "exchange", "template"):
        template = OrderTemplate(signer, TOKENS[0])
        ahead = SignedAhead(16, 1_000, 5)
        filled(ahead, template)
        if change == "tick":
            template.tick_e4 = 10
        elif change == "exchange":
            template = OrderTemplate(signer, TOKENS[0], "v3")
        else:
            template = OrderTemplate(signer, TOKENS[0])
        assert ahead.take(0, template, a_command(), NOW_MS) is None, change
        assert ahead.fill([template], NOW_MS)
        assert ahead.take(0, template, a_command(), NOW_MS) is not None, change


def test_drop_forgets_everything() -> None:
    template = OrderTemplate(a_signer(), TOKENS[0])
    ahead = SignedAhead(32, 1_000, 5)
    filled(ahead, template)
    ahead.drop()
    assert ahead.held() == []
    assert ahead.take(0, template, a_command(), NOW_MS) is None
    assert not ahead.fill([template], NOW_MS)


def test_it_holds_no_more_than_its_limit_and_the_oldest_lane_gives_way() -> None:
    template = OrderTemplate(a_signer(), TOKENS[0])
    ahead = SignedAhead(40, 1_000, 5)  # two lanes of sixteen
    for shares in (5, 6, 7):
        filled(ahead, template, size_micro=shares * 1_000_000)
    assert len(ahead.held()) == 32
    assert {held[3] for held in ahead.held()} == {6_000_000, 7_000_000}
    assert ahead.counts()["dropped"] == 16


def test_preparing_takes_nothing_from_the_rate_and_using_does() -> None:
    caps = SignerCaps([TOKENS[0]], orders_per_second=1, burst=2)
    template = OrderTemplate(a_signer(caps=caps), TOKENS[0])
    ahead = SignedAhead(16, 1_000, 5)
    assert filled(ahead, template) == 16
    used = [ahead.take(0, template, a_command(price_e4=price), NOW_MS) for price in (4700, 4800, 4900)]
    assert [given is not None for given in used] == [True, True, False]
    assert (caps.counts["ahead"], caps.counts["released"], caps.counts["refused_rate"]) == (16, 2, 1)


def test_nothing_is_prepared_or_used_that_the_caps_forbid_by_then() -> None:
    caps = SignerCaps([TOKENS[0]], max_price_e4=4800)
    template = OrderTemplate(a_signer(caps=caps), TOKENS[0])
    ahead = SignedAhead(16, 1_000, 5)
    assert filled(ahead, template) == 9  # 0.40 to 0.48
    caps.forbid(TOKENS[0])
    assert ahead.take(0, template, a_command(), NOW_MS) is None


def test_a_closed_signer_releases_nothing() -> None:
    signer = a_signer()
    template = OrderTemplate(signer, TOKENS[0])
    ahead = SignedAhead(16, 1_000, 5)
    filled(ahead, template)
    signer.close()
    assert ahead.take(0, template, a_command(), NOW_MS) is None
    assert not ahead.fill([template], NOW_MS + 900)


def test_bad_parameters_are_named_and_signatures_are_not_pickled() -> None:
    for arguments, word in (((0, 1, 0), "limit"), ((4097, 1, 0), "limit"), ((1, 0, 0), "max_age_ms")):
        with pytest.raises(ValueError, match=word):
            SignedAhead(*arguments)
    with pytest.raises(ValueError, match="seed"):
        SignedAhead(1, 1, 1 << 64)
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(SignedAhead(1, 1, 0))
    ahead = SignedAhead(1, 1_000, 0)
    ahead.note(0, a_command(), NOW_MS)
    with pytest.raises(IndexError, match="place 0"):
        ahead.fill([], NOW_MS)


class Desk:
    """An intake that signs ahead, with its rings and no sockets."""

    def __init__(self, max_age_ms: int = 60_000) -> None:
        self.ring, self.results, self.words = CommandRing(256), ResultRing(1024), SharedWords(2)
        self.signer = a_signer()
        l2 = L2Signer("key", "c2VjcmV0", "pass", self.signer.address)
        self.intake = Intake(self.ring, self.results, self.words, l2, "venue.test", LiveClock())
        self.ahead = self.intake.orders.ahead = SignedAhead(16, max_age_ms, 3)
        self.intake.set_template(0, 0, OrderTemplate(self.signer, TOKENS[0], "v2", "key"))
        self.keys = 0

    def place(self, *prices: int) -> list[dict[str, Any]]:
        """Orders at these prices in one batch; what the request says of each."""
        legs = np.zeros(len(prices), COMMAND_DTYPE)
        legs["kind"], legs["price_e4"], legs["size_micro"] = CommandKind.PLACE, prices, SHARES
        legs["batch"] = legs["key"] = legs["salt"] = self.keys + 1 + np.arange(len(prices))
        legs["batch"] = self.keys + 1
        legs["flags"][-1] = CommandFlag.LAST
        self.keys += len(prices)
        assert self.ring.push_many(legs) == len(prices)
        if self.intake.take(0, 0, -1, -2, -2) != CommandKind.PLACE:
            return []
        return list(orjson.loads(self.intake.request().partition(b"\r\n\r\n")[2]))

    def idle(self) -> None:
        assert self.intake.take(0, 30_000_000, -1, -2, -2) == 0

    def told(self) -> list[tuple[OrderStatus, Reason, bytes]]:
        out = np.zeros(64, EVENT_DTYPE)
        got = self.results.pop_into(out)
        return [(OrderStatus(r["status"]), Reason(r["reason"]), r["order_id"].tobytes()) for r in out[:got]]


def test_idle_time_is_used_and_the_next_quotes_are_announced_with_their_own_ids() -> None:
    desk = Desk()
    (first,) = desk.place(4800)
    assert first["order"]["salt"] == 1  # the command's: nothing was prepared yet
    desk.idle()
    assert len(desk.ahead.held()) == 16
    entries = desk.place(4900, 4700, 4800)
    assert desk.ahead.counts()["used"] == 3
    ids = [order_id for _, _, order_id in desk.told()]
    assert len(set(ids)) == 4
    for entry, order_id in zip(entries, ids[1:], strict=True):
        order = entry["order"]
        price_e4 = int(order["makerAmount"]) * 10_000 // int(order["takerAmount"])
        again = desk.signer.sign(
            TOKENS[0],
            "BUY",
            price_e4,
            SHARES,
            tick_e4=100,
            timestamp_ms=int(order["timestamp"]),
            salt=order["salt"],
        )
        assert (again.signature, again.order_id) == (order["signature"], "0x" + order_id.hex())
    assert [desk.intake.order_id(key) for key in (2, 3, 4)] == ids[1:]
    assert desk.intake.legs_copy()["salt"].tolist() == [entry["order"]["salt"] for entry in entries]


def test_a_prepared_order_that_is_used_is_replaced_when_there_is_time() -> None:
    desk = Desk()
    desk.place(4800)
    desk.idle()
    desk.place(4800)
    assert len(desk.ahead.held()) == 15
    desk.idle()
    assert len(desk.ahead.held()) == 16


@pytest.mark.parametrize("mode", [Mode.PAUSED, Mode.STOPPED])
def test_a_mode_that_is_not_running_drops_what_was_prepared(mode: Mode) -> None:
    desk = Desk()
    desk.place(4800)
    desk.idle()
    desk.words.mode = mode
    assert desk.place(4800) == []
    assert desk.told()[-1][:2] == (OrderStatus.REFUSED, Reason.MODE)
    desk.idle()
    assert desk.ahead.held() == []


def test_an_executor_that_ends_drops_what_was_prepared() -> None:
    desk = Desk()
    desk.place(4800)
    desk.idle()
    desk.intake.gate.stopping = True
    desk.idle()
    assert desk.ahead.held() == []


def test_a_replaced_template_is_let_go_and_its_orders_are_not_sent() -> None:
    desk = Desk()
    desk.place(4800)
    desk.idle()
    for exchange in ("v2-neg-risk", "v3"):
        desk.intake.set_template(0, 0, OrderTemplate(desk.signer, TOKENS[0], exchange, "key"))
    (entry,) = desk.place(4800)
    again = desk.signer.sign(
        TOKENS[0],
        "BUY",
        4800,
        SHARES,
        tick_e4=100,
        exchange="v3",
        timestamp_ms=int(entry["order"]["timestamp"]),
        salt=entry["order"]["salt"],
    )
    assert entry["order"]["signature"] == again.signature
    assert desk.ahead.counts()["used"] == 0
    desk.intake.set_template(0, 0, None)
    assert desk.place(4800) == []
    assert desk.told()[-1][:2] == (OrderStatus.REFUSED, Reason.VENUE_NOT_READY)
    desk.idle()
