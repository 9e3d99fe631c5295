"""Recorded against generated markets, measured by the same code.

`python -m invmm.sim.calibration --recorded DIR [--markets N] [--seed FIRST] [--write FILE] [--check]`

Prints Markdown tables. The first two hold what the engine itself comes to with the original and with the
default policy (`invmm.sim.contest`): pooled over markets with sampling error, and median over markets; with
the original the generated market must be no kinder. The third has the median and the 10th to 90th
percentile over markets of every figure that the generated market is calibrated on, and of the prober in
`invmm.sim.hardness`. Seeds below 1000 were used for tuning; the default judges on others.

`--write FILE` replaces the text between `<!-- calibration -->` and `<!-- /calibration -->` in FILE, `--json
FILE` writes the numbers of every market. Rows marked "bound" cannot be read off recordings exactly: they hold
books after trades only, so changes between two trades are seen as one and a trade's size is what its level
lost.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from invmm.errors import DataError
from invmm.replay.tape import Tape, find, load
from invmm.sim import contest, hardness, series
from invmm.sim.market import generate
from invmm.sim.series import BookSeries, FloatArray

BEGIN, END = "<!-- calibration -->", "<!-- /calibration -->"
PHASES = ((0.0, 0.2), (0.2, 0.8), (0.8, 1.0))
FRESH_SEED = 1000  # the model was tuned on seeds below
INNER_C = (10.0, 90.0)  # mids between which depth and response are measured

POLICIES = (contest.ORIGINAL, contest.MENDED)
ENGINE_TEXT = {
    "fill_rate": ("shares bought of shares placed", "{:.3f}"),
    "one_sided": ("unmatched at the end of shares bought", "{:.3f}"),
    "pair_cost": ("pair cost, dollars", "{:.3f}"),
    "markout_1": ("worth 1 s after a fill less the price paid, cents", "{:.2f}"),
    "markout_5": ("… 5 s", "{:.2f}"),
    "markout_30": ("… 30 s", "{:.2f}"),
    "profit_c": ("profit per share bought, all parts, cents", "{:.2f}"),
}

Figures = dict[str, float]


@dataclass(frozen=True)
class Line:
    """One row of the table: a figure's name, its text, how it is printed, and which way is kind.

    `kind` is +1 when a larger value is kinder, -1 when a smaller one is, 0 when it is only a likeness.
    `bound` says why the recorded value is a bound.
    """

    name: str
    text: str
    form: str = "{:.2f}"
    kind: int = 0
    bound: str = ""


LINES = (
    Line("trades_per_s", "books after trades per second, one token", "{:.1f}"),
    Line("trades_per_s_first", "… first fifth of the window", "{:.1f}"),
    Line("trades_per_s_middle", "… middle three fifths", "{:.1f}"),
    Line("trades_per_s_last", "… last fifth", "{:.1f}"),
    Line("gap_ms_median", "time between two of them, median, ms", "{:.0f}"),
    Line("gap_ms_95", "… 95th percentile, ms", "{:.0f}"),
    Line("changes_per_s", "level changes per second", "{:.0f}", bound="lower bound"),
    Line("changes_at_0", "… at the best", "{:.1f}", bound="lower bound"),
    Line("changes_at_5", "… five cents behind", "{:.1f}", bound="lower bound"),
    Line("changes_at_15", "… fifteen cents behind", "{:.1f}", bound="lower bound"),
    Line("spread_c_mean", "spread, mean, cents"),
    Line("spread_c_90", "spread, 90th percentile, cents", "{:.1f}"),
    Line("spread_c_end", "spread in the last ten seconds, mean, cents"),
    Line("depth_1", "size at the best, median, shares", "{:.0f}"),
    Line("depth_2", "… second level", "{:.0f}"),
    Line("depth_5", "… fifth level", "{:.0f}"),
    Line("depth_10", "… tenth level", "{:.0f}"),
    Line("depth_1_low", "size at the best, 10th percentile, shares", "{:.0f}"),
    Line("depth_1_end", "size at the best in the last ten seconds, median, shares", "{:.0f}"),
    Line("best_life_ms", "time a best price lasts, median, ms", "{:.0f}", bound="upper bound"),
    Line("size_25", "trade size, 25th percentile, shares", "{:.1f}", bound="lower bound"),
    Line("size_50", "… median", "{:.1f}", bound="lower bound"),
    Line("size_90", "… 90th percentile", "{:.0f}", bound="lower bound"),
    Line("size_99", "… 99th percentile", "{:.0f}", bound="lower bound"),
    Line("same_side", "next trade on the same side, share"),
    Line("sign_memory_10", "correlation of trade signs ten trades apart"),
    Line("rough_1", "mid, root mean square move in 1 s, cents"),
    Line("rough_5", "… in 5 s"),
    Line("rough_30", "… in 30 s", "{:.1f}"),
    Line("rough_1_first", "… in 1 s, first fifth"),
    Line("rough_1_last", "… in 1 s, last fifth"),
    Line("still", "seconds in which the mid does not move, share"),
    Line("extreme", "time with the mid beyond 0.04 or 0.96, share"),
    Line("empty", "books with an empty side, share", "{:.3f}"),
    Line("response_1", "mid 1 s after a trade against before it, its direction, cents", kind=-1),
    Line("response_5", "… 5 s", kind=-1),
    Line("response_30", "… 30 s", kind=-1),
    Line("fills_per_minute", "prober: fills of 100 per order and minute", "{:.1f}", kind=1),
    Line("markout_1", "prober: worth 1 s after a fill less the price paid, cents", kind=1),
    Line("markout_5", "… 5 s", kind=1),
    Line("markout_30", "… 30 s", kind=1),
    Line("one_sided", "prober: unmatched share of what it bought", kind=-1),
    Line("pair_cost", "prober: average Up price + average Down price, dollars", "{:.3f}", kind=-1),
    Line("profit_c", "prober: profit per share at resolution, cents", kind=1),
    Line("ahead", "prober: shares ahead when it joins, median", "{:.0f}", kind=-1),
)


def measure(market: BookSeries) -> Figures:
    """The figures of one market's books; keys are the names of `LINES`."""
    t, end = market.time_s, float(market.window_s)
    inside = (t >= 0) & (t <= end)
    mid = market.mid_c
    spread = (market.ask_e4 - market.bid_e4) / 100.0
    two_sided = (market.bid_e4 > 0) & (market.ask_e4 < 10_000)
    inner = inside & two_sided & (mid > INNER_C[0]) & (mid < INNER_C[1])
    ending = inside & (t > end - 10)
    gaps = np.diff(t) * 1000
    span = max(min(float(t[-1]), end) - max(float(t[0]), 0.0), 1.0)
    out: Figures = {"trades_per_s": float(inside.sum()) / span}
    for name, (low, high) in zip(("first", "middle", "last"), PHASES, strict=True):
        begin = max(low * end, float(t[0]))
        out[f"trades_per_s_{name}"] = float(((t >= begin) & (t < high * end)).sum()) / (high * end - begin)
    out["gap_ms_median"], out["gap_ms_95"] = _quantiles(gaps, 50, 95)
    out["changes_per_s"] = float(market.changes[inside].sum()) / span
    for distance, total in enumerate(market.changes_at.tolist()):
        out[f"changes_at_{distance}"] = total / max(float(t[-1] - t[0]), 1.0)
    out["spread_c_mean"] = _mean(spread[inner])
    out["spread_c_90"] = _quantiles(spread[inner], 90)[0]
    out["spread_c_end"] = _mean(spread[ending & two_sided])
    sizes = np.concatenate((market.bid_size[inner], market.ask_size[inner]))
    for level in range(1, series.LEVELS + 1):
        out[f"depth_{level}"] = _quantiles(sizes[:, level - 1], 50)[0]
    out["depth_1_low"] = _quantiles(sizes[:, 0], 10)[0]
    late = np.concatenate((market.bid_size[ending & two_sided, 0], market.ask_size[ending & two_sided, 0]))
    out["depth_1_end"] = _quantiles(late, 50)[0]
    out["best_life_ms"] = _quantiles(
        np.concatenate([_lives(t, p) for p in (market.bid_e4, market.ask_e4)]), 50
    )[0]
    traded = market.trade_sign != 0
    for quantile in (25, 50, 90, 99):
        out[f"size_{quantile}"] = _quantiles(market.trade_size[traded], quantile)[0]
    signs = market.trade_sign[traded].astype(float)
    out["same_side"] = _mean((signs[1:] == signs[:-1]).astype(float))
    out["sign_memory_10"] = _mean(signs[10:] * signs[:-10])
    for step in (1, 5, 30):
        out[f"rough_{step}"] = _rough(market, 0.0, end, step)
    out["rough_1_first"] = _rough(market, 0.0, end * 0.2, 1)
    out["rough_1_last"] = _rough(market, end * 0.8, end, 1)
    grid = np.arange(0.0, end - 1)
    out["still"] = _mean((market.mid_at(grid + 1) == market.mid_at(grid)).astype(float))
    fine = np.arange(max(0.0, float(t[0])), end, 0.1)
    watched = market.mid_at(fine)
    out["extreme"] = _mean(((watched < 4) | (watched > 96)).astype(float))
    out["empty"] = _mean((~two_sided[inside]).astype(float))
    chosen = np.flatnonzero(traded & inner & (t < end - 35))
    chosen = chosen[chosen > 0]
    for horizon in (1, 5, 30):
        moves = market.trade_sign[chosen] * (market.mid_at(t[chosen] + horizon) - mid[chosen - 1])
        out[f"response_{horizon}"] = _mean(moves)
    return out


