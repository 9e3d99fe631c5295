"""`invmm doctor`: is everything as it must be to trade? One line per check, with the fix where it is not."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from invmm.errors import InvmmError
from invmm.ops import chain_check, checks, surroundings
from invmm.ops.checks import FAIL, SKIP, Line, Patient, failed, skipped
from invmm.ops.hardening import harden
from invmm.ops.venue_options import add_account_options, chosen_identity, chosen_profile, chosen_settings
from invmm.ops.wallet_options import DiscreetParser
from invmm.venue.client import VenueClient

EXIT_FIT: Final = 0
EXIT_UNFIT: Final = 1
CHECKS: Final[tuple[tuple[str, bool, Callable[[Patient], Awaitable[list[Line]]]], ...]] = (
    ("machine", False, surroundings.machine),
    ("keys", False, checks.keys),
    ("venue", False, checks.venue),
    ("clock", True, checks.clock),
    ("credentials", True, checks.credentials),
    ("wallet", False, checks.wallet),
    ("balance", True, checks.funds),
    ("rate limits", True, checks.rate_limits),
    ("markets", True, checks.markets),
    ("latency", False, surroundings.latency),
    ("geoblock", False, surroundings.geoblock),
    ("chain", False, chain_check.chain),
)
"""Name, whether the venue must have answered, check; in the order in which one rests on another."""


def parser() -> argparse.ArgumentParser:
    """The command line, complete with help."""
    p = DiscreetParser(
        prog="invmm doctor",
        description="Checks keys, wallet, API credentials, clock, version, balance, allowances, the series' "
        "markets, the way to each host, the chain's nodes, and this machine. Changes nothing and sends no "
        "order.",
        epilog="Exit codes: 0 no check failed (some may be skipped, with the reason), 1 one failed, "
        "2 usage or configuration.",
    )
    p.add_argument("--series", metavar="NAME", help="the series to look at (default: [market] series)")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    add_account_options(p)
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code."""
    options = parser().parse_args(arguments)
    harden()
    profile = chosen_profile(options)
    settings = chosen_settings(options)
    series = options.series or settings.market.series

    async def run() -> list[Line]:
        async with VenueClient(profile, read_attempts=1) as client:
            find = partial(chosen_identity, options, profile)
            return await examine(Patient(profile, find, client, series, settlement=settings.settlement))

    lines = asyncio.run(run())
    failures = sum(line.status == FAIL for line in lines)
    if options.json:
        told = [dataclasses.asdict(line) for line in lines]
        print(json.dumps({"profile": profile.name, "ok": not failures, "checks": told}))
    else:
        width = max(len(line.name) for line in lines)
        for line in lines:
            print(f"{line.status}  {line.name:<{width}}  {line.detail}")
            if line.fix:
                print(f"      {'':<{width}}  → {line.fix}")
        unknown = sum(line.status == SKIP for line in lines)
        print(f"{len(lines) - failures - unknown} passed, {failures} failed, {unknown} skipped")
    return EXIT_UNFIT if failures else EXIT_FIT


async def examine(patient: Patient) -> list[Line]:
    """Every check in order; one that cannot be made is a line that says why."""
    lines: list[Line] = []
    for name, needs_venue, check in CHECKS:
        if needs_venue and patient.unreachable:
            lines.append(skipped(name, f"not checked: {patient.unreachable}"))
            continue
        try:
            lines += await check(patient)
        except InvmmError as error:
            lines.append(failed(name, str(error), "try again; then look at status.polymarket.com"))
    return lines


if __name__ == "__main__":
    sys.exit(main())
