"""Orders signed ahead against their plain twin: random quotes, takes, pauses and changes of the rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from invmm._ext.ahead import SignedAhead
from invmm._ext.sign import OrderSigner
from invmm._ext.template import OrderTemplate
from invmm.types import COMMAND_DTYPE, CommandKind, OrderType
from tests.reference.ahead import AheadTwin

SIGNER = OrderSigner("0x" + "33" * 32)
PLACES = st.integers(0, 2)
SIDES = st.integers(0, 1)
SIZES = st.sampled_from([5_000_000, 100_000_000])
TICKS = st.sampled_from([100, 50, 10])
TYPES = st.sampled_from(list(OrderType))
BEGIN_MS = 1_790_000_000_000
MAX_AGE_MS = 1_000


def record(side: int, price_e4: int, size_micro: int, kind: OrderType, now_ms: int) -> Any:
    command = np.zeros(1, COMMAND_DTYPE)
    command["kind"], command["side"], command["order_type"] = CommandKind.PLACE, side, kind
    command["price_e4"], command["size_micro"], command["salt"] = price_e4, size_micro, 1
    if kind == OrderType.GTD:
        command["expiration_s"] = now_ms // 1000 + 200
    return command.view("u1")


class Ahead(RuleBasedStateMachine):
    """Every rule does the same to both; they must hold and give the same."""

    @initialize(limit=st.integers(1, 70))
    def begin(self, limit: int) -> None:
        self.ours = SignedAhead(limit, MAX_AGE_MS, 7)
        self.twin = AheadTwin(limit, MAX_AGE_MS)
        self.limit = limit
        self.now_ms = BEGIN_MS
        self.templates: list[OrderTemplate | None] = [self.fresh(100), self.fresh(100), None]
        self.ids: set[bytes] = set()

    def fresh(self, tick_e4: int) -> OrderTemplate:
        return OrderTemplate(SIGNER, "123456789", "v2", "key", tick_e4=tick_e4)

    @rule(place=PLACES, side=SIDES, ticks=st.integers(1, 99), size=SIZES, kind=TYPES)
    def quote(self, place: int, side: int, ticks: int, size: int, kind: OrderType) -> None:
        price_e4 = ticks * 100
        command = record(side, price_e4, size, kind, self.now_ms)
        self.ours.note(place, command, self.now_ms)
        self.twin.note(place, side, size, price_e4, kind < OrderType.FOK, self.now_ms)

    @rule(times=st.integers(1, 40))
    def idle(self, times: int) -> None:
        known = {i: (t.serial, t.tick_e4) for i, t in enumerate(self.templates) if t is not None}
        for _ in range(times):
            did = self.ours.fill(self.templates, self.now_ms)
            assert did == self.twin.fill(known, self.now_ms)
            if not did:
                break

    @rule(place=PLACES, side=SIDES, ticks=st.integers(1, 99), size=SIZES, kind=TYPES)
    def take(self, place: int, side: int, ticks: int, size: int, kind: OrderType) -> None:
        template = self.templates[place]
        if template is None:
            return
        price_e4 = ticks * 100
        given = self.ours.take(place, template, record(side, price_e4, size, kind, self.now_ms), self.now_ms)
        wanted = self.twin.take(place, side, size, price_e4, template.serial, template.tick_e4, self.now_ms)
        assert (given is None) == (wanted is None)
        if given is None or wanted is None:
            return
        order_id, body = given
        assert order_id not in self.ids, "given twice"
        self.ids.add(order_id)
        entry = orjson.loads(body)
        assert int(entry["order"]["timestamp"]) == wanted.made_ms
        assert entry["orderType"] == kind.name

    @rule(ticks=st.integers(-8, 8), which=st.integers(0, 63))
    def take_what_is_near(self, ticks: int, which: int) -> None:
        held = self.ours.held()
        if held:
            place, side, price_e4, size, _ = held[which % len(held)]
            number = price_e4 // 100 + ticks
            if price_e4 % 100 == 0 and 0 < number < 100:
                self.take(place, side, number, size, OrderType.GTC)

    @rule(ms=st.sampled_from([0, 1, 700, 760, 1_001, 70_000, -5]))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms

    @rule(place=PLACES, tick_e4=TICKS)
    def tick_changes(self, place: int, tick_e4: int) -> None:
        template = self.templates[place]
        if template is not None:
            template.tick_e4 = tick_e4

    @rule(place=PLACES, gone=st.booleans(), tick_e4=TICKS)
    def template_is_replaced(self, place: int, gone: bool, tick_e4: int) -> None:
        self.templates[place] = None if gone else self.fresh(tick_e4)

    @rule()
    def everything_is_dropped(self) -> None:
        self.ours.drop()
        self.twin.drop()
        assert self.ours.held() == []

    @invariant()
    def both_hold_the_same_and_not_too_many(self) -> None:
        if hasattr(self, "ours"):
            held = self.ours.held()
            assert sorted(held) == self.twin.held()
            assert len(held) <= self.limit


TestAhead = Ahead.TestCase
TestAhead.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
