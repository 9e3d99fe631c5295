"""One seed, and what a campaign of many came to."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from invmm.errors import ConfigError
from invmm.sim.campaign.checkers import Failure
from invmm.sim.campaign.hazards import ALL, TABLE, Planned, draw_plan
from invmm.sim.campaign.world import World


@dataclass
class SeedReport:
    """What came of one seed. Times are seconds; counts are of the whole run."""

    seed: int
    minutes: float
    digest: str
    simulated_s: float
    wall_s: float
    failures: list[Failure] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    """Failures by checker, also those that `failures` has no room for."""
    plan: list[Planned] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)
    orders: int = 0
    fills: int = 0
    windows: int = 0
    requests: int = 0
    unknown_s: list[float] = field(default_factory=list)
    stall_s: list[float] = field(default_factory=list)
    crash_to_cancel_s: list[float] = field(default_factory=list)
    crash_to_quoting_s: list[float] = field(default_factory=list)
    quoting: int = 0
    wanted: int = 0
    budget_share: float = 0.0
    """Of the venue's tightest limit, at the busiest moment."""
    alarms: list[str] = field(default_factory=list)
    """What latched level 1 and should not have."""
    kills: dict[str, int] = field(default_factory=dict)
    """Kill levels that were raised rightly, by trigger."""
    messages: list[str] = field(default_factory=list)

    @property
    def is_healthy(self) -> bool:
        """Nothing was made to go wrong."""
        return not self.plan


def run_seed(
    seed: int,
    *,
    minutes: float = 10.0,
    faults: Sequence[str] | None = None,
    plan: list[Planned] | None = None,
) -> SeedReport:
    """Plays one seed in this process.

    Parameters
    ----------
    seed : int
        Of the market, the faults and everything else that is random; every tenth seed has no faults.
    minutes : float
        Simulated, without the time that is then given to what is undetermined.
    faults : sequence of str, optional
        Names of `hazards.TABLE` to draw from; `hazards.ALL` if omitted, none if empty.
    plan : list of Planned, optional
        Exactly these faults instead.
    """
    names = ALL if faults is None else tuple(faults)
    chosen = draw_plan(seed, minutes, names) if plan is None else plan
    found = World(seed, chosen, minutes).run()
    gc.collect()  # a world is a web of cycles around tens of megabytes that the collector does not weigh
    return SeedReport(
        seed=seed,
        minutes=minutes,
        digest=found.digest,
        simulated_s=found.simulated_s,
        wall_s=found.wall_s,
        failures=found.failures,
        counts=dict(found.findings.counts),
        plan=chosen,
        faults=dict(found.struck),
        orders=found.orders,
        fills=found.fills,
        windows=found.windows,
        requests=found.requests,
        unknown_s=found.unknown_s,
        stall_s=found.stall_s,
        crash_to_cancel_s=found.crash_to_cancel_s,
        crash_to_quoting_s=found.crash_to_quoting_s,
        quoting=found.quoting,
        wanted=found.wanted,
        budget_share=found.budget_share,
        alarms=found.alarms,
        kills=dict(found.kills),
        messages=found.messages,
    )


MUST_BE_ZERO = (
    "lost_fills",
    "double_fills",
    "positions_differ",
    "orphan_orders",
    "limit_breaches",
    "posts_while_stale",
    "double_sends",
    "unresolved_at_end",
    "secrets_shown",
    "journal_differs",
    "engine_failures",
    "over_budget",
    "healthy_unknown_late",
    "pulled_late",
)
"""Fields of a report that are a failure unless they are zero."""
FIELD_OF = {
    "lost_fills": "lost_fills",
    "double_fills": "double_fills",
    "positions": "positions_differ",
    "orphans": "orphan_orders",
    "exposure": "limit_breaches",
    "guards": "posts_while_stale",
    "sends": "double_sends",
    "rest": "unresolved_at_end",
    "secrets": "secrets_shown",
    "journal": "journal_differs",
    "engine": "engine_failures",
    "budget": "over_budget",
    "unknown": "healthy_unknown_late",
    "stall": "pulled_late",
}
"""Field by checker."""


