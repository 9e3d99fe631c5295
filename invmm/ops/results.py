"""The end of a run: the report on the terminal, as JSON and as a page, and the exit code that sums it up."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from invmm.ops.settled import settlement_problems, told_cash, told_merges
from invmm.replay.report import WARNING, model_words, summarise
from invmm.replay.result import MarketResult
from invmm.settings import Settings
from invmm.settlement.merger import MergerConfig


def finish(
    options: argparse.Namespace,
    settings: Settings,
    results: Sequence[MarketResult],
    *,
    digest: str,
    commands: int,
    extra: dict[str, Any] | None = None,
    complete: bool = True,
) -> int:
    """Prints and writes the report; 0, or 1 when a check failed."""
    strategy = settings.strategy
    merger = MergerConfig(strategy.min_merge_size, strategy.max_merge_imbalance, strategy.max_combined_cost)
    summary = summarise(results, digest=digest, commands=commands, merger=merger)
    summary.update(extra or {})
    problems = failed_checks(summary, results, complete=complete)
    problems += settlement_problems(summary.get("settlement"), complete=complete)
    count = summary["queue_ahead_of_truth"]
    if count and digest and settings.engine.queue_model == "conservative":
        # Over sockets, where there is no digest, estimate and truth are of two moments: no proof of an error.
        problems.append(f"{count} conservative queue estimates were ahead of the truth")
    summary["failed_checks"] = problems
    path = Path(options.report) if options.report else Path("reports") / f"{results[0].tape.market.slug}.html"
    written = write_page(path, summary, results)
    console = Console(stderr=options.json, highlight=False)
    show(console, summary)
    for problem in problems:
        console.print(f"FAILED CHECK: {problem}", style="bold red", markup=False, soft_wrap=True)
    # Soft-wrapped: a path or a command that is broken over two lines cannot be copied.
    for line in (
        f"report: {written}" if written else f"report: could not be written to {path}",
        f"next:   {next_command(options)}",
    ):
        console.print(line, markup=False, soft_wrap=True)
    if options.json:
        sys.stdout.write(
            orjson.dumps(summary, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY).decode() + "\n"
        )
        sys.stdout.flush()
    return 1 if problems else 0


def failed_checks(summary: dict[str, Any], results: Sequence[MarketResult], *, complete: bool) -> list[str]:
    """What must hold after every run, in words, where it does not."""
    problems = [
        f"{summary[name]} {name.replace('_', ' ')}"
        for name in ("checkpoint_mismatches", "best_mismatches", "mirror_mismatches")
        if summary[name]
    ]
    if summary["decode_failures"]:
        problems.append(f"decode failures: {summary['decode_failures']}")
    for result in results:
        if complete and result.winner is None:
            problems.append(f"{result.tape.market.slug}: not resolved")
        if not result.reconciled:
            venue = "nothing" if result.venue_cash_micro is None else f"{result.venue_cash_micro / 1e6:.6f}"
            ledger = f"{result.ledger_cash_micro / 1e6:.6f}"
            problems.append(f"{result.tape.market.slug}: ledger says {ledger} dollars, venue says {venue}")
    return problems


def show(console: Console, summary: dict[str, Any]) -> None:
    """The report for people."""
    if summary["origin"] == "GENERATED":
        console.print(WARNING, style="yellow", soft_wrap=not console.is_terminal)
    table = Table(show_header=False, box=None, padding=(0, 2))
    profit = summary["profit"]
    cost = summary["pair_cost"]
    table.add_row("markets", f"{summary['markets']}, {summary['frames']:,} frames")
    table.add_row(
        "orders",
        f"{summary['orders']:,} placed, {summary['fills']:,} fills, "
        f"{summary['bought_shares']:,.2f} shares bought",
    )
    table.add_row("pairs", f"{summary['pairs']:,.2f} matched" + (f" at {cost:.4f} dollars" if cost else ""))
    table.add_row("merges", told_merges(summary))
    if "settlement" in summary:
        table.add_row("cash on the chain", told_cash(summary["settlement"]))
    table.add_row(
        "profit",
        f"{profit['total']:+,.2f} dollars = pair edge {profit['pair_edge']:+,.2f}, "
        f"unmatched at resolution {profit['orphans']:+,.2f}, "
        f"fees {profit['fees']:+,.2f}; rebates expected {profit['rebates']:+,.2f}",
    )
    table.add_row(
        "reconciled", "ledger and venue agree to the micro-dollar" if summary["reconciled"] else "NO"
    )
    table.add_row(
        "books",
        f"{summary['checkpoints']:,} checkpoints ({summary['checkpoint_mismatches']} unequal), "
        f"{summary['best_checks']:,} best ({summary['best_mismatches']}), "
        f"{summary['mirror_checks']:,} mirror ({summary['mirror_mismatches']})",
    )
    if summary.get("faults") is not None:
        table.add_row("faults", told_faults(summary["faults"]))
    table.add_row("decode failures", str(summary["decode_failures"] or "none"))
    table.add_row("solves", f"{summary['solves']:,}, {summary['suppressed']:,} suppressed")
    if summary["model"]:
        table.add_row("model", model_words(summary["model"]))
    queue = summary["queue_error_shares"]
    if queue["samples"]:
        table.add_row(
            "queue estimate",
            f"error p50 {queue['p50']:,.1f}, p90 {queue['p90']:,.1f} shares ({queue['samples']:,} samples)",
        )
    marks = ", ".join(f"{h} {100 * v:+.2f}¢" for h, v in summary["markout"].items() if v is not None)
    if marks:
        table.add_row("markouts", marks)
    for stage, figures in summary["latency_ns"].items():
        if figures.get("count"):
            table.add_row(
                f"latency {stage}",
                f"p50 {figures['p50'] / 1e3:,.1f} µs, p99 {figures['p99'] / 1e3:,.1f} µs, "
                f"p99.9 {figures['p999'] / 1e3:,.1f} µs ({figures['count']:,.0f} samples)",
            )
    console.print(table, soft_wrap=not console.is_terminal)
    if summary["digest"]:
        console.print(f"  digest             {summary['digest']}", markup=False, soft_wrap=True)


def told_faults(counts: dict[str, int]) -> str:
    """What went wrong on request, in words."""
    return ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in sorted(counts.items())) or "none"


def write_page(path: Path, summary: dict[str, Any], results: Sequence[MarketResult]) -> Path | None:
    """The report as a page with plots; None when the file cannot be written."""
    from invmm.ops.page import page

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(summary, results), encoding="utf-8")
    except OSError:
        return None
    return path


def next_command(options: argparse.Namespace) -> str:
    """What to try next, as it can be typed."""
    if options.replay is None:
        day = "quiet" if options.day == "jumping" else "jumping"
        return f"python -m invmm.run --seed {options.seed + 1} --day {day}"
    given = ["--replay", *options.replay, *(["--seed", str(options.seed)] if options.seed != 1 else [])]
    if options.speed != "max":
        return shlex.join(["python", "-m", "invmm.run", *given, "--speed", "max"])
    other = "inventory_mm" if options.policy == "inventory_mm_compatible" else "inventory_mm_compatible"
    return shlex.join(["python", "-m", "invmm.run", *given, "--speed", "max", "--policy", other])
