"""The explorer's model of an order against the shipped registry: what the model believes on any walk through
it, the registry believes of the same evidence.
"""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np

from invmm._ext.registry import Registry
from invmm.sim.protocol import Around, Order, Rules
from invmm.types import COMMAND_DTYPE, EVENT_DTYPE, CommandKind, EventKind, OrderStatus, OrderType

SECOND = 1_000_000_000
KEY, LOT_MICRO, PRICE_E4 = 7, 5_000_000, 4_000
EXPIRATION_S = 10_000
HEARD = {
    "sends": OrderStatus.SENT,
    "refuses to send what nobody wants any more": OrderStatus.REFUSED,
    "has no answer in time": OrderStatus.UNKNOWN,
    "sends the same bytes again": OrderStatus.RESENT,
    "asks, and finds it open": OrderStatus.FOUND,
    "asks, and hears that it is matched": OrderStatus.MATCHED,
    "asks, and hears that it is cancelled": OrderStatus.CANCELED,
    "asks, and the venue does not know it": OrderStatus.NOT_FOUND,
    "is past its fence, and orders and trades are clean": OrderStatus.FENCED,
    "hears that it rests": OrderStatus.LIVE,
    "hears that it is refused": OrderStatus.REJECTED,
    "hears that its copy is refused": OrderStatus.COPY_REFUSED,
    "hears that an earlier copy landed": OrderStatus.DUPLICATED,
    "hears that it is cancelled": OrderStatus.CANCELED,
}
SILENT = ("prepares and journals", "cancels", "hears of its fill")


class Walk:
    """One order in the model and in a registry, told the same."""

    def __init__(self, seed: int, rules: Rules, taken: Counter[str]) -> None:
        self.taken = taken
        self.random, self.rules, self.order, self.registry = Random(seed), rules, Order(), Registry()
        self.at_s = 1
        self.steps: list[str] = []

    def tell(self, status: OrderStatus, **fields: int) -> None:
        event = np.zeros(1, EVENT_DTYPE)
        event["kind"] = (
            EventKind.USER_EVENT if status >= OrderStatus.TRADE_MATCHED else EventKind.ORDER_RESULT
        )
        event["key"], event["status"], event["time_ns"] = KEY, status, self.at_s * SECOND
        event["price_e4"] = PRICE_E4
        for name, value in fields.items():
            event[name] = value
        self.registry.apply(event)

    def place(self) -> None:
        command = np.zeros(1, COMMAND_DTYPE)
        command["kind"], command["key"], command["price_e4"] = CommandKind.PLACE, KEY, PRICE_E4
        command["size_micro"] = LOT_MICRO * self.rules.lots
        command["order_type"], command["expiration_s"] = OrderType.GTD, EXPIRATION_S
        assert self.registry.add(command)

    def step(self) -> str:
        """One move of the model, and its evidence to the registry; its text without the actor, "" if none."""
        likely = {"wanted": 0.5, "can_drop": 0.1, "can_copy": 0.1}
        around = Around(*(self.random.random() < likely.get(name, 0.5) for name in Around._fields))
        moves = self.rules.moves(self.order, around)
        if not moves:
            return ""
        # Mostly what was seldom done so far, so that rare moves are seen often enough.
        rarest = min(moves, key=lambda move: self.taken[move.text])
        move = rarest if self.random.random() < 0.3 else self.random.choice(moves)
        self.taken[move.text] += 1
        before, self.order = self.order, move.order
        self.steps.append(move.text)
        self.at_s += 1
        who, text = move.text.split(": ", 1)
        text = text.split(", and a copy")[0]
        if "expiry passes" in text or self.order.expired:
            self.at_s = max(self.at_s, 2 * EXPIRATION_S)
        if text == "prepares and journals":
            self.place()
        for leg in range(self.rules.lots):
            if (self.order.legs & ~before.legs) >> leg & 1:
                self.tell(OrderStatus.TRADE_MATCHED, trade=leg + 1, size_micro=LOT_MICRO)
        if who == "engine" and text not in SILENT:
            matched = self.order.matched * LOT_MICRO if "matched" in text else 0
            if HEARD[text] != OrderStatus.FENCED or self.order.legs != (1 << self.rules.lots) - 1:
                self.tell(HEARD[text], filled_micro=matched)
        return text


def test_the_registry_believes_what_the_model_believes() -> None:
    said: set[str] = set()
    states: set[str] = set()
    taken: Counter[str] = Counter()
    for seed in range(480):
        rules = Rules(lots=1 + seed % 2, retry=seed % 4 > 1)
        walk = Walk(seed, rules, taken)
        for _ in range(50):
            text = walk.step()
            if not text or not walk.order.prepared:
                continue
            known = walk.registry.order(KEY)
            assert known is not None
            told = "\n".join([f"seed {seed}", *walk.steps])
            assert known["state"] == rules.state(walk.order).name.lower(), told
            assert known["filled_micro"] == walk.order.legs.bit_count() * LOT_MICRO, told
            said.add(text)
            states.add(str(known["state"]))
        assert set(walk.registry.alarms().values()) == {0}
    assert said >= set(HEARD)
    assert states == {"prepared", "sent", "live", "unknown", "dead", "filled"}
