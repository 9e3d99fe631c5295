"""`invmm sweep`: settings of one policy tried over markets and seeds, the rows in a Parquet file."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from invmm.errors import ConfigError
from invmm.replay.entrants import ENTRANTS, entrant
from invmm.research.kept import KeptRows
from invmm.research.markets import markets_of
from invmm.research.processes import ProcessCrew
from invmm.research.ray_crew import LOCAL, RayCrew, ray_module
from invmm.research.search import BATCH, SAMPLERS, Grid, OptunaSearch, Search
from invmm.research.space import check_point, corners, grid, parse_space, told
from invmm.research.spread import Crew, HereCrew
from invmm.research.sweep import Plan, Result, TrialSummary, run
from invmm.research.table import OBJECTIVES, pyarrow_module, write_table
from invmm.research.watch import SweepProgress
from invmm.research.work import Task
from invmm.settings import Settings

EXIT_DONE, EXIT_FAILED_CHECK, EXIT_INTERRUPTED = 0, 1, 130
SHOWN: Final = 10
CAVEAT: Final = "the best of many looks better than it is: try it on markets that it was not chosen on"


def parser() -> argparse.ArgumentParser:
    """The command line, complete with help."""
    p = argparse.ArgumentParser(
        prog="invmm sweep",
        description="Try settings of one policy over markets and seeds, on processes of this machine or on a "
        "Ray cluster, and write one row per trial, market and seed to a Parquet file. Equal arguments give "
        "equal rows, however many workers there are.",
        epilog="Exit codes: 0 done, 1 a row failed or the cluster has no room, 2 usage or configuration, "
        "130 interrupted (--resume goes on). Columns and rules: docs/sweep.md.",
    )
    p.add_argument(
        "--policy",
        required=True,
        metavar="NAME",
        help=f"one of {', '.join(ENTRANTS)}, with settings of its own as NAME:key=value,…",
    )
    p.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUES",
        help="a setting (strategy.order_size), a parameter of the policy's model (BASE_SPREAD) or a "
        "condition (conditions.latency_ms), with a,b,c or low:high[:log] or low:high:N[:log]; repeatable",
    )
    p.add_argument("--config", metavar="FILE", help="TOML settings that everything else is taken from")
    search = p.add_argument_group("which combinations")
    how = search.add_mutually_exclusive_group(required=True)
    how.add_argument("--grid", action="store_true", help="all of them")
    how.add_argument("--optuna", type=int, metavar="TRIALS", help="so many that Optuna suggests")
    search.add_argument(
        "--sampler", choices=SAMPLERS, default=SAMPLERS[0], help="with --optuna (default %(default)s)"
    )
    search.add_argument(
        "--search-seed", type=int, default=0, metavar="N", help="with --optuna: of its sampler (default 0)"
    )
    search.add_argument(
        "--batch",
        type=int,
        default=BATCH,
        metavar="N",
        help="with --optuna: suggested at once, before any of them is known (default %(default)s)",
    )
    search.add_argument(
        "--objective",
        default="profit_dollars",
        metavar="NAME",
        help="column whose mean ranks the trials (default %(default)s)",
    )
    search.add_argument("--minimize", action="store_true", help="the smallest is the best")
    where = p.add_argument_group("on what")
    where.add_argument(
        "--markets",
        nargs="+",
        required=True,
        metavar="MARKET",
        help="generated:N for N generated ones, and files or folders of recorded ones (of a folder the half "
        "that may be tuned on: the earlier one; files are taken as they are named)",
    )
    where.add_argument(
        "--first-seed", type=int, default=1, metavar="S", help="of the generated markets (default 1)"
    )
    where.add_argument(
        "--seeds", type=int, default=1, metavar="K", help="of each market: 1…K, of the venue (default 1)"
    )
    work = p.add_argument_group("by whom")
    work.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="workers (default: one per processor; 0: none, all in this process)",
    )
    work.add_argument(
        "--ray", metavar="ADDRESS", help="on a Ray cluster: its host:port, auto, or local for a new one"
    )
    out = p.add_argument_group("what comes of it")
    out.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="FILE.parquet",
        help="written at the end; rows are kept in FILE.parquet.jsonl as they come",
    )
    out.add_argument("--resume", action="store_true", help="go on with the rows that are kept there")
    out.add_argument("--json", action="store_true", help="print one JSON object")
    out.add_argument("--quiet", action="store_true", help="no progress, no table")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(given)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _sweep(options)
    except KeyboardInterrupt:
        again = shlex.join(["invmm", "sweep", *given, *([] if options.resume else ["--resume"])])
        if options.json:
            print(json.dumps({"interrupted": True, "go_on": again}))
        print(f"invmm sweep: interrupted; what is finished is kept. To go on:\n  {again}", file=sys.stderr)
        return EXIT_INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)


def _sweep(options: argparse.Namespace) -> int:
    plan, search = _plan(options)
    if plan.held_back and not options.quiet:
        print(
            f"invmm sweep: the later {plan.held_back} of the recorded markets are held back for the "
            "comparison that decides; files named one by one are taken as they are",
            file=sys.stderr,
        )
    hire = _hiring(options, plan)
    kept_path = _checked_out(options)
    with KeptRows(kept_path, plan.identity(), resume=options.resume) as kept:
        total = search.trials * len(plan.markets) * len(plan.seeds)
        with (
            SweepProgress(total, enabled=not options.quiet and sys.stderr.isatty()) as progress,
            contextlib.redirect_stdout(sys.stderr),  # what Ray has to say while it is at it
        ):
            result = run(plan, search, kept, hire, progress)
        write_table(options.out, plan.axes, result.rows, plan.metadata())
    _tell(options, plan, result)
    return EXIT_FAILED_CHECK if result.failed else EXIT_DONE


def _interrupt(_signal: int, _frame: Any) -> None:
    """SIGTERM means what Ctrl-C means."""
    raise KeyboardInterrupt


def _plan(options: argparse.Namespace) -> tuple[Plan, Search]:
    """All that was asked for, checked."""
    pyarrow_module()
    who = entrant(options.policy)
    base = Settings.load(options.config) if options.config else Settings()
    who.settings(base)
    axes = parse_space(options.param, base, who)
    if options.objective not in OBJECTIVES:
        raise ConfigError(
            f"--objective: expected one of {', '.join(OBJECTIVES)}, found {options.objective!r}"
        )
    if options.seeds < 1:
        raise ConfigError(f"--seeds: expected at least 1, found {options.seeds}")
    search: Search
    if options.grid:
        for point in grid(axes):
            check_point(base, who, point)
        search, words = Grid(axes), {"kind": "grid"}
    else:
        for point in corners(axes):
            check_point(base, who, point)
        search = OptunaSearch(axes, options.optuna, options.sampler, options.search_seed, options.batch)
        words = search.described()
    markets, held_back = markets_of(options.markets, options.first_seed)
    plan = Plan(
        who=who,
        settings=base,
        axes=axes,
        search=words,
        markets=markets,
        held_back=held_back,
        seeds=tuple(range(1, options.seeds + 1)),
        objective=options.objective,
        is_minimized=options.minimize,
    )
    return plan, search


def _checked_out(options: argparse.Namespace) -> Path:
    """Where rows are kept, beside the file that was named."""
    out: Path = options.out
    if out.suffix != ".parquet":
        raise ConfigError(f"--out: expected a name that ends in .parquet, found {str(out)!r}")
    if not out.parent.is_dir():
        raise ConfigError(f"--out: expected the folder {out.parent} to be there, it is not")
    if out.is_dir():
        raise ConfigError(f"--out: expected a file, {out} is a folder")
    if not os.access(out.parent, os.W_OK):
        raise ConfigError(f"--out: expected the folder {out.parent} to be writable, it is not")
    if out.exists() and not options.resume:
        raise ConfigError(f"--out: {out} is there; --resume goes on with it, removing it begins anew")
    return out.with_name(out.name + ".jsonl")


def _hiring(options: argparse.Namespace, plan: Plan) -> Callable[[int], Crew]:
    """Who makes the workers."""
    task = Task(plan.who.text, plan.settings)
    jobs: int | None = options.jobs
    if jobs is not None and jobs < (1 if options.ray else 0):
        raise ConfigError(f"--jobs: expected at least {1 if options.ray else 0}, found {jobs}")
    processors = len(os.sched_getaffinity(0))
    if options.ray:
        ray_module(options.ray)
        if options.ray == LOCAL:
            return lambda useful: RayCrew(task, min(jobs or processors, useful), LOCAL)
        return lambda useful: RayCrew(task, min(jobs or useful, useful), options.ray)
    if jobs == 0:
        return lambda useful: HereCrew(task)
    return lambda useful: ProcessCrew(task, min(jobs or processors, useful))


def _tell(options: argparse.Namespace, plan: Plan, result: Result) -> None:
    ranked = result.ranked(is_minimized=plan.is_minimized)
    failed = result.failed
    if options.json:
        print(
            json.dumps(
                {
                    "out": str(options.out),
                    "trials": len(result.trials),
                    "rows": len(result.rows),
                    "played": result.played,
                    "reused": result.reused,
                    "markets": len(plan.markets),
                    "held_back": plan.held_back,
                    "failed": len(failed),
                    "objective": plan.objective,
                    "minimize": plan.is_minimized,
                    "ranked": [_plain(one) for one in ranked[:SHOWN]],
                    "failures": [
                        {"trial": row.trial, "parameters": dict(row.point), "market": row.market}
                        | {"seed": row.seed, "error": row.outcome.error}
                        for row in failed[:SHOWN]
                    ],
                    "note": CAVEAT,
                }
            )
        )
    elif not options.quiet:
        _show(plan, result, ranked)
    if failed:
        print(f"invmm sweep: {len(failed)} of {len(result.rows)} rows failed, the first:", file=sys.stderr)
        for row in failed[:SHOWN]:
            print(
                f"  trial {row.trial} ({told(row.point)}) on {row.market}, seed {row.seed}: "
                f"{row.outcome.error}",
                file=sys.stderr,
            )


def _plain(one: TrialSummary) -> dict[str, Any]:
    return {
        "trial": one.trial,
        "parameters": dict(one.point),
        "value": one.value,
        "standard_error": one.error,
        "rows": one.rows,
    }


def _show(plan: Plan, result: Result, ranked: Sequence[TrialSummary]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("trial", *(axis.name for axis in plan.axes), plan.objective, "± s.e."):
        table.add_column(heading, justify="right", overflow="fold")
    for one in ranked[:SHOWN]:
        values = [f"{value:g}" if isinstance(value, float) else str(value) for value in one.point.values()]
        error = "" if one.error is None else f"{one.error:.4g}"
        table.add_row(str(one.trial), *values, f"{one.value:.6g}", error)
    print(
        f"{plan.who.text}: {len(result.trials)} trials × {len(plan.markets)} markets × "
        f"{len(plan.seeds)} seeds, {result.played} rows played, {result.reused} reused"
    )
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120, markup=False).print(table)
    print(f"note: {CAVEAT}")
