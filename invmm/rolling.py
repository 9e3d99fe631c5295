"""From one window to the next: a series is followed by the clock, its windows opened before they start and
closed after they have ended.

    look for it ─▶ checked listing ─▶ open, held ─▶ start: quoted ─▶ end ─▶ settled ─▶ handed over, closed
     (thread)                    (subscribed, signer prepared)

Quoting ends before the close by the step's own guard (`[engine] stop_before_end_ms`). A window that is over
stays open until no order of it can be alive and its fills are final, or until `[market] settle_wait_s` has
passed; with an order that may still be alive it stays open beyond that, and says so. One of an earlier
session stays open until its fills have been listed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from invmm.clock import NS, LiveClock
from invmm.errors import ConfigError, InvmmError, origin_of
from invmm.market import Market
from invmm.replay.tape import MarketInfo
from invmm.settings import Settings
from invmm.settlement.handover import Residue, SettlementQueue, merger_of, residue_of, unsettled
from invmm.types import Outcome
from invmm.venue.listing import LABELS, Found
from invmm.venue.series import Series, Window

TURN_NS = NS // 4
SHORTEST_TURN_S = 0.01  # real seconds
LAST_WORD_S = 10  # the engine unsubscribes then
REMEMBERED = 64  # names of windows that are done with
UP_LABELS = frozenset(up for up, _ in LABELS)


class Desk(Protocol):
    """What trades the windows: `Engine`, live or on paper."""

    settings: Settings
    markets: dict[int, Market]

    def open_market(self, info: MarketInfo, *, held: bool = False) -> Market: ...

    def hold(self, number: int, held: bool) -> None: ...

    def settle(self, number: int, winner: Outcome, now_ns: int) -> None: ...

    async def close_market(self, number: int) -> Market: ...


@dataclass
class Rolled:
    """Counts of a roller."""

    opened: int = 0
    closed: int = 0
    skipped: int = 0  # windows that were not tradable or found too late
    late: int = 0  # opened only after they had started
    recovered: int = 0  # of an earlier session, taken over


@dataclass
class _Search:
    """A window that is being looked for."""

    window: Window
    again_s: float = 0.0  # engine time
    said: str = ""
    task: asyncio.Task[Found] | None = field(default=None, repr=False)


class Roller:
    """Rolls a desk through a series.

    Parameters
    ----------
    desk : Desk
        A running engine.
    clock : LiveClock
        The engine's.
    find : callable(window) -> Found
        Asks the venue about one window; called on a thread of its own, since it takes its time
        (`Discovery.window_blocking`).
    series : Series
        What to trade.
    settlement : SettlementQueue
        Where ended windows go.
    windows : int
        So many are traded, 0: without end.
    say : callable, optional
        Told what people should know.
    alarm : callable, optional
        Told what a person must look at before new risk is taken; `say` if omitted.
    on_close : callable(market, residue), optional
        Told of each window just before its market is released, or left behind by a stop.
    """

    def __init__(
        self,
        desk: Desk,
        clock: LiveClock,
        find: Callable[[Window], Found],
        series: Series,
        settlement: SettlementQueue,
        *,
        windows: int = 0,
        say: Callable[[str], object] = lambda _: None,
        alarm: Callable[[str], object] | None = None,
        on_close: Callable[[Market, Residue], object] = lambda _, __: None,
    ) -> None:
        self.desk = desk
        self.clock = clock
        self.series = series
        self.settlement = settlement
        self.counts = Rolled()
        self._find = find
        self._limit = windows
        self._say = say
        self._alarm = alarm or say
        self._on_close = on_close
        self._merger = merger_of(desk.settings.strategy)
        self._searches: dict[Window, _Search] = {}
        self._done: dict[Window, None] = {}
        self._open: dict[int, Window] = {}
        self._complained: set[int] = set()
        self._resolutions: dict[
            int, _Search
        ] = {}  # of ended windows whose orders only the winner proves dead

    async def run(self, stopping: asyncio.Event) -> None:
        """Rolls until told to stop, or until the last window that is wanted has been handed over.

        What the desk has open already is of an earlier session (`execution/recovery.py`) and is taken over.
        """
        for market in self.desk.markets.values():
            self.take_over(market)
        try:
            while not stopping.is_set() and not await self.turn():
                wait_s = max(SHORTEST_TURN_S, self.clock.wall_s(TURN_NS))
                try:
                    await asyncio.wait_for(stopping.wait(), wait_s)
                except TimeoutError:
                    continue
        finally:
            searches = (*self._searches.values(), *self._resolutions.values())
            tasks = [search.task for search in searches if search.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._searches.clear()

    def hand_over_rest(self) -> None:
        """After the engine has stopped: what is still open goes to settlement as it is."""
        for number in list(self._open):
            market = self.desk.markets.get(number)
            if market is not None:
                self._hand_over(market)
            del self._open[number]

    def take_over(self, market: Market) -> None:
        """A window of an earlier session that the engine has open again: it is followed to its end."""
        info, single = market.info, self.series.single
        is_single = single is not None and single.slug == info.slug
        window = single if single is not None and is_single else Window(info.slug, info.start_s, info.end_s)
        self._open[market.number] = window
        self.counts.recovered += 1

    async def turn(self) -> bool:
        """Does what is due; whether there is nothing left to do, ever."""
        now_s = self.clock.now_ns() / NS
        for window in self._wanted(now_s):
            self._searches[window] = _Search(window)
        for search in list(self._searches.values()):
            self._look(search, now_s)
        for number in list(self._open):
            await self._follow(self.desk.markets[number], now_s)
        if self._searches or self._open:
            return False
        if self.series.single is not None:
            return self.series.single in self._done
        return bool(self._limit) and self._begun >= self._limit

    @property
    def _begun(self) -> int:
        return self.counts.opened + self.counts.skipped + len(self._searches)

    def _wanted(self, now_s: float) -> list[Window]:
        """Windows that should be looked for from now on."""
        market = self.desk.settings.market
        ahead = 2 + int(market.open_before_s // max(1, self.series.length_s or 1 << 31))
        wanted: list[Window] = []
        for window in self.series.windows(now_s, ahead):
            known = window in self._searches or window in self._done or window in self._open.values()
            if known or (window.start_s and now_s < window.start_s - market.open_before_s):
                continue
            if self._limit and self._begun + len(wanted) >= self._limit:
                break
            if self._is_too_late(window, now_s):
                self._finish(window)  # the rest of a running window is too short to be traded
            elif not self.settlement.is_full:
                wanted.append(window)
        return wanted

    def _is_too_late(self, window: Window, now_s: float) -> bool:
        last_s = window.end_s - self.desk.settings.engine.stop_before_end_ms / 1000
        return bool(window.end_s) and now_s >= last_s

    def _look(self, search: _Search, now_s: float) -> None:
        window = search.window
        if search.task is None:
            if self._is_too_late(window, now_s):
                self._skip(search, "not traded: it was not tradable in time")
            elif now_s >= search.again_s:
                ask = asyncio.to_thread(self._find, window)
                search.task = asyncio.get_running_loop().create_task(ask, name=f"find {window.slug}")
            return
        if not search.task.done():
            return
        task, search.task = search.task, None
        search.again_s = now_s + self.desk.settings.market.search_every_s
        try:
            found = task.result()
        except InvmmError as error:
            self._complain(search, f"looking for it failed: {error}")
            return
        except Exception as error:  # nobody has foreseen it
            self._complain(search, f"looking for it failed: {origin_of(error)}", self._alarm)
            return
        if found.tradable:
            self._begin(search, found, now_s)
        elif all(refusal.passes for refusal in found.refusals):
            self._complain(search, "; ".join(map(str, found.refusals)))
        else:
            self._skip(search, "not traded: " + "; ".join(map(str, found.refusals)))

    def _begin(self, search: _Search, found: Found, now_s: float) -> None:
        info = found.require()
        if self._is_too_late(found.window, now_s):
            self._skip(search, "not traded: it is over")
            return
        try:
            market = self.desk.open_market(info, held=self._is_early(info, now_s))
        except ConfigError as error:  # every number is in use
            self._complain(search, str(error))
            return
        self.counts.opened += 1
        self.counts.late += now_s > info.start_s
        self._open[market.number] = search.window
        del self._searches[search.window]
        self._say(f"{info.slug}: opened {info.start_s - now_s:+.1f} s before its start")

    def _is_early(self, info: MarketInfo, now_s: float) -> bool:
        return now_s < info.start_s - self.desk.settings.market.quote_before_s

    async def _follow(self, market: Market, now_s: float) -> None:
        """Starts the quoting of an open window, or closes it when it is done with."""
        if market.held and not self._is_early(market.info, now_s):
            self.desk.hold(market.number, False)
        if now_s < market.info.end_s + LAST_WORD_S or market.unlisted:
            return
        alive = market.step.registry.counts()["live"]
        waited = now_s >= market.info.end_s + self.desk.settings.market.settle_wait_s
        if alive:
            self._ask_winner(market, now_s)
            if waited and market.number not in self._complained:
                self._complained.add(market.number)
                self._say(f"{market.info.slug}: kept open, {alive} orders may still be alive")
            return
        if unsettled(market.ledger) and not waited:
            return
        self._complained.discard(market.number)
        self._resolutions.pop(market.number, None)
        self._finish(self._open.pop(market.number))
        self._hand_over(market)
        self.counts.closed += 1
        await self.desk.close_market(market.number)

    def _ask_winner(self, market: Market, now_s: float) -> None:
        """An order without a date that nobody answered for may live until its market is resolved."""
        if market.winner is not None:
            return
        search = self._resolutions.setdefault(market.number, _Search(self._open[market.number]))
        if search.task is None:
            if now_s >= search.again_s:
                ask = asyncio.to_thread(self._find, search.window)
                search.task = asyncio.get_running_loop().create_task(ask, name=f"resolve {market.info.slug}")
            return
        if not search.task.done():
            return
        task, search.task = search.task, None
        search.again_s = now_s + self.desk.settings.market.search_every_s
        try:
            winner = task.result().winner
        except InvmmError as error:
            self._complain(search, f"the winner could not be asked for: {error}")
            return
        if winner:
            outcome = Outcome.UP if winner in UP_LABELS else Outcome.DOWN
            self.desk.settle(market.number, outcome, self.clock.now_ns())

    def _hand_over(self, market: Market) -> None:
        residue = residue_of(market, self._merger, self.clock.now_ns())
        self.settlement.put(residue)
        self._say(_words(residue))
        self._on_close(market, residue)

    def _complain(self, search: _Search, text: str, tell: Callable[[str], object] | None = None) -> None:
        """Says why a window is not there yet, once per reason."""
        if text != search.said:
            search.said = text
            (tell or self._say)(f"{search.window.slug or search.window.condition_id}: {text}")

    def _skip(self, search: _Search, text: str) -> None:
        self._complain(search, text)
        self.counts.skipped += 1
        del self._searches[search.window]
        self._finish(search.window)

    def _finish(self, window: Window) -> None:
        self._done[window] = None
        while len(self._done) > REMEMBERED:
            del self._done[next(iter(self._done))]


def _words(residue: Residue) -> str:
    merge = residue.merge
    decision = f"merge {merge.pairs_to_merge:g} pairs" if merge.should_merge else f"no merge ({merge.reason})"
    waiting = f", {residue.unsettled} fills not final" if residue.unsettled else ""
    return (
        f"{residue.info.slug}: closed with {residue.up_micro / 1e6:g} Up, {residue.down_micro / 1e6:g} Down; "
        f"{decision}{waiting}"
    )
