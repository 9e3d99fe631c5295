"""`invmm probe`: asks the venue what we assume about it, with tiny orders under a spending cap.

Results are dated and kept in a file, one run after another. What rests on an assumption that is not confirmed
stays off: signing ahead (`order-age`), the arrival fence of unknown orders (`gtd-lead`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from invmm.clock import NS, LiveClock
from invmm.errors import ConfigError, DataError
from invmm.live import ARMING_NAME, EXIT_REFUSED, arming_phrase
from invmm.ops.hardening import harden
from invmm.ops.venue_options import add_venue_options, chosen_profile
from invmm.ops.wallet_options import DiscreetParser, add_wallet_options, identity_of
from invmm.replay.tape import MarketInfo
from invmm.settings import Settings
from invmm.types import MICRO
from invmm.venue.client import VenueClient
from invmm.venue.discovery import Discovery, Series, first_tradable
from invmm.venue.identity import Identity
from invmm.venue.probes import NOT_ASKED, PROBES, Desk, Purse, Result, Verdict, run
from invmm.venue.profile import Profile

EXIT_DONE, EXIT_FAILED_CHECK, EXIT_NOT_CLEAN = 0, 1, 4
LARGEST_CAP_DOLLARS = 25.0
ENOUGH_S = 240  # of a window: the longest probe takes about two minutes


@dataclass(frozen=True)
class Report:
    """One run: what was asked of whom and what came of it."""

    results: list[Result]
    left: list[str]
    facts: dict[str, Any]

    def data(self) -> dict[str, Any]:
        """As it is kept in the file."""
        unasked = [{"name": n, "question": q, "why": w, "verdict": "undetermined"} for n, q, w in NOT_ASKED]
        return self.facts | {
            "results": [asdict(result) for result in self.results],
            "not_asked": unasked,
            "not_verified_gone": self.left,
        }


def parser() -> argparse.ArgumentParser:
    """The command line, complete with help."""
    p = DiscreetParser(
        prog="invmm probe",
        description="Ask the venue what we assume about it, by post-only bids of the smallest size at the "
        "lowest price. Probes: " + ", ".join(PROBES) + ".",
        epilog="Exit codes: 0 nothing is violated, 1 an assumption is violated, 2 usage or configuration, "
        f"3 refused (the live venue needs --yes and {ARMING_NAME}={arming_phrase('probe')}), 4 an order of "
        "the probes is not verified gone.",
    )
    p.add_argument("--series", metavar="NAME", help="market to probe (default: [market] series)")
    p.add_argument("--only", metavar="A,B", help="these probes only")
    p.add_argument(
        "--spend-cap",
        type=float,
        default=1.0,
        metavar="DOLLARS",
        help=f"the most that the probes may spend, at most {LARGEST_CAP_DOLLARS:g} (default 1)",
    )
    p.add_argument("--yes", action="store_true", help="really place the orders")
    p.add_argument(
        "--out", type=Path, default=Path("probe.json"), metavar="FILE", help="results are added here"
    )
    p.add_argument("--config", metavar="FILE", help="TOML settings")
    p.add_argument("--json", action="store_true", help="print the run as one JSON object")
    add_venue_options(p)
    add_wallet_options(p)
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code."""
    options = parser().parse_args(arguments)
    names = options.only.split(",") if options.only else list(PROBES)
    unknown = [name for name in names if name not in PROBES]
    if unknown:
        raise ConfigError(f"--only: expected some of {', '.join(PROBES)}, found {', '.join(unknown)}")
    if not 0 < options.spend_cap <= LARGEST_CAP_DOLLARS:
        raise ConfigError(f"--spend-cap: expected above 0, at most {LARGEST_CAP_DOLLARS:g} dollars")
    settings = Settings.load(options.config) if options.config else Settings()
    profile = chosen_profile(options)
    series = Series.parse(options.series or settings.market.series)
    earlier = earlier_runs(options.out)
    refusals = [] if options.yes else ["expected --yes: the probes place real orders"]
    if not profile.loopback and os.environ.get(ARMING_NAME) != arming_phrase("probe"):
        refusals.append(f"not armed: expected {ARMING_NAME}={arming_phrase('probe')} in the environment")
    if refusals:
        print(f"{len(names)} probes of {series.name} at {profile.rest_url}, at most {options.spend_cap:g} "
              "dollars; refused:", file=sys.stderr)  # fmt: skip
        for number, refusal in enumerate(refusals, 1):
            print(f"  {number}. {refusal}", file=sys.stderr)
        return EXIT_REFUSED
    harden()
    identity = identity_of(options, settings.wallet, needs_credentials=True)
    report = asyncio.run(_ask(profile, series, identity, names, options.spend_cap))
    keep(options.out, earlier, report)
    if options.json:
        print(json.dumps(report.data()))
    if report.left:
        return EXIT_NOT_CLEAN
    return EXIT_FAILED_CHECK if violated(report.results) else EXIT_DONE


async def _ask(
    profile: Profile, series: Series, identity: Identity, names: list[str], cap_dollars: float
) -> Report:
    clock = LiveClock()
    now_s = clock.now_ns() / NS
    async with Discovery(profile) as discovery:
        found = await discovery.find(series, now_s, 3)
    # The running window unless it ends too soon.
    info = first_tradable(
        [f for f in found if not f.window.end_s or f.window.end_s - now_s > ENOUGH_S]
    ).require()
    return await probe_market(
        profile, identity, info, clock, names, cap_dollars, say=lambda text: print(text, file=sys.stderr)
    )


async def probe_market(
    profile: Profile,
    identity: Identity,
    info: MarketInfo,
    clock: LiveClock,
    names: list[str],
    cap_dollars: float,
    say: Any = lambda _: None,
) -> Report:
    """Runs probes in one market.

    ConfigError when the account has open orders: the heartbeat probe cancels everything, and an order that is
    somebody's must not be taken for the probe's.
    """
    signer, credentials = identity.signer, identity.credentials
    if signer is None or credentials is None:
        raise ConfigError("probe: expected a private key and API credentials")
    purse = Purse(round(cap_dollars * MICRO))
    async with VenueClient(profile, signer, credentials) as client:
        before = await client.open_orders()
        if before:
            raise ConfigError(f"probe: expected an account without open orders, found {len(before)}")
        results, left = await run(Desk(client, signer, info, purse, clock), names, say)
    facts = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "profile": profile.name,
        "venue": profile.rest_url,
        "account": identity.address,
        "signature_type": identity.signature_type,
        "market": info.slug,
        "exchange": info.exchange,
        "cap_dollars": cap_dollars,
        "spent_dollars": purse.spent_micro / MICRO,
    }
    return Report(results, left, facts)


def earlier_runs(path: Path) -> list[dict[str, Any]]:
    """Runs in a results file; none when there is no file."""
    if not path.exists():
        return []
    try:
        return list(json.loads(path.read_text())["runs"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: expected results of earlier runs, found {error!r}") from error


def keep(path: Path, earlier: list[dict[str, Any]], report: Report) -> None:
    """Adds a run to the results file, which is replaced whole."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(json.dumps({"runs": [*earlier, report.data()]}, indent=1) + "\n")
    new.replace(path)


def violated(results: Sequence[Result]) -> list[str]:
    """Names of the assumptions that do not hold."""
    return [result.name for result in results if result.verdict is Verdict.VIOLATED]


if __name__ == "__main__":
    sys.exit(main())
