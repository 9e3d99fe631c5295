"""Whether new risk may be taken: only while what the venue lists about us is known, never after an alarm."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from enum import StrEnum

from invmm.types import Mode


class Response(StrEnum):
    """What an alarm does besides being told."""

    TELL = "tell"  # nothing: whatever must stop has stopped, or nothing must
    LATCH = "latch"  # kill level 1: no new risk until a person has looked


class AlarmKind(StrEnum):
    """What an alarm is about: a stable word for whoever is told; the text beside it is for people."""

    response: Response

    def __new__(cls, word: str, response: Response) -> AlarmKind:
        kind = str.__new__(cls, word)
        kind._value_, kind.response = word, response
        return kind

    TASK = "task", Response.LATCH  # a task of the engine has failed
    SETTLEMENT = "settlement", Response.LATCH  # shares and dollars do not add up, or the chain has others
    GAS = "gas", Response.TELL  # the account can hardly pay for its transactions: pairs stay pairs
    EXECUTOR = "executor", Response.LATCH  # failed, silent, or the venue takes no new orders from us
    FEED = "feed", Response.LATCH  # a feed has stopped for good: refused with 401 or 403, or failed
    JOURNAL = "journal", Response.LATCH  # nothing can be written any more
    RECONCILE = "reconcile", Response.LATCH  # what the venue lists could not be dealt with
    FOREIGN_ORDER = "foreign_order", Response.LATCH  # an open order is not ours
    FILLS = "fills", Response.LATCH  # the venue has other fills of an order, for ten seconds
    BALANCE = "balance", Response.LATCH  # the venue has another balance, for ten seconds
    EVIDENCE = "evidence", Response.LATCH  # what was told of an order or fill cannot be
    CLOCK = "clock", Response.LATCH  # the venue's clock is more than 5 s from ours: fences do not hold
    CLOCK_DRIFT = "clock_drift", Response.TELL  # … more than 1 s
    RECOVERY = "recovery", Response.LATCH  # the start-up sequence met what it cannot resolve
    REAPER = "reaper", Response.LATCH  # no reaper watches over live trading
    KILL = "kill", Response.LATCH  # the kill switch: a limit, a breaker, or a person
    NOT_VERIFIED = "not_verified", Response.TELL  # level 2 holds, and the venue still lists orders
    MARKET_LOSS = "market_loss", Response.TELL  # one market has lost its limit: it is barred, others go on


class Permission:
    """The engine's mode and why it is that.

    PAUSED from the start until the first reconciliation, and whenever something may have been missed. An
    alarm whose kind says so (`AlarmKind.response`), or a kill level, keeps it PAUSED until a person has
    lifted it. STOPPED is final. Cancels are always possible.

    Parameters
    ----------
    announce : callable
        Told each new mode.
    say : callable
        Told, in words, what people should know.

    Examples
    --------
    >>> permission = Permission(lambda mode: None, print)
    >>> permission.reconciled(0)
    >>> permission.mode
    <Mode.RUNNING: 0>
    >>> permission.alarm("an open order is not ours", AlarmKind.FOREIGN_ORDER)
    ALARM: an open order is not ours
    >>> permission.reconciled(2)
    reconciled with the venue: 2 fills had been missed; not quoting because of an alarm
    >>> permission.mode
    <Mode.PAUSED: 1>
    """

    def __init__(self, announce: Callable[[Mode], object], say: Callable[[str], object]) -> None:
        self.mode = Mode.PAUSED
        self.alarms: deque[str] = deque(maxlen=200)  # oldest first
        self.latched: deque[str] = deque(maxlen=200)  # … those that forbid new risk
        self.say = say
        self.kinds: Counter[AlarmKind] = Counter()
        self.on_alarm: Callable[[str, AlarmKind], object] = lambda _text, _kind: None
        """Told of each alarm: where it is latched."""
        self.hook: Callable[[str, str], object] = lambda _kind, _text: None
        """Told kind and text of each alarm: how people hear of it. Must not block."""
        self._blocks: dict[str, str] = {}  # by whom: why nothing may be quoted however well all is known
        self._announce = announce
        self._began = False
        self._forbidden = False

    def pause(self, why: str) -> None:
        """Pulls every quote until a reconciliation has succeeded."""
        if self.mode == Mode.RUNNING:
            self.say(why)
            self._set(Mode.PAUSED)

    def reconciled(self, fills: int) -> None:
        """What the venue lists is known, and `fills` of it were news: quotes may go on."""
        if self.mode != Mode.PAUSED:
            return
        said = f"reconciled with the venue: {fills} fills had been missed; "
        if self._forbidden:
            self.say(said + "not quoting because of an alarm")
            return
        if self.blocked:
            self.say(said + f"not quoting: {self.blocked}")
            return
        if self._began or fills:
            self.say(said + "quoting again" if self._began else said + "quoting")
        self._began = True
        self._set(Mode.RUNNING)

    @property
    def blocked(self) -> str:
        """Why nothing may be quoted however well all is known; empty if nothing speaks against it."""
        return next(iter(self._blocks.values()), "")

    def block(self, why: str, by: str = "") -> None:
        """Pulls every quote until `unblock(by)` and a reconciliation after it."""
        self._blocks[by] = why
        if self.mode == Mode.RUNNING:
            self.say(f"quotes pulled: {why}")
            self._set(Mode.PAUSED)

    def unblock(self, by: str = "") -> None:
        """Unless somebody else blocks, the next reconciliation lets quotes go on."""
        self._blocks.pop(by, None)

    def alarm(self, text: str, kind: AlarmKind) -> None:
        """Something that a person must hear of. What else it does is the kind's `response`."""
        self.alarms.append(text)
        self.kinds[kind] += 1
        self.hook(kind, text)
        self.say(f"ALARM: {text}")
        if kind.response is Response.LATCH:
            self.latched.append(text)
            self.forbid()
        self.on_alarm(text, kind)

    def forbid(self) -> None:
        """No new risk until `lift`."""
        self._forbidden = True
        if self.mode == Mode.RUNNING:
            self._set(Mode.PAUSED)

    @property
    def is_forbidden(self) -> bool:
        """Whether an alarm or a kill level forbids new risk, and nobody has lifted that."""
        return self._forbidden

    def lift(self) -> None:
        """A person has looked: the next reconciliation may let quotes go on."""
        self._forbidden = False

    def stop(self) -> None:
        """For good."""
        self._set(Mode.STOPPED)

    def _set(self, mode: Mode) -> None:
        self.mode = mode
        self._announce(mode)