def measure_hardness(found: hardness.Hardness) -> Figures:
    """The prober's figures under the names of `LINES`."""
    out = {f"markout_{horizon}": value for horizon, value in found.markout_c.items()}
    return out | {
        "fills_per_minute": found.fills_per_minute,
        "one_sided": found.one_sided,
        "pair_cost": found.pair_cost,
        "profit_c": found.profit_per_share_c,
        "ahead": found.ahead_shares,
    }


def _quantiles(values: FloatArray, *percents: float) -> list[float]:
    known = values[np.isfinite(values)]
    return [float(np.percentile(known, p)) if len(known) else float("nan") for p in percents]


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _rough(market: BookSeries, begin: float, end: float, step: int) -> float:
    grid = np.arange(begin, end - step + 1e-9, step)
    moves = market.mid_at(grid + step) - market.mid_at(grid)
    return float(np.sqrt(np.mean(moves**2)))


def _lives(time_s: FloatArray, price_e4: series.IntArray) -> FloatArray:
    """How long each best price lasted, ms."""
    changed = np.flatnonzero(np.diff(price_e4) != 0) + 1
    lives: FloatArray = np.diff(time_s[changed]) * 1000
    return lives


@dataclass
class Sample:
    """What was measured on a set of markets: figures of each by the names of `LINES`, plays by policy."""

    figures: list[Figures] = field(default_factory=list)
    plays: dict[str, list[contest.Played]] = field(default_factory=dict)

    def add(self, figures: Figures, plays: dict[str, contest.Played]) -> None:
        """One more market, or one more view of it."""
        if figures:
            self.figures.append(figures)
        for policy, played in plays.items():
            self.plays.setdefault(policy, []).append(played)


