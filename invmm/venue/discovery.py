"""Finding the markets of a series: which windows are open or next, checked and ready to be traded.

    Series + clock ─▶ names of windows ─▶ Gamma ─▶ CLOB ─▶ `listing.read_market` ─▶ Found

A condition id is turned into a slug by the CLOB first. Nothing is remembered between calls: a listing may
change until the window opens.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from invmm.errors import ConfigError, TransportError, VenueError
from invmm.venue.listing import Found, NotTradableError, Refusal, RefusalKind, read_market
from invmm.venue.profile import Profile
from invmm.venue.rest import Transport, words_of
from invmm.venue.series import Series, Window

__all__ = ["Discovery", "Found", "NotTradableError", "Refusal", "RefusalKind", "Series", "Window"]

TIMEOUT_S: Final = 5.0
TRIES: Final = 3
PAUSE_S: Final = 0.25


class Discovery:
    """Asks one venue for its markets.

    Parameters
    ----------
    profile
        Where Gamma and the CLOB are, and the contracts that ids are recomputed with.
    timeout_s
        For each request. A request without a usable answer is made at most three times.

    Use it as an asynchronous context manager, or call `window_blocking` from a thread without an event loop.
    """

    def __init__(self, profile: Profile, *, timeout_s: float = TIMEOUT_S) -> None:
        if not profile.gamma_url or not profile.rest_url:
            raise ConfigError(f"profile {profile.name}: expected the addresses of Gamma and the CLOB")
        self.profile = profile
        self._timeout_s = timeout_s
        self._clob = Transport(profile.rest_url, timeout_s=timeout_s)
        self._gamma = Transport(profile.gamma_url, timeout_s=timeout_s)

    async def __aenter__(self) -> Discovery:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._clob.close()
        await self._gamma.close()

    async def find(self, series: Series, now_s: float, count: int = 2) -> list[Found]:
        """The window that runs at `now_s` (unix seconds) and the next ones, `count` in all, in order.

        Every window is answered for; the ones that cannot be traded say why. TransportError when the venue
        cannot be asked.
        """
        windows = series.windows(now_s, count)
        return list(await asyncio.gather(*(self.window(window) for window in windows)))

    def window_blocking(self, window: Window) -> Found:
        """`window` on an event loop and a connection of its own."""

        async def ask() -> Found:
            async with Discovery(self.profile, timeout_s=self._timeout_s) as discovery:
                return await discovery.window(window)

        return asyncio.run(ask())

    async def window(self, window: Window) -> Found:
        """What the venue says about one window."""
        slug = window.slug
        if not slug:
            market = await self._get(self._clob, f"/markets/{window.condition_id}")
            named = market.get("market_slug") if isinstance(market, dict) else None
            slug = named if isinstance(named, str) else ""
            if not slug:
                return self._absent(window, f"the CLOB lists no market with condition {window.condition_id}")
        gamma = await self._get(self._gamma, f"/markets/slug/{quote(slug, safe='')}")
        if gamma is None:
            return self._absent(window, f"Gamma lists no market named {slug}")
        if not isinstance(gamma, dict):
            refusal = Refusal(RefusalKind.SHAPE, f"Gamma: expected an object, found {type(gamma).__name__}")
            return Found(window, None, (refusal,))
        condition = gamma.get("conditionId")
        clob = None
        if isinstance(condition, str) and condition:
            padded = condition + "00" if len(condition) == 64 else condition
            clob = await self._get(self._clob, f"/clob-markets/{quote(padded, safe='')}")
        if clob is not None and not isinstance(clob, dict):
            refusal = Refusal(RefusalKind.SHAPE, f"CLOB: expected an object, found {type(clob).__name__}")
            return Found(window, None, (refusal,))
        return read_market(window, gamma, clob, self.profile.contracts)

    @staticmethod
    def _absent(window: Window, text: str) -> Found:
        return Found(window, None, (Refusal(RefusalKind.NOT_LISTED, text),))

    async def _get(self, host: Transport, path: str) -> Any:
        """The JSON of a public page; None for 404. A read changes nothing, so it is tried again."""
        problem = ""
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(PAUSE_S * attempt)
            try:
                answer = await host.send("GET", path)
            except TransportError as error:
                problem = str(error)
                continue
            if answer.status == 404:
                return None
            if answer.status == 200:
                try:
                    return json.loads(answer.body)
                except ValueError:
                    problem = f"{len(answer.body)} bytes that are no JSON"
                    continue
            problem = f"status {answer.status}"
            if 400 <= answer.status < 500 and answer.status not in (408, 425, 429):
                raise VenueError(answer.status, f"{path}: {words_of(answer, {}) or 'without a reason'}")
        raise TransportError(f"{host.base_url}{path}: no usable answer in {TRIES} tries: {problem}")


def first_tradable(found: Sequence[Found]) -> Found:
    """The earliest window that can be traded; NotTradableError with the reasons of the first otherwise."""
    for each in found:
        if each.tradable:
            return each
    found[0].require()
    raise AssertionError("a window that cannot be traded has a reason")
