"""The command: runs seeds, prints the report, shrinks what fails."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from invmm.errors import ConfigError
from invmm.sim.campaign.checkers import Failure
from invmm.sim.campaign.hazards import ALL, TABLE, Planned
from invmm.sim.campaign.report import MUST_BE_ZERO, SeedReport, run_seed, summary_of, write_table
from invmm.sim.campaign.shrink import shrink


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
        "2 usage",
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
    try:
        names = names_of(options.faults)
        plan = None if options.plan is None else plan_of(options.plan)
        if options.seeds < 1 or not 0 < options.minutes <= 1440:
            raise ConfigError("expected at least 1 seed and minutes above 0, at most 1440")
    except ConfigError as error:
        print(f"campaign: {error}", file=sys.stderr)
        return 2
    if options.shrink is not None:
        return _shrink(options.shrink, options.minutes, names)
    if plan is not None:
        reports = [run_seed(options.first_seed, minutes=options.minutes, plan=plan)]
    else:
        reports = list(_run(options, names))
    summary = summary_of(reports)
    failed = [one for one in sorted(reports, key=lambda each: each.seed) if one.counts]
    if options.json == "-":
        print(json.dumps(summary))
    else:
        _print(summary, failed, options)
        if options.json:
            Path(options.json).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    if options.write:
        try:
            write_table(Path(options.write), summary)
        except (ConfigError, OSError) as error:
            print(f"campaign: {error}", file=sys.stderr)
            return 2
    bad = any(summary[name] for name in MUST_BE_ZERO)
    if failed and plan is None and not options.no_shrink and options.json != "-":
        _shrink(failed[0].seed, options.minutes, names)
    return int(bad)


def _run(options: argparse.Namespace, names: tuple[str, ...]) -> Iterator[SeedReport]:
    """Reports as they come; those of `--resume` first."""
    wanted = range(options.first_seed, options.first_seed + options.seeds)
    kept = Path(options.resume) if options.resume else None
    done: dict[int, SeedReport] = {}
    if kept is not None and kept.exists():
        done = {one.seed: one for one in read(kept) if one.seed in wanted and one.minutes == options.minutes}
    yield from done.values()
    left = [seed for seed in wanted if seed not in done]
    jobs = min(options.jobs or os.cpu_count() or 1, max(1, len(left)))
    work = partial(run_seed, minutes=options.minutes, faults=names)
    began, simulated_s, failing = time.monotonic(), 0.0, 0
    drawn = sys.stderr.isatty() and not options.quiet
    with multiprocessing.get_context("spawn").Pool(jobs) if jobs > 1 else _Here() as pool:
        for count, report in enumerate(pool.imap_unordered(work, left), 1):
            if kept is not None:
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(report)) + "\n")
            simulated_s += report.simulated_s
            failing += bool(report.counts)
            if drawn:
                speed = simulated_s / max(1e-9, time.monotonic() - began)
                print(
                    f"\r{len(done) + count}/{len(wanted)} seeds, {simulated_s / 3600:.1f} h at {speed:.0f}×, "
                    f"{failing} failing ",
                    end="",
                    file=sys.stderr,
                    flush=True,
                )
            yield report
    if drawn:
        print(file=sys.stderr)


class _Here:
    """A pool of this process alone."""

    def __enter__(self) -> _Here:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    @staticmethod
    def imap_unordered(work: partial[SeedReport], seeds: Sequence[int]) -> Iterator[SeedReport]:
        return map(work, seeds)


def read(path: Path) -> list[SeedReport]:
    """Reports that `--resume` has kept; a last line that was cut off is left out."""
    reports = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            told = json.loads(line)
        except ValueError:
            continue
        told["failures"] = [Failure(**one) for one in told["failures"]]
        told["plan"] = [Planned(**one) for one in told["plan"]]
        reports.append(SeedReport(**told))
    return reports


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
