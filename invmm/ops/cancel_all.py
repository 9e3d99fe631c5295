"""`invmm cancel-all`: cancels every open order of an account and proves it by listing afterwards.

API credentials and the account's address suffice, so it works from any machine and without the private key.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from invmm.errors import InvmmError, VenueError
from invmm.ops.hardening import harden
from invmm.ops.venue_options import add_account_options, chosen_identity, chosen_profile
from invmm.ops.wallet_options import DiscreetParser
from invmm.venue.client import VenueClient

EXIT_VERIFIED: Final = 0
EXIT_NOT_VERIFIED: Final = 4
CLEAN_LISTINGS: Final = 2
"""An order that was on its way when the cancel came may show up in the second listing."""


@dataclass
class Outcome:
    """What was done. `is_verified`: two listings, some time apart, showed no open order."""

    cancelled: list[str] = field(default_factory=list)
    still_open: list[str] = field(default_factory=list)
    is_verified: bool = False
    error: str = ""
    is_refused: bool = False  # for a reason that no repetition cures


def parser() -> argparse.ArgumentParser:
    """The command line, complete with help."""
    p = DiscreetParser(
        prog="invmm cancel-all",
        description="Cancels every open order of the account, or of one market or token, and lists open "
        "orders until there is none. API credentials suffice.",
        epilog="Exit codes: 0 verified, none is open; 2 usage or configuration; 4 not verified, run again.",
    )
    p.add_argument("--market", metavar="CONDITION", help="only orders of this market")
    p.add_argument("--token", metavar="ID", help="only orders for this token")
    p.add_argument(
        "--timeout", type=float, default=30.0, metavar="S", help="keep trying so long (default: %(default)g)"
    )
    p.add_argument(
        "--settle",
        type=float,
        default=1.0,
        metavar="S",
        help="time between the two clean listings (default: %(default)g)",
    )
    p.add_argument("--json", action="store_true", help="print one JSON object")
    add_account_options(p)
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code."""
    options = parser().parse_args(arguments)
    harden()
    profile = chosen_profile(options)
    who = chosen_identity(options, profile, needs_key=False, needs_credentials=True)

    async def run() -> Outcome:
        async with VenueClient(profile, who.signer, who.credentials, address=who.address) as client:
            return await cancel_and_verify(
                client, options.market, options.token, timeout_s=options.timeout, settle_s=options.settle
            )

    done = asyncio.run(run())
    if options.json:
        told = {
            "profile": profile.name,
            "address": who.address,
            "cancelled": done.cancelled,
            "open": done.still_open,
            "verified": done.is_verified,
            "error": done.error or None,
        }
        print(json.dumps(told))
    else:
        print(f"{who.address} at {profile.rest_url}: {len(done.cancelled)} orders cancelled")
        for order_id in done.still_open:
            print(f"still open: {order_id}", file=sys.stderr)
        print("verified: no open order" if done.is_verified else f"NOT verified: {done.error}")
    return EXIT_VERIFIED if done.is_verified else EXIT_NOT_VERIFIED


async def cancel_and_verify(
    client: VenueClient,
    market: str | None = None,
    token: str | None = None,
    *,
    timeout_s: float = 30.0,
    settle_s: float = 1.0,
) -> Outcome:
    """Cancels and lists until two listings in a row show nothing, or time is up.

    A refusal that no repetition cures (wrong credentials) ends it at once; silence, restarts and rate limits
    do not. ValueError for a market or token that is no id.
    """
    done, cancelled = Outcome(), dict[str, None]()
    end, clean, pause_s = time.monotonic() + timeout_s, 0, 0.25
    while True:
        try:
            if clean == 0:
                answer = (
                    await client.cancel_all()
                    if market is None and token is None
                    else await client.cancel_market_orders(market, token)
                )
                cancelled |= dict.fromkeys(answer["canceled"])
            rows = await client.open_orders(market, token)
            done.still_open = [str(row.get("id")) for row in rows]
            clean = 0 if rows else clean + 1
            done.error = f"{len(rows)} orders are open" if rows else ""
        except InvmmError as error:
            clean, done.error = 0, str(error)
            if isinstance(error, VenueError) and error.status in (400, 401, 403, 404):
                done.is_refused = True
                break
        if clean == CLEAN_LISTINGS:
            done.is_verified = True
            break
        wait_s = settle_s if clean else pause_s * random.uniform(0.5, 1.0)  # others may be trying as well
        if time.monotonic() + wait_s > end:
            done.error = done.error or "time was up before a second listing"
            break
        await asyncio.sleep(wait_s)
        pause_s = min(2 * pause_s, 4.0)
    done.cancelled = list(cancelled)
    return done


if __name__ == "__main__":
    sys.exit(main())
