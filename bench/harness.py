"""Measuring: warm-up, interleaved repeats, percentiles with sample counts, machine facts, JSON and Markdown.

Two clocks of one operation are kept apart, because each hides what the other shows:

batch    many operations between two clock readings: the cost of one, free of the clock. Gives p50.
single   each operation between two clock readings: the tail (p99, p99.9, max). It contains one clock
         reading, given as `clock_ns` among the machine facts.

All operations of a comparison run in one process and in turns (`compare`), so that a slow moment of the
machine meets everyone; ratios are medians of the ratios of the turns, which repeat better than the times
themselves.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import sysconfig
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parent.parent
SHORT = os.environ.get("INVMM_BENCH_SHORT", "") not in ("", "0")
"""Set for a run that only proves that the benchmarks still work: few samples, figures not worth keeping."""


class WrongBuildError(Exception):
    """The compiled modules are not a release build; their figures would mean nothing."""


@dataclass(frozen=True)
class Distribution:
    """Times of one operation in ns: `p50` of batches where there are batches, the tail of single calls."""

    name: str
    samples: int
    p50: float
    p99: float
    p999: float
    max: float
    ratio: float | None = None  # time of this one / time of the comparison's first, median over turns
    note: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One contender: `operation` is called once with each of `items`, in order, again and again."""

    name: str
    operation: Callable[[Any], object]
    items: Sequence[Any]
    note: str = ""


def distribution(name: str, ns: npt.ArrayLike, note: str = "", **extra: Any) -> Distribution:
    """Percentiles of single samples in ns; ValueError when there are none."""
    values = np.asarray(ns, dtype=np.float64)
    if values.size == 0:
        raise ValueError(f"{name}: expected at least one sample, found none")
    p50, p99, p999 = (float(v) for v in np.percentile(values, [50, 99, 99.9]))
    return Distribution(name, int(values.size), p50, p99, p999, float(values.max()), None, note, extra)


def batch_ns(case: Case, passes: int = 1) -> float:
    """Mean ns per operation over `passes` runs through the items; the loop itself runs in C (about 20 ns a
    call).
    """
    operation, items = case.operation, case.items
    begin = time.perf_counter_ns()
    for _ in range(passes):
        deque(map(operation, items), maxlen=0)
    return (time.perf_counter_ns() - begin) / (len(items) * passes)


def single_ns(case: Case, count: int) -> npt.NDArray[np.int64]:
    """`count` operations timed one by one, in ns; each contains one clock reading."""
    operation, items, clock = case.operation, case.items, time.perf_counter_ns
    out = np.empty(count, dtype=np.int64)
    size = len(items)
    for i in range(count):
        item = items[i % size]
        begin = clock()
        operation(item)
        out[i] = clock() - begin
    return out


def compare(
    cases: Sequence[Case], seconds: float | None = None, turns: int = 101, seed: int = 1
) -> list[Distribution]:
    """Times all cases in turns, in a new order each turn. The first is what ratios refer to.

    `seconds` (2, or 0.05 in a short run) is shared out evenly over the cases. Garbage collection is off while
    a batch runs and runs between turns.
    """
    seconds = (0.05 if SHORT else 2.0) if seconds is None else seconds
    turns = 5 if SHORT else turns
    budget_ns = seconds * 1e9 / (len(cases) * turns)
    passes = []
    for case in cases:  # also the warm-up
        once = batch_ns(case) * len(case.items)
        passes.append(max(1, round(budget_ns / max(once, 1.0))))
    table = np.empty((turns, len(cases)))
    order = list(range(len(cases)))
    rng = random.Random(seed)
    was_enabled = gc.isenabled()
    for turn in range(turns):
        rng.shuffle(order)
        gc.collect(0)
        gc.disable()
        try:
            for i in order:
                table[turn, i] = batch_ns(cases[i], passes[i])
        finally:
            if was_enabled:
                gc.enable()
    out = []
    for i, case in enumerate(cases):
        affordable = seconds * 1e9 / len(cases) / np.median(table[:, i])
        count = 20 if SHORT else int(min(20_000, max(200, affordable)))
        single = distribution(case.name, single_ns(case, count))
        out.append(
            Distribution(
                case.name,
                turns * passes[i] * len(case.items),
                float(np.median(table[:, i])),
                single.p99,
                single.p999,
                single.max,
                float(np.median(table[:, i] / table[:, 0])),
                case.note,
                {"single_samples": count, "single_p50": single.p50, "p50_spread": _spread(table[:, i])},
            )
        )
    return out


def _spread(values: npt.NDArray[np.float64]) -> float:
    low, middle, high = np.percentile(values, [10, 50, 90])
    return float((high - low) / middle)


