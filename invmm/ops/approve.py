"""`invmm approve`: which rights a wallet has given the venue's contracts; gives what is missing, exactly."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from invmm.clock import LiveClock
from invmm.errors import ConfigError, InUseError, InvmmError
from invmm.execution.state import StateFolder, default_folder
from invmm.ops.hardening import harden
from invmm.ops.venue_options import (
    add_account_options,
    add_relayer_option,
    chosen_identity,
    chosen_profile,
    chosen_settings,
    with_relayer,
)
from invmm.ops.wallet_options import DiscreetParser, wallet_of
from invmm.settings import Settings
from invmm.settlement.approvals import ENDLESS, Purpose, Right, RightsReader, needed, plan, withdrawal
from invmm.settlement.calls import Call, Standard
from invmm.settlement.lane import Job
from invmm.settlement.nodes import Endpoint
from invmm.settlement.opening import find_relayer_key, open_lane
from invmm.settlement.rpc import endpoints_of
from invmm.types import MICRO
from invmm.venue.blocking import BlockingVenueClient
from invmm.venue.identity import Identity
from invmm.venue.profile import Profile

EXIT_DONE: Final = 0
EXIT_MISSING: Final = 1
EXIT_REFUSED: Final = 3
LOOK_S: Final = 0.2


@dataclass
class Outcome:
    """What is, what would be done, and what was done."""

    rights: tuple[Right, ...] = ()
    amount_micro: int = 0
    calls: tuple[Call, ...] = ()
    reports: list[dict[str, Any]] = field(default_factory=list)
    done: bool = False
    problems: list[str] = field(default_factory=list)


def parser() -> argparse.ArgumentParser:
    """The command line, complete with help."""
    p = DiscreetParser(
        prog="invmm approve",
        description="Shows which rights trading and settling need, which the wallet has given, and the calls "
        "that give the rest; with --yes it makes them. Collateral rights are for exactly --amount; rights to "
        "outcome tokens know no amount.",
        epilog="Exit codes: 0 nothing is missing, or what was to be done is done; 1 something is missing or "
        "failed; 2 usage or configuration; 3 refused: an engine runs with this account.",
    )
    p.add_argument("--dry-run", action="store_true", help="only show; the same as without --yes")
    p.add_argument("--yes", action="store_true", help="make the calls that are shown")
    p.add_argument(
        "--for",
        dest="purposes",
        default="trade,merge",
        metavar="LIST",
        help="of trade, merge (and redeem), split; separated by commas (default: %(default)s)",
    )
    p.add_argument(
        "--amount",
        type=_dollars,
        metavar="DOLLARS",
        help="of each right to collateral (default: what the wallet holds now)",
    )
    p.add_argument("--unlimited", action="store_true", help="rights to collateral without end, instead")
    p.add_argument("--neg-risk", action="store_true", help="rights for neg-risk markets, too")
    p.add_argument("--revoke", action="store_true", help="take back every right that is given, instead")
    p.add_argument(
        "--wait",
        type=float,
        default=300.0,
        metavar="S",
        help="how long the calls may take to be final (default: %(default)g)",
    )
    p.add_argument(
        "--state", type=Path, metavar="DIR", help="state folder (default: the account's own, as with --live)"
    )
    add_relayer_option(p)
    p.add_argument("--json", action="store_true", help="print one JSON object")
    add_account_options(p)
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code."""
    p = parser()
    options = p.parse_args(arguments)
    if options.revoke and options.unlimited:
        p.error("--revoke goes without --unlimited")
    if options.yes and options.dry_run:
        p.error("--yes goes without --dry-run")
    purposes = _purposes(options.purposes)
    harden()
    profile = with_relayer(chosen_profile(options), options.relayer_port)
    settings = chosen_settings(options)
    who = chosen_identity(options, profile, needs_key=options.yes)
    endpoints = endpoints_of(settings.settlement, profile, who.rpc_url)
    reader = RightsReader(endpoints, who.funder, profile.chain_id)
    approvals = needed(purposes, neg_risk=options.neg_risk, chain_id=profile.chain_id)

    out = Outcome(rights=reader.rights(approvals))
    out.amount_micro = reader.collateral_micro() if options.amount is None else options.amount

    def wanted() -> tuple[Call, ...]:
        if options.revoke:
            return withdrawal(out.rights)
        return plan(out.rights, out.amount_micro, unlimited=options.unlimited)

    out.calls = wanted()
    say = _quiet if options.json else print
    if not options.json:
        _show(out, who, profile, options)
    out.done, refused = not out.calls, False
    if out.calls and options.yes:
        try:
            _carry_out(out, options, settings, who, profile, endpoints, say)
        except InUseError as error:
            out.problems.append(str(error))
            refused = True
        else:
            out.rights = reader.rights(approvals)
            left = wanted()
            out.done = not left
            if left:
                out.problems.append(f"{len(left)} of {len(out.calls)} rights are still not as they should be")
            _have_the_venue_look(out, who, profile)
    if options.json:
        print(json.dumps(_facts(out, who, profile, options.unlimited)))
    else:
        for problem in out.problems:
            print(problem)
        if out.calls and options.yes and out.done:
            print("Done: every right is as it should be.")
    if refused:
        return EXIT_REFUSED
    return EXIT_DONE if out.done else EXIT_MISSING


