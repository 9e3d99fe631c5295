"""`invmm drill`: kills an engine that has orders resting, and reports how long they live and who ends them.

    venue (child, with its latencies and heartbeat limit, speed 1) ◀── line that can be cut ── engine (child)
                                                                   ◀── reaper (child), watching the engine

Nothing outside this machine is reached; keys and credentials are made for the drill. What is killed is the
shipped engine with the shipped executor, watched by the shipped reaper.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import secrets
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from invmm.errors import TransportError
from invmm.execution.state import StateFolder
from invmm.ops.drill_parts import Line, Process
from invmm.ops.reaping import why_unwatched
from invmm.replay.tape import MarketInfo, Tape
from invmm.sim.child import ChildCredentials, VenueChild
from invmm.sim.identity import identify
from invmm.sim.light import light_tape
from invmm.venue.auth import OrderSigner

EXIT_DONE: Final = 0
EXIT_MISSED: Final = 1
READY_S = 60.0
SETTLED_S = 1.0
GIVE_UP_S = 40.0
AWAKE_S = 3.0
LOOK_S = 0.02
QUIET_S = 1.0
"""So long no order may be alive before that counts: one may have been on its way."""
OPEN: Final = ("LIVE", "DELAYED")

BOUNDS_S: Final = {
    "sigkill": (4.0, "crash: cancel-all within 2 s, proven 2 s later"),
    "sigstop": (5.0, "silence of 3 s, proven 2 s later"),
    "wedge": (5.0, "silence of 3 s, proven 2 s later"),
    "network": (17.0, "the venue looks every 5 s for heartbeats older than 10 s; 2 s more"),
}
"""By kind: seconds to zero live orders, and why so many."""
WORDS: Final = {
    "sigkill": "the engine's process is killed",
    "sigstop": "the engine's process is stopped, and may wake up",
    "wedge": "the engine's loop hangs in a callback; its executor lives",
    "network": "the engine's connections are cut and new ones refused",
}


@dataclass(frozen=True, slots=True)
class Drilled:
    """What one drill showed. Seconds count from the kill."""

    kind: str
    orders: int
    """Alive at the venue right after it."""
    noticed_s: float | None
    """When the reaper did."""
    zero_s: float | None
    """When no order was alive any more, for good; None: some still were when it was given up."""
    bound_s: float
    ended_by: dict[str, int]
    """Orders by who ended them: reaper, venue heartbeat, executor, expiry, fill."""
    left: int
    """Alive at the end."""
    placed_on_waking: int = 0
    """Orders that an engine which was stopped placed when it went on: it must not."""

    @property
    def is_within(self) -> bool:
        """Whether the bound was kept."""
        ended = self.left == 0 and self.zero_s is not None and self.zero_s <= self.bound_s
        return ended and self.placed_on_waking == 0


class Drill:
    """A venue, and one engine with a reaper after the other.

    Parameters
    ----------
    folder : Path
        For state folders.
    seed : int
        Of the market.
    say : callable(text)
        Told of each step.
    """

    def __init__(self, folder: Path, seed: int, say: Callable[[str], object]) -> None:
        self._folder = folder
        self._say = say
        self._private_key = secrets.token_hex(32)  # of this drill only: nobody's key
        self._address = OrderSigner(self._private_key).address
        self._key = ChildCredentials.fresh(self._address)
        self._tape = market_of(seed)
        self._venue = VenueChild([self._tape], credentials=self._key, seed=seed)
        self._mapping: dict[str, Any] = {}

    async def run(self, kinds: Sequence[str]) -> list[Drilled]:
        """One drill after the other."""
        await asyncio.to_thread(self._venue.start)
        try:
            self._mapping = await asyncio.to_thread(self._venue.begin)
            return [await self._one(kind) for kind in kinds]
        finally:
            await asyncio.to_thread(self._venue.stop)

    async def _one(self, kind: str) -> Drilled:
        self._say(f"{kind}: {WORDS[kind]}")
        state = StateFolder(self._folder / kind)
        line = Line(self._venue.port)
        await line.open()
        reaper = await self._start_reaper(state)
        engine = await self._start_engine(state, line.port)
        try:
            await self._ready(state, engine, reaper)
            began = time.monotonic()
            if kind == "sigkill":
                engine.kill(signal.SIGKILL)
            elif kind == "sigstop":
                engine.kill(signal.SIGSTOP)
            elif kind == "wedge":
                engine.tell("wedge")
            else:
                line.cut()
            result = await self._watch(kind, began, reaper)
            return await self._wake(result, engine) if kind == "sigstop" else result
        finally:
            line.cut()
            await engine.end(signal.SIGKILL)
            await reaper.end(signal.SIGTERM)

    async def _wake(self, result: Drilled, engine: Process) -> Drilled:
        """Lets a stopped engine go on, and looks what it places."""
        _, before = await self._alive()
        engine.kill(signal.SIGCONT)
        await asyncio.sleep(AWAKE_S)
        _, after = await self._alive()
        return replace(result, placed_on_waking=len(after["orders"]) - len(before["orders"]))

    async def _start_reaper(self, state: StateFolder) -> Process:
        where = ("--profile", "loopback", "--port", str(self._venue.port), "--state", str(state.path))
        return await Process.start(
            *("-m", "invmm.ops.reaper", "--json", "--env", *where),
            POLYMARKET_ADDRESS=self._address,
            CLOB_API_KEY=self._key.api_key,
            CLOB_SECRET=self._key.secret,
            CLOB_PASS_PHRASE=self._key.passphrase,
            **dict.fromkeys(KEYS_OF_OTHERS, ""),
        )

    async def _start_engine(self, state: StateFolder, port: int) -> Process:
        engine = await Process.start("-m", "invmm.ops.drilled")
        told = asdict(self._tape.market)
        del told["winner"]
        key = self._key
        engine.tell(
            json.dumps(
                {
                    **self._mapping,
                    "private_key": self._private_key,
                    "credentials": [key.api_key, key.secret, key.passphrase],
                    "port": port,
                    "state": str(state.path),
                    "market": told,
                }
            )
        )
        return engine

    async def _ready(self, state: StateFolder, engine: Process, reaper: Process) -> None:
        """Until the reaper watches and orders have rested for a moment."""
        end = time.monotonic() + READY_S
        since = math.inf
        while time.monotonic() - since < SETTLED_S:
            if why_unwatched(state, self._address) or len((await self._alive())[0]) < 2:
                since = math.inf
            else:
                since = min(since, time.monotonic())
            for name, one in (("engine", engine), ("reaper", reaper)):
                if one.child.returncode is not None:
                    raise TransportError(f"drill: the {name} ended: {_last(one)}")
            if time.monotonic() > end:
                raise TransportError(
                    f"drill: expected orders and a reaper within {READY_S:g} s; engine: {_last(engine)}; "
                    f"reaper: {_last(reaper)}"
                )
            await asyncio.sleep(0.1)

    async def _alive(self) -> tuple[set[str], dict[str, Any]]:
        truth = await asyncio.to_thread(self._venue.truth)
        return {order["order_id"] for order in truth["orders"] if order["state"] in OPEN}, truth

    async def _watch(self, kind: str, began: float, reaper: Process) -> Drilled:
        seen: set[str] = set()
        zero: float | None = None
        while True:
            alive, truth = await self._alive()
            now = time.monotonic()
            seen |= alive
            if alive:
                zero = None
            elif zero is None:
                zero = now
            if (zero is not None and now - zero >= QUIET_S) or now - began > GIVE_UP_S:
                break
            await asyncio.sleep(LOOK_S)
        noticed = [at for at, told in reaper.events("alarm") if "cancelling everything" in told["text"]]
        by_reaper = {order for _, told in reaper.events("cancelled") for order in told["orders"]}
        return Drilled(
            kind=kind,
            orders=len(seen),
            noticed_s=round(noticed[0] - began, 3) if noticed else None,
            zero_s=None if zero is None else round(zero - began, 3),
            bound_s=BOUNDS_S[kind][0],
            ended_by=dict(Counter(_ended_by(order, truth, by_reaper) for order in sorted(seen - alive))),
            left=len(alive),
        )


KEYS_OF_OTHERS: Final = ("POLYMARKET_PRIVATE_KEY", "POLYMARKET_PK", "PK", "PRIVATE_KEY")


def _ended_by(order_id: str, truth: dict[str, Any], by_reaper: set[str]) -> str:
    if order_id in by_reaper:
        return "reaper"
    if order_id in truth["heartbeat_ended"]:
        return "venue heartbeat"
    (state,) = (order["state"] for order in truth["orders"] if order["order_id"] == order_id)
    if state == "MATCHED":
        return "fill"
    return "expiry" if "EXPIRED" in state or "INVALID" in state else "executor"


def _last(process: Process) -> str:
    return process.lines[-1][1] if process.lines else "no word"


def market_of(seed: int) -> Tape:
    """A market of a quarter of an hour that begins now and moves twice a second: enough to be quoted."""
    start_s = int(time.time()) - 1
    slug = f"drill-updown-15m-{start_s}"
    ids = identify(slug)
    market = MarketInfo(
        slug=slug,
        condition_id=ids.condition_id,
        up_token_id=ids.up_token_id,
        down_token_id=ids.down_token_id,
        start_s=start_s,
        end_s=start_s + 900,
        tick_e4=100,
        min_size_micro=5_000_000,
        fee_rate=0.07,
        rebate_share=0.2,
        winner=None,
        origin="GENERATED",
        exchange="v2",
    )
    return light_tape(market, seed, start_s, step_ms=500)


def parser() -> argparse.ArgumentParser:
    """The command line, complete with help."""
    p = argparse.ArgumentParser(
        prog="invmm drill",
        description="Kills an engine that has orders resting at an embedded venue, in several ways, and "
        "reports how long its orders live and who ends them. Nothing outside this machine is reached.",
        epilog="Exit codes: 0 every bound was kept, 1 one was missed or the drill failed, 2 usage. "
        + " ".join(f"{kind}: {WORDS[kind]} ({why})." for kind, (_, why) in BOUNDS_S.items()),
    )
    p.add_argument(
        "--kind",
        choices=(*BOUNDS_S, "all"),
        default="all",
        help="what happens (default: one after the other)",
    )
    p.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the market (default 1)")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code."""
    options = parser().parse_args(arguments)
    kinds = tuple(BOUNDS_S) if options.kind == "all" else (options.kind,)
    console = Console(stderr=options.json, highlight=False)
    with tempfile.TemporaryDirectory(prefix="invmm-drill-") as folder:
        drill = Drill(Path(folder), options.seed, lambda text: console.print(text, markup=False))
        results = asyncio.run(drill.run(kinds))
    ok = all(one.is_within for one in results)
    console.print(table_of(results))
    if options.json:
        rows = [{**asdict(one), "within": one.is_within} for one in results]
        print(json.dumps({"drills": rows, "ok": ok, "cores": os.cpu_count()}))
    return EXIT_DONE if ok else EXIT_MISSED


def table_of(results: Sequence[Drilled]) -> Table:
    """One line per drill."""
    table = Table(box=None, pad_edge=False)
    for name in ("drill", "orders", "reaper noticed", "zero live after", "bound", "ended by", ""):
        table.add_column(name, justify="left" if name in ("drill", "ended by", "") else "right")
    for one in results:
        table.add_row(
            one.kind,
            str(one.orders),
            "–" if one.noticed_s is None else f"{one.noticed_s:.2f} s",
            f"{one.left} ALIVE" if one.zero_s is None else f"{one.zero_s:.2f} s",
            f"{one.bound_s:.0f} s",
            ", ".join(f"{count} by {who}" for who, count in one.ended_by.items()),
            f"PLACED {one.placed_on_waking} ON WAKING"
            if one.placed_on_waking
            else "kept"
            if one.is_within
            else "MISSED",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
