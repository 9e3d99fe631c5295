"""`invmm status`: what the venue has of an account: open orders, balances, positions, recent trades."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from rich.console import Console
from rich.table import Table

from invmm.errors import InvmmError
from invmm.ops.hardening import harden
from invmm.ops.venue_options import add_account_options, chosen_identity, chosen_profile
from invmm.ops.wallet_options import DiscreetParser
from invmm.types import MICRO
from invmm.venue.client import VenueClient
from invmm.venue.positions import is_v2_id

EXIT_DONE: Final = 0
EXIT_INCOMPLETE: Final = 1
MAX_POSITIONS: Final = 100
"""Tokens asked about one by one; the venue allows 200 such questions in ten seconds."""
SHOWN_TRADES: Final = 20
R = TypeVar("R")


@dataclass
class Status:
    """What the venue told. What could not be learnt stands in `problems`, never as an empty list alone."""

    balance_micro: int | None = None
    open_orders: list[dict[str, Any]] | None = None
    trades: list[dict[str, Any]] | None = None
    positions: list[dict[str, Any]] | None = None
    problems: list[str] = field(default_factory=list)


def parser() -> argparse.ArgumentParser:
    """The command line, complete with help."""
    p = DiscreetParser(
        prog="invmm status",
        description="Shows what the venue has of the account: balance, open orders, positions in the tokens "
        "of open orders and recent trades, and those trades. API credentials suffice.",
        epilog="Exit codes: 0 all was learnt, 1 something was not, 2 usage or configuration.",
    )
    p.add_argument(
        "--hours", type=float, default=24.0, metavar="H", help="trades of so long ago (default: %(default)g)"
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

    async def run() -> Status:
        async with VenueClient(
            profile, who.signer, who.credentials, address=who.address, signature_type=who.signature_type
        ) as client:
            # By the venue's clock, which need not be ours.
            now_ms = time.time() * 1e3 + await client.time_offset_ms(1)
            return await read_status(client, after_s=int(now_ms / 1e3 - options.hours * 3600))

    found = asyncio.run(run())
    if options.json:
        told = {"profile": profile.name, "address": who.address, "funder": who.funder}
        print(json.dumps(told | vars(found)))
    else:
        _show(found, f"{who.address} at {profile.rest_url}", options.hours)
    return EXIT_INCOMPLETE if found.problems else EXIT_DONE


async def read_status(client: VenueClient, *, after_s: int) -> Status:
    """Asks for everything; a part that cannot be had is a problem, not an error.

    Positions are the venue's balances of every token that an open order or a trade after `after_s` (unix
    seconds of the venue) names, at most 100 of them.
    """
    status = Status()

    async def part(name: str, work: Awaitable[R]) -> R | None:
        try:
            return await work
        except InvmmError as error:
            status.problems.append(f"{name}: {error}")
            return None

    balance = await part("balance", client.balance_allowance())
    status.balance_micro = int(balance["balance"]) if balance is not None else None
    status.open_orders = await part("open orders", client.open_orders())
    status.trades = await part("trades", client.trades(after=after_s))
    named = [*(status.open_orders or ()), *(status.trades or ())]
    tokens = list(dict.fromkeys(str(row["asset_id"]) for row in named if row.get("asset_id")))
    # A maker's fill may be in the other token than the trade.
    own = [leg for trade in status.trades or () for leg in trade.get("maker_orders") or ()]
    tokens += [str(leg["asset_id"]) for leg in own if _is_ours(leg, client) and leg["asset_id"] not in tokens]
    if len(tokens) > MAX_POSITIONS:
        status.problems.append(f"positions: {len(tokens)} tokens, only the first {MAX_POSITIONS} are shown")
    status.positions = []
    for token in dict.fromkeys(tokens[:MAX_POSITIONS]):
        kind = "CONDITIONAL-V2" if is_v2_id(token) else "CONDITIONAL"
        held = await part(f"position {token}", client.balance_allowance(kind, token))
        if held is not None and int(held["balance"]):
            outcome = next((row.get("outcome") for row in named if row.get("asset_id") == token), None)
            position = {"asset_id": token, "outcome": outcome, "size_micro": int(held["balance"])}
            status.positions.append(position)
    return status


def _is_ours(leg: dict[str, Any], client: VenueClient) -> bool:
    return client.credentials is not None and leg.get("owner") == client.credentials.api_key


def _show(status: Status, title: str, hours: float) -> None:
    console = Console()
    console.print(title, highlight=False)
    if status.balance_micro is not None:
        console.print(f"balance {status.balance_micro / MICRO:.6f} dollars", highlight=False)
    tables = (
        (
            "open orders",
            status.open_orders,
            ("id", "side", "outcome", "price", "original_size", "size_matched"),
        ),
        ("positions", status.positions, ("asset_id", "outcome", "size_micro")),
        (
            f"trades of {hours:g} h",
            status.trades,
            ("id", "status", "side", "outcome", "price", "size", "time"),
        ),
    )
    for name, rows, columns in tables:
        if rows is None:
            continue
        console.print(f"{len(rows)} {name}", highlight=False)
        if rows:
            table = Table(*columns)
            for row in rows[:SHOWN_TRADES]:
                table.add_row(*(_cell(row, column) for column in columns))
            console.print(table)
    for problem in status.problems:
        print(f"not learnt: {problem}", file=sys.stderr)


def _cell(row: dict[str, Any], column: str) -> str:
    if column == "time":
        text = str(row.get("match_time", ""))
        return f"{datetime.fromtimestamp(int(text), UTC):%m-%d %H:%M:%S}" if text.isdecimal() else text
    return str(row.get(column, ""))


if __name__ == "__main__":
    sys.exit(main())
