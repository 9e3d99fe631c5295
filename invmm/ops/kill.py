"""`invmm kill`: raises the kill level of the engine that runs from a state folder, or of the next; shows it.

It writes one file, needs no key and connects nowhere. The engine that runs from the folder acts within a turn
of its timer, and writes into the same file whether the venue proved that nothing is open.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from invmm.execution.kill import KillLevel, KillRecord, latch, read, release
from invmm.execution.state import StateFolder
from invmm.ops.state_options import add_folder_options, folder_of

EXIT_DONE: Final = 0
EXIT_NOT_VERIFIED: Final = 4
WAIT_S: Final = 10.0
LOOK_S: Final = 0.05
MEANINGS: Final = {
    KillLevel.NONE: "trading is not stopped by it",
    KillLevel.NO_NEW_RISK: "no new risk: nothing is placed, quotes are pulled",
    KillLevel.CANCEL_ALL: "everything is cancelled, and verified by listing",
    KillLevel.END: "everything is cancelled, heartbeats stop, the session ends",
}


def parser() -> argparse.ArgumentParser:
    """The command line, complete with help."""
    levels = "; ".join(f"{int(level)} {what}" for level, what in MEANINGS.items() if level)
    p = argparse.ArgumentParser(
        prog="invmm kill",
        description=f"Raises the kill level: {levels}. It only goes up and survives restarts; --release "
        "lowers it again. Without a level: shows it. `echo 2 > FOLDER/kill`, SIGUSR1 (1) and SIGUSR2 (2) do "
        "the same.",
        epilog="Exit codes: 0 done (at level 2 and 3: the engine verified that no order is open); 2 usage, "
        "or the folder cannot be used; 4 not verified: no engine runs from the folder, or it could not prove "
        "it in time (then run: invmm cancel-all).",
    )
    p.add_argument("level", nargs="?", type=int, choices=(1, 2, 3), metavar="LEVEL", help="1, 2 or 3")
    p.add_argument("--release", action="store_true", help="lower the level to 0: trading may go on")
    p.add_argument("--why", default="", metavar="TEXT", help="kept with the level and shown")
    add_folder_options(p)
    p.add_argument(
        "--wait",
        type=float,
        default=WAIT_S,
        metavar="S",
        help="how long the engine may take to verify levels 2 and 3 (default: %(default)g; 0: do not wait)",
    )
    p.add_argument("--json", action="store_true", help="print one JSON object")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code."""
    p = parser()
    options = p.parse_args(arguments)
    if options.release and options.level is not None:
        p.error("--release goes without a level")
    folder = folder_of(options.state, options.config)
    who = f"command, user {os.getuid()}"
    runs = StateFolder(folder).is_locked_by_other()
    path = folder / "kill"
    if options.release:
        before = release(path, who)
        return _tell(options, path, read(path), runs, said=f"released; it was {before}")
    if options.level is None:
        return _tell(options, path, read(path), runs)
    record = latch(path, options.level, options.why, who)
    if record.level >= KillLevel.CANCEL_ALL:
        if runs and options.wait > 0:
            record = wait_verified(path, options.wait)
        _tell(options, path, record, runs)
        return EXIT_DONE if record.verified else EXIT_NOT_VERIFIED
    return _tell(options, path, record, runs)


def wait_verified(path: Path, wait_s: float) -> KillRecord:
    """What the file says once the engine has written whether it is verified, or when the time is over."""
    end = time.monotonic() + wait_s
    while True:
        record = read(path)
        if record.verified is not None or time.monotonic() >= end:
            return record
        time.sleep(LOOK_S)


def _tell(options: argparse.Namespace, path: Path, record: KillRecord, runs: bool, said: str = "") -> int:
    if options.json:
        told: dict[str, Any] = {**asdict(record), "level": int(record.level)}
        print(json.dumps({"file": str(path), "engine_runs": runs, **told}))
        return EXIT_DONE
    print(f"{path}: {said or record}")
    print(f"  {MEANINGS[record.level]}")
    if record.level >= KillLevel.CANCEL_ALL:
        if record.verified:
            print("  verified: the venue lists no open order, and none may be alive")
        elif not runs:
            print("  NOT verified: no engine runs from this folder. What may be open: invmm cancel-all")
        else:
            print("  NOT verified (yet): invmm kill shows it again; otherwise: invmm cancel-all")
    elif not runs:
        print("  no engine runs from this folder; the next one obeys it")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
