"""Rolling series: windows of an Up/Down market that are listed, open, start, close, resolve and disappear by
the venue's clock, as many as there are.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from zoneinfo import ZoneInfo

from invmm.errors import ConfigError, DataError
from invmm.replay.tape import MarketInfo, Tape
from invmm.sim import spool
from invmm.sim.batches import Batch, cut
from invmm.sim.floor import Floor
from invmm.sim.identity import identify
from invmm.sim.light import light_tape
from invmm.sim.path import AVERAGE_S
from invmm.sim.price import asset_of
from invmm.sim.profile import SECOND
from invmm.sim.session import Session

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST_SLEEP_S = 0.25
_PRE_S = 10  # a full market's flow begins so long before its window
_EASTERN = "America/New_York"
_NAMES = {
    "btc": "bitcoin",
    "eth": "ethereum",
    "sol": "solana",
    "doge": "dogecoin",
    "hype": "hyperliquid",
}


@dataclass(frozen=True)
class Series:
    """One series of windows. Times are whole seconds of the venue's clock.

    Attributes
    ----------
    slug : str
        `btc-updown-5m`: the ending says the window (s, m, h); slugs of its windows end in their start.
        `btc-updown-1h`: windows are named by the Eastern hour in which they start.
    window_s : int
        Length of a window, 0: as the slug says.
    generation : {"v1", "v2"}
        The markets' version: CTF tokens or position ids.
    neg_risk : bool
        First generation on the neg-risk exchange.
    tape : {"full", "light"}
        Calibrated generated markets (1.4 s of one core for five minutes), or a few frames per window.
    listed_ahead_s : int
        Discovery shows a window so long before its start; 0: two windows. (The venue: 24 hours.)
    accepts_ahead_s : int
        Orders are taken from so long before the start; 0: from the listing.
    hydration_s : int
        So long after the listing the CLOB still answers 404 for the market.
    kept_s : int
        So long after its resolution a window is still listed, as closed.
    count : int
        Number of windows; 0: without end.
    """

    slug: str = "btc-updown-5m"
    window_s: int = 0
    generation: str = "v1"
    neg_risk: bool = False
    tape: str = "full"
    listed_ahead_s: int = 0
    accepts_ahead_s: int = 0
    hydration_s: int = 0
    kept_s: int = 300
    count: int = 0

    def __post_init__(self) -> None:
        for name in ("window_s", "listed_ahead_s", "accepts_ahead_s", "hydration_s", "kept_s", "count"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 0:
                raise ConfigError(
                    f"series {self.slug}: {name}: expected an integer of at least 0, got {value!r}"
                )
        if self.generation not in ("v1", "v2") or (self.neg_risk and self.generation == "v2"):
            raise ConfigError(
                f"series {self.slug}: generation: expected 'v1' or 'v2' (neg-risk: 'v1'), "
                f"got {self.generation!r}"
            )
        if self.tape not in ("full", "light"):
            raise ConfigError(f"series {self.slug}: tape: expected 'full' or 'light', got {self.tape!r}")
        if self.tape == "full" and self.length_s < 90:
            raise ConfigError(
                f"series {self.slug}: expected windows of at least 90 s for full tapes, got {self.length_s}"
            )

    @property
    def is_named(self) -> bool:
        """Windows bear the name of an Eastern hour, not the number of their start."""
        return self.slug.endswith("-updown-1h")

    @property
    def length_s(self) -> int:
        """Seconds of a window."""
        if self.window_s:
            return self.window_s
        found = re.fullmatch(r"[a-z0-9-]+-(\d+)([smhd])", self.slug)
        if found is None or not int(found[1]):
            raise ConfigError(
                f"series: expected a slug such as btc-updown-5m, or window_s, got {self.slug!r}"
            )
        return int(found[1]) * _UNITS_S[found[2]]

    @property
    def listed_s(self) -> int:
        """How long before its start a window is listed."""
        return self.listed_ahead_s or 2 * self.length_s

    @property
    def exchange(self) -> str:
        """The exchange that takes the orders."""
        if self.generation == "v2":
            return "v3"
        return "v2-neg-risk" if self.neg_risk else "v2"

    @property
    def asset(self) -> str:
        """Of which the price is."""
        return asset_of(self.slug)

    @property
    def number(self) -> int:
        """The series' id at Gamma."""
        known = {"btc-updown-15m": 10192}  # the one that is published; the others are ours
        return known.get(self.slug, 20_000 + zlib.crc32(self.slug.encode()) % 10_000)

    def window_slug(self, start_s: int) -> str:
        """The slug of the window that starts then."""
        if not self.is_named:
            return f"{self.slug}-{start_s}"
        hour = dt.datetime.fromtimestamp(start_s, ZoneInfo(_EASTERN))
        clock = f"{hour.hour % 12 or 12}{'am' if hour.hour < 12 else 'pm'}"
        asset = self.slug.removesuffix("-updown-1h")
        name = _NAMES.get(asset, asset)
        return f"{name}-up-or-down-{hour:%B}-{hour.day}-{hour.year}-{clock}-et".lower()

    def start_of(self, time_s: int) -> int:
        """Start of the window in which a time lies: multiples of the length, for four hours Eastern ones."""
        shift_s = 0
        if self.length_s == 14_400:
            offset = dt.datetime.fromtimestamp(time_s, ZoneInfo(_EASTERN)).utcoffset()
            shift_s = int(offset.total_seconds()) if offset is not None else 0
        return (time_s + shift_s) // self.length_s * self.length_s - shift_s


