"""Random limits, random books, random answers: what is handed over never exceeds a limit over all markets."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from invmm.engine import Engine
from invmm.replay.tape import MarketInfo
from invmm.settings import Settings
from invmm.types import EVENT_DTYPE, MICRO, CommandKind, EventKind, OrderStatus, Side
from tests.reference import wire

NS, START_S = 10**9, 1_700_000_000
MINUTE_NS = 60 * NS

LIMITS = st.fixed_dictionaries(
    {
        "max_total_dollars": st.integers(1, 100),
        "max_total_orders": st.integers(1, 12),
        "orders_per_minute": st.integers(1, 25),
        "reserve_dollars": st.integers(0, 50),
    }
)
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("book"), st.integers(0, 1), st.integers(20, 80), st.integers(1, 6)),
        st.tuples(st.just("book"), st.integers(0, 1), st.integers(40, 60), st.integers(1, 3)),
        st.tuples(st.just("answer"), st.integers(0, 30), st.sampled_from(["LIVE", "REJECTED", "UNKNOWN"])),
        st.tuples(st.just("fill"), st.integers(0, 30), st.integers(1, 40)),
        st.tuples(st.just("gone"), st.integers(0, 30)),
        st.tuples(st.just("cash"), st.integers(0, 150)),
        st.tuples(st.just("wait"), st.integers(1, 30_000)),
    ),
    min_size=10,
    max_size=50,
)


class World:
    """Two markets of one engine, and what the venue could have of our orders at most."""

    def __init__(self, limits: dict[str, int]) -> None:
        text = "[strategy]\norder_size = 10.0\n[risk]\n" + "\n".join(f"{k} = {v}" for k, v in limits.items())
        self.engine = Engine(Settings.parse(text))
        self.limits = limits
        for number, (up, down) in enumerate(((wire.UP, wire.DOWN), ("7" * 70, "8" * 70))):
            self.engine.add_market(
                MarketInfo(f"m{number}", f"0x{number}", up, down, START_S, START_S + 3_000), number=number
            )
        self.now_ns = START_S * NS
        self.alive: dict[int, np.void] = {}
        self.spent_e10 = 0
        self.filled: dict[int, int] = {}
        self.placed_ns: list[int] = []

    def event(self, number: int, kind: EventKind, frame: bytes = b"", **fields: object) -> None:
        record = np.zeros(1, EVENT_DTYPE)
        record["kind"], record["market"], record["length"] = kind, number, len(frame)
        record["time_ns"] = self.now_ns
        for name, value in fields.items():
            record[name] = value
        for command in self.engine.step(record, self.now_ns, frame).copy():
            if command["kind"] == CommandKind.PLACE:
                self.alive[int(command["key"])] = command
                self.placed_ns.append(self.now_ns)

    def about(self, index: int, kind: EventKind, status: OrderStatus, **fields: object) -> int | None:
        """Something about one of the orders that may be alive; its key."""
        if not self.alive:
            return None
        key = sorted(self.alive)[index % len(self.alive)]
        order = self.alive[key]
        more = {name: order[name] for name in ("key", "token", "side", "price_e4")}
        self.event(int(order["market"]), kind, status=status, **{**more, **fields})
        self.event(int(order["market"]), EventKind.BUFFER_END)
        return key

    def open_e10(self) -> int:
        return sum(
            int(order["price_e4"]) * (int(order["size_micro"]) - self.filled.get(key, 0))
            for key, order in self.alive.items()
            if order["side"] == Side.BUY
        )

    def check(self) -> None:
        assert len(self.alive) <= self.limits["max_total_orders"]
        assert self.spent_e10 + self.open_e10() <= self.limits["max_total_dollars"] * 10**10
        for last in self.placed_ns:
            within = sum(last - MINUTE_NS < at_ns <= last for at_ns in self.placed_ns)
            assert within <= self.limits["orders_per_minute"]


@settings(max_examples=40, deadline=None)
@given(LIMITS, MOVES)
def test_what_is_handed_over_never_exceeds_a_limit_over_all_markets(
    limits: dict[str, int], moves: list[tuple[object, ...]]
) -> None:
    world, trade = World(limits), 0
    for kind, *given_ in moves:
        world.now_ns += 20_000_000
        match kind, given_:
            case "book", [int(number), int(mid), int(spread)]:
                bids = {100 * (mid - n): 300 for n in range(1, 4)}
                asks = {100 * (mid + spread + n): 300 for n in range(3)}
                frame = wire.snapshot(bids, asks, world.now_ns // 10**6)
                if number:
                    frame = frame.replace(wire.UP.encode(), b"7" * 70).replace(wire.DOWN.encode(), b"8" * 70)
                world.event(number, EventKind.FRAME, frame)
                world.event(number, EventKind.BUFFER_END)
            case "answer", [int(index), str(status)]:
                key = world.about(index, EventKind.ORDER_RESULT, OrderStatus[status])
                if key is not None and status == "REJECTED" and key not in world.filled:
                    world.alive.pop(key, None)
            case "fill", [int(index), int(shares)]:
                if world.alive:
                    key = sorted(world.alive)[index % len(world.alive)]
                    order, trade = world.alive[key], trade + 1
                    left = int(order["size_micro"]) - world.filled.get(key, 0)
                    size = min(left, shares * MICRO)
                    if size:
                        world.filled[key] = world.filled.get(key, 0) + size
                        world.spent_e10 += size * int(order["price_e4"])
                        matched = OrderStatus.TRADE_MATCHED
                        world.about(index, EventKind.USER_EVENT, matched, size_micro=size, trade=trade)
                        if size == left:
                            world.alive.pop(key)
            case "gone", [int(index)]:
                key = world.about(index, EventKind.ORDER_RESULT, OrderStatus.CANCELED)
                if key is not None:
                    world.alive.pop(key, None)
            case "cash", [int(dollars)]:
                world.engine.risk.tick(world.now_ns)
                world.engine.risk.cash_told(dollars * MICRO, world.now_ns)
            case "wait", [int(ms)]:
                world.now_ns += ms * 10**6
        world.check()
