"""Shares and dollars on their way through settlement: whatever is said in whatever order, all adds up."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from invmm.settlement.policy import Action
from invmm.settlement.pools import ConservationError, Pools, Stage

MARKETS = ("0xa", "0xb")
AMOUNTS = st.integers(1, 120)


class Settling(RuleBasedStateMachine):
    """Fills, jobs and their ends, some told twice, some impossible; a plain account beside the pools."""

    @initialize()
    def begin(self) -> None:
        self.pools = Pools()
        self.fills = {market: [0, 0] for market in MARKETS}
        self.taken: dict[str, tuple[str, Action, int, int]] = {}
        self.ended: dict[str, int] = {}
        self.cash = 0

    def left(self, market: str) -> list[int]:
        """Shares that nobody has a claim on, from the jobs that were accepted."""
        left = list(self.fills[market])
        for name, (where, action, up, down) in self.taken.items():
            if where != market or self.ended.get(name, 0) < 0:
                continue
            if action is Action.SPLIT:
                left = [left[0] + up, left[1] + down] if name in self.ended else left
            else:
                left = [left[0] - up, left[1] - down]
        return left

    @rule(market=st.sampled_from(MARKETS), up=st.integers(-60, 120), down=st.integers(-60, 120))
    def fill(self, market: str, up: int, down: int) -> None:
        wanted = [self.fills[market][0] + up, self.fills[market][1] + down]
        free = self.left(market)
        fits = free[0] + up >= 0 and free[1] + down >= 0
        try:
            self.pools.filled(market, *wanted)
            assert fits
            self.fills[market] = wanted
        except ConservationError:
            assert not fits

    @rule(
        market=st.sampled_from(MARKETS),
        action=st.sampled_from((Action.MERGE, Action.REDEEM, Action.SPLIT)),
        up=AMOUNTS,
        down=AMOUNTS,
    )
    def reserve(self, market: str, action: Action, up: int, down: int) -> None:
        down = down if action is Action.REDEEM else up
        name = f"{action}:{market}:{len(self.taken)}"
        free = self.left(market)
        fits = action is Action.SPLIT or (free[0] >= up and free[1] >= down)
        try:
            self.pools.reserve(name, market, action, up, down)
            assert fits, "shares were promised twice"
            self.taken[name] = (market, action, up, down)
        except ConservationError:
            assert not fits

    @rule(data=st.data(), what=st.sampled_from(("begin", "void", "finish", "reserve")))
    def go_on(self, data: Any, what: str) -> None:
        if not self.taken:
            return
        name = data.draw(st.sampled_from(sorted(self.taken)))
        market, action, up, down = self.taken[name]
        paid = {Action.MERGE: up, Action.SPLIT: 0}.get(action, up)
        before = self.ended.get(name)
        try:
            if what == "begin":
                self.pools.begin(name)
            elif what == "void":
                assert self.pools.void(name) is (before is None)
                self.ended[name] = -1
            elif what == "finish":
                assert self.pools.finish(name, paid) is (before is None)
                self.ended[name] = paid
            else:
                self.pools.reserve(name, market, action, up, down)
                raise AssertionError("a name was used twice")
        except ConservationError:
            assert what == "reserve" or (before is not None and (before < 0) is (what == "finish"))

    @invariant()
    def everything_is_somewhere(self) -> None:
        for market in MARKETS:
            pool = self.pools.of(market)
            assert list(pool.free) == self.left(market)
            assert min(*pool.free, *pool.reserved, *pool.under_way) >= 0
            held = [sum(place) for place in zip(pool.free, pool.reserved, pool.under_way, strict=True)]
            gone = [0, 0]
            for name, paid in self.ended.items():
                where, action, up, down = self.taken[name]
                if where == market and paid >= 0:
                    sign = -1 if action is Action.SPLIT else 1
                    gone = [gone[0] + sign * up, gone[1] + sign * down]
            assert [a + b for a, b in zip(held, gone, strict=True)] == self.fills[market]
        cash = sum(paid for paid in self.ended.values() if paid > 0)
        for name, (_, action, up, _) in self.taken.items():
            if action is Action.SPLIT and self.ended.get(name, 0) >= 0:
                cash -= up
        assert self.pools.collateral_micro == cash
        open_names = {flow.name for flow in self.pools.open_flows()}
        assert open_names == set(self.taken) - set(self.ended)
        assert all(self.pools.flow(name).stage >= Stage.DONE for name in self.ended)


TestSettling = Settling.TestCase
TestSettling.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
