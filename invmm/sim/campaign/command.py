"""The command: runs seeds, prints the report, shrinks what fails."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from invmm.errors import ConfigError, DataError, InUseError, InvmmError
from invmm.research.provenance import commit
from invmm.sim.campaign.hazards import ALL, TABLE, Planned
from invmm.sim.campaign.report import MUST_BE_ZERO, SeedReport, marks_of, run_seed, summary_of, write_table
from invmm.sim.campaign.seeds import play_seeds
from invmm.sim.campaign.shrink import shrink

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130


def _parser() -> argparse.ArgumentParser:
    faults = "\n".join(
        f"  {name:<18} {hazard.what} ({hazard.rows}{'; not in all' if hazard.apart else ''})"
        for name, hazard in TABLE.items()
    )
    parser = argparse.ArgumentParser(
        prog="python -m invmm.sim.campaign",
        description="Runs the shipped engine against the embedded venue on virtual time, with faults drawn "
        "from seeds, and checks from the venue's side that no order and no fill is lost and no limit broken.",
        epilog=f"faults:\n{faults}\n\nexit codes: 0 nothing failed, 1 something that must be zero is not, "
        "2 usage, 130 interrupted (with --resume the same command goes on)",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, default=50, help="how many (default 50)")
    parser.add_argument("--minutes", type=float, default=10.0, help="simulated, of each seed (default 10)")
    parser.add_argument("--first-seed", type=int, default=0, help="the first one (default 0)")
    parser.add_argument("--faults", default="all", metavar="NAMES", help="all, none, or names with commas")
    parser.add_argument(
        "--json", metavar="FILE", help="write the report there as one flat object; -: print it"
    )
    parser.add_argument(
        "--write", metavar="FILE", help="put the report as a table between the marks of a Markdown file"
    )
    parser.add_argument("--jobs", type=int, default=0, help="processes (default: one per core)")
    parser.add_argument(
        "--resume", metavar="FILE", help="keep finished seeds there, and do not run those that it has"
    )
    parser.add_argument("--shrink", type=int, metavar="SEED", help="make the plan of a failing seed smaller")
    parser.add_argument("--plan", metavar="JSON", help="with one seed: exactly these faults, as printed")
    parser.add_argument("--no-shrink", action="store_true", help="do not shrink the first failing seed")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return parser


def names_of(text: str) -> tuple[str, ...]:
    """Fault names of the option; ConfigError for one that is none."""
    if text == "all":
        return ALL
    if text in ("", "none"):
        return ()
    names = tuple(name.strip() for name in text.split(","))
    unknown = [name for name in names if name not in TABLE]
    if unknown:
        raise ConfigError(f"--faults: expected names of {', '.join(TABLE)}, found {', '.join(unknown)}")
    return names


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; its exit code."""
    options = _parser().parse_args(argv)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _campaign(options)
    except (ConfigError, DataError, InUseError) as error:
        print(f"campaign: {error}", file=sys.stderr)
        return EXIT_USAGE
    except InvmmError as error:
        print(f"campaign: {error}; {_kept(options)}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print(f"campaign: interrupted; {_kept(options)}", file=sys.stderr)
        return EXIT_INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)


def _kept(options: argparse.Namespace) -> str:
    return f"the same command goes on from {options.resume}" if options.resume else "nothing was kept"