def require_release() -> str:
    """Refuses to go on unless the compiled modules are a release build; returns the mode.

    INVMM_BENCH_ANY_BUILD=1 lets another build through (its rows are marked with the mode). A package that
    does not tell its build mode counts as "unknown" and is let through with that mark.
    """
    mode = build_mode()
    if mode not in ("release", "unknown") and os.environ.get("INVMM_BENCH_ANY_BUILD") != "1":
        raise WrongBuildError(
            f"benchmarks need a release build, found a {mode} one: "
            "python setup.py build_ext --inplace (with INVMM_BUILD unset)"
        )
    return mode


def build_mode() -> str:
    """`invmm.build_mode()`, or "unknown" where the package has none."""
    package = import_module("invmm")
    asked = getattr(package, "build_mode", None)
    return str(asked()) if callable(asked) else "unknown"


def machine_facts() -> dict[str, Any]:
    """What a figure depends on: stands above every table and in every JSON file."""
    return {
        "cpu": _cpu_model(),
        "cores_usable": len(os.sched_getaffinity(0)),
        "cores": sorted(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cython": _version("cython"),
        "numpy": _version("numpy"),
        "compiler": _compiler(),
        "flags": _setup_flags(),
        "flags_interpreter": sysconfig.get_config_var("CFLAGS"),
        "flags_extra": os.environ.get("INVMM_CFLAGS", ""),
        "commit": _commit(),
        "build": build_mode(),
        "clock_ns": clock_cost_ns(),
        "short": SHORT,
    }


def clock_cost_ns() -> float:
    """Median ns between two readings of the clock: what a single sample contains besides the work."""
    clock = time.perf_counter_ns
    return float(np.median([-(clock() - clock()) for _ in range(2_000)]))


def markdown(rows: Iterable[Distribution], unit: str = "ns") -> str:
    """A Markdown table of distributions; `unit` is ns, us or ms."""
    scale = {"ns": 1.0, "us": 1e3, "ms": 1e6}[unit]
    lines = [
        f"| | p50 {unit} | p99 | p99.9 | max | samples | ratio | note |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        p50, p99, p999, top = (_figure(v / scale) for v in (row.p50, row.p99, row.p999, row.max))
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        lines.append(
            f"| {row.name} | {p50} | {p99} | {p999} | {top} | {row.samples} | {ratio} | {row.note} |"
        )
    return "\n".join(lines)


def facts_text(facts: dict[str, Any]) -> str:
    """The machine facts in three short lines, for above a table."""
    return (
        f"CPU {facts['cpu']}, cores {', '.join(map(str, facts['cores']))} usable, "
        f"load {facts['load']:.1f}, kernel {facts['kernel']}\n"
        f"Python {facts['python']}, Cython {facts['cython']}, numpy {facts['numpy']}, {facts['compiler']}\n"
        f"commit {facts['commit']}, {facts['build']} build, flags {facts['flags']} {facts['flags_extra']}, "
        f"clock reading {facts['clock_ns']:.0f} ns"
        + (", SHORT run: figures not worth keeping" if facts["short"] else "")
    )


def report(
    title: str, groups: dict[str, list[Distribution]], notes: Iterable[str] = (), json_path: str | None = None
) -> None:
    """Prints facts, one table per group and the notes (what was skipped, and why); writes them as JSON if
    asked.
    """
    facts = machine_facts()
    notes = list(notes)
    print(f"# {title}\n\n{facts_text(facts)}")
    for name, rows in groups.items():
        print(f"\n## {name}\n\n{markdown(rows)}")
    for note in notes:
        print(f"\n{note}")
    if json_path:
        write_json(json_path, title, groups, facts, notes)


def write_json(
    path: str, title: str, groups: dict[str, list[Distribution]], facts: dict[str, Any], notes: Sequence[str]
) -> None:
    """One JSON object: title, command, machine, groups of rows (times in ns), what was skipped."""
    body = {
        "title": title,
        "command": " ".join(sys.argv),
        "machine": facts,
        "groups": {name: [vars(row) for row in rows] for name, rows in groups.items()},
        "skipped": list(notes),
    }
    Path(path).write_text(json.dumps(body, indent=1) + "\n")


def _figure(value: float) -> str:
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _compiler() -> str:
    words = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    if shutil.which(words[0]) is None:
        return f"{words[0]} (not found)"
    answer = subprocess.run([words[0], "--version"], capture_output=True, text=True, check=False)
    return answer.stdout.splitlines()[0] if answer.stdout else words[0]


def _setup_flags() -> str:
    for line in (ROOT / "setup.py").read_text().splitlines():
        if line.startswith("FLAGS"):
            return line.split("=", 1)[1].strip()
    return "unknown"


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False
        ).stdout.strip()

    if shutil.which("git") is None:
        return "unknown"
    head = git("rev-parse", "--short=12", "HEAD")
    return (
        (head + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else ""))
        if head
        else "unknown"
    )
