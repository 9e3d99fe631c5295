"""Alarms that pause: a venue that is slow, settlements that fail. They come and go without anybody's doing.

Quotes are pulled for PAUSE_S and come back after the venue has been asked for everything. What comes back as
often as OFTEN within AGAIN_S is no weather any more: it raises the kill level, and a person looks.
"""

from __future__ import annotations

from collections import deque

from invmm.permission import AlarmKind

SECOND = 1_000_000_000
PAUSE_S = 60  # engine time: in it most of what was in doubt has been asked for
AGAIN_S = 3_600
OFTEN = 3


class Pauses:
    """Which kinds of alarm pause quoting, and until when. Engine thread, engine time.

    Examples
    --------
    >>> pauses = Pauses()
    >>> [pauses.begin(AlarmKind.SLOW_VENUE, minute * 60 * SECOND) for minute in (0, 5, 10)]
    [True, True, False]
    """

    def __init__(self) -> None:
        self.until_ns: dict[AlarmKind, int] = {}
        self._begun: dict[AlarmKind, deque[int]] = {}

    def begin(self, kind: AlarmKind, now_ns: int) -> bool:
        """One more of a kind. False: too many, a pause does not help."""
        begun = self._begun.setdefault(kind, deque(maxlen=OFTEN))
        begun.append(now_ns)
        self.until_ns[kind] = now_ns + PAUSE_S * SECOND
        return len(begun) < OFTEN or now_ns - begun[0] >= AGAIN_S * SECOND

    def over(self, now_ns: int) -> list[AlarmKind]:
        """Kinds whose pause has ended; each is told once."""
        ended = [kind for kind, until_ns in self.until_ns.items() if now_ns >= until_ns]
        for kind in ended:
            del self.until_ns[kind]
        return ended

    def clear(self) -> list[AlarmKind]:
        """Somebody has looked: nothing is paused, and counting begins anew. The kinds that were paused."""
        paused = list(self.until_ns)
        self.until_ns.clear()
        self._begun.clear()
        return paused
