"""A live engine against the embedded venue in a child process, faults drawn from a seed, and what must be
equal once nothing is under way any more.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

from invmm.clock import LiveClock
from invmm.engine import Engine, Market
from invmm.execution.remote import RemoteVenue
from invmm.feed.user_messages import trade_key
from invmm.replay.player import venue_profile
from invmm.replay.tape import Tape
from invmm.settings import RiskSettings, Settings, StrategySettings
from invmm.sim.child import ChildCredentials, VenueChild
from invmm.types import MICRO, OrderStatus, Outcome
from invmm.venue.auth import ApiCredentials, OrderSigner
from invmm.venue.profile import loopback

SECOND = 1_000_000_000
TERMINAL = ("TRADE_CONFIRMED", "TRADE_FAILED")
OPEN = ("LIVE", "DELAYED")

Happening = tuple[str, dict[str, Any]]


def draw_faults(random: Random, begin_s: float, end_s: float, count: int) -> list[tuple[float, Happening]]:
    """What happens when, in seconds of the tape: `(path, body)` of control requests."""

    def fault(kind: str, **figures: Any) -> Happening:
        return "fault", {"kind": kind, **figures}

    def happening() -> Happening:
        share, some = random.choice([0.2, 0.5, 1.0]), random.randint(1, 4)
        return random.choice(
            [
                lambda: fault("kill", channel="user"),
                lambda: fault("kill", channel="all"),
                lambda: fault("stall", channel="user"),
                lambda: fault("lose", count=some),
                lambda: fault(
                    "slow", count=some, seconds=random.uniform(0.2, 3), before=random.random() < 0.5
                ),
                lambda: fault("late", count=1, seconds=random.choice([2, 10, 30, 60])),
                lambda: fault("late", count=1, seconds=5, answer="silence"),
                lambda: fault("partial", count=1),
                lambda: fault("revoke", count=some),
                lambda: fault("drop", rate=share, event=random.choice(["order", "trade", None])),
                lambda: fault("duplicate", rate=share, seconds=3),
                lambda: fault("reorder", rate=share, seconds=3),
                lambda: fault("hide", rate=share, seconds=4),
                lambda: fault("lag", listing="orders", seconds=4),
                lambda: fault("http", method="POST", count=some, status=random.choice([425, 429, 500, 502])),
                lambda: fault("http", method="DELETE", count=some, status=random.choice([429, 500, 503])),
                lambda: fault("http", method="GET", count=some, status=500),
                lambda: fault(
                    "http", method="POST", count=1, status=403, body="<html>blocked</html>", done=True
                ),
                lambda: fault("http", method="POST", count=1, status=500, done=True),
                lambda: ("mode", {"mode": "RESTART", "restart_s": 4, "post_only_s": 4}),
                lambda: ("mode", {"mode": "RESTART", "restart_s": 3, "post_only_s": 2, "wipe": True}),
                lambda: ("mode", {"mode": "CANCEL_ONLY", "seconds": 5}),
                lambda: ("mode", {"mode": "HALTED", "seconds": 4}),
            ]
        )()

    times = sorted(random.uniform(begin_s, end_s) for _ in range(count))
    return [
        (begin_s - 1, fault("settlement", fail_rate=0.25, retry_rate=0.3, delay_s=random.choice([0, 4]))),
        *((at, happening()) for at in times),
    ]


class TruthRig:
    """The running engine, its venue, and the comparison of both."""

    def __init__(
        self, child: VenueChild, engine: Engine, market: Market, clock: LiveClock, begin_ns: int
    ) -> None:
        self.child, self.engine, self.market, self.clock = child, engine, market, clock
        self.begin_ns = begin_ns
        self.happened: list[str] = []

    @property
    def said(self) -> str:
        """What happened and what the engine said, for people who read a failure."""
        return "\n".join(["happened: " + each for each in self.happened] + list(self.engine.messages))

    @property
    def tape_s(self) -> float:
        """Seconds since the tape began."""
        return (self.clock.now_ns() - self.begin_ns) / SECOND

    async def until_tape(self, at_s: float) -> None:
        """Waits."""
        while self.tape_s < at_s:
            await asyncio.sleep(0.01)

    async def play(self, happenings: list[tuple[float, Happening]], end_s: float) -> None:
        """Lets things happen, then ends them all."""
        for at_s, (path, body) in happenings:
            await self.until_tape(at_s)
            self.happened.append(f"{self.tape_s:.1f} s {path} {body}")
            await asyncio.to_thread(self.child.control, path, body)
            if body.get("kind") == "stall":
                await self.until_tape(self.tape_s + 3)
                await asyncio.to_thread(self.child.fault, "resume", channel="user")
        await self.until_tape(end_s)
        for path, body in (
            ("fault", {"kind": "clear"}),
            ("fault", {"kind": "resume", "channel": "all"}),
            ("mode", {"mode": "RUNNING"}),
        ):
            await asyncio.to_thread(self.child.control, path, body)

    async def rest(self, until_s: float) -> dict[str, Any]:
        """Pulls the quotes, waits until nothing is under way or until that time of the tape; the truth."""
        self.engine.hold(self.market.number, True)
        while True:
            truth = await asyncio.to_thread(self.child.truth)
            if self.tape_s >= until_s:
                return truth
            quiet = not any(order["state"] in OPEN for order in truth["orders"])
            quiet = quiet and all(trade["status"] in TERMINAL for trade in truth["trades"])
            if quiet and not self.differences(truth):
                return truth
            await asyncio.sleep(0.1)

    def differences(self, truth: dict[str, Any]) -> list[str]:
        """Where registry or ledger are not what the venue knows; empty if they are the same."""
        registry, ledger = self.market.step.registry, self.market.ledger
        wrong: list[str] = []

        def same(what: str, ours: object, theirs: object) -> None:
            if ours != theirs:
                wrong.append(f"{what}: ours {ours}, the venue's {theirs}")

        # What never rests and has no date has no fence either: without an answer it counts as alive until
        # its market is resolved, whatever the venue knows.
        live = {
            int(str(order["key"])): order
            for order in registry.orders_live()
            if order["state"] != "unknown" or order["fence_ns"]
        }
        ids = self.engine.order_ids(live)
        wrong += [f"its id was never announced: {order}" for key, order in live.items() if key not in ids]
        wrong += [f"at {self.tape_s:.1f} s possibly alive: {order}" for order in live.values()]
        same("alive", set(ids.values()), {o["order_id"] for o in truth["orders"] if o["state"] in OPEN})
        for order in truth["orders"]:
            key = self.engine.key_of(bytes.fromhex(order["order_id"][2:]))
            known = None if key is None else registry.order(key)
            if known is None:
                wrong.append(f"order {order['order_id']} is not known")
                continue
            same(f"filled of {order['order_id']}", known["filled_micro"], order["filled_micro"])
            same(f"price of {order['order_id']}", known["price_e4"], order["price_e4"])
        legs = {
            (trade_key(trade["id"]), self.engine.key_of(bytes.fromhex(leg["order_id"][2:]))): (
                leg["size_micro"],
                leg["price_e4"],
                Outcome(leg["token"]),
                OrderStatus[trade["status"]],
            )
            for trade in truth["trades"]
            for leg in trade["legs"]
        }
        same(
            "fill legs",
            {
                name: (leg.size_micro, leg.price_e4, leg.outcome, leg.status)
                for name, leg in ledger.legs.items()
            },
            legs,
        )
        same("position of the registry", list(registry.position()), truth["tokens_micro"])
        for outcome in Outcome:
            held = truth["tokens_micro"][outcome]
            same(f"interval of {outcome.name}", registry.interval(outcome), (held, held))
            same(f"interval of {outcome.name} in the ledger", ledger.interval(outcome), (held, held))
        cash_micro = ledger.cash_micro(truth["start_micro"])
        # The venue rounds an order's fills together, failed ones included; we, those that stand.
        rounded = {leg.key for leg in ledger.legs.values() if leg.status == OrderStatus.TRADE_FAILED}
        if abs(cash_micro - truth["cash_micro"]) > len(rounded):
            same("cash in micro-dollars", cash_micro, truth["cash_micro"])
        return wrong


@asynccontextmanager
async def truth_rig(
    tape: Tape, seed: int, speed: float, harm: Callable[[Engine], object] = lambda engine: None
) -> AsyncIterator[TruthRig]:
    """An engine that trades a tape; `harm` may break it first."""
    # Settlements fail here and answers are late, which would end new risk.
    settings = Settings(
        strategy=StrategySettings(policy="inventory_mm"),
        risk=RiskSettings(max_failed_percent=100, max_ack_ms=60_000),
    )
    signer = OrderSigner(secrets.token_hex(32))
    key = ChildCredentials.fresh(signer.address)
    profile = replace(venue_profile(settings.sim), collateral_micro=100_000 * MICRO)
    child = VenueChild([tape], credentials=key, profile=profile, seed=seed)
    with child:
        mapping = await asyncio.to_thread(child.begin, 0, speed=speed, in_s=0.4)
        begin_ns = int(mapping["tape_ns"])
        clock = LiveClock(speed, begin_ns, int(mapping["monotonic_ns"]))
        credentials = ApiCredentials(key.api_key, key.secret, key.passphrase)
        venue = RemoteVenue(loopback(child.port), credentials, signer, clock, settings)
        engine = Engine(settings, venue=venue, clock=clock, seed=seed)
        rig = TruthRig(child, engine, engine.add_market(tape.market, number=0), clock, begin_ns)
        harm(engine)
        await engine.start()
        try:
            yield rig
        finally:
            await engine.stop(2.0)