def _carry_out(
    out: Outcome,
    options: argparse.Namespace,
    settings: Settings,
    who: Identity,
    profile: Profile,
    endpoints: Sequence[Endpoint],
    say: Callable[[str], object],
) -> None:
    """One job, until it has ended; what an earlier run left open is ended before it."""
    path = options.state or Path(settings.state.folder or default_folder(who.address))
    chain = settings.settlement
    if profile.loopback:  # blocks of a chain on this machine are made when there is something to put in
        chain = dataclasses.replace(chain, head_max_age_s=0.0)
    key = find_relayer_key(wallet_of(options, settings.wallet), os.environ)
    with StateFolder(path, "" if profile.loopback else who.address) as folder:
        lane = open_lane(
            who, profile, endpoints, folder.path, settings=chain, clock=LiveClock(), relayer_key=key
        )
        try:
            lane.submit(Job(f"approve:{time.time_ns()}", out.calls, ()))
            until = time.monotonic() + options.wait
            while lane.open() and time.monotonic() < until:
                for report in lane.advance(time.time_ns()):
                    out.reports.append(dataclasses.asdict(report) | {"state": report.state.value})
                    say(f"{report.name}: {report.state.value} {report.transaction} {report.reason}".rstrip())
                time.sleep(min(LOOK_S, chain.poll_ms / 1e3))
            if lane.open():
                out.problems.append(
                    f"not final after {options.wait:g} s: the next run carries on where this one stopped"
                )
        finally:
            lane.close()


def _have_the_venue_look(out: Outcome, who: Identity, profile: Profile) -> None:
    """The venue keeps what it once read from the chain until it is told to look again."""
    if who.credentials is None:
        out.problems.append("the venue has not looked yet (no API credentials): run invmm status with them")
        return
    try:
        with BlockingVenueClient(
            profile, who.signer, who.credentials, address=who.address, signature_type=who.signature_type
        ) as client:
            client.update_balance_allowance()
    except InvmmError as error:
        out.problems.append(f"the venue was told to look again and did not: {error}")


def _show(out: Outcome, who: Identity, profile: Profile, options: argparse.Namespace) -> None:
    table = Table(title=f"Rights of {who.funder} ({profile.name})", title_justify="left")
    for heading in ("right", "given", "spender"):
        table.add_column(heading, overflow="fold")
    for right in out.rights:
        table.add_row(right.approval.what, _given(right), right.approval.spender)
    Console().print(table)
    if not out.calls:
        print("Nothing to take back." if options.revoke else "Nothing is missing.")
        return
    print("Calls:" if options.yes else "Calls that --yes would make:")
    for number, call in enumerate(out.calls, 1):
        print(f"  {number}. {call.what}, on {call.to}")


def _facts(out: Outcome, who: Identity, profile: Profile, unlimited: bool) -> dict[str, Any]:
    return {
        "profile": profile.name,
        "account": who.address,
        "wallet": who.funder,
        "signature_type": who.signature_type,
        "amount_micro": None if unlimited else out.amount_micro,
        "rights": [
            {
                "standard": right.approval.standard.value,
                "token": right.approval.token,
                "spender": right.approval.spender,
                "what": right.approval.what,
                "given": str(right.given),
                "is_short": right.is_short(ENDLESS if unlimited else out.amount_micro),
            }
            for right in out.rights
        ],
        "calls": [{"to": one.to, "data": "0x" + one.data.hex(), "what": one.what} for one in out.calls],
        "reports": out.reports,
        "done": out.done,
        "problems": out.problems,
    }


def _given(right: Right) -> str:
    if right.approval.standard is Standard.ERC1155:
        return "every token" if right.given else "none"
    if right.given >= ENDLESS:
        return "unlimited"
    return f"{right.given / MICRO:.6f} dollars" if right.given else "none"


def _purposes(text: str) -> frozenset[Purpose]:
    try:
        return frozenset(Purpose(one.strip()) for one in text.split(","))
    except ValueError:
        names = ", ".join(one.value for one in Purpose)
        raise ConfigError(f"--for: expected some of {names}, found {text!r}") from None


def _dollars(text: str) -> int:
    """Micro-dollars, exactly: a seventh decimal is an error."""
    whole, _, part = text.partition(".")
    if not (whole + part).isdigit() or not (whole + part).isascii() or len(part) > 6 or len(whole) > 12:
        raise argparse.ArgumentTypeError(f"expected dollars with at most 6 decimals, found {text!r}")
    return int(whole or "0") * MICRO + int(part.ljust(6, "0"))


def _quiet(_: str) -> None:
    """Says nothing."""


if __name__ == "__main__":
    sys.exit(main())