Measured = tuple[Figures, dict[str, contest.Played]]
Job = TypeVar("Job")


def measure_raw(path: Path) -> Measured:
    """A recording of books after trades."""
    return measure(series.from_recorded(path)), {}


def measure_replay(path: Path, policies: Sequence[str] = POLICIES) -> Measured:
    """A recorded tape: the prober and the engine."""
    tape = load(path)
    return measure_hardness(hardness.probe(tape)), {p: contest.play(tape, p) for p in policies}


def measure_seed(
    seed: int, policies: Sequence[str] = POLICIES, make: Callable[[int], Tape] = generate
) -> Measured:
    """A generated market: everything."""
    tape = make(seed)
    figures = measure(series.from_tape(tape)) | measure_hardness(hardness.probe(tape))
    return figures, {p: contest.play(tape, p) for p in policies}


def run_jobs(
    name: str, measured: Callable[[Job], Measured], work: Sequence[Job], jobs: int, sample: Sample
) -> None:
    """Measures `work` in `jobs` processes (1: in this one) and adds it to `sample` in order; progress goes to
    the error stream.
    """
    if jobs == 1:
        _collect(name, map(measured, work), len(work), sample)
        return
    with ProcessPoolExecutor(jobs) as pool:
        _collect(name, pool.map(measured, work), len(work), sample)