@dataclass(slots=True)
class Window:
    """A market as discovery knows it. Times are nanoseconds of the venue's clock; 0: not yet."""

    market: MarketInfo
    question_id: str
    number: int  # Gamma's id
    listed_ns: int
    ready_ns: int  # the CLOB knows it from here on
    accepts_ns: int
    series: Series | None = None
    session: Session | None = None
    closed_ns: int = 0
    resolved_ns: int = 0
    making: asyncio.Task[tuple[Tape, list[Batch]]] | None = field(default=None, repr=False)

    @property
    def is_closed(self) -> bool:
        """Orders are not taken any more."""
        return bool(self.closed_ns) or (self.session is not None and self.session.exchange.is_closed)

    @property
    def is_resolved(self) -> bool:
        """The winner is known and paid."""
        return bool(self.resolved_ns) or (
            self.session is not None and self.session.exchange.settlement.winner is not None
        )


class Windows:
    """Opens and closes the windows of a server's series; the directory of all its markets.

    `announce(window)` is called when one is listed.
    """

    def __init__(
        self, floor: Floor, series: list[Series], seed: int, announce: Callable[[Window], None]
    ) -> None:
        self._floor = floor
        self.series = list(series)
        self._seed = seed
        self._announce = announce
        self._next_s: dict[int, int] = {}  # by place in the list: start of the next window to be listed
        self._made: dict[int, int] = {}
        self._numbers = itertools.count(5_000_000)
        self._one_at_a_time = asyncio.Semaphore(1)
        self.light: Callable[[MarketInfo, int, int], Tape] = light_tape
        """Makes the tape of a light window from market, seed and the second in which it begins."""
        self.by_condition: dict[str, Window] = {}
        self.rolled = 0  # windows that have come to their end

    def add_tape(self, tape: Tape) -> None:
        """Lists a market that is started by hand."""
        market = tape.market
        self.by_condition[market.condition_id] = Window(
            market,
            tape.meta.get("question_id") or identify(market.slug).question_id,
            next(self._numbers),
            0,
            0,
            0,
        )

    def add(self, series: Series) -> None:
        """One more series, from its present window on."""
        self.series.append(series)

    def find(self, slug: str) -> Window | None:
        """A listed market by its slug."""
        return next((one for one in self.by_condition.values() if one.market.slug == slug), None)

    async def run(self) -> None:
        """Follows the clock for ever."""
        try:
            while True:
                due_ns = await self.step()
                clock = self._floor.clock
                wait_s = _LONGEST_SLEEP_S
                if clock is not None and due_ns is not None:
                    wait_s = min(wait_s, max(0.0, clock.wall_s(due_ns)))
                await asyncio.sleep(wait_s)
        finally:
            for window in self.by_condition.values():
                if window.making is not None:
                    window.making.cancel()

    async def step(self) -> int | None:
        """Does what is due; returns when something is due again (venue time)."""
        if self._floor.clock is None:
            return None
        now_ns = self._floor.now_ns()
        due: list[int] = []
        for place, series in enumerate(self.series):
            due += self._list(place, series, now_ns)
        for window in list(self.by_condition.values()):
            due += self._move(window, now_ns)
        return min(due, default=None)

    def _list(self, place: int, series: Series, now_ns: int) -> list[int]:
        """Lists the windows whose time has come; one whose end is past is passed over."""
        length_s = series.length_s
        start_s = self._next_s.get(place, series.start_of(now_ns // SECOND))
        while not series.count or self._made.get(place, 0) < series.count:
            if (start_s - series.listed_s) * SECOND > now_ns:
                self._next_s[place] = start_s
                return [(start_s - series.listed_s) * SECOND]
            if (start_s + length_s) * SECOND > now_ns:
                self._announce(self._new(series, start_s, now_ns))
                self._made[place] = self._made.get(place, 0) + 1
            else:
                start_s = max(start_s, series.start_of(now_ns // SECOND) - length_s)
            start_s += length_s
        self._next_s[place] = start_s
        return []

    def _new(self, series: Series, start_s: int, now_ns: int) -> Window:
        slug = series.window_slug(start_s)
        named = identify(f"{self._seed} {slug}", series.generation)
        market = MarketInfo(
            slug=slug,
            condition_id=named.condition_id,
            up_token_id=named.up_token_id,
            down_token_id=named.down_token_id,
            start_s=start_s,
            end_s=start_s + series.length_s,
            origin="GENERATED",
            exchange=series.exchange,
        )
        full = [one for one in self.series if one.tape == "full" and one.asset == series.asset]
        if series in full[:1]:
            # The path of one series is the price of its asset: another series has another path.
            market = replace(market, rule="average", average_s=AVERAGE_S, asset=series.asset)
        listed_ns = min(now_ns, start_s * SECOND)
        late = self._floor.faults.armed("hydration")
        hydration_s = series.hydration_s if late is None else late.number("seconds", 60.0)
        window = Window(
            market=market,
            question_id=named.question_id,
            number=next(self._numbers),
            listed_ns=listed_ns,
            ready_ns=listed_ns + int(hydration_s * SECOND),
            accepts_ns=(start_s - series.accepts_ahead_s) * SECOND if series.accepts_ahead_s else 0,
            series=series,
        )
        if series.tape == "full":
            window.making = asyncio.create_task(self._make(window))
        self.by_condition[market.condition_id] = window
        return window

    def _move(self, window: Window, now_ns: int) -> list[int]:
        """What happens to one window now; when something will happen to it next."""
        if window.series is None:
            return []
        if window.session is None and not window.resolved_ns:
            if now_ns < window.ready_ns:
                return [window.ready_ns]
            if window.making is not None and not window.making.done():
                return []
            self._open(window)
        session = window.session
        if session is not None:
            if session.exchange.is_closed and not window.closed_ns:
                window.closed_ns = now_ns
            if session.exchange.settlement.winner is not None and not window.resolved_ns:
                window.resolved_ns = now_ns
            if window.resolved_ns and not session.is_running:
                self._floor.close(session)
                window.session = None
                self.rolled += 1
            else:
                return [max(now_ns + SECOND, window.market.end_s * SECOND)]
        gone_ns = window.resolved_ns + window.series.kept_s * SECOND
        if window.resolved_ns and now_ns >= gone_ns:
            del self.by_condition[window.market.condition_id]
            return []
        return [gone_ns]

    def _open(self, window: Window) -> None:
        assert window.series is not None
        assert self._floor.clock is not None
        batches = None
        if window.making is not None:
            making, window.making = window.making, None
            try:
                tape, batches = making.result()
            except (DataError, OSError) as error:  # its maker has said why on standard error
                print(f"{window.market.slug} could not be made: {error}", file=sys.stderr, flush=True)
                del self.by_condition[window.market.condition_id]
                return
        else:
            tape = self.light(window.market, self._seed, window.listed_ns // SECOND)
        window.market = tape.market
        window.session = self._floor.open(tape, window.accepts_ns, batches, window.question_id)
        window.session.join(self._floor.clock)

    async def _make(self, window: Window) -> tuple[Tape, list[Batch]]:
        """A full tape, made by a process of its own: the venue must not stand still meanwhile."""
        market = window.market
        quiet_s = max(0, market.start_s - _PRE_S - window.listed_ns // SECOND)
        folder = Path(tempfile.mkdtemp(prefix="invmm-window-"))
        try:
            async with self._one_at_a_time:
                told = {
                    "market": {**asdict(market), "winner": None},
                    "seed": identify(market.slug + str(self._seed)).question_id,
                    "quiet_s": quiet_s,
                    "folder": str(folder / "tape"),
                }
                # Not asyncio's subprocess: that depends on the policy of whoever's process this is.
                process = subprocess.Popen(
                    [sys.executable, "-m", "invmm.sim.windows"],
                    stdin=subprocess.PIPE,
                    env=spool.environment(),
                    start_new_session=True,
                )
                try:
                    await asyncio.to_thread(process.communicate, json.dumps(told).encode())
                finally:
                    process.kill()  # at the end of the venue only; otherwise it has ended
                    process.wait()
            tape = await asyncio.to_thread(spool.read, folder / "tape")
            return tape, await asyncio.to_thread(cut, tape, self._floor.profile.feed_latency_ns)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _make_one() -> None:
    """Makes the tape that standard input asks for."""
    from invmm.sim.market import generate

    told = json.loads(sys.stdin.read())
    market = MarketInfo(**told["market"])
    tape = generate(
        int(told["seed"], 16) % (1 << 63),
        start_s=market.start_s,
        window_s=market.end_s - market.start_s,
        pre_s=_PRE_S,
        market=market,
        quiet_s=told["quiet_s"],
    )
    spool.write(tape, Path(told["folder"]))


if __name__ == "__main__":
    _make_one()
