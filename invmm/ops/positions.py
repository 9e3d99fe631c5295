"""`invmm positions`: what the account holds on the chain, and what could be made of it."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from invmm.ops.hardening import harden
from invmm.ops.reason_words import SETTLEMENT
from invmm.ops.stakes import Account, Stake, account_of, add_settling_options, read_stakes
from invmm.ops.wallet_options import DiscreetParser
from invmm.types import MICRO

EXIT_DONE, EXIT_INCOMPLETE = 0, 1


def parser() -> argparse.ArgumentParser:
    """The command line, complete with help."""
    p = DiscreetParser(
        prog="invmm positions",
        description="Lists the markets in which the account holds shares, with what the chain says is held, "
        "whether the market is resolved, and what merging or redeeming would bring. No key is needed where "
        "the address is known.",
        epilog="Exit codes: 0 all was learnt, 1 something was not, 2 usage or configuration.",
    )
    p.add_argument("--market", metavar="MARKET", help="only this one: its slug or condition id")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    add_settling_options(p)
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code."""
    options = parser().parse_args(arguments)
    harden()
    account = account_of(options, needs_key=False)
    found = asyncio.run(read_stakes(account, options.market))
    if options.json:
        print(json.dumps(told(account, found.cash_micro, found.stakes) | {"problems": found.problems}))
    else:
        show(account, found.cash_micro, found.stakes)
        for problem in found.problems:
            print(f"not learnt: {problem}", file=sys.stderr)
    return EXIT_INCOMPLETE if found.problems else EXIT_DONE


def told(account: Account, cash_micro: int | None, stakes: Sequence[Stake]) -> dict[str, Any]:
    """As plain data, micro-dollars and micro-shares."""
    return {
        "profile": account.profile.name,
        "address": account.identity.address,
        "funder": account.identity.funder,
        "collateral_micro": cash_micro,
        "markets": [stake.told() for stake in stakes],
    }


def show(account: Account, cash_micro: int | None, stakes: Sequence[Stake]) -> None:
    """For people."""
    console = Console(highlight=False)
    cash = "unknown" if cash_micro is None else f"{cash_micro / MICRO:,.6f} dollars"
    console.print(f"{account.identity.funder}: {cash}, shares in {len(stakes)} markets")
    if not stakes:
        return
    table = Table("market", "Up", "Down", "resolved", "would bring", "what is open")
    for stake in stakes:
        paid = "" if stake.payouts is None else f"Up {stake.payouts[0]}, Down {stake.payouts[1]}"
        table.add_row(
            stake.market.slug or stake.market.condition_id,
            f"{stake.up_micro / MICRO:,.6f}",
            f"{stake.down_micro / MICRO:,.6f}",
            paid or "not yet",
            f"{stake.brings_micro / MICRO:,.6f}",
            f"{stake.action}: {SETTLEMENT[stake.reason]}",
        )
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