def _collect(name: str, results: Iterable[Measured], total: int, sample: Sample) -> None:
    for done, (figures, plays) in enumerate(results, 1):
        sample.add(figures, plays)
        print(f"calibration: {name} {done}/{total}", file=sys.stderr, flush=True)


def recorded_sample(folder: Path, jobs: int = 1, policies: Sequence[str] = POLICIES) -> Sample:
    """Every recorded market below `folder`: `raw` for books, `replay` for the prober and the engine."""
    sample = Sample()
    raw, replay = find([_below(folder, "raw")]), find([_below(folder, "replay")])
    run_jobs("recorded books", measure_raw, raw, jobs, sample)
    run_jobs("recorded tapes", partial(measure_replay, policies=policies), replay, jobs, sample)
    return sample


def generated_sample(
    markets: int, first_seed: int = FRESH_SEED, jobs: int = 1, policies: Sequence[str] = POLICIES
) -> Sample:
    """`markets` generated markets with successive seeds."""
    sample = Sample()
    seeds = range(first_seed, first_seed + markets)
    run_jobs("generated markets", partial(measure_seed, policies=policies), seeds, jobs, sample)
    return sample


def _below(folder: Path, name: str) -> Path:
    """The folder `name`: `folder` may be it, one day's folder, or the folder of all days."""
    if folder.name == name and folder.is_dir():
        return folder
    for candidate in [folder / name, *sorted(folder.glob(f"*/{name}"))]:
        if candidate.is_dir():
            return candidate
    raise DataError(f"{folder}: expected a folder {name!r} of recorded markets in it, found none")


def engine_table(
    recorded: Sequence[contest.Played], generated: Sequence[contest.Played], judged: bool
) -> str:
    """What one policy comes to, as Markdown. `judged` adds whether the generated markets are kinder."""
    out = [
        f"Recorded: {len(recorded)} markets; generated: {len(generated)}. "
        "Pooled ± standard error over markets; median over markets.",
        "",
        "| figure | recorded | generated | recorded, median | generated, median | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for found in contest.compare(recorded, generated):
        text, form = ENGINE_TEXT[found.name]
        note = _engine_note(found) if judged else ""
        cells = [
            f"{form.format(found.recorded)} ± {form.format(found.recorded_error)}",
            f"{form.format(found.generated)} ± {form.format(found.generated_error)}",
            form.format(found.recorded_median),
            form.format(found.generated_median),
            note,
        ]
        out.append(f"| {text} | {' | '.join(cells)} |")
    return "\n".join(out)


def _engine_note(found: contest.Verdict) -> str:
    if not found.is_kinder:
        return "no kinder"
    where = "pooled" if found.kinder_by > contest.ROUNDING else "median"
    return f"**kinder** ({where}), by {max(found.kinder_by, 0.0):.1f} standard errors"


def table(recorded: Sequence[Figures], generated: Sequence[Figures], lines: Sequence[Line] = LINES) -> str:
    """The comparison as Markdown; `lines` may be extended by rows whose figures the caller put into both
    sequences."""
    out = [
        f"Recorded: {len(recorded)} markets; generated: {len(generated)}. "
        "Median over markets (10th to 90th percentile).",
        "",
        "| figure | recorded | generated | |",
        "| --- | --- | --- | --- |",
    ]
    for line in lines:
        old, new = _values(recorded, line.name), _values(generated, line.name)
        note = f"recorded is a {line.bound}" if line.bound else _verdict(line, old, new)
        out.append(f"| {line.text} | {_cell(line, old)} | {_cell(line, new)} | {note} |")
    return "\n".join(out)


def kinder(
    recorded: Sequence[Figures], generated: Sequence[Figures], lines: Sequence[Line] = LINES
) -> list[str]:
    """Names of the figures in which the generated market is kinder than the recorded one, by median over
    markets."""
    found = []
    for line in lines:
        old, new = _values(recorded, line.name), _values(generated, line.name)
        if line.kind and len(old) and len(new) and (np.median(new) - np.median(old)) * line.kind > 0:
            found.append(line.name)
    return found


def _values(figures: Sequence[Figures], name: str) -> FloatArray:
    values = np.array([one[name] for one in figures if name in one])
    known: FloatArray = values[np.isfinite(values)]
    return known


def _verdict(line: Line, old: FloatArray, new: FloatArray) -> str:
    if not line.kind or not len(old) or not len(new):
        return ""
    return "**kinder**" if (np.median(new) - np.median(old)) * line.kind > 0 else "no kinder"


def _cell(line: Line, values: FloatArray) -> str:
    if not len(values):
        return "-"
    low, middle, high = (line.form.format(v) for v in np.percentile(values, (10, 50, 90)))
    return f"{middle} ({low} to {high})"


def write_between_markers(path: Path, text: str) -> None:
    """Replaces what stands between the two marker comments of `path`."""
    old = path.read_text()
    if BEGIN not in old or END not in old.partition(BEGIN)[2]:
        raise DataError(f"{path}: expected {BEGIN} and after it {END}")
    head, _, rest = old.partition(BEGIN)
    _, _, tail = rest.partition(END)
    path.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}")


