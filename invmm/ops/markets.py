"""`invmm markets`: the windows of a series that are open and next, checked, with the reason where one is not
tradable.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from invmm.errors import ConfigError
from invmm.ops.venue_options import add_venue_options, chosen_profile, chosen_settings
from invmm.types import MICRO, PRICE_ONE_E4
from invmm.venue.discovery import Discovery, Found, Series
from invmm.venue.profile import Profile

EXIT_DONE, EXIT_NONE_TRADABLE = 0, 1


def parser() -> argparse.ArgumentParser:
    """The command line, complete with help."""
    p = argparse.ArgumentParser(
        prog="invmm markets",
        description="List the windows of a series: the one that runs and the next ones, each checked against "
        "the venue's two listings and by recomputing its token ids.",
        epilog="Exit codes: 0 at least one window is tradable, 1 none is or the venue could not be asked, "
        "2 usage.",
    )
    p.add_argument(
        "--series",
        metavar="NAME",
        help="for instance btc-updown-5m, eth-updown-15m, btc-updown-1h, btc-updown-4h, a market's slug or a "
        "condition id (default: [market] series of the settings)",
    )
    p.add_argument("--count", type=int, default=3, metavar="N", help="windows to list (default 3)")
    p.add_argument("--config", metavar="FILE", help="TOML settings")
    p.add_argument("--at", type=float, metavar="S", help="unix seconds to look from (default: now)")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    add_venue_options(p)
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code."""
    options = parser().parse_args(arguments)
    if not 1 <= options.count <= 50:
        raise ConfigError(f"--count: expected 1 to 50, found {options.count}")
    settings = chosen_settings(options)
    series = Series.parse(options.series or settings.market.series)
    now_s = time.time() if options.at is None else options.at
    found = asyncio.run(_find(chosen_profile(options), series, now_s, options.count))
    if options.json:
        print(
            json.dumps({"series": series.name, "at": now_s, "windows": [row(each, now_s) for each in found]})
        )
    else:
        _show(found, now_s)
    return EXIT_DONE if any(each.tradable for each in found) else EXIT_NONE_TRADABLE


async def _find(profile: Profile, series: Series, now_s: float, count: int) -> list[Found]:
    async with Discovery(profile) as discovery:
        return await discovery.find(series, now_s, count)


def state_of(found: Found, now_s: float) -> str:
    """ "open", "next", "closed", or "refused" when it is not tradable for a reason that does not pass."""
    if found.closed or 0 < found.window.end_s <= now_s:
        return "closed"
    if found.refusals and not all(refusal.passes for refusal in found.refusals):
        return "refused"
    return "open" if 0 < found.window.start_s <= now_s else "next"


def row(found: Found, now_s: float) -> dict[str, Any]:
    """One window as plain data; prices in dollars, sizes in shares, times in unix seconds."""
    info = found.info
    return {
        "slug": found.window.slug,
        "condition_id": found.window.condition_id,
        "state": state_of(found, now_s),
        "tradable": found.tradable,
        "start": found.window.start_s,
        "end": found.window.end_s,
        "version": found.version,
        "exchange": info.exchange if info else "",
        "up": info.up_token_id if info else "",
        "down": info.down_token_id if info else "",
        "tick": info.tick_e4 / PRICE_ONE_E4 if info else None,
        "min_size": info.min_size_micro / MICRO if info else None,
        "fee_rate": info.fee_rate if info else None,
        "taker_delay": found.taker_delay,
        "winner": found.winner,
        "reasons": [{"kind": str(refusal.kind), "text": refusal.text} for refusal in found.refusals],
    }


def _show(found: Sequence[Found], now_s: float) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("market", "state", "opens", "closes", "exchange", "tick", "least", "fee"):
        table.add_column(name, overflow="fold")
    for each in found:
        info = each.info
        table.add_row(
            each.window.slug or each.window.condition_id,
            state_of(each, now_s),
            _utc(each.window.start_s),
            _utc(each.window.end_s),
            info.exchange if info else "",
            f"{info.tick_e4 / PRICE_ONE_E4:g}" if info else "",
            f"{info.min_size_micro / MICRO:g}" if info else "",
            f"{info.fee_rate:g}" if info else "",
        )
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120).print(table)
    for each in found:
        for refusal in each.refusals:
            print(f"{each.window.slug or each.window.condition_id}: {refusal}")


def _utc(unix_s: int) -> str:
    return time.strftime("%m-%d %H:%M:%SZ", time.gmtime(unix_s)) if unix_s else "?"