def summary_of(reports: Sequence[SeedReport], commit: str = "") -> dict[str, int | float | str]:
    """One flat row of what many seeds came to; `commit` is of the code that played them."""
    healthy = [one for one in reports if one.is_healthy]
    faulty = [one for one in reports if not one.is_healthy]
    unknown = [second for one in reports for second in one.unknown_s]
    stall = [second for one in reports for second in one.stall_s]
    hours = sum(one.simulated_s for one in reports) / 3600
    row: dict[str, int | float | str] = {
        "seeds": len(reports),
        "first_seed": min((one.seed for one in reports), default=0),
        "minutes": max((one.minutes for one in reports), default=0.0),
        "simulated_hours": round(hours, 3),
        "simulated_s_per_wall_s": _ratio(sum(o.simulated_s for o in reports), sum(o.wall_s for o in reports)),
        "orders": sum(one.orders for one in reports),
        "fills": sum(one.fills for one in reports),
        "windows": sum(one.windows for one in reports),
        "requests": sum(one.requests for one in reports),
    }
    for checker, name in FIELD_OF.items():
        row[name] = sum(one.counts.get(checker, 0) for one in reports)
    healthy_p99 = _quantile([second for one in healthy for second in one.unknown_s], 0.99)
    row["unknown"] = len(unknown)
    row["unknown_to_resolved_p50_s"] = _quantile(unknown, 0.5)
    row["unknown_to_resolved_p99_s"] = _quantile(unknown, 0.99)
    row["unknown_to_resolved_max_s"] = round(max(unknown, default=0.0), 3)
    row["unknown_to_resolved_healthy_p99_s"] = healthy_p99
    row["unknown_healthy"] = sum(len(one.unknown_s) for one in healthy)
    row["stalls"] = len(stall)
    row["stall_to_pulled_max_s"] = round(max(stall, default=0.0), 3)
    cancel = [second for one in reports for second in one.crash_to_cancel_s]
    quoting = [second for one in reports for second in one.crash_to_quoting_s]
    row["crashes"] = len(cancel)
    row["crash_to_cancel_all_max_s"] = round(max(cancel, default=0.0), 3)
    row["crash_to_quoting_p50_s"] = _quantile(quoting, 0.5)
    row["crash_to_quoting_p99_s"] = _quantile(quoting, 0.99)
    row["crash_to_quoting_max_s"] = round(max(quoting, default=0.0), 3)
    row["budget_share_max"] = max((one.budget_share for one in reports), default=0.0)
    row["uptime_with_faults"] = _ratio(sum(o.quoting for o in faulty), sum(o.wanted for o in faulty))
    row["uptime_without_faults"] = _ratio(sum(o.quoting for o in healthy), sum(o.wanted for o in healthy))
    row["right_kills"] = sum(sum(one.kills.values()) for one in reports)
    row["false_kills_per_hour"] = round(sum(bool(one.alarms) for one in reports) / hours, 4) if hours else 0.0
    for name in TABLE:
        row[f"faults_{name}"] = sum(one.faults.get(name, 0) for one in reports)
    row["failing_seeds"] = sum(bool(one.counts) for one in reports)
    row["worst_seed"] = (
        max(reports, key=lambda o: (sum(o.counts.values()), max(o.unknown_s, default=0.0))).seed
        if reports
        else -1
    )
    digest = hashlib.sha256()
    for one in sorted(reports, key=lambda each: each.seed):
        digest.update(one.digest.encode())
    row["digest"] = digest.hexdigest()
    row["commit"] = commit
    return row


def _ratio(part: float, whole: float) -> float:
    return round(part / whole, 4) if whole else 0.0


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3) if ordered else 0.0


ROWS = (
    ("seeds", "seeds"),
    ("simulated hours", "simulated_hours"),
    ("orders", "orders"),
    ("fills", "fills"),
    ("lost fills", "lost_fills"),
    ("double fills", "double_fills"),
    ("positions that differ from the venue's", "positions_differ"),
    ("orphan orders", "orphan_orders"),
    ("limit breaches", "limit_breaches"),
    ("orders sent while a guard forbids it", "posts_while_stale"),
    ("orders sent more often than allowed", "double_sends"),
    ("more asked than the venue allows", "over_budget"),
    ("unresolved at the end", "unresolved_at_end"),
    ("journal differs from memory", "journal_differs"),
    ("unknown → resolved, p50, s", "unknown_to_resolved_p50_s"),
    ("… p99, s", "unknown_to_resolved_p99_s"),
    ("… max, s", "unknown_to_resolved_max_s"),
    ("… p99 on a healthy venue, s", "unknown_to_resolved_healthy_p99_s"),
    ("stall → pulled, max, s", "stall_to_pulled_max_s"),
    ("… later than 3 s, nothing in the way of cancels", "pulled_late"),
    ("crashes", "crashes"),
    ("start → cancel-all, max, s", "crash_to_cancel_all_max_s"),
    ("start → quoting, p99, s", "crash_to_quoting_p99_s"),
    ("… max, s", "crash_to_quoting_max_s"),
    ("time quoted, with faults", "uptime_with_faults"),
    ("… without faults", "uptime_without_faults"),
    ("kill levels raised rightly: a slow venue, failing settlements, a day's loss", "right_kills"),
    ("… and falsely, per hour", "false_kills_per_hour"),
    ("worst seed", "worst_seed"),
    ("commit", "commit"),
)
"""Words for people, and the field."""
BEGIN, END = "<!-- campaign -->", "<!-- /campaign -->"


def table_of(summary: Mapping[str, object]) -> str:
    """The report as a Markdown table, faults by kind in its last row."""
    lines = ["| | |", "| --- | --- |"]
    lines += [f"| {words} | {summary[name]} |" for words, name in ROWS]
    faults = [f"{name} {summary[f'faults_{name}']}" for name in TABLE if summary[f"faults_{name}"]]
    return "\n".join([*lines, f"| faults by kind | {', '.join(faults) or 'none'} |"])


def marks_of(path: Path) -> tuple[str, str]:
    """What stands before and behind the table of a Markdown file; ConfigError when it has no marks."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: expected a Markdown file: {error.strerror}") from None
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"{path}: expected {BEGIN} and {END}, found no such marks")
    return head, tail


def write_table(path: Path, summary: Mapping[str, object]) -> None:
    """Puts the table between the marks of a Markdown file; ConfigError when it has none."""
    head, tail = marks_of(path)
    path.write_text(f"{head}{BEGIN}\n{table_of(summary)}\n{END}{tail}", encoding="utf-8")
