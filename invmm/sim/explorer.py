"""Every sequence of steps of the cancel/replace protocol, tried: `python -m invmm.sim.explorer`.

The world is one slot: an order, the order that replaces it, perhaps a third one that replaces that; the
engine, the network both ways, the venue, and a journal that outlives the process. The adversary delivers
messages in any order, loses some, copies one, kills the process once, fills, refuses, and lets time-outs and
expiries come whenever it likes. `protocol.py` has the steps of one order, `statespace.py` the search: breadth
first, so that the sequence printed for a violation is a shortest one.

| obligation | in every state that can be reached |
|---|---|
| limit | lots resting and traded at the venue, the truth, never exceed the capacity |
| orphan | what rests at the venue is possibly alive for the engine |
| lost fill | what has traded belongs to an order that the engine still knows |
| double send | a slot has never two differently signed orders under way |
| journal | what is on the wire is in the journal |
| stuck | without further faults and unkindness, rest can be reached: all records exact, all fills told |

The protocol must keep them all; each shortcut must break at least one, and the sequence is printed.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import Any

import orjson

from invmm.sim.protocol import Rules
from invmm.sim.statespace import (
    DOUBLE_SEND,
    JOURNAL,
    LIMIT,
    LOST_FILL,
    ORPHAN,
    Outcome,
    Setting,
    explore,
)


@dataclass(frozen=True)
class Shortcut:
    """A broken protocol, and which obligations it is known to break."""

    name: str
    text: str
    breaks: tuple[str, ...]
    rules: Rules
    capacity: int = 1


SETTINGS = (
    Setting("capacity 1"),
    Setting("capacity 2", capacity=2),
    Setting("capacity 1, same bytes again", rules=Rules(retry=True)),
    Setting("capacity 3, orders of two lots", capacity=3, drops=1, rules=Rules(lots=2)),
    Setting("three orders, a crash and no loss", orders=3, drops=0),
    Setting("three orders, one loss and no crash", orders=3, drops=1, crashes=0),
)
SHORT = (
    Setting("capacity 1, no loss", drops=0, copies=0),
    Setting("capacity 2, no loss, no crash", capacity=2, drops=0, copies=0, crashes=0),
    Setting("capacity 1, same bytes again, no loss", drops=0, copies=0, rules=Rules(retry=True)),
    Setting("capacity 1, one loss, one copy, no crash", drops=1, copies=1, crashes=0),
    Setting("capacity 2, orders of two lots", 2, drops=0, copies=0, crashes=0, rules=Rules(lots=2)),
)
"""Seconds instead of minutes: the same obligations, an adversary with fewer means."""

SHORTCUTS = (
    Shortcut(
        "timeout-is-failure",
        "no answer in time: the order failed",
        (ORPHAN, LOST_FILL, LIMIT),
        Rules(timeout_is_failure=True),
    ),
    Shortcut(
        "absent-is-dead",
        "the venue does not know it: the order is dead",
        (ORPHAN, LOST_FILL, LIMIT),
        Rules(absent_is_dead=True),
    ),
    Shortcut(
        "cancel-refusal-is-dead",
        "“already cancelled or matched”: the order is dead",
        (LIMIT, LOST_FILL),
        Rules(cancel_refusal_is_dead=True),
    ),
    Shortcut(
        "no-journal",
        "after a crash, the open orders are all there is",
        (LIMIT, ORPHAN, LOST_FILL),
        Rules(no_journal=True),
    ),
    Shortcut("no-wait", "cancel and place at once", (LIMIT,), Rules(no_wait=True)),
    Shortcut(
        "unknown-uncounted",
        "unknown orders are left out of the limits",
        (LIMIT,),
        Rules(unknown_uncounted=True),
    ),
    Shortcut("fence-early", "the fence is used before the expiry", (ORPHAN, LIMIT), Rules(fence_early=True)),
    Shortcut(
        "new-salt",
        "retry with a new signature instead of the same bytes",
        (DOUBLE_SEND, ORPHAN, LIMIT),
        Rules(new_salt=True),
    ),
    Shortcut("journal-late", "send first, journal then", (JOURNAL, ORPHAN), Rules(journal_late=True)),
    Shortcut(
        "copy-refusal-is-dead",
        "a refusal proves death although two copies went out",
        (ORPHAN, LIMIT),
        Rules(retry=True, copy_refusal_is_dead=True),
    ),
    Shortcut(
        "trades-unlisted",
        "after a crash, quote before the trades are listed",
        (LIMIT,),
        Rules(trades_unlisted=True),
    ),
    Shortcut(
        "untold-uncounted",
        "a cancelled order counts nothing, though its fills may not be told yet",
        (LIMIT,),
        Rules(lots=2, untold_uncounted=True),
        capacity=2,
    ),
)


def try_shortcut(shortcut: Shortcut, *, drops: int = 0, copies: int = 0) -> Outcome:
    """Searches the protocol with a shortcut until everything that it breaks has been seen broken. One crash,
    and the adversary's choice of order, suffice for each; more means make the same search longer.
    """
    setting = Setting(shortcut.name, shortcut.capacity, drops=drops, copies=copies, rules=shortcut.rules)
    return explore(setting, shortcut.breaks, show_progress(shortcut.name))


def show_progress(name: str) -> Any:
    """Writes how far a search is to standard error, if that is a terminal."""

    def show(states: int, depth: int) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{name}: {states:,} states, {depth} steps deep")
            sys.stderr.flush()

    return show


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m invmm.sim.explorer",
        description="Tries every sequence of steps of the cancel/replace protocol, and every known shortcut. "
        "Without options: small worlds and all shortcuts, seconds.",
        epilog="Exit code 0 if the protocol keeps every obligation and every shortcut tried breaks what it "
        "is known to break, else 1.",
    )
    made.add_argument("--capacity", type=int, choices=(1, 2), help="lots that fit: 1 makes it cancel first")
    made.add_argument("--retry", action="store_true", help="the same bytes may be sent again, at capacity 1")
    made.add_argument("--orders", type=int, choices=(2, 3), help="3: two worlds, a crash or a lost message")
    made.add_argument(
        "--shortcut", metavar="NAME", help="only this shortcut, or all of them: " + SHORTCUT_NAMES
    )
    made.add_argument("--all", action="store_true", help="every world in full, and every shortcut: minutes")
    made.add_argument("--json", action="store_true", help="one JSON object instead of text")
    return made


SHORTCUT_NAMES = ", ".join(each.name for each in SHORTCUTS)


def chosen(options: argparse.Namespace) -> tuple[list[Setting], list[Shortcut]]:
    """The worlds and the shortcuts that the options ask for."""
    settings: list[Setting] = []
    asked = {name: getattr(options, name) for name in ("capacity", "retry", "orders")}
    if (options.retry and options.capacity == 2) or (
        options.orders == 3 and (options.retry or options.capacity)
    ):
        told = " ".join(f"--{name} {value}".removesuffix(" True") for name, value in asked.items() if value)
        parser().error(f"expected --capacity, or --retry, or --orders 3; there is no world of {told}")
    if options.all:
        settings = list(SETTINGS)
    elif options.orders == 3:
        settings = [each for each in SETTINGS if each.orders == 3]
    elif options.retry or options.capacity or options.orders:
        settings = [
            each
            for each in SETTINGS
            if each.orders == 2
            and each.rules.retry == options.retry
            and each.capacity == (options.capacity or 1)
        ]
    elif not options.shortcut:
        settings = list(SHORT)
    if options.shortcut in (None, "all"):
        shortcuts = list(SHORTCUTS) if options.shortcut or options.all or settings == list(SHORT) else []
    else:
        shortcuts = [each for each in SHORTCUTS if each.name == options.shortcut]
        if not shortcuts:
            parser().error(f"--shortcut: expected all or one of {SHORTCUT_NAMES}; got {options.shortcut}")
    return settings, shortcuts


def as_json(outcome: Outcome, passed: bool) -> dict[str, Any]:
    """An outcome as plain values."""
    return {
        "name": outcome.name,
        "passed": passed,
        "states": outcome.states,
        "steps": outcome.steps,
        "depth": outcome.depth,
        "rest_states": outcome.rests,
        "steps_to_rest_max": outcome.rest_steps,
        "seconds": round(outcome.seconds, 1),
        "broken": {violation.obligation: violation.steps for violation in outcome.violations},
    }


def told(outcome: Outcome, text: str = "") -> str:
    """An outcome in words, with a shortest sequence for each broken obligation."""
    size = f"{outcome.states:,} states, {outcome.steps:,} steps, {outcome.seconds:.1f} s"
    if text:
        lines = [f"{outcome.name}: {text}", f"  {size}"]
    else:
        far = f"; rest is at most {outcome.rest_steps} steps away" if outcome.rest_steps else ""
        lines = [f"{outcome.name}: {size}, {outcome.depth} deep{far}"]
    for violation in outcome.violations:
        lines.append(f"  breaks “{violation.obligation}” in {len(violation.steps)} steps:")
        lines += [f"   {n:3d}. {step}" for n, step in enumerate(violation.steps, 1)]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; its exit code."""
    options = parser().parse_args(arguments)
    settings, shortcuts = chosen(options)
    report: dict[str, Any] = {"protocol": [], "shortcuts": []}
    failed = 0
    for setting in settings:
        outcome = explore(setting, progress=show_progress(setting.name))
        passed = not outcome.violations
        failed += not passed
        report["protocol"].append(as_json(outcome, passed))
        if not options.json:
            print(told(outcome) + ("\n  every obligation holds" if passed else ""), flush=True)
    for shortcut in shortcuts:
        outcome = try_shortcut(shortcut, drops=2, copies=1) if options.all else try_shortcut(shortcut)
        caught = set(shortcut.breaks) <= set(outcome.broken)
        failed += not caught
        report["shortcuts"].append(as_json(outcome, caught))
        if not options.json:
            print("\n" + told(outcome, shortcut.text), flush=True)
            for obligation in sorted(set(shortcut.breaks) - set(outcome.broken)):
                print(f"  does NOT break “{obligation}”", flush=True)
    if options.json:
        print(orjson.dumps({**report, "passed": not failed}, option=orjson.OPT_INDENT_2).decode())
    else:
        done = f"{len(settings)} worlds, {len(shortcuts)} shortcuts"
        print(f"\n{done}: " + ("as it must be" if not failed else f"{failed} not as they must be"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
