"""The end of a session over windows: the summary on the terminal or as JSON, and the exit code."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from invmm.ops.settled import settlement_problems, told_cash, told_merges

EXIT_DONE, EXIT_FAILED_CHECK, EXIT_NOT_CLEAN, EXIT_INTERRUPTED = 0, 1, 4, 130


def finish(summary: dict[str, Any], *, as_json: bool) -> int:
    """Prints the summary; the exit code that sums it up."""
    problems = failed_checks(summary)
    summary["failed_checks"] = problems
    stream = sys.stderr if as_json else sys.stdout
    console = Console(file=stream, highlight=False, width=None if stream.isatty() else 140)
    console.print(table_of(summary["windows"]), soft_wrap=not console.is_terminal)
    resolved = len(summary["windows"]) - summary["unresolved"]
    console.print(
        f"{summary['opened']} windows opened, {summary['skipped']} not tradable; {summary['orders']} orders, "
        f"{summary['fills']} fills, {summary['pairs']:,.2f} pairs; profit {summary['profit']:+,.2f} dollars "
        f"in {resolved} resolved windows",
        markup=False,
        soft_wrap=True,
    )
    if summary.get("faults") is not None:
        told = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in summary["faults"].items())
        console.print(f"faults: {told or 'none'}", markup=False, soft_wrap=True)
    if "settlement" in summary:
        console.print(f"merges: {told_merges(summary)}", markup=False, soft_wrap=True)
        console.print(f"cash on the chain: {told_cash(summary['settlement'])}", markup=False, soft_wrap=True)
    for problem in problems:
        console.print(f"FAILED CHECK: {problem}", style="bold red", markup=False, soft_wrap=True)
    if as_json:
        sys.stdout.write(json.dumps(summary) + "\n")
        sys.stdout.flush()
    if not summary["clean"]:
        return EXIT_NOT_CLEAN
    if problems:
        return EXIT_FAILED_CHECK
    return EXIT_INTERRUPTED if summary["interrupted"] else EXIT_DONE


def failed_checks(summary: dict[str, Any]) -> list[str]:
    """What must hold after every session, in words, where it does not."""
    problems = [
        f"{summary[name]} {name.replace('_', ' ')}"
        for name in ("decode_failures", "best_mismatches", "mirror_mismatches", "alive_at_the_end")
        if summary[name]
    ]
    problems += summary.get("ledger_differences", [])
    is_whole = summary["clean"] and not summary["interrupted"] and not summary["unresolved"]
    problems += settlement_problems(summary.get("settlement"), complete=is_whole)
    if not summary["windows"] and not summary["interrupted"]:
        problems.append("no window was traded")
    return problems


def table_of(windows: list[dict[str, Any]]) -> Table:
    """One line per window."""
    table = Table(box=None, pad_edge=False)
    for name in (
        "window",
        "ended",
        "orders",
        "fills",
        "up",
        "down",
        "pairs",
        "pair cost",
        "merge",
        "won",
        "profit",
    ):
        table.add_column(name, justify="left" if name in ("window", "ended", "won") else "right")
    for row in windows:
        table.add_row(
            row["slug"],
            time.strftime("%H:%M:%SZ", time.gmtime(row["end"])),
            str(row["orders"]),
            str(row["fills"]),
            f"{row['up']:,.2f}",
            f"{row['down']:,.2f}",
            f"{row['pairs']:,.2f}",
            f"{row['pair_cost']:.4f}" if row["pair_cost"] else "",
            f"{row['merge']:,.2f}" if row["merge"] else "",
            row["winner"] or "?",
            "?" if row["profit"] is None else f"{row['profit']:+,.2f}",
        )
    return table
