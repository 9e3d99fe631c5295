"""Whether new risk may be taken: only while what the venue lists about us is known, never after an alarm."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from enum import StrEnum

from invmm.types import Mode


class AlarmKind(StrEnum):
    """What an alarm is about: a stable word for whoever is told; the text beside it is for people."""

    TASK = "task"  # a task of the engine has failed
    SETTLEMENT = "settlement"  # shares and dollars do not add up, or the chain shows other shares
    EXECUTOR = "executor"  # it has failed, is silent, or the venue takes no new orders from us
    FEED = "feed"  # a feed has stopped for good
    JOURNAL = "journal"  # nothing can be written any more
    RECONCILE = "reconcile"  # what the venue lists could not be dealt with
    FOREIGN_ORDER = "foreign_order"  # an open order is not ours
    FILLS = "fills"  # the venue has other fills of an order
    BALANCE = "balance"  # the venue has another balance
    EVIDENCE = "evidence"  # what was told of an order or fill cannot be
    CLOCK = "clock"  # the venue's clock is far from ours
    RECOVERY = "recovery"  # the start-up sequence met what it cannot resolve
    REAPER = "reaper"  # no reaper watches over live trading
    KILL = "kill"  # the kill switch: a limit, a breaker, or a person
    NOT_VERIFIED = "not_verified"  # cancelled, and the venue still lists orders


class Permission:
    """The engine's mode and why it is that.

    PAUSED from the start until the first reconciliation, and whenever something may have been missed. An
    alarm, or a kill level, keeps it PAUSED until a person has lifted it. STOPPED is final. Cancels are always
    possible.

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
        self.alarms: deque[str] = deque(maxlen=200)  # oldest first; any of them forbids new risk
        self.say = say
        self.kinds: Counter[AlarmKind] = Counter()
        self.on_alarm: Callable[[str], object] = lambda _: None
        """Told of each alarm: where it is latched."""
        self.hook: Callable[[str, str], object] = lambda _kind, _text: None
        """Told kind and text of each alarm: how people hear of it. Must not block."""
        self.blocked = ""  # why nothing may be quoted however well all is known
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

    def block(self, why: str) -> None:
        """Pulls every quote until `unblock` and a reconciliation after it."""
        self.blocked = why
        if self.mode == Mode.RUNNING:
            self.say(f"quotes pulled: {why}")
            self._set(Mode.PAUSED)

    def unblock(self) -> None:
        """The next reconciliation lets quotes go on."""
        self.blocked = ""

    def alarm(self, text: str, kind: AlarmKind) -> None:
        """Something that a person must look at: no new risk any more, cancels only."""
        self.alarms.append(text)
        self.kinds[kind] += 1
        self.hook(kind, text)
        self.say(f"ALARM: {text}")
        self.forbid()
        self.on_alarm(text)

    def forbid(self) -> None:
        """No new risk until `lift`."""
        self._forbidden = True
        if self.mode == Mode.RUNNING:
            self._set(Mode.PAUSED)

    def lift(self) -> None:
        """A person has looked: the next reconciliation may let quotes go on."""
        self._forbidden = False

    def stop(self) -> None:
        """For good."""
        self._set(Mode.STOPPED)

    def _set(self, mode: Mode) -> None:
        self.mode = mode
        self._announce(mode)
