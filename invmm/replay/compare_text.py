"""A comparison in words: tables for the terminal and for a Markdown file, and what replay cannot know."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from invmm.errors import ConfigError
from invmm.replay.compare_report import MARKOUTS

Report = Mapping[str, Any]

CAVEATS: Final = (
    "Our own impact is not in it: the other side trades as it did without us, and nobody answers our quotes.",
    "Times of trades are those of the messages; where in a queue a cancelled share stood, nobody knows.",
    "Trades that no message told are missing; recorded sizes of trades are lower bounds.",
    "The way to the venue is assumed, not measured, and it never stalls, limits rates or goes down here.",
    "Pairs are held to the resolution; merging them would free capital for policies that reach their limit.",
    "Every market begins anew: nothing that a policy learns in one serves it in the next.",
    "Several policies are held against one: with seven differences, about one report in three shows one "
    "where there is none.",
)
GENERATED_CAVEAT: Final = (
    "Generated markets are a model that is calibrated on few recorded ones (ARCHITECTURE.md has how near it "
    "comes): they can show which policy is better on it, not what live trading would earn. Of the policies "
    "`pairs` alone hears the price of the underlying, as from a price socket; a variant does without. Its "
    "defaults were chosen by hand on tuning seeds before the tries that are counted here (docs/pairs.md)."
)
RECORDED_CAVEAT: Final = (
    "Few recorded markets of one morning are a smoke check, never a profit claim. Winners marked as inferred "
    "were read off the last recorded book."
)
FIGURES_WORDS: Final = (
    "Per market; one-sided, maker and own share are of shares; markouts in cents per share after each time"
)
TODAY: Final = (
    "today's rules (taker fee 0.07·p·(1−p) in dollars, orders that take held for 150 ms, a rebate of 20 %)"
)
RULES_TODAY: Final = f"played under {TODAY}"
RULES_RECORDED: Final = (
    "recorded under the rules of April 2026 (first exchange, taker fees taken in shares, orders that take "
    f"not held) and replayed under {TODAY}"
)


def number(value: Any, digits: int = 2, sign: bool = False) -> str:
    """A figure, or a dash for none."""
    if value is None:
        return "–"
    return f"{value:{'+' if sign else ''},.{digits}f}".replace("-", "−")


def between(told: Mapping[str, Any]) -> str:
    """The interval of an estimate."""
    if told.get("low") is None:
        return "–"
    return f"{number(told['low'], sign=True)} … {number(told['high'], sign=True)}"


def _headline(report: Report) -> tuple[list[str], list[list[str]]]:
    base = report["base"]
    head = [
        "policy",
        "profit $/market",
        "95 %",
        f"vs {base} $/market",
        "95 %",
        "n",
        "detectable $",
        "verdict",
    ]
    lines = []
    for name, each in report["policies"].items():
        difference = each["difference"]
        is_base = name == base
        lines.append(
            [
                name,
                number(each["profit"]["mean"], sign=True),
                between(each["profit"]),
                "base" if is_base else number(difference["mean"], sign=True),
                "" if is_base else between(difference),
                str(each["profit"]["n"]),
                "" if is_base else number(difference["detectable"]),
                "" if is_base else difference["verdict"],
            ]
        )
    return head, lines


def _figures(report: Report) -> tuple[list[str], list[list[str]]]:
    head = [
        "policy",
        "one-sided",
        "pair cost",
        "pairs ≥ $1",
        "their cost $",
        "imbalance",
        *(f"{name} ¢" for name in MARKOUTS),
        "fills",
        "msg/fill",
        "maker",
        "own share (> 5 %)",
    ]
    lines = []
    for name, each in report["policies"].items():
        figures = each["figures"]
        lines.append(
            [
                name,
                _percent(figures["one_sided_share"]),
                number(figures["pair_cost"], 4),
                number(figures["pairs_at_or_above_one"], 0),
                number(figures["pairs_at_or_above_one_dollars"]),
                number(figures["final_imbalance_shares"], 0),
                *(number(each["markouts"][name]["mean"], sign=True) for name in MARKOUTS),
                number(figures["fills"], 1),
                number(figures["messages_per_fill"], 1),
                _percent(figures["maker_share"]),
                f"{_percent(figures['own_share'])} ({figures['own_share_flagged']})",
            ]
        )
    return head, lines


def _variants(report: Report) -> tuple[list[str], list[list[str]]]:
    names = list(report["policies"])
    head = ["conditions", "n", *names]
    marks = {"better": " ▲", "worse": " ▼"}
    lines = []
    for each in report["variants"]:
        cells = [each["name"], str(each["n"])]
        for name in names:
            told = each["policies"][name]
            mark = "" if name == report["base"] else marks.get(told["difference"]["verdict"], "")
            cells.append(number(told["profit"]["mean"], sign=True) + mark)
        lines.append(cells)
    return head, lines


def _toxicity(report: Report) -> tuple[list[str], list[list[str]]]:
    told = report["toxicity"]
    head = ["informed flow ×", *(f"{level:g}" for level in told["levels"]), "profit is zero at"]
    lines = [
        [
            name,
            *(_with_spread(curve, index) for index in range(len(told["levels"]))),
            curve["zero_words"] if curve["zero_at"] is None else number(curve["zero_at"]),
        ]
        for name, curve in told["policies"].items()
    ]
    return head, lines


def text(report: Report) -> str:
    """For the terminal."""
    parts = [
        f"Which policy earns more per market than {report['base']}, on the same flow, under the same limits?",
        f"{report['source']['words']}; {report['rules']}",
        "",
        _aligned(*_headline(report)),
        "",
        FIGURES_WORDS,
        _aligned(*_figures(report)),
    ]
    if report["variants"]:
        parts += [
            "",
            "One condition changed at a time, profit $/market (▲ better, ▼ worse than the base)",
            _aligned(*_variants(report)),
        ]
    if report.get("toxicity"):
        words = f"Profit $/market by share of informed flow, {report['toxicity']['n']} markets"
        parts += ["", words, _aligned(*_toxicity(report))]
    parts += [
        "",
        *_provenance(report),
        "",
        "What replay cannot know:",
        *(f"- {c}" for c in report["caveats"]),
    ]
    return "\n".join(parts) + "\n"


def markdown(report: Report) -> str:
    """The headline, the variants and the caveats, for a Markdown file."""
    parts = [
        f"{report['source']['words']}; {report['rules']}.",
        "",
        _piped(*_headline(report)),
        "",
        f"{FIGURES_WORDS}:",
        "",
        _piped(*_figures(report)),
    ]
    if report["variants"]:
        parts += [
            "",
            "One condition changed at a time, profit in dollars per market (▲ better, ▼ worse than base):",
            "",
            _piped(*_variants(report)),
        ]
    if report.get("toxicity"):
        n = report["toxicity"]["n"]
        parts += ["", f"Profit by share of informed flow, {n} markets:", "", _piped(*_toxicity(report))]
    parts += ["", *(f"- {line}" for line in _provenance(report)), *(f"- {c}" for c in report["caveats"])]
    return "\n".join(parts) + "\n"


def marks(kind: str) -> tuple[str, str]:
    """The lines in a Markdown file between which the table of a kind of markets is written."""
    return f"<!-- comparison: {kind} -->", f"<!-- end of comparison: {kind} -->"


def check_marks(path: Path, kind: str) -> None:
    """ConfigError unless the file has the marks, once and in order."""
    first, last = marks(kind)
    try:
        told = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--write {path}: cannot be read: {error}") from None
    if told.count(first) != 1 or told.count(last) != 1 or told.index(first) > told.index(last):
        raise ConfigError(f"--write {path}: expected the lines {first} and {last}, once each, in this order")


def write_markdown(report: Report, path: Path) -> None:
    """Replaces what stands between the marks; ConfigError if there are none."""
    kind = str(report["source"]["kind"])
    check_marks(path, kind)
    first, last = marks(kind)
    told = path.read_text(encoding="utf-8")
    head, _, rest = told.partition(first)
    tail = rest.partition(last)[2]
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(f"{head}{first}\n{markdown(report)}{last}{tail}", encoding="utf-8")
    beside.replace(path)


def _provenance(report: Report) -> list[str]:
    tuning, opened = report["tuning"], report["openings"]
    told = [
        f"commit {report['commit'] or 'unknown'}{' with changes' if report['dirty'] else ''}, generator "
        f"{report['generator']}, {tuning['trials'] if tuning else 0} tuning trials for each policy",
        f"bootstrap: blocks of {report['bootstrap']['block']} markets, {report['bootstrap']['draws']} draws",
    ]
    if report["inferred_winners"]:
        told.append(f"winners inferred, not read from the venue: {', '.join(report['inferred_winners'])}")
    told.append(f"openings of the held-back part so far: {len(opened)}")
    told += [
        f"  {each.get('time')}: {each.get('commit', '')[:12]}, {each.get('trials')} trials, "
        f"tuned {each.get('tuned')}, {', '.join(each.get('policies', []))}"
        for each in opened
    ]
    return told


def _with_spread(curve: Mapping[str, Any], index: int) -> str:
    """A mean and half the width of its interval."""
    mean, low, high = (curve[name][index] for name in ("profit", "low", "high"))
    return number(mean, sign=True) + ("" if low is None else f" ± {number((high - low) / 2)}")


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _aligned(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, *lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    out = []
    for row in rows:
        first = row[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        out.append("  ".join([first, *rest]).rstrip())
    return "\n".join(out)


def _piped(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *lines))