def _campaign(options: argparse.Namespace) -> int:
    names = names_of(options.faults)
    plan = None if options.plan is None else plan_of(options.plan)
    if options.seeds < 1 or not 0 < options.minutes <= 1440:
        raise ConfigError("expected at least 1 seed and minutes above 0, at most 1440")
    if options.jobs < 0:
        raise ConfigError(f"--jobs: expected 1 or more, or 0 for one per core, found {options.jobs}")
    if options.write:
        marks_of(Path(options.write))  # an hour later is too late to say that there are none
    if options.shrink is not None:
        return _shrink(options.shrink, options.minutes, names)
    if plan is not None:
        reports = [run_seed(options.first_seed, minutes=options.minutes, plan=plan)]
    else:
        reports = play_seeds(
            range(options.first_seed, options.first_seed + options.seeds),
            minutes=options.minutes,
            faults=names,
            jobs=options.jobs or os.cpu_count() or 1,
            kept=Path(options.resume) if options.resume else None,
            tell=_Progress(options.seeds, is_drawn=sys.stderr.isatty() and not options.quiet).tell,
        )
    outputs = [Path(name) for name in (options.json, options.write, options.resume) if name and name != "-"]
    summary = summary_of(reports, commit(outputs))
    failed = [one for one in sorted(reports, key=lambda each: each.seed) if one.counts]
    if options.json == "-":
        print(json.dumps(summary))
    else:
        _print(summary, failed, options)
        if options.json:
            try:
                Path(options.json).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
            except OSError as error:
                raise ConfigError(f"--json {options.json}: cannot be written: {error.strerror}") from None
    if options.write:
        write_table(Path(options.write), summary)
    if failed and plan is None and not options.no_shrink and options.json != "-":
        _shrink(failed[0].seed, options.minutes, names)
    return EXIT_FAILED if any(summary[name] for name in MUST_BE_ZERO) else EXIT_DONE


class _Progress:
    """A line that says how far it is, drawn over itself; nothing where nobody sees it."""

    def __init__(self, seeds: int, *, is_drawn: bool) -> None:
        self._seeds, self._is_drawn = seeds, is_drawn
        self._began_s = time.monotonic()
        self._count = self._failing = 0
        self._simulated_s = 0.0

    def tell(self, report: SeedReport, is_reused: bool) -> None:
        """One more seed."""
        self._count += 1
        self._failing += bool(report.counts)
        self._simulated_s += 0.0 if is_reused else report.simulated_s
        if not self._is_drawn:
            return
        speed = self._simulated_s / max(1e-9, time.monotonic() - self._began_s)
        print(
            f"\r{self._count}/{self._seeds} seeds, {self._simulated_s / 3600:.1f} h at {speed:.0f}×, "
            f"{self._failing} failing ",
            end="\n" if self._count == self._seeds else "",
            file=sys.stderr,
            flush=True,
        )


def _interrupt(_signal: int, _frame: Any) -> None:
    """SIGTERM means what Ctrl-C means."""
    raise KeyboardInterrupt


def plan_of(text: str) -> list[Planned]:
    """A plan from JSON; ConfigError when it is none."""
    try:
        plan = [Planned(*row) for row in json.loads(text)]
    except (ValueError, TypeError) as error:
        raise ConfigError(f"--plan: expected JSON as this command prints it: {error}") from error
    for planned in plan:
        names_of(planned.name)
    return plan


def plan_text(plan: Sequence[Planned]) -> str:
    """A plan as `--plan` takes it."""
    return json.dumps([[one.name, one.at_s, one.until_s, one.figures] for one in plan])


def _print(
    summary: dict[str, int | float | str], failed: list[SeedReport], options: argparse.Namespace
) -> None:
    for name, value in summary.items():
        mark = "  ← must be 0" if name in MUST_BE_ZERO and value else ""
        print(f"{name:<36} {value}{mark}")
    for report in failed[:10]:
        print(f"\nseed {report.seed}: {report.counts}")
        for failure in report.failures[:5]:
            print(f"  {failure.at_s:8.1f} s  {failure.checker}: {failure.text}")
        faults = "" if options.faults == "all" else f" --faults {options.faults}"
        print(
            f"  again: python -m invmm.sim.campaign --seeds 1 --first-seed {report.seed} "
            f"--minutes {options.minutes:g}{faults}"
        )


def _shrink(seed: int, minutes: float, names: tuple[str, ...]) -> int:
    print(f"\nshrinking seed {seed} …", flush=True)
    found = shrink(seed, minutes, names)
    if found is None:
        print(f"seed {seed} does not fail")
        return 0
    print(f"{len(found.plan)} faults in {found.minutes:g} minutes still fail:")
    for planned in found.plan:
        print(f"  {planned}")
    for failure in found.failures[:5]:
        print(f"  {failure.at_s:8.1f} s  {failure.checker}: {failure.text}")
    print(
        f"again: python -m invmm.sim.campaign --seeds 1 --first-seed {seed} --minutes {found.minutes:g} "
        f"--plan '{plan_text(found.plan)}'"
    )
    return 1
