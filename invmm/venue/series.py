"""Names of Up/Down markets: which window of a series is running, which comes next, what each is called. Pure.

    btc-updown-5m, btc-updown-15m    slug ends in the window's start, unix seconds, a multiple of its length
    btc-updown-4h                    the same, but the grid is that of the clock in New York
    btc-updown-1h                    slug spells the hour in New York: bitcoin-up-or-down-july-4-2026-1pm-et
    any other slug, 0x… condition    one market; its window is what the listing says

Hours in New York are ambiguous for one hour each autumn and missing for one each spring; a window is always
the one of its unix times, which the listing has to confirm.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from invmm.errors import ConfigError

ASSETS: Final = {
    "btc": "bitcoin",
    "eth": "ethereum",
    "sol": "solana",
    "xrp": "xrp",
    "doge": "dogecoin",
    "bnb": "bnb",
    "hype": "hyperliquid",
}
"""Asset in epoch slugs to its name in hourly slugs."""

LENGTHS_S: Final = {"5m": 300, "15m": 900, "1h": 3600, "4h": 14_400}
MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_SERIES = re.compile(r"([a-z0-9]+)-updown-([0-9]+[mh])")
_EPOCH_SLUG = re.compile(r"[a-z0-9]+-updown-([0-9]+[mh])-([0-9]{9,11})")
_CONDITION = re.compile(r"0x[0-9a-fA-F]{64}")
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")


@dataclass(frozen=True, slots=True)
class Window:
    """One window by name and time, unix seconds; times are 0 where only the listing knows them."""

    slug: str
    start_s: int = 0
    end_s: int = 0
    condition_id: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """What to trade: a series of windows, or one market.

    Examples
    --------
    >>> Series.parse("btc-updown-5m").windows(1_791_241_250, 2)[0]
    Window(slug='btc-updown-5m-1791241200', start_s=1791241200, end_s=1791241500, condition_id='')
    >>> Series.parse("btc-updown-1h").windows(1_783_184_400, 1)[0].slug
    'bitcoin-up-or-down-july-4-2026-1pm-et'
    """

    name: str
    asset: str = ""
    length_s: int = 0
    single: Window | None = None

    @classmethod
    def parse(cls, text: str) -> Series:
        """A series name, a slug or a condition id; ConfigError says what is expected."""
        text = text.strip()
        if match := _SERIES.fullmatch(text):
            asset, length = match.groups()
            if asset not in ASSETS or length not in LENGTHS_S:
                raise ConfigError(
                    f"series: expected one of {', '.join(ASSETS)} and one of {', '.join(LENGTHS_S)}, "
                    f"for instance btc-updown-5m, found {text!r}"
                )
            return cls(text, asset, LENGTHS_S[length])
        if _CONDITION.fullmatch(text):
            return cls(text, single=Window("", condition_id=text.lower()))
        if match := _EPOCH_SLUG.fullmatch(text):
            length_s, start_s = LENGTHS_S.get(match[1], 0), int(match[2])
            return cls(text, single=Window(text, start_s, start_s + length_s) if length_s else Window(text))
        if _SLUG.fullmatch(text):
            return cls(text, single=Window(text))
        raise ConfigError(
            "series: expected a series such as btc-updown-5m, a market's slug or a condition id (0x and 64 "
            f"hexadecimal digits), found {text!r}"
        )

    def windows(self, now_s: float, count: int = 2) -> list[Window]:
        """The window that runs at `now_s` (unix seconds) and those after it, `count` in all.

        A single market is its own only window.
        """
        if self.single is not None:
            return [self.single]
        found = [self._at(int(now_s))]
        while len(found) < count:
            found.append(self._at(found[-1].end_s))
        return found

    def _at(self, now_s: int) -> Window:
        if self.length_s == LENGTHS_S["4h"]:
            # Steps of the wall clock: the one that a change of offset falls into is longer or shorter.
            wall_s = now_s + eastern_offset_s(now_s)
            block_s = wall_s - wall_s % self.length_s
            start_s, end_s = _unix_s(block_s, now_s), _unix_s(block_s + self.length_s, now_s)
        else:
            start_s = now_s - now_s % self.length_s
            end_s = start_s + self.length_s
        if self.length_s == LENGTHS_S["1h"]:
            return Window(hourly_slug(ASSETS[self.asset], start_s), start_s, end_s)
        return Window(f"{self.name}-{start_s}", start_s, end_s)


def hourly_slug(asset_name: str, start_s: int) -> str:
    """Slug of the hour that begins at `start_s` (unix seconds), as the clock in New York calls it."""
    wall = datetime.fromtimestamp(start_s + eastern_offset_s(start_s), UTC)
    hour = f"{wall.hour % 12 or 12}{'am' if wall.hour < 12 else 'pm'}"
    return f"{asset_name}-up-or-down-{MONTHS[wall.month - 1]}-{wall.day}-{wall.year}-{hour}-et"


def eastern_offset_s(unix_s: int) -> int:
    """Offset of New York's clock from UTC, seconds: −4 h in summer, −5 h otherwise.

    Rule in force since 2007: from 2:00 on the second Sunday of March to 2:00 on the first Sunday of November,
    both by the clock that is then in use. Computed here because not every machine has a time-zone database.
    """
    year = datetime.fromtimestamp(unix_s, UTC).year
    begins = _sunday(year, 3, 2) + timedelta(hours=2 + 5)
    ends = _sunday(year, 11, 1) + timedelta(hours=2 + 4)
    return -4 * 3600 if begins.timestamp() <= unix_s < ends.timestamp() else -5 * 3600


def _sunday(year: int, month: int, number: int) -> datetime:
    first = datetime(year, month, 1, tzinfo=UTC)
    return first + timedelta(days=(6 - first.weekday()) % 7 + 7 * (number - 1))


def _unix_s(wall_s: int, near_s: int) -> int:
    """Unix time of a wall-clock time in New York that is within a day of `near_s`."""
    guess = wall_s - eastern_offset_s(near_s)
    return wall_s - eastern_offset_s(guess)
