"""A second opinion on a book: when the stream says nothing, or something odd, what does the venue list?

Silence has two causes, a quiet market and a dead stream, and the stream cannot tell them apart. So a quiet
token's book is compared with a sample that came another way. Equal: the book was good at that time. Unequal:
the stream is dead, unless the sample is the worse of the two: older than our book, or hollow (bids of a cent,
asks of 99) while ours is not, or taken while the stream moved on. A difference must outlive `grace_ns`, since
the change may be on its way to us.

The other token is a witness too: the venue tells both of each change, so one alone is never silent. Pure but
for what it is given: told the time and the answers, says what it found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from invmm._ext.decode import MarketBooks
from invmm.errors import TransportError
from invmm.types import MICRO, PRICE_ONE_E4, GuardFact, Outcome, Side

ALL_LEVELS = 10_000
HOLLOW_E4 = 100  # as in `_ext/integrity.pxd`

Levels = tuple[dict[int, int], dict[int, int]]
"""Sizes in micro-shares by price in 1e-4 dollars: bids, asks."""

Ask = Callable[[Callable[[Any], object]], bool]
"""Asks for the books of both tokens; the argument is told rows as `/books` has them, Up first, or an
exception. False when nothing could be asked."""

Tell = Callable[[GuardFact, Outcome, int], object]
"""Takes what was found: the fact, the token, and when the book was so, ns of engine time."""


@dataclass(frozen=True)
class WitnessSettings:
    """Times in ns of engine time."""

    quiet_ns: int  # a token without data for so long is asked about
    every_ns: int  # at most one question of a market in that time
    grace_ns: int  # a difference that the stream does not explain within that is one
    valid_ns: int  # how long a witness's word is good
    doubt_every_ns: int = 30_000_000_000  # at most one question for a wrong checksum in that time


@dataclass
class WitnessStats:
    """Questions, and how the answers compared: equal, different for good, or not to be decided."""

    asked: int = 0
    failed: int = 0
    agreed: int = 0
    unclear: int = 0
    disputed: int = 0
    doubts: int = 0  # questions asked because of checksums
    doubts_refuted: int = 0  # … and the book was right: it is the checksum's recipe that we do not know


class BookWitness:
    """Watches the two books of one market.

    Parameters
    ----------
    books : MarketBooks
        Compared on the thread that owns them, when an answer comes.
    token_ids : (str, str)
        Of Up and Down.
    ask, tell
        See `Ask` and `Tell`.
    settings : WitnessSettings
    """

    def __init__(
        self,
        books: MarketBooks,
        token_ids: Sequence[str],
        ask: Ask,
        tell: Tell,
        settings: WitnessSettings,
    ) -> None:
        self.stats = WitnessStats()
        self._books = books
        self._outcomes = {token_id: Outcome(number) for number, token_id in enumerate(token_ids)}
        self._ask = ask
        self._tell = tell
        self._settings = settings
        self._is_busy = False
        self._next_ns = 0
        self._agreed_ns = [0, 0]
        self._unlike: dict[Outcome, tuple[int, int]] = {}  # since when, and the data clock then
        self._doubt = False
        self._next_doubt_ns = 0

    def tick(self, now_ns: int, *, wanted: bool = True) -> None:
        """From the engine's timer: decides what waits, and asks if something is to be asked and `wanted`."""
        state = self._books.state
        self._decide(state, now_ns)
        if wanted and not self._is_busy and now_ns >= self._next_ns and self._is_due(state, now_ns):
            self._next_ns = now_ns + self._settings.every_ns
            doubted, self._doubt = self._doubt, False
            self.stats.doubts += doubted
            self._is_busy = self._ask(
                lambda rows: self._answered(rows, now_ns, state["token_ns"], state["epoch"], doubted)
            )
            self.stats.asked += self._is_busy

    def doubt(self, now_ns: int) -> None:
        """The book's checksum was wrong more than once: asks, but seldom."""
        if now_ns >= self._next_doubt_ns:
            self._next_doubt_ns = now_ns + self._settings.doubt_every_ns
            self._doubt = True

    def disagrees(self, silent: Sequence[str], now_ns: int) -> bool:
        """Whether the silence of these tokens is not that of a quiet market. Without a word it is not."""
        if 0 < len(silent) < len(self._outcomes):
            return True
        agreed = [self._agreed_ns[self._outcomes[token_id]] for token_id in silent]
        return any(not at_ns or now_ns - at_ns > self._settings.valid_ns for at_ns in agreed)

    def _is_due(self, state: Mapping[str, Any], now_ns: int) -> bool:
        up_has, down_has = state["has_snapshot"]
        if not (up_has and down_has):
            return False
        if self._doubt or True in state["unconfirmed"]:
            return True
        up_ns, down_ns = state["token_ns"]
        up_agreed_ns, down_agreed_ns = self._agreed_ns
        last_ns: int = min(max(up_ns, up_agreed_ns), max(down_ns, down_agreed_ns))
        return now_ns - last_ns >= self._settings.quiet_ns

    def _answered(
        self,
        rows: Any,
        asked_ns: int,
        heard_ns: tuple[int, int],
        epoch: tuple[int, int],
        doubted: bool,
    ) -> None:
        self._is_busy = False
        try:
            if isinstance(rows, BaseException):
                raise rows
            up, down = rows
            samples = [(levels_of(row), _time_ms(row)) for row in (up, down)]
        except Exception:  # no answer, a refusal, or nothing that can be read: it says nothing about the book
            self.stats.failed += 1
            return
        state = self._books.state
        if state["epoch"] != epoch or not all(state["has_snapshot"]):
            self.stats.unclear += 1
            return
        for outcome, (listed, venue_ms) in zip(Outcome, samples, strict=True):
            ours = self._ours(outcome)
            if listed == ours:
                self.stats.agreed += 1
                self.stats.doubts_refuted += doubted and outcome is Outcome.UP
                self._agreed_ns[outcome] = asked_ns
                self._unlike.pop(outcome, None)
                self._tell(GuardFact.VOUCH, outcome, asked_ns)
            elif (
                state["token_ns"][outcome] != heard_ns[outcome]
                or venue_ms < state["token_ms"][outcome]
                or (is_hollow(listed) and not is_hollow(ours))
            ):
                self.stats.unclear += 1
            else:
                self._unlike.setdefault(outcome, (asked_ns, heard_ns[outcome]))

    def _decide(self, state: Mapping[str, Any], now_ns: int) -> None:
        """Differences that the stream has not explained in time are disputes."""
        if not self._unlike:
            return
        for outcome, (since_ns, heard_ns) in list(self._unlike.items()):
            if state["token_ns"][outcome] != heard_ns:
                self.stats.unclear += 1
                del self._unlike[outcome]
            elif now_ns - since_ns >= self._settings.grace_ns:
                self.stats.disputed += 1
                del self._unlike[outcome]
                self._tell(GuardFact.DISPUTE, outcome, now_ns)

    def _ours(self, outcome: Outcome) -> Levels:
        book = self._books.down if outcome is Outcome.DOWN else self._books.up
        bids, asks = (dict(book.depth(side, ALL_LEVELS).tolist()) for side in Side)
        return bids, asks


