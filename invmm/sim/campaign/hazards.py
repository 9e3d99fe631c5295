"""What can go wrong in a world: one row for each fault, drawn with rate and window from a seed.

`TABLE` maps a fault's name to what happens and to the rows of the failure catalogue that it plays. A plan is
a list of `Planned` faults, plain data, so that a failing one can be made smaller and run again.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from invmm.sim.campaign.planned import Figures, Hazard, Planned, lasting
from invmm.sim.campaign.upsets import UPSETS
from invmm.sim.profile import SECOND
from invmm.types import VenueMode

if TYPE_CHECKING:
    from invmm.sim.campaign.world import World


def _armed(
    kind: str,
    draw: Callable[[Random], Figures],
    what: str,
    rows: str,
    *,
    longest_s: float = 40.0,
    **more: Any,
) -> Hazard:
    """A fault that the venue itself can show (`sim/control.py`) for a while."""
    return Hazard(
        what,
        rows,
        lambda random: (draw(random), random.uniform(3.0, longest_s)),
        lambda world, figures: world.arm(kind, figures),
        lambda world, figures: world.disarm(kind, figures),
        **more,
    )


def _rate(random: Random) -> float:
    return random.choice((0.05, 0.2, 0.5, 1.0))


def _walk(*steps: tuple[VenueMode, float, float]) -> Callable[[Random], tuple[Figures, float]]:
    def draw(random: Random) -> tuple[Figures, float]:
        lasts = [round(random.uniform(low, high), 1) for _, low, high in steps]
        walk = [[step[0].name, seconds] for step, seconds in zip(steps, lasts, strict=True)]
        return {"walk": walk, "wipe": random.random() < 0.4}, sum(lasts)

    return draw


def _mode(world: World, figures: Figures) -> None:
    if figures.get("wipe"):
        for exchange in world.server.floor.exchanges:
            for order in exchange.open_orders():
                exchange.cancel(order.request.order_id)
        for session in world.server.floor.sessions.values():
            session._tick()  # what was told is on its way
    world.server.mode.walk([(VenueMode[name], seconds) for name, seconds in figures["walk"]])


def _settlement(random: Random) -> tuple[Figures, float]:
    figures = {
        "fail": random.choice((0.0, 0.1, 0.2, 0.4)),
        "retry": random.choice((0.0, 0.3, 1.0)),
        "delay_s": random.choice((0, 0, 5, 30)),
    }
    return figures, random.uniform(20, 200)


def _settle(world: World, figures: Figures) -> None:
    faults = world.server.floor.settlement_faults
    faults.failure_rate, faults.retry_rate = figures["fail"], figures["retry"]
    faults.delay_ns = int(figures["delay_s"] * SECOND)


def _settle_as_usual(world: World, figures: Figures) -> None:
    faults = world.server.floor.settlement_faults
    faults.failure_rate, faults.retry_rate, faults.delay_ns = None, None, 0


def _channel(world: World, name: str) -> Any:
    return world.server.user_channel if name == "user" else world.server.market_channel


def _stall(world: World, figures: Figures) -> None:
    _channel(world, figures["channel"]).is_stalled = True


def _resume(world: World, figures: Figures) -> None:
    _channel(world, figures["channel"]).is_stalled = False


def _kill(world: World, figures: Figures) -> None:
    channels = ("user", "market") if figures["channel"] == "all" else (figures["channel"],)
    for name in channels:
        _channel(world, name).kill()
    world.engine.upgrades.refuse_left += figures.get("refused", 0)


def _set(name: str, value: object) -> Callable[[World, Figures], None]:
    return lambda world, figures: setattr(world.network, name, value)


def _down(world: World, figures: Figures) -> None:
    world.network.is_down = True
    for connection in world.engine.venue.executor._pool.connections:
        virtual: Any = connection
        virtual.cut()
    if figures.get("sockets"):
        _kill(world, {"channel": "all"})


def _mute(world: World, figures: Figures) -> None:
    for session in world.server.floor.sessions.values():
        market = session.market
        if market.start_s <= session.now_ns() / SECOND < market.end_s:
            token = (market.up_token_id, market.down_token_id)[figures["token"]]
            world.server.faults.arm("mute", {"token": token, "rate": 1.0})


def _ghost(world: World, figures: Figures) -> None:
    world.arm("ghost", figures)
    _kill(world, {"channel": "market"})


def _leak(world: World, figures: Figures) -> None:
    purse = world.server.floor.purses.first
    purse.leaked_micro = int(purse.settled_cash_micro * figures["share"])


def _leak_ends(world: World, figures: Figures) -> None:
    world.server.floor.purses.first.leaked_micro = 0


__all__ = ["ALL", "TABLE", "Hazard", "Planned", "draw_plan"]

TABLE: dict[str, Hazard] = {
    "late_orders": _armed(
        "late",
        lambda r: {
            "rate": _rate(r),
            "seconds": round(r.choice((1, 5, 20, 60, 90)) * r.uniform(0.5, 1), 2),
            "answer": r.choice(("cut", "silence")),
        },
        "orders reach the book up to 90 s late, without an answer",
        "O1 O2",
        longest_s=15,
        slows=True,
    ),
    "lost_answers": _armed(
        "lose",
        lambda r: {"rate": _rate(r), "path": r.choice(("", "/order"))},  # heartbeats too, or not
        "orders and cancels are done, never answered",
        "O1 O13",
        slows=True,
    ),
    "lost_requests": Hazard(
        "orders and cancels never arrive",
        "O1 O15",
        lambda r: ({"rate": r.choice((0.05, 0.2))}, r.uniform(3, 40)),
        lambda world, figures: setattr(world.network, "loss", figures["rate"]),
        _set("loss", 0.0),
        slows=True,
    ),
    "cancel_first": _armed(
        "slow",
        lambda r: {
            "rate": _rate(r),
            "seconds": round(r.uniform(0.1, 4), 2),
            "before": True,
            "method": "POST",
        },
        "placements wait on their way while cancels pass",
        "O2 X6",
        slows=True,
    ),
    "slow_answers": _armed(
        "slow",
        lambda r: {"rate": _rate(r), "seconds": round(r.uniform(0.2, 6), 2)},
        "answers come late, or after they were given up",
        "O1 O5 X6",
        slows=True,
    ),
    "partial_batches": _armed(
        "partial", lambda r: {"rate": _rate(r)}, "a batch is taken in part and answered 500", "O3", slows=True
    ),
    "server_errors": _armed(
        "http",
        lambda r: {
            "rate": _rate(r),
            "status": r.choice((500, 502, 504)),
            "method": r.choice(("POST", "DELETE", "GET", "")),
            "done": r.random() < 0.5,
        },
        "5xx, whether what was asked is done or not",
        "O3 O15",
        slows=True,
    ),
    "odd_answers": _armed(
        "http",
        lambda r: {
            "rate": _rate(r),
            "status": 200,
            "method": r.choice(("POST", "DELETE")),
            "done": True,
            "path": "/order",
            "body": r.choice(
                (
                    "",
                    "{",
                    "<html></html>",
                    [{}],
                    [{"success": True, "orderID": "", "status": "live", "errorMsg": ""}],
                    [{"success": True, "orderID": "0x00", "status": "resting", "errorMsg": ""}],
                    {"canceled": "all", "not_canceled": []},
                )
            ),
        },
        "answers of any shape: no ids, unknown words, no JSON",
        "O11",
        slows=True,
    ),
    "throttled": _armed(
        "http",
        lambda r: {
            "rate": r.choice((0.2, 0.6)),
            "status": 429,
            "method": r.choice(("POST", "DELETE", "GET", "")),
            "retry_after": r.choice((1, 2, 5)),
        },
        "429 with Retry-After",
        "O5 F9",
        longest_s=20,
        slows=True,
    ),
    "edge_block": _armed(
        "http",
        lambda r: {"rate": 1.0, "status": 403, "method": "POST", "path": "/order", "body": "<html>no</html>"},
        "403 with HTML from the edge network",
        "O5",
        stops=True,
        weight=0.2,
        longest_s=5,
        slows=True,
    ),
    "restart": Hazard(
        "425, then post-only, then running; sometimes the book is wiped",
        "O4",
        _walk((VenueMode.RESTARTING, 2, 60), (VenueMode.POST_ONLY, 2, 60)),
        _mode,
        slows=True,
    ),
    "cancel_only": Hazard("503 cancel-only", "O4", _walk((VenueMode.CANCEL_ONLY, 2, 40)), _mode, slows=True),
    "halted": Hazard("503 disabled", "O4", _walk((VenueMode.HALTED, 2, 40)), _mode, slows=True),
    "hidden": _armed(
        "hide",
        lambda r: {
            "rate": _rate(r),
            "seconds": r.choice((2, 5, 20)),
            "listing": r.choice(("orders", "order", "trades")),
        },
        "an order or trade is missing from a listing",
        "O10 O16",
    ),
    "lagging": _armed(
        "lag",
        lambda r: {"rate": 1.0, "listing": r.choice(("orders", "trades")), "seconds": r.choice((2, 5))},
        "a listing is seconds old",
        "O17 X8",
    ),
    "revoked": _armed(
        "revoke", lambda r: {"rate": _rate(r), "seconds": 1}, "the venue ends accepted orders", "O4"
    ),
    "leaking_sum": Hazard(
        "the venue counts collateral as spent that is not: balance refusals",
        "O6",
        lambda r: ({"share": r.choice((0.9, 1.0))}, r.uniform(3, 30)),
        _leak,
        _leak_ends,
    ),
    "settlement": Hazard(
        "matches are delayed, retried, and up to 40 % fail", "X1 X2", _settlement, _settle, _settle_as_usual
    ),
    "lost_events": _armed(
        "drop",
        lambda r: {"rate": _rate(r), "event": r.choice(("order", "trade", None))},
        "user events never come",
        "O10 F9",
    ),
    "repeated_events": _armed(
        "duplicate", lambda r: {"rate": _rate(r), "seconds": 3}, "user events come twice", "X6 F3"
    ),
    "reordered_events": _armed(
        "reorder", lambda r: {"rate": _rate(r), "seconds": 3}, "user events overtake each other", "X2 X6"
    ),
    "user_gap": Hazard(
        "the user socket is cut, and the next upgrades are refused",
        "F9",
        lambda r: ({"channel": "user", "refused": r.choice((0, 0, 3))}, 0.0),
        _kill,
    ),
    "market_gap": Hazard(
        "the market sockets are cut, and the next upgrades are refused",
        "F9",
        lambda r: ({"channel": r.choice(("market", "all")), "refused": r.choice((0, 0, 3, 10))}, 0.0),
        _kill,
    ),
    "one_silent_token": Hazard(
        "one token has no data any more",
        "F1 F2",
        lambda r: ({"token": r.randrange(2)}, r.uniform(2, 20)),
        lambda world, figures: _mute(world, figures),
        lambda world, figures: world.server.faults.clear("mute"),
    ),
    "ghost_books": Hazard(
        "the market sockets are cut, and what is dumped then is not the book",
        "F4",
        lambda r: ({"form": r.choice(("hollow", "old"))}, r.uniform(2, 15)),
        lambda world, figures: _ghost(world, figures),
        lambda world, figures: world.disarm("ghost", figures),
    ),
    "wrong_hashes": _armed("wrong_hash", lambda r: {"rate": _rate(r)}, "books bear wrong checksums", "F5"),
    "echoed_data": _armed("echo", lambda r: {"rate": _rate(r)}, "market messages come twice", "F3"),
    "swapped_data": _armed(
        "swap", lambda r: {"rate": r.choice((0.05, 0.3))}, "level changes overtake each other", "F6 F7"
    ),
    "crossed_data": _armed(
        "cross",
        lambda r: {"rate": r.choice((0.02, 0.1))},
        "a bid at the ask that never was",
        "F6",
        longest_s=15,
    ),
    "burst": _armed(
        "hold",
        lambda r: {"rate": 0.1, "seconds": round(r.uniform(1, 10), 1)},
        "nothing for seconds, then everything at once",
        "F10",
        longest_s=20,
    ),
    "garbage": Hazard(
        "a message that is none",
        "F12",
        lambda r: ({"channel": r.choice(("market", "user"))}, 0.0),
        lambda world, figures: _channel(world, figures["channel"]).garbage(b'{"event_type":"price_change",'),
    ),
    "other_ids": _armed(
        "rename", lambda r: {"rate": _rate(r)}, "answers bear other ids than the hash", "O11"
    ),
    "late_listing": _armed(
        "hydration", lambda r: {"rate": 1.0, "seconds": r.choice((30, 60))}, "windows are listed late", "F2"
    ),
    "silent_data": Hazard(
        "market data stops, PONG goes on", "F1", lasting(1, 20, channel="market"), _stall, _resume
    ),
    "silent_events": Hazard(
        "own events stop, PONG goes on", "F1 O10", lasting(1, 30, channel="user"), _stall, _resume
    ),
    "network_down": Hazard(
        "connections are reset and refused",
        "O15",
        lambda r: ({"sockets": r.random() < 0.5}, r.uniform(0.5, 25)),
        _down,
        _set("is_down", False),
        slows=True,
    ),
    "network_silent": Hazard(
        "TCP stays up, nothing is answered",
        "O13 F1",
        lasting(1, 15),
        _set("is_silent", True),
        _set("is_silent", False),
        slows=True,
    ),
    "heartbeats_refused": _armed(
        "http",
        lambda r: {"rate": r.choice((0.5, 1.0)), "status": r.choice((400, 500)), "path": "/v1/heartbeats"},
        "heartbeats fail; after ten seconds the venue cancels everything",
        "O12",
        longest_s=30,
        slows=True,
    ),
    "clock_offset": _armed(
        "clock_offset",
        lambda r: {"rate": 1.0, "seconds": r.choice((-3, -1, 1, 3))},
        "the venue's clock is wrong",
        "U1",
    ),
    "version": _armed(
        "version",
        lambda r: {"rate": 1.0, "version": 3},
        "the exchange's version changes",
        "O14",
        stops=True,
        weight=0.2,
        longest_s=10,
        slows=True,
    ),
    **UPSETS,
}
ALL = tuple(name for name, hazard in TABLE.items() if not hazard.apart)
"""What a campaign draws from unless faults are named."""


def draw_plan(seed: int, minutes: float, names: tuple[str, ...]) -> list[Planned]:
    """The faults of a seed: a random subset of the kinds, each once or several times. Every tenth seed is
    healthy.
    """
    random = Random(f"{seed}:plan")
    if not names or seed % 10 == 0:
        return []
    length_s = minutes * 60
    count = min(len(names), random.choice((1, 2, 3, 5, 8)))
    left = list(names)
    chosen: list[str] = []
    for _ in range(count):
        weights = [TABLE[name].weight for name in left]
        chosen.append(left.pop(random.choices(range(len(left)), weights)[0]))
    plan = []
    for name in chosen:
        hazard = TABLE[name]
        times = random.choice((1, 1, 2, 4)) if not hazard.stops else 1
        for _ in range(times):
            figures, lasts_s = hazard.draw(random)
            begin = 0.6 if hazard.stops else 0.04
            at_s = random.uniform(begin * length_s, 0.92 * length_s)
            until_s = round(min(length_s, at_s + lasts_s), 3)
            if "until_s" in figures:
                figures["until_s"] = until_s
            plan.append(Planned(name, round(at_s, 3), until_s, figures))
    return sorted(plan, key=lambda planned: planned.at_s)
