"""Which outcome tokens a wallet holds, as the venue's data API lists them.

The listing is an index that lags; it says in which markets to look. How much is held there is for the chain
to say.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from invmm.errors import ConfigError, TransportError, VenueError
from invmm.venue.positions import is_v2_id
from invmm.venue.profile import Profile
from invmm.venue.rest import Transport, words_of

STATES: Final = ("OPEN", "REDEEMABLE")
MOST_PAGES: Final = 50


@dataclass(frozen=True, slots=True)
class ListedMarket:
    """A market in which a wallet holds something. `exchange` as in `MarketInfo`; `end_day` is its last day,
    YYYY-MM-DD, "" if it is not said.
    """

    condition_id: str
    slug: str
    exchange: str
    up_token: str
    down_token: str
    end_day: str = ""


async def held_markets(profile: Profile, wallet: str, *, timeout_s: float = 10.0) -> list[ListedMarket]:
    """Markets of a wallet's positions, open and redeemable, each once, in the order of the listing.

    Raises
    ------
    ConfigError
        The profile has no data API.
    TransportError, VenueError
        No usable answer, or a refusal; an incomplete listing is never returned.
    """
    if not profile.data_url:
        raise ConfigError(f"profile {profile.name}: expected the address of the data API")
    host = Transport(profile.data_url, timeout_s=timeout_s)
    found: dict[str, ListedMarket] = {}
    try:
        for state in STATES:
            cursor = ""
            for _ in range(MOST_PAGES):
                query = {"user": wallet, "status": state} | ({"cursor": cursor} if cursor else {})
                rows, cursor = await _page(host, f"/v2/positions?{urlencode(query)}")
                for row in rows:
                    market = _market(row)
                    found.setdefault(market.condition_id, market)
                if not cursor:
                    break
            else:
                raise TransportError(
                    f"positions of {wallet}: expected at most {MOST_PAGES} pages, found more"
                )
    finally:
        await host.close()
    return list(found.values())


async def _page(host: Transport, path: str) -> tuple[list[dict[str, Any]], str]:
    """One page's rows, and the cursor of the next."""
    answer = await host.send("GET", path)
    if answer.status != 200:
        raise VenueError(answer.status, f"{path}: {words_of(answer, {}) or 'without a reason'}")
    try:
        document = json.loads(answer.body)
        rows, cursor = document["data"], (document.get("pagination") or {}).get("next_cursor")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise TransportError(
            f"{path}: expected a page of positions, found {len(answer.body)} bytes"
        ) from None
    if not isinstance(rows, list):
        raise TransportError(f"{path}: expected a list of positions, found {type(rows).__name__}")
    return rows, cursor or ""


def _market(row: Any) -> ListedMarket:
    try:
        token, other = str(row["token_id"]), str(row["opposite_token_id"])
        up, down = (token, other) if int(row["outcome_index"]) == 0 else (other, token)
        exchange = "v3" if is_v2_id(up) else "v2-neg-risk" if row.get("negative_risk") else "v2"
        slug = str(row.get("slug") or "")
        end_day = str(row.get("end_date") or "")
        return ListedMarket(str(row["condition_id"]), slug, exchange, up, down, end_day)
    except (KeyError, TypeError, ValueError) as error:
        raise TransportError(f"position: expected condition, tokens and outcome, found {error!r}") from None