def report(recorded: Sample, generated: Sample, first_seed: int) -> str:
    """All tables, as they stand in the documentation."""
    last_seed = first_seed + len(generated.figures) - 1
    parts = [f"Generated seeds {first_seed} to {last_seed}."]
    for policy, title in (
        (contest.ORIGINAL, "Original policy"),
        (contest.MENDED, "With its defects mended, for information"),
    ):
        if policy in recorded.plays and policy in generated.plays:
            judged = policy == contest.ORIGINAL
            body = engine_table(recorded.plays[policy], generated.plays[policy], judged)
            parts.append(f"**{title}** (`--policy {policy}`), played by the engine. {body}")
    parts.append(f"**The market itself.** {table(recorded.figures, generated.figures)}")
    return "\n\n".join(parts)


def engine_kinder(recorded: Sample, generated: Sample) -> list[str]:
    """Names of the engine's figures, original policy, in which the generated markets are kinder."""
    compared = contest.compare(recorded.plays[contest.ORIGINAL], generated.plays[contest.ORIGINAL])
    return [f"engine {found.name}" for found in compared if found.is_kinder]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns 0, 1 when `--check` finds the generated market kinder, 2 for unusable input."""
    parser = argparse.ArgumentParser(
        prog="python -m invmm.sim.calibration",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--recorded", type=Path, required=True, help="folder that holds raw/ and replay/ (or one above)"
    )
    parser.add_argument("--markets", type=int, default=30, help="generated markets to measure (default 30)")
    parser.add_argument(
        "--seed", type=int, default=FRESH_SEED, help=f"seed of the first of them (default {FRESH_SEED})"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: all processors)"
    )
    parser.add_argument("--json", type=Path, help="write the figures of every market to this file")
    parser.add_argument(
        "--write", type=Path, help="replace the tables between the marker comments of this file"
    )
    parser.add_argument(
        "--check", action="store_true", help="fail when the generated market is kinder in any figure"
    )
    options = parser.parse_args(arguments)
    try:
        recorded = recorded_sample(options.recorded, options.jobs)
        generated = generated_sample(options.markets, options.seed, options.jobs)
        text = report(recorded, generated, options.seed)
        print(text)
        if options.json is not None:
            options.json.write_text(
                json.dumps({"recorded": asdict(recorded), "generated": asdict(generated)}, indent=1)
            )
        if options.write is not None:
            write_between_markers(options.write, text)
    except DataError as error:
        print(f"calibration: {error}", file=sys.stderr)
        return 2
    found = engine_kinder(recorded, generated) + kinder(recorded.figures, generated.figures)
    if found:
        print(f"kinder than recorded in: {', '.join(found)}", file=sys.stderr)
    return 1 if options.check and found else 0


if __name__ == "__main__":
    raise SystemExit(main())
