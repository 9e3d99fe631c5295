"""`invmm merge`, `invmm redeem`, `invmm split`: shares to dollars and back, by hand.

Each shows what it would do; `--yes` does it. Refusals are numbered; nothing overrides one. What is sent is
journaled in the state folder like an engine's, under a name of its own, so a command that is interrupted is
carried on by the next one, and no job is ever done twice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from invmm.clock import LiveClock
from invmm.errors import InUseError, InvmmError
from invmm.execution.state import StateFolder, default_folder
from invmm.ops.hardening import harden
from invmm.ops.positions import show, told
from invmm.ops.reason_words import SETTLEMENT
from invmm.ops.stakes import Account, Stake, account_of, add_settling_options, named_market, read_stakes
from invmm.ops.wallet_options import DiscreetParser
from invmm.settlement.calls import Standard, route_of
from invmm.settlement.holdings import version_of
from invmm.settlement.jobs import job_of, one_outcome
from invmm.settlement.lane import ENDED, JobReport, JobState, Lane
from invmm.settlement.lane_journal import LaneJournal
from invmm.settlement.messages import Holding
from invmm.settlement.opening import open_lane, why_unrelayed
from invmm.settlement.policy import Action, Decision, SettleReason
from invmm.settlement.record import SETTLED_FILE, Begun, SettlementRecord
from invmm.types import MICRO
from invmm.venue.client import VenueClient

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
EXIT_REFUSED: Final = 3
EXIT_UNDER_WAY: Final = 4
POLL_S: Final = 0.05
DONE: Final = {Action.MERGE: "merged", Action.REDEEM: "redeemed", Action.SPLIT: "split"}
WORDS: Final = {
    Action.MERGE: "Merges pairs into dollars: as many Up as Down shares, a dollar per pair.",
    Action.REDEEM: "Redeems shares of resolved markets for what their resolution pays.",
    Action.SPLIT: "Splits dollars into pairs of one market: as many Up and Down shares as dollars.",
}


def parser(action: Action) -> argparse.ArgumentParser:
    """The command line, complete with help."""
    p = DiscreetParser(
        prog=f"invmm {action}",
        description=f"{WORDS[action]} Shows what would be done; --yes does it, by transactions of the key's "
        "own account or, for a wallet (signature types 1 to 3), by the venue's relayer with its API key, and "
        "waits until they are final.",
        epilog="Exit codes: 0 shown or done, 1 a transaction failed or something was not learnt, 2 usage or "
        "configuration, 3 refused (the numbered list says why), 4 still under way: the same command again "
        "follows it.",
    )
    is_split = action is Action.SPLIT
    p.add_argument(
        "--market",
        metavar="MARKET",
        required=is_split,
        help="its slug or condition id" if is_split else "only this one: its slug or condition id",
    )
    if is_split:
        p.add_argument("--dollars", type=_micro, required=True, metavar="X", help="dollars to split")
    elif action is Action.MERGE:
        p.add_argument(
            "--pairs", type=_micro, metavar="N", help="at most so many of each market (default: all)"
        )
    p.add_argument("--yes", action="store_true", help="do it")
    p.add_argument(
        "--wait", type=float, default=600.0, metavar="S", help="for it to be final (default: %(default)g s)"
    )
    p.add_argument("--json", action="store_true", help="print one JSON object")
    add_settling_options(p)
    return p


def run(action: Action, arguments: Sequence[str] | None) -> int:
    """Runs a command; the exit code."""
    options = parser(action).parse_args(arguments)
    harden()
    account = account_of(options, needs_key=options.yes)
    found = asyncio.run(read_stakes(account, options.market))
    wanted = asyncio.run(_wanted(action, options, account, found.stakes))
    refusals = [] if not wanted else _refusals(action, account, found.cash_micro, wanted)
    if not wanted:
        refusals = [f"{SETTLEMENT[SettleReason.EMPTY]} that could be {DONE[action]}"]
    report: dict[str, Any] = told(account, found.cash_micro, found.stakes) | {
        "action": str(action),
        "planned": [asdict(begun) | {"action": str(action), "stage": None} for begun, _ in wanted],
        "problems": found.problems,
        "refusals": refusals,
        "jobs": [],
    }
    if not options.json:
        show(account, found.cash_micro, found.stakes)
        for begun, holding in wanted:
            print(f"{'will' if options.yes else 'would'} {_words(begun, holding)}")
    code = EXIT_FAILED if found.problems else EXIT_DONE
    if refusals and (options.yes or not wanted):
        code = EXIT_REFUSED
    elif options.yes:
        try:
            reports = _do(account, options, wanted)
        except InUseError as error:
            report["refusals"], code = [str(error)], EXIT_REFUSED
        else:
            report["jobs"] = [asdict(one) | {"state": str(one.state)} for one in reports]
            report["collateral_after_micro"] = account.holdings().collateral_micro()
            found.problems += asyncio.run(_refresh(account, wanted))
            code = max(code, _code(reports))
    _tell(report, options, found.problems)
    return code


def _micro(text: str) -> int:
    """Shares or dollars as micro units."""
    try:
        number = round(float(text) * MICRO)
    except (ValueError, OverflowError):
        number = 0
    if number <= 0:
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {text!r}")
    return number


async def _wanted(
    action: Action, options: argparse.Namespace, account: Account, stakes: Sequence[Stake]
) -> list[tuple[Begun, Holding]]:
    """What is asked for, as jobs that are not begun yet."""
    if action is Action.SPLIT:
        market = await named_market(account, options.market)
        stake = Stake(market, 0, 0, None)
        return [_begun(stake, Decision(action, SettleReason.BY_HAND, options.dollars, options.dollars))]
    if action is Action.MERGE:
        most = options.pairs
        pairs = [(s, s.pairs_micro if most is None else min(s.pairs_micro, most)) for s in stakes]
        return [_begun(s, Decision(action, SettleReason.BY_HAND, n, n, n)) for s, n in pairs if n]
    wanted = []
    for stake in stakes:
        if stake.action is Action.REDEEM:
            held = (stake.up_micro, stake.down_micro)
            decision = Decision(action, SettleReason.REDEEM_RESOLVED, *held, stake.brings_micro)
            is_newer = stake.market.exchange == "v3"
            wanted.append(_begun(stake, one_outcome(decision, stake.payouts) if is_newer else decision))
    return wanted


def _begun(stake: Stake, decision: Decision) -> tuple[Begun, Holding]:
    market = stake.market
    name = f"{decision.action}:{market.condition_id}:hand-{time.time_ns():x}"
    begun = Begun(
        name,
        market.condition_id,
        decision.action,
        decision.up_micro,
        decision.down_micro,
        decision.pays_micro,
    )
    tokens = (market.up_token, market.down_token)
    return begun, Holding(market.condition_id, market.slug, market.exchange, *tokens, 0.0, (0, 0), (0, 0))


def _refusals(
    action: Action, account: Account, cash_micro: int | None, wanted: Sequence[tuple[Begun, Holding]]
) -> list[str]:
    """Why it is not done, each with what was expected and found."""
    refusals = []
    who, holdings = account.identity, account.holdings()
    if who.signer is not None and (missing := why_unrelayed(who, account.profile, account.relayer_key)):
        refusals.append(missing)
    needed = sum(begun.up_micro for begun, _ in wanted) if action is Action.SPLIT else 0
    if needed and (cash_micro is None or cash_micro < needed):
        found = "an unknown balance" if cash_micro is None else f"{cash_micro / MICRO:.6f}"
        refusals.append(f"expected {needed / MICRO:.6f} dollars, found {found}")
    standard = Standard.ERC20 if action is Action.SPLIT else Standard.ERC1155
    asked = {
        approval
        for _, holding in wanted
        for approval in route_of(*version_of(holding.exchange), account.profile.chain_id).approvals
        if approval.standard is standard
    }
    for approval in sorted(asked, key=lambda one: one.what):
        try:
            if (allowed := holdings.allowed(approval)) < max(1, needed):
                refusals.append(
                    f"expected an approval of {approval.what}, found {allowed}: see `invmm approve`"
                )
        except InvmmError as error:
            refusals.append(f"the approval of {approval.what} could not be asked: {error}")
    return refusals


def _do(
    account: Account, options: argparse.Namespace, wanted: Sequence[tuple[Begun, Holding]]
) -> list[JobReport]:
    """Sends what is wanted and waits; InUseError while an engine runs with this account."""
    who = account.identity
    assert who.signer is not None
    path = options.state or Path(account.settings.state.folder or default_folder(who.address))
    is_local = account.profile.loopback
    with ExitStack() as stack:
        folder = stack.enter_context(StateFolder(path, "" if is_local else who.address))
        record = SettlementRecord(LaneJournal(folder.path / SETTLED_FILE))
        stack.callback(record.close)
        settings, clock, chain_id = account.settings.settlement, LiveClock(), account.profile.chain_id
        if is_local:  # the blocks of an embedded venue's chain are made when there is something to put in
            settings = replace(settings, head_max_age_s=0.0)
        lane = open_lane(
            who,
            account.profile,
            account.nodes,
            folder.path,
            settings=settings,
            clock=clock,
            relayer_key=account.relayer_key,
        )
        stack.callback(lane.close)
        for begun, holding in wanted:
            record.begun(begun)
            lane.submit(job_of(begun, holding, chain_id))
        return _follow(lane, record, clock, [begun.name for begun, _ in wanted], options.wait)


async def _refresh(account: Account, wanted: Sequence[tuple[Begun, Holding]]) -> list[str]:
    """Has the venue read from the chain what was moved: it keeps a view of its own. Needs API credentials;
    problems in words.
    """
    who = account.identity
    if who.credentials is None:
        return []
    try:
        profile, kind = account.profile, who.signature_type
        async with VenueClient(
            profile, who.signer, who.credentials, address=who.address, signature_type=kind
        ) as client:
            await client.update_balance_allowance()
            for _, holding in wanted:
                asset = "CONDITIONAL-V2" if holding.exchange == "v3" else "CONDITIONAL"
                for token in (holding.up_token, holding.down_token):
                    await client.update_balance_allowance(asset, token)
    except InvmmError as error:
        return [f"the venue was not told: {error}"]
    return []


def _follow(
    lane: Lane, record: SettlementRecord, clock: LiveClock, names: Sequence[str], wait_s: float
) -> list[JobReport]:
    """Until all jobs have ended, those of an interrupted command too, or the time is over."""
    end = time.monotonic() + wait_s
    while lane.open() and time.monotonic() < end:
        for report in lane.advance(clock.now_ns()):
            if report.state in ENDED and report.name in record.open():
                is_done = report.state is JobState.FINAL
                cost = (report.transaction, report.gas_used, report.fee_wei)
                if is_done and report.reason:
                    record.stop(f"{report.name} ({report.transaction}) moved something else: {report.reason}")
                record.ended(report.name, is_done, *cost, reason=report.reason)
        time.sleep(POLL_S)
    return [report for report in map(lane.report_of, names) if report is not None]


def _code(reports: Sequence[JobReport]) -> int:
    if any(report.state not in ENDED for report in reports):
        return EXIT_UNDER_WAY
    well = all(report.state is JobState.FINAL and not report.reason for report in reports)
    return EXIT_DONE if well else EXIT_FAILED


def _words(begun: Begun, holding: Holding) -> str:
    name = holding.slug or holding.market
    up, down, paid = begun.up_micro / MICRO, begun.down_micro / MICRO, begun.pays_micro / MICRO
    if begun.action is Action.SPLIT:
        return f"split {up:.6f} dollars into pairs of {name}"
    if begun.action is Action.MERGE:
        return f"merge {up:.6f} pairs of {name} into {paid:.6f} dollars"
    return f"redeem {up:.6f} Up and {down:.6f} Down of {name} for {paid:.6f} dollars"


def _tell(report: dict[str, Any], options: argparse.Namespace, problems: Sequence[str]) -> None:
    if options.json:
        print(json.dumps(report))
        return
    for job in report["jobs"]:
        about = f"{job['name']} {job['transaction']} {job['gas_used']} gas {job['reason']}"
        print(f"{job['state']}: {about}".rstrip())
    for number, refusal in enumerate(report["refusals"], 1):
        print(f"refused, {number}: {refusal}", file=sys.stderr)
    for problem in problems:
        print(f"not learnt: {problem}", file=sys.stderr)
    if report["planned"] and not options.yes and not report["refusals"]:
        print("nothing was sent; --yes does it")
