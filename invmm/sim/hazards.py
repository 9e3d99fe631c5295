"""What goes wrong in a run with `--faults SEED`: one hazard after another, drawn from the seed, told as it
begins, counted, and over before the run ends.

Each is a few requests to the embedded venue's control face (`sim/control.py` says what they do) and the
requests that end it. Every kind comes once before one comes again. Times are seconds of the venue.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Final

from invmm.clock import NS, LiveClock
from invmm.errors import InvmmError

if TYPE_CHECKING:
    from invmm.engine import Engine

Request = tuple[str, dict[str, Any]]
FIRST_S = 8.0  # after the start
CALM_S = (5.0, 12.0)  # between two hazards
QUIET_S = 60.0  # before a market's end
FENCE_S = 150.0  # longer than any order can live


@dataclass(frozen=True, slots=True)
class Hazard:
    """`begin` and `end` are control requests, `lasts_s` the time between them."""

    kind: str
    text: str
    begin: tuple[Request, ...]
    end: tuple[Request, ...] = ()
    lasts_s: float = 0.0


def _fault(kind: str, **figures: Any) -> Request:
    return "fault", {"kind": kind, **figures}


def _armed(name: str, text: str, kind: str, lasts_s: float = 6.0, **figures: Any) -> Hazard:
    """A fault that waits for its occasions, disarmed after a while."""
    return Hazard(name, text, (_fault(kind, **figures),), (_fault("clear", of=kind),), lasts_s)


def _http(name: str, text: str, lasts_s: float = 4.0, **figures: Any) -> Hazard:
    return _armed(name, text, "http", lasts_s, **figures)


def _cut(random: Random) -> Hazard:
    channel = random.choice(["market", "user", "all"])
    return Hazard("cut_sockets", f"sockets cut: {channel}", (_fault("kill", channel=channel),), (), 4.0)


def _lost(random: Random) -> Hazard:
    count = random.randint(1, 4)
    return _armed("lost_answers", f"the answers to {count} orders or cancels are lost", "lose", count=count)


def _late(random: Random) -> Hazard:
    seconds, answer = random.choice([2, 8, 20]), random.choice(["cut", "silence"])
    text = f"orders arrive {seconds} s late, their answer never"
    return _armed("late_orders", text, "late", count=1, seconds=seconds, answer=answer)


def _slow(random: Random) -> Hazard:
    seconds, count = round(random.uniform(0.3, 3.0), 1), random.randint(2, 6)
    before = random.random() < 0.5
    return _armed(
        "slow_answers",
        f"{count} answers take {seconds} s",
        "slow",
        count=count,
        seconds=seconds,
        before=before,
    )


def _partial(_: Random) -> Hazard:
    return _armed("partial_batch", "a batch fails after half of it was taken", "partial", count=1)


def _refused(random: Random) -> Hazard:
    status, count = random.choice([500, 502, 503]), random.randint(1, 4)
    text = f"{count} requests are answered {status}"
    return _http("refused_requests", text, status=status, count=count, done=random.random() < 0.3)


def _throttled(random: Random) -> Hazard:
    count = random.randint(2, 5)
    text = f"{count} orders are answered 429"
    return _http("throttled", text, status=429, count=count, method="POST", path="/order", retry_after=1)


def _restart(random: Random) -> Hazard:
    restart_s, post_only_s, wipe = random.randint(2, 5), random.randint(2, 4), random.random() < 0.5
    walk = {"mode": "RESTART", "restart_s": restart_s, "post_only_s": post_only_s, "wipe": wipe}
    text = f"the venue restarts: 425 for {restart_s} s, post-only for {post_only_s} s" + (
        ", its book wiped" if wipe else ""
    )
    return Hazard("restart", text, (("mode", walk),), (), restart_s + post_only_s + 1.0)


def _halt(random: Random) -> Hazard:
    mode, seconds = random.choice(["HALTED", "CANCEL_ONLY"]), random.randint(2, 5)
    words = "takes nothing (503)" if mode == "HALTED" else "takes cancels only (503)"
    body = {"mode": mode, "seconds": seconds}
    return Hazard("halt", f"the venue {words} for {seconds} s", (("mode", body),), (), seconds + 1.0)


def _silence(random: Random) -> Hazard:
    channel, seconds = random.choice(["market", "user"]), random.randint(3, 7)
    # What was missed is lost: a new socket makes whoever listens ask for it.
    after = (_fault("resume", channel=channel), _fault("kill", channel=channel))
    text = f"the {channel} channel is silent for {seconds} s and answers PING"
    return Hazard("silent_data", text, (_fault("stall", channel=channel),), after, float(seconds))


def _events(random: Random) -> Hazard:
    kind, word = random.choice([("reorder", "out of order"), ("duplicate", "doubled"), ("drop", "lost")])
    rate = random.choice([0.3, 0.6, 1.0])
    more = {} if kind == "drop" else {"seconds": 2}
    return _armed(f"user_events_{kind}", f"own events are {word}", kind, 8.0, rate=rate, **more)


def _settlement(random: Random) -> Hazard:
    fail, delay_s = random.choice([0.2, 0.4]), random.choice([0, 3])
    begin = _fault("settlement", fail_rate=fail, retry_rate=0.3, delay_s=delay_s)
    text = f"{fail:.0%} of what is matched fails on chain, {delay_s} s later than usual"
    return Hazard("failed_settlements", text, (begin,), (_fault("clear", of="settlement"),), 12.0)


def _heartbeat(random: Random) -> Hazard:
    seconds = random.choice([6.0, 16.0])
    text = f"heartbeats are refused for {seconds:g} s" + (", so that everything goes" if seconds > 10 else "")
    return _http("heartbeat_refused", text, seconds, status=500, rate=1.0, path="/v1/heartbeats")


def _revoked(random: Random) -> Hazard:
    return _armed("revoked_orders", "the venue revokes orders it took", "revoke", count=random.randint(1, 3))


def _listing(random: Random) -> Hazard:
    listing = random.choice(["orders", "trades"])
    if random.random() < 0.5:
        return _armed(
            "lagging_listings", f"listed {listing} are 4 s old", "lag", 8.0, listing=listing, seconds=4
        )
    text = f"young {listing} are missing from their listing"
    return _armed("hidden_from_listings", text, "hide", 8.0, listing=listing, rate=0.5, seconds=4)


DRAWS: Final[tuple[Callable[[Random], Hazard], ...]] = (
    *(_cut, _lost, _late, _slow, _partial, _refused, _throttled, _restart, _halt, _silence),
    *(_events, _settlement, _heartbeat, _revoked, _listing),
)
END: Final[tuple[Request, ...]] = (
    _fault("clear"),
    _fault("resume", channel="all"),
    ("mode", {"mode": "RUNNING"}),
)


def drawn(seed: int) -> Iterator[tuple[float, Hazard]]:
    """Hazards without end, each with the calm before it; equal seeds give equal ones."""
    random = Random(f"{seed}:hazards")
    calm_s = FIRST_S
    while True:
        for draw in random.sample(DRAWS, len(DRAWS)):
            yield calm_s, draw(random)
            calm_s = random.uniform(*CALM_S)


class Hazards:
    """Lets the hazards of a seed happen.

    Parameters
    ----------
    seed : int
        Of everything that goes wrong.
    control : callable(path, body)
        The venue's control face; blocks, so it is called on a thread.
    say : callable(text)
        Told of each hazard as it begins.
    """

    def __init__(
        self, seed: int, control: Callable[[str, dict[str, Any]], object], say: Callable[[str], object]
    ) -> None:
        self.counts: Counter[str] = Counter()
        """How often each kind came."""
        self.say = say
        self._hazards = drawn(seed)
        self._control = control
        self._task: asyncio.Task[None] | None = None

    def begin(self, clock: LiveClock, until_ns: int | None = None) -> None:
        """Goes on where it was, on this clock; no hazard begins that would last longer than `until_ns`."""
        self._task = asyncio.get_running_loop().create_task(self._run(clock, until_ns), name="invmm hazards")

    async def end(self) -> None:
        """Ends what is under way and sets the venue right. Idempotent."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await self._do(END)

    async def settle(self, engine: Engine, clock: LiveClock) -> None:
        """Ends all, pulls the quotes, and waits until no order can be alive: one that was lost without an
        answer has no proof of its end before its fence.
        """
        await self.end()
        until_ns = clock.now_ns() + int(FENCE_S * NS)
        for number in engine.markets:
            engine.hold(number, True)
        while clock.now_ns() < until_ns:
            if not any(market.step.registry.counts()["live"] for market in engine.markets.values()):
                return
            await asyncio.sleep(0.05)

    async def _run(self, clock: LiveClock, until_ns: int | None) -> None:
        while True:
            calm_s, hazard = next(self._hazards)
            ends_ns = clock.now_ns() + int((calm_s + hazard.lasts_s) * NS)
            if until_ns is not None and ends_ns > until_ns:
                return
            await self._wait(clock, calm_s)
            self.counts[hazard.kind] += 1
            self.say(f"FAULT: {hazard.text}")
            await self._do(hazard.begin)
            await self._wait(clock, hazard.lasts_s)
            await self._do(hazard.end)

    @staticmethod
    async def _wait(clock: LiveClock, seconds: float) -> None:
        await asyncio.sleep(clock.wall_s(int(seconds * NS)))

    async def _do(self, requests: tuple[Request, ...]) -> None:
        for path, body in requests:
            try:
                await asyncio.to_thread(self._control, path, body)
            except InvmmError as error:
                self.say(f"FAULT: {body} was not possible: {error}")
