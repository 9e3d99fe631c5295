"""`python -m tests.bugs [NAME …] [--control] [--json]`: has the campaign find each bug, and prints how.

Exit code 0 if each is found and, with `--control`, the engine as it is passes the same seeds; else 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from tests.bugs.catalogue import BUGS
from tests.bugs.seeding import Bug, hunt, infected, play


def row_of(bug: Bug, tries: int, *, control: bool) -> dict[str, Any]:
    """What a hunt for one bug came to."""
    began = time.monotonic()
    with infected(bug) as play_seed:
        ready_s = time.monotonic() - began
        catch = hunt(bug, play_seed, tries)
    row: dict[str, Any] = {"bug": bug.name, "text": bug.text, "found": catch is not None}
    row["built_s"] = round(ready_s, 1)
    if catch is not None:
        row |= {"seed": catch.seed, "checkers": catch.counts, "at_s": catch.at_s, "first": catch.text}
        row["expected"] = bug.caught_by
        if control:
            row["control"] = play(catch.seed, bug.minutes, bug.plan, bug.open_orders).counts
    row["took_s"] = round(time.monotonic() - began, 1)
    return row


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bugs", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of bugs; all of them if none is named")
    parser.add_argument("--all", action="store_true", help="all of them")
    parser.add_argument("--tries", type=int, default=12, help="seeds to try after the known one")
    parser.add_argument("--control", action="store_true", help="play the seeds without the bug as well")
    parser.add_argument("--json", action="store_true", help="one JSON object per bug")
    options = parser.parse_args(arguments)
    known = {bug.name: bug for bug in BUGS}
    unknown = set(options.names) - known.keys()
    if unknown:
        parser.error(f"expected names of {', '.join(known)}; got {', '.join(sorted(unknown))}")
    failed = 0
    for bug in [known[name] for name in options.names if not options.all] or BUGS:
        row = row_of(bug, options.tries, control=options.control)
        failed += not row["found"] or bool(row.get("control"))
        if options.json:
            print(json.dumps(row), flush=True)
            continue
        found = f"seed {row['seed']}: {row['checkers']} at {row['at_s']} s" if row["found"] else "NOT FOUND"
        control_text = f"; without the bug {row['control'] or 'nothing'}" if "control" in row else ""
        print(f"{bug.name:28s} {found} in {row['took_s']} s{control_text}", flush=True)
        if row["found"]:
            print(f"{'':28s} {row['first'][:150]}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
