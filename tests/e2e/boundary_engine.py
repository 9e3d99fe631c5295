"""The engine that `test_journal_boundaries.py` kills: trades a window, or recovers what was left.

Reads one JSON object from standard input (see `main`), prints one when it has recovered.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from invmm.clock import LiveClock
from invmm.engine import Engine
from invmm.execution.remote import RemoteVenue
from invmm.execution.session_state import SessionState, hold_folder, keep_journal
from invmm.replay.tape import MarketInfo
from invmm.settings import EngineSettings, ExecutorSettings, Settings, StateSettings, StrategySettings
from invmm.settlement.handover import unsettled
from invmm.venue.auth import ApiCredentials, OrderSigner
from invmm.venue.profile import loopback

# The clock is fast, the machine is not: limits that are about real networks are wide.
SETTINGS = Settings(
    engine=EngineSettings(book_max_age_ms=600_000, command_deadline_ms=60_000, cancel_retry_ms=20_000),
    executor=ExecutorSettings(rehearse_ms=0, wait="park"),
    strategy=StrategySettings(policy="inventory_mm", order_size=10.0),
    state=StateSettings(journal_records=4_096),
)
REST_S = 110.0  # real seconds; the machine may be busy


def engine_of(told: dict[str, Any], state: SessionState, clock: LiveClock) -> Engine:
    signer = OrderSigner(told["private_key"])
    credentials = ApiCredentials(*told["credentials"])
    venue = RemoteVenue(loopback(told["port"]), credentials, signer, clock, SETTINGS, journal=state.journal)
    engine = Engine(
        SETTINGS, venue=venue, clock=clock, seed=told["seed"], journal=state.journal, left=state.left
    )
    engine.state = state.folder
    return engine


async def trade(engine: Engine, info: MarketInfo) -> None:
    """Recovers, then trades on until it is killed."""
    await engine.start()
    assert engine.recovery is not None
    market = next((m for m in engine.recovery.markets if m.info.condition_id == info.condition_id), None)
    if market is None:
        market = engine.open_market(info)
    engine.hold(market.number, False)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, tell, engine)
    print("trading", flush=True)
    await asyncio.sleep(3600)


def tell(engine: Engine) -> None:
    """Says what it knows, and ends: whoever was to kill it has no patience any more."""
    clock = engine.clock
    assert clock is not None
    lines = [
        *engine.messages,
        f"mode {engine.permission.mode.name}, {engine.permission.blocked or 'not blocked'}",
    ]
    for market in engine.markets.values():
        left_s = market.info.end_s - clock.now_ns() / 1e9
        lines.append(f"{market.info.slug}: {left_s:.0f} s left, {market.step.registry.counts()}")
    print("\n".join(lines), flush=True)
    os._exit(1)


def alive(engine: Engine) -> list[dict[str, object]]:
    return [o for market in engine.markets.values() for o in market.step.registry.orders_live()]


async def recover(engine: Engine) -> dict[str, Any]:
    """What is known when nothing of the last session is in doubt any more."""
    await engine.start()
    recovery = engine.recovery
    assert recovery is not None
    began = len(recovery.left.alive)
    loop = asyncio.get_running_loop()
    end = loop.time() + REST_S
    cpu_s, is_settled = 0.0, False
    while loop.time() < end:
        if recovery.cancelled_s and not cpu_s:
            cpu_s = time.process_time()  # of all threads, from the start of the process on
        is_settled = not any(unsettled(market.ledger) for market in engine.markets.values())
        # One that never rests has no date and so no fence: it counts as alive until its market is resolved.
        dated = [order for order in alive(engine) if order["fence_ns"]]
        if recovery.quoting_s and not dated and is_settled:
            break
        await asyncio.sleep(0.02)
    legs = [
        {"order_id": order_id, "trade": leg.trade, "size_micro": leg.size_micro, "status": leg.status.name}
        for market in engine.markets.values()
        for leg in market.ledger.legs.values()
        for order_id in engine.order_ids([leg.key]).values()
    ]
    known = {
        "left": began,
        "settled": is_settled,
        "undated": len([order for order in alive(engine) if not order["fence_ns"]]),
        "dated": len([order for order in alive(engine) if order["fence_ns"]]),
        "markets": [market.info.condition_id for market in recovery.markets],
        "journaled": ["0x" + order_id.hex() for order_id in recovery.left.orders],
        "legs": legs,
        "positions": [list(market.step.registry.position()) for market in recovery.markets],
        "alarms": list(engine.permission.alarms),
        "cancelled_s": recovery.cancelled_s,
        "cpu_s": cpu_s,
        "quoting_s": recovery.quoting_s,
    }
    known["clean"] = await engine.stop()
    known["messages"] = list(engine.messages)
    return known


def main() -> None:
    told = json.loads(sys.stdin.readline())
    clock = LiveClock(*told["clock"])
    with (
        hold_folder(Path(told["state"]), told["account"]) as folder,
        keep_journal(folder, SETTINGS, clock, told["account"]) as state,
    ):
        engine = engine_of(told, state, clock)
        if told["recover"]:
            print(json.dumps(asyncio.run(recover(engine))), flush=True)
        else:
            asyncio.run(trade(engine, MarketInfo(**told["market"])))


if __name__ == "__main__":
    main()
