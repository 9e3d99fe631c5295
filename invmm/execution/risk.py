"""Limits over all markets of one account, losses, triggers, kill level: what an engine asks on its timer.

    results ────▶ Breakers ─┐
    ledgers ────▶ losses ───┼─▶ kill level ─▶ gate (SharedWords), permission, account, kill file, alarm
    kill file, commands ────┘        └ 2: cancel all and verify    3: … and the session ends
    venue's balance ─▶ Account (`_ext/account`): asked by every market for every placement

What an alarm does is its kind's (`permission.AlarmKind`): told, or level 1.

A market that lost more than `max_loss_market_dollars` stops quoting; a day that lost more than
`max_loss_day_dollars` raises the level to 1. What is used up is kept in `risk.json` for the next start.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Protocol

from invmm._ext.account import Account
from invmm.errors import InvmmError
from invmm.execution.breakers import Breakers
from invmm.execution.kill import KillLevel, KillSwitch
from invmm.execution.losses import DayLoss, Kept, worst_micro
from invmm.execution.risk_file import LatestWriter, RiskRecord, day_of, load, replace_file
from invmm.permission import AlarmKind, Permission, Response
from invmm.settings import RiskSettings, Settings
from invmm.settlement.ledger import E10_PER_MICRO_DOLLAR, Ledger
from invmm.types import MICRO, Outcome, Reason

if TYPE_CHECKING:
    from invmm._ext.words import SharedWords
    from invmm.clock import LiveClock
    from invmm.execution.state import StateFolder
    from invmm.market import Market

SECOND = 1_000_000_000
SAVE_EVERY_NS = SECOND // 4  # real time
PARKED_S = 86_400  # a market that nobody told the winner of
SAMPLES = 400  # of what was settled, one per turn of the timer
ASK_AGAIN_S, ASK_LATER_S = 0.25, 5.0
PATIENCE_S = 10.0
CLEAN_LISTINGS = 2  # an order on its way when the cancel came shows up in the second
FIRST_DAY = "first-1000"


class RiskyVenue(Protocol):
    """What is told and asked of a venue."""

    @property
    def words(self) -> SharedWords: ...

    async def cancel_all(self) -> Any: ...

    async def open_order_count(self) -> int: ...


class Risk:
    """The risk of one engine. Engine thread.

    Parameters
    ----------
    settings : Settings
    permission : Permission
        Is told of every level; its alarms raise the level to 1.
    say : callable
        Told, in words, what people should know.
    markets : mapping
        Number → market, as the engine trades them; may change.
    """

    def __init__(
        self,
        settings: Settings,
        permission: Permission,
        say: Callable[[str], object],
        markets: Mapping[int, Market],
    ) -> None:
        risk = settings.risk
        self.account = Account(
            _e10(risk.max_total_dollars),
            _e10(risk.reserve_dollars),
            risk.max_total_orders,
            risk.orders_per_minute,
        )
        self.switch = KillSwitch(None, say)
        self.breakers = Breakers(risk)
        self.trips: Counter[str] = Counter()
        """How often each trigger raised the level, by name of its Reason."""
        self._day: DayLoss | None = None  # the first turn of the timer knows which
        self._risk = risk
        self._permission = permission
        self._say = say
        self._markets = markets
        self._venue: RiskyVenue | None = None
        self._resume: Callable[[], object] = lambda: None
        self._file: LatestWriter | None = None
        self._record = RiskRecord(0)
        self._saved = b""
        self._save_ns = 0
        self._now_ns = 0  # of the last turn of the timer
        self._seen: dict[int, int] = {}  # number → changes of the ledger at the last look
        self._settled: deque[tuple[int, int]] = deque(maxlen=SAMPLES)
        self._undecided: dict[
            str, tuple[Ledger, int]
        ] = {}  # of closed markets: ledger, unix second of the end
        self._verifying: asyncio.Task[None] | None = None
        permission.on_alarm = self._alarmed

    @property
    def level(self) -> KillLevel:
        """The kill level."""
        return self.switch.level

    @property
    def is_over(self) -> bool:
        """Level 3: the session is to end."""
        return self.level >= KillLevel.END

    @property
    def loss_day_micro(self) -> int:
        """Loss of this UTC day at worst, micro-dollars."""
        return 0 if self._day is None else self._day.micro

    def open(
        self,
        clock: LiveClock,
        venue: RiskyVenue,
        state: StateFolder | None = None,
        resume: Callable[[], object] = lambda: None,
    ) -> None:
        """Begins: takes over what the folder says was used up, and its kill level.

        Parameters
        ----------
        clock : LiveClock
            Engine time; also how fast it goes, since a venue's slowness is real time.
        venue : RiskyVenue
            Gets the level in its `words`; asked at level 2.
        state : StateFolder, optional
            Without one nothing is kept.
        resume : callable, optional
            Has the venue asked for everything, after which quotes go on: called when the level is lifted.

        Raises
        ------
        ConfigError
            `risk.json` is not what an engine wrote.
        """
        now_ns = clock.now_ns()
        self._venue, self._resume = venue, resume
        self.breakers = Breakers(self._risk, clock.scale)
        self._day = DayLoss(day_of(now_ns))
        if state is not None:
            self._record = load(state.risk) or RiskRecord(day_of(now_ns))
            self._take_over(self._record, now_ns)
            self._file = LatestWriter(state.risk)
            self.switch = KillSwitch(state.kill, self._say)
            if self._record.kill_level > self.level and not self.switch.record.released:
                self.switch.up(self._record.kill_level, "it was raised before the restart", "risk.json")
        for market in self._markets.values():
            self.market_opened(market)
        if self.level:
            self._apply(f"still at kill {self.switch.record}; `invmm kill --release` lifts it")

    def _take_over(self, record: RiskRecord, now_ns: int) -> None:
        assert self._day is not None
        self._day = DayLoss(record.day, before=dict(record.markets))
        self._day.turn(day_of(now_ns))
        times = [(s + 1) * SECOND for s, count in record.recent_s for _ in range(count)]
        self.account.remember(sorted(times))
        record.parked = {m: left for m, left in record.parked.items() if left[1] > now_ns // SECOND}
        self.account.park_e10(sum(amount for amount, _ in record.parked.values()))

    def close(self, verified: bool) -> None:
        """Ends: writes the last figures; `verified` says whether the venue proved that no order is open."""
        if self._verifying is not None:
            self._verifying.cancel()
        if self.level >= KillLevel.CANCEL_ALL:
            self.switch.verify(verified)
        if self._file is not None:
            self._save(time.monotonic_ns(), at_once=True)
            self._file.close()

    # ---- markets -------------------------------------------------------------------------------------------

    def market_opened(self, market: Market) -> None:
        """A market is traded from now on."""
        self.account.bar(market.number, Reason.NONE)
        self._seen[market.number] = -1

    def market_closed(self, market: Market) -> None:
        """A market is not traded any more: what it has committed stays so until its winner is known."""
        self._judge(market)
        self._seen.pop(market.number, None)
        left_e10 = self.account.park(market.number)
        if market.winner is not None:
            self.account.release(left_e10)
            return
        name, end_s = _name(market), market.info.end_s
        self._undecided[name] = (market.ledger, end_s)
        self._record.parked[name] = (left_e10, end_s + PARKED_S)

    def resolved(self, condition_id: str, winner: Outcome) -> None:
        """The winner of a closed market: its shares are dollars now, or nothing."""
        amount_e10, _ = self._record.parked.pop(condition_id, (0, 0))
        self.account.release(amount_e10)
        if self._day is not None and condition_id in self._undecided:
            ledger, end_s = self._undecided.pop(condition_id)
            self._day.told(condition_id, _kept(ledger, winner, end_s))

    def _judge(self, market: Market) -> None:
        """A market's loss at worst, from its ledger."""
        if self._day is None:
            return
        self._day.told(_name(market), _kept(market.ledger, market.winner, market.info.end_s))
        loss = self._day.loss_of(_name(market))
        if loss > self._risk.max_loss_market_dollars * MICRO and not market.barred:
            market.barred = Reason.LOSS_MARKET
            self.account.bar(market.number, Reason.LOSS_MARKET)
            self.trips[Reason.LOSS_MARKET.name] += 1
            text = (
                f"{market.info.slug} is not quoted any more: its loss at worst is {loss / MICRO:.2f} "
                f"dollars, expected at most {self._risk.max_loss_market_dollars:g}"
            )
            self._permission.alarm(text, AlarmKind.MARKET_LOSS)

    def _forget(self, now_s: int) -> None:
        """Closed markets whose winner nobody told for a day."""
        for name, (amount_e10, until_s) in list(self._record.parked.items()):
            if now_s > until_s:
                self.account.release(amount_e10)
                del self._record.parked[name]
                self._undecided.pop(name, None)

    # ---- the timer -----------------------------------------------------------------------------------------

    def heard(self, record: Any) -> None:
        """One result of the executor."""
        self.breakers.heard(record)

    def cash_told(self, cash_micro: int, asked_ns: int) -> None:
        """The collateral that the venue told; what was settled since it was asked is taken off again."""
        settled_e10 = next((e10 for at_ns, e10 in self._settled if at_ns >= asked_ns), None)
        if settled_e10 is None:
            settled_e10 = self.account.figures()["settled_e10"] or 0
        self.account.set_cash(cash_micro * E10_PER_MICRO_DOLLAR, settled_e10)

    def tick(self, now_ns: int) -> list[Market]:
        """One turn of the engine's timer; markets that are barred since the last one."""
        self._now_ns = now_ns
        if self._day is None:
            self._day = DayLoss(day_of(now_ns))
        if self.switch.poll():
            self._apply(f"kill {self.switch.record}")
        if day_of(now_ns) > self._day.number:
            self._day.turn(day_of(now_ns))
            self._forget(now_ns // SECOND)
        changed = [m for n, m in self._markets.items() if self._seen.get(n) != m.changes]
        open_before = [market for market in changed if not market.barred]
        for market in changed:
            self._seen[market.number] = market.changes
            self._judge(market)
        for trip in self.breakers.look(now_ns, [market.ledger for market in changed]):
            self.trips[trip.reason.name] += 1
            self.kill(KillLevel.NO_NEW_RISK, trip.text, trip.reason.name)
        if self._day.micro > self._risk.max_loss_day_dollars * MICRO:
            self._trip(
                Reason.LOSS_DAY,
                f"the loss of this day at worst is {self._day.micro / MICRO:.2f} dollars, expected at most "
                f"{self._risk.max_loss_day_dollars:g}",
            )
        if self._venue is not None and (stop := self._venue.words.journal_stop):
            self._trip(Reason(stop), "the journal cannot be written")
        if self._file is not None and self._file.error:
            self._trip(Reason.STATE_LOST, f"limits would not survive a restart: {self._file.error}")
        settled_e10 = self.account.figures()["settled_e10"] or 0
        self._settled.append((now_ns, settled_e10))
        self._save(time.monotonic_ns())
        return [market for market in open_before if market.barred]

    def _trip(self, reason: Reason, text: str) -> None:
        if self.level < KillLevel.NO_NEW_RISK:
            self.trips[reason.name] += 1
            self.kill(KillLevel.NO_NEW_RISK, text, reason.name)

    # ---- kill ----------------------------------------------------------------------------------------------

    def kill(self, level: int, why: str, by: str = "api") -> None:
        """Raises the kill level; a lower one than the present changes nothing."""
        if self.switch.up(level, why, by):
            self._apply(f"kill {self.switch.record}")

    def _alarmed(self, text: str, kind: AlarmKind) -> None:
        """An alarm, latched if its kind says so."""
        if kind.response is Response.LATCH and self.switch.up(KillLevel.NO_NEW_RISK, text, "alarm"):
            self._apply("")

    def _apply(self, text: str) -> None:
        """Makes the present level felt everywhere."""
        level = self.level
        if self._venue is not None:
            self._venue.words.kill = level
        self.account.bar_all(Reason.KILLED if level else Reason.NONE)
        if level == KillLevel.NONE:
            self.breakers.reset(self._now_ns)
            self._permission.lift()
            self._say(text)
            self._resume()
            return
        self._permission.forbid()
        if text:
            self._permission.alarm(text, AlarmKind.KILL)
        is_verifying = self._verifying is not None and not self._verifying.done()
        if level == KillLevel.CANCEL_ALL and self._venue is not None and not is_verifying:
            self._verifying = asyncio.get_running_loop().create_task(self._cancel_and_verify(self._venue))

    async def _cancel_and_verify(self, venue: RiskyVenue) -> None:
        """Cancels and asks until the venue lists nothing twice in a row and nothing may be alive."""
        loop = asyncio.get_running_loop()
        began_s, clean, told = loop.time(), 0, False
        while self.level >= KillLevel.CANCEL_ALL:
            try:
                if clean == 0:
                    await venue.cancel_all()
                listed = await venue.open_order_count()
                alive = sum(m.step.registry.counts()["live"] for m in self._markets.values())
                clean = clean + 1 if listed == alive == 0 else 0
                problem = f"the venue lists {listed} orders, {alive} may be alive"
            except InvmmError as error:
                clean, problem = 0, str(error)
            if clean == CLEAN_LISTINGS:
                self.switch.verify(True)
                self._say("kill level 2: verified, the venue lists no open order and none may be alive")
                return
            late = loop.time() - began_s > PATIENCE_S
            if late and not told:
                told = True
                self.switch.verify(False)
                self._permission.alarm(
                    f"kill level 2 is not verified after {PATIENCE_S:g} s: {problem}", AlarmKind.NOT_VERIFIED
                )
            await asyncio.sleep(ASK_LATER_S if late else ASK_AGAIN_S)

    # ---- what is kept --------------------------------------------------------------------------------------

    def _save(self, real_ns: int, *, at_once: bool = False) -> None:
        if self._file is None or self._day is None or (real_ns < self._save_ns and not at_once):
            return
        record = self._record
        record.day, record.kill_level = self._day.number, int(self.level)
        record.markets = self._day.all()
        record.recent_s = self.account.recent()
        content = record.as_json()
        self._save_ns = real_ns + SAVE_EVERY_NS
        if content != self._saved:
            self._saved = content
            self._file.put(content)

    def summary(self) -> dict[str, Any]:
        """For reports and views."""
        figures = self.account.figures()
        return {
            "kill_level": int(self.level),
            "kill_why": self.switch.record.why,
            "loss_day": self.loss_day_micro / MICRO,
            "committed": (figures["committed_e10"] or 0) / E10_PER_MICRO_DOLLAR / MICRO,
            "orders": figures["orders"],
            "refusals": self.account.refusals(),
            "trips": dict(self.trips),
        }


def first_day_refusals(settings: Settings, state: StateFolder, now_ns: int | None = None) -> list[str]:
    """What speaks against arming these settings on this folder's first UTC day, in words; often nothing.

    On that day nothing may be larger than what `first-1000` allows. `now_ns`: unix time, now if omitted.

    Raises
    ------
    ConfigError
        `risk.json` is not what an engine wrote.
    """
    today = day_of(time.time_ns() if now_ns is None else now_ns)
    record = load(state.risk)
    if record is not None and record.first_armed_day is not None and record.first_armed_day < today:
        return []
    ceilings = Settings.load(FIRST_DAY)
    pairs = [("strategy", "order_size"), ("strategy", "num_levels")]
    pairs += [("risk", f.name) for f in fields(RiskSettings) if f.name not in NO_CEILING]
    refusals = []
    for table, name in pairs:
        found, most = (getattr(getattr(each, table), name) for each in (settings, ceilings))
        if found > most:
            refusals.append(
                f"[{table}] {name}: expected at most {most:g} on the first day that {state.path} is armed, "
                f"found {found:g}"
            )
    return refusals


NO_CEILING = ("reserve_dollars", "max_failed_percent", "max_ack_ms")
"""Larger is not more risk, or not by much."""


def arm(state: StateFolder, now_ns: int | None = None) -> None:
    """Notes in the folder that it is armed today, if it was never before. ConfigError; before `Risk.open`."""
    today = day_of(time.time_ns() if now_ns is None else now_ns)
    record = load(state.risk) or RiskRecord(today)
    if record.first_armed_day is None:
        record.first_armed_day = today
        replace_file(state.risk, record.as_json())


def _e10(dollars: float) -> int:
    return round(dollars * MICRO) * E10_PER_MICRO_DOLLAR


def _kept(ledger: Ledger, winner: Outcome | None, end_s: int) -> Kept:
    return Kept(worst_micro(ledger, winner), len(ledger.legs), day_of(end_s * SECOND))


def _name(market: Market) -> str:
    return market.info.condition_id or market.info.slug
