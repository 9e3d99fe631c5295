"""`invmm lane`: what the account's transaction lane has sent, what is in flight, and why nothing moves.

It reads the journals of a state folder, also while an engine runs from it; it needs no key and asks no node.
`--resume` is the answer to a lane that halted, and to a settlement that stopped because something else moved
than was meant: a person has looked.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from invmm.errors import ConfigError, DataError
from invmm.ops.state_options import add_folder_options, folder_of
from invmm.settlement.fees import GWEI
from invmm.settlement.lane import ENDED
from invmm.settlement.lane_book import LaneBook, Progress
from invmm.settlement.lane_journal import LaneJournal, read_records
from invmm.settlement.opening import LANE_FILE, RELAYED_FILE
from invmm.settlement.quota import Quota
from invmm.settlement.record import SETTLED_FILE, SettlementRecord
from invmm.settlement.submits import Submits

EXIT_DONE: Final = 0
EXIT_HALTED: Final = 1
SHOWN: Final = 10


def parser() -> argparse.ArgumentParser:
    """The command line, complete with help."""
    p = argparse.ArgumentParser(
        prog="invmm lane",
        description="Shows the account's own transactions on the chain, or what a relayer was given for a "
        "wallet: what waits, what is in flight, how the last ones ended, and why nothing new is sent. A lane "
        "halts when somebody else used the nonce of its transaction, and settlement stops when a job moved "
        "something else than it said; look the account up, then --resume.",
        epilog="Exit codes: 0 done; 1 the lane is halted or settlement stopped; 2 usage, no journal, "
        "or with --resume: an engine runs from the folder.",
    )
    p.add_argument("--resume", action="store_true", help="new transactions may be sent again")
    add_folder_options(p)
    p.add_argument(
        "--last",
        type=int,
        default=SHOWN,
        metavar="N",
        help="ended jobs that are shown (default: %(default)s)",
    )
    p.add_argument("--json", action="store_true", help="print one JSON object")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code."""
    options = parser().parse_args(arguments)
    folder = folder_of(options.state, options.config)
    path = folder / LANE_FILE
    if not path.is_file() and (folder / RELAYED_FILE).is_file():
        return _relayed(folder, options)
    if not path.is_file():
        raise ConfigError(f"{path}: expected the journal of a lane, found none: nothing was sent from here")
    if options.resume:
        book = LaneBook.existing(LaneJournal(path))
        was = book.halted
        book.resume()
        book.close()
        if not options.json:
            print(f"{path}: " + (f"resumed; it was halted: {was}" if was else "was not halted"))
    else:
        book = LaneBook.existing(_Shown(read_records(path)))
    stopped = _stopped(folder, options)
    jobs = book.all()
    ended = [one for one in jobs if one.state in ENDED]
    shown = [one for one in jobs if one.state not in ENDED] + ended[max(0, len(ended) - options.last) :]
    if options.json:
        print(json.dumps(_json(path, book, shown, len(jobs)) | {"stopped": stopped}))
    else:
        _print(path, book, shown, len(jobs))
        _print_stopped(stopped)
    return EXIT_HALTED if book.halted or stopped else EXIT_DONE


def _stopped(folder: Path, options: argparse.Namespace) -> str:
    """Why settlement has stopped, "" if it has not, or with `--resume` does so no more."""
    path = folder / SETTLED_FILE
    if not path.is_file():
        return ""
    if not options.resume:
        return SettlementRecord(_Shown(read_records(path))).stopped
    record = SettlementRecord(LaneJournal(path))
    was = record.stopped
    record.resume()
    record.close()
    if was and not options.json:
        print(f"{path}: settlement goes on; it had stopped: {was}")
    return ""


def _relayed(folder: Path, options: argparse.Namespace) -> int:
    """The same of a wallet, whose jobs a relayer was given."""
    path = folder / RELAYED_FILE
    records = read_records(path)
    if not records or records[0].get("is") != "wallet":
        raise DataError(f"{path}: expected it to begin with its wallet, found another beginning")
    submits = Submits(_Shown(records), Quota(1, 1), records[0]["address"])
    stopped = _stopped(folder, options)
    reports = [one.report for one in submits.standing.values()]
    ended = [one for one in reports if one.state in ENDED]
    shown = [one for one in reports if one.state not in ENDED] + ended[max(0, len(ended) - options.last) :]
    if options.json:
        facts = {"file": str(path), "wallet": submits.wallet, "stopped": stopped, "jobs_known": len(reports)}
        print(json.dumps(facts | {"jobs": [asdict(one) for one in shown]}))
    else:
        print(f"{path}: wallet {submits.wallet}, {len(reports)} jobs by a relayer")
        for one in shown:
            print(f"  {one.state:<8} {one.name}" + (f": {one.reason}" if one.reason else ""))
            if one.transaction:
                print(f"           block {one.block}: {one.transaction}")
        _print_stopped(stopped)
    return EXIT_HALTED if stopped else EXIT_DONE


def _print_stopped(stopped: str) -> None:
    if stopped:
        print(f"  STOPPED: {stopped}")
        print("  look the account up, then: invmm lane --resume")


class _Shown:
    """Records that are only looked at."""

    def __init__(self, records: tuple[dict[str, Any], ...]) -> None:
        self.records = records

    def append(self, record: dict[str, Any]) -> None:
        raise OSError("the journal was opened to be read")

    def replace(self, records: object) -> None:
        """Nothing is shortened."""

    def close(self) -> None:
        """Nothing is open."""


def _json(path: Path, book: LaneBook, shown: Sequence[Progress], count: int) -> dict[str, Any]:
    return {
        "file": str(path),
        "account": book.account,
        "chain_id": book.chain_id,
        "next_nonce": book.next_nonce,
        "halted": book.halted,
        "jobs_known": count,
        "jobs": [
            {
                **asdict(one.report()),
                "calls": [call.what for call in one.job.calls],
                "calls_done": one.done,
                "in_flight": [
                    {
                        "transaction": attempt.transaction,
                        "nonce": attempt.nonce,
                        "max_fee_wei": attempt.fees.max_fee_wei,
                        "tip_wei": attempt.fees.tip_wei,
                        "sent_ns": attempt.sent_ns,
                    }
                    for attempt in one.attempts
                ],
            }
            for one in shown
        ],
    }


def _print(path: Path, book: LaneBook, shown: Sequence[Progress], count: int) -> None:
    print(
        f"{path}: account {book.account} on chain {book.chain_id}, {count} jobs, next nonce {book.next_nonce}"
    )
    if book.halted:
        print(f"  HALTED: {book.halted}")
        print("  look the account up, then: invmm lane --resume")
    for one in shown:
        print(f"  {one.state:<8} {one.job.name}" + (f": {one.reason}" if one.reason else ""))
        for attempt in one.attempts:
            fee = attempt.fees.max_fee_wei / GWEI
            print(f"           nonce {attempt.nonce}, at most {fee:g} gwei: {attempt.transaction}")
        if one.state in ENDED and one.transaction:
            print(f"           block {one.block}, {one.gas_used} gas: {one.transaction}")


if __name__ == "__main__":
    sys.exit(main())