def levels_of(row: Mapping[str, Any]) -> Levels:
    """Bids and asks of a book as REST lists it. TransportError for what is no price or size."""
    bids, asks = (
        {_price_e4(level["price"]): _micro(level["size"]) for level in row[side]} for side in ("bids", "asks")
    )
    return bids, asks


def is_hollow(levels: Levels) -> bool:
    """Whether a book shows next to nothing: no bid above a cent, no ask below 99."""
    bids, asks = levels
    return max(bids, default=0) <= HOLLOW_E4 and min(asks, default=PRICE_ONE_E4) >= PRICE_ONE_E4 - HOLLOW_E4


def _time_ms(row: Mapping[str, Any]) -> int:
    text = str(row.get("timestamp", ""))
    return int(text) if text.isdecimal() and len(text) < 17 else 0


def _price_e4(text: Any) -> int:
    return _scaled(text, PRICE_ONE_E4, 1)


def _micro(text: Any) -> int:
    return _scaled(text, MICRO, 10**12)


def _scaled(text: Any, unit: int, most: int) -> int:
    scaled = _exact(str(text), unit, most)
    if scaled is None:
        raise TransportError(f"book: expected a level of 0 to {most} in steps of 1/{unit}, found {text!r}")
    return scaled


@lru_cache(maxsize=1 << 12)  # most levels of a book are those of the sample before
def _exact(text: str, unit: int, most: int) -> int | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    is_level = number.is_finite() and 0 <= number <= most and number * unit == int(number * unit)
    return int(number * unit) if is_level else None
