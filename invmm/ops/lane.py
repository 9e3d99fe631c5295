"""`invmm lane`: what the account's transaction lane has sent, what is in flight, and why nothing moves.

It reads the journal of a state folder, also while an engine runs from it; it needs no key and asks no node.
`--resume` is the answer to a lane that halted: a person has looked.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from invmm.errors import ConfigError
from invmm.ops.kill import folder_of
from invmm.settlement.fees import GWEI
from invmm.settlement.lane import ENDED
from invmm.settlement.lane_book import LaneBook, Progress
from invmm.settlement.lane_journal import LaneJournal, read_records

EXIT_DONE: Final = 0
EXIT_HALTED: Final = 1
SHOWN: Final = 10


def parser() -> argparse.ArgumentParser:
    """The command line, complete with help."""
    p = argparse.ArgumentParser(
        prog="invmm lane",
        description="Shows the account's own transactions on the chain: what waits, what is in flight, how "
        "the last ones ended, and why nothing new is sent. A lane halts when somebody else used the nonce of "
        "its transaction, or when one moved something else than its job said; look the account up, then "
        "--resume.",
        epilog="Exit codes: 0 done; 1 the lane is halted; 2 usage, no journal of a lane, or with --resume: "
        "an engine runs from the folder.",
    )
    p.add_argument("--resume", action="store_true", help="new transactions may be sent again")
    p.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="state folder (default: that of --config, or the only one in the user's state directory)",
    )
    p.add_argument("--config", metavar="FILE", help="TOML settings, for [state] folder")
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
    path = folder_of(options.state, options.config) / "lane"
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
    jobs = book.all()
    ended = [one for one in jobs if one.state in ENDED]
    shown = [one for one in jobs if one.state not in ENDED] + ended[max(0, len(ended) - options.last) :]
    if options.json:
        print(json.dumps(_json(path, book, shown, len(jobs))))
    else:
        _print(path, book, shown, len(jobs))
    return EXIT_HALTED if book.halted else EXIT_DONE


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
