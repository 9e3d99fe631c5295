"""The comparison of policies as one self-contained HTML page, from the comparison's JSON alone.

`write_page(report, path)` writes it; `python -m invmm.replay.compare_page report.json out.html` renders a
kept JSON again. What the fields mean is in `docs/comparison.md`. A part that the JSON lacks is left out; a
figure that is none (null, NaN) is a dash.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from invmm.errors import DataError
from invmm.replay.compare_page_markets import markets, samples
from invmm.replay.compare_page_parts import (
    GREY,
    against,
    costs,
    looks_of,
    markouts,
    rows,
    toxicity,
    variants,
)
from invmm.replay.compare_page_style import (
    STYLE,
    bounds,
    cell,
    facts,
    mapping,
    number,
    said,
    sequence,
    table,
)
from invmm.replay.compare_plots import Interval, finite, intervals

VERDICT_LOOK = {"better": 0, "worse": 1}
"""Looks of the verdicts: blue, vermilion; everything else is grey."""

Report = Mapping[str, Any]


def page(report: Report) -> str:
    """The page's HTML.

    Parameters
    ----------
    report : mapping
        The comparison's JSON.

    Raises
    ------
    DataError
        If it holds no policies.
    """
    if not mapping(report.get("policies")):
        raise DataError(
            "expected a comparison's JSON, an object with one entry per policy in `policies`; found none"
        )
    looks = looks_of(report)
    sections = [
        _first_page(report),
        variants(report),
        against(report),
        costs(report),
        markouts(report),
        toxicity(report, looks),
        markets(report, looks),
        samples(report),
    ]
    text = "\n".join(
        [
            "<!doctype html>",
            "<html lang='en'><head><meta charset='utf-8'>",
            "<meta name='viewport' content='width=device-width,initial-scale=1'>",
            f"<title>Comparison of policies · invmm</title><style>{STYLE}</style></head><body>",
            *filter(None, sections),
            "</body></html>",
            "",
        ]
    )
    return re.sub(r"(?<=\d) (?=[%$¢])|(?<=[▲▼Δ]) ", "\u00a0", text)  # a figure and its unit stay together


def write_page(report: Report, path: str | os.PathLike[str]) -> None:
    """Writes the page, whole or not at all.

    Parameters
    ----------
    report : mapping
        The comparison's JSON.
    path : path
        Of the HTML file; one that is there is replaced.

    Raises
    ------
    DataError
        If the report holds no policies.
    OSError
        If the file cannot be written.
    """
    text = page(report)
    target = Path(path)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(target)


def _first_page(report: Report) -> str:
    base = said(report.get("base"))
    caveats = "".join(
        "<li>" + re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(said(each))) + "</li>"
        for each in sequence(report.get("caveats"))
    )
    inferred = [said(each) for each in sequence(report.get("inferred_winners"))]
    those = f"{len(inferred)}, not read from the venue: {', '.join(inferred)}" if inferred else ""
    told = facts(
        [
            ("markets", said(mapping(report.get("source")).get("words"), "")),
            ("rules", said(report.get("rules"), "")),
            ("winners inferred", those),
        ]
    )
    return (
        f"<header><h1>Which policy earns more per market than {escape(base)}, on the same flow and under "
        f"the same limits?</h1>{told}{_standing(mapping(report.get('source')))}</header>"
        f"<section><ul class='verdicts'>{''.join(_verdict(n, r, base) for n, r in rows(report))}</ul>"
        f"{_headline(report, base)}"
        + (f"<div class='warn'><h2>What replay cannot know</h2><ul>{caveats}</ul></div>" if caveats else "")
        + f"</section>{_provenance(report)}"
    )


def _standing(source: Mapping[str, Any]) -> str:
    """What markets of this part and kind can show; nothing is said of those that decide."""
    words = []
    if source.get("part") == "tuning":
        words.append("These markets are the tuning part: what is said of them decides nothing.")
    if source.get("kind") == "recorded":
        words.append("Recorded markets are few: a smoke check, never a claim of profit.")
    return f"<p class='warn'>{' '.join(words)}</p>" if words else ""


def _verdict(name: str, row: Mapping[str, Any], base: str) -> str:
    """One sentence."""
    difference, profit = mapping(row.get("difference")), mapping(row.get("profit"))
    words = said(difference.get("verdict"), "")
    earned = f"{number(profit.get('mean'), sign=True)} $ per market"
    if name == base:
        text = f"is what the others are measured against: {earned}."
    elif words in VERDICT_LOOK and finite(difference.get("mean")) is not None:
        text = (
            f"is {words} than {base} by {number(abs(float(difference['mean'])))} $ per market on these "
            f"markets (95 % interval {bounds(difference.get('low'), difference.get('high'))})."
        )
    else:
        text = (
            f"is not shown to be better or worse than {base}: difference "
            f"{number(difference.get('mean'), sign=True)} $ per market "
            f"({bounds(difference.get('low'), difference.get('high')) or 'no interval'}); "
            f"below {number(difference.get('detectable'))} $ a true difference is likely to be missed."
        )
    kind = words if words in VERDICT_LOOK and name != base else "even"
    return f"<li class='{kind}'><b>{escape(name)}</b> {escape(text)}</li>"


def _headline(report: Report, base: str) -> str:
    lines, drawn = [], []
    for name, row in rows(report):
        profit, difference = mapping(row.get("profit")), mapping(row.get("difference"))
        verdict = "" if name == base else said(difference.get("verdict"), "")
        low, high = difference.get("low"), difference.get("high")
        between = "" if name == base else bounds(low, high)
        told = "base" if name == base else number(difference.get("mean"), sign=True)
        detectable = "" if name == base else number(difference.get("detectable"))
        lines.append(
            (
                name,
                [
                    cell(
                        number(profit.get("mean"), sign=True),
                        under=bounds(profit.get("low"), profit.get("high")),
                        name="profit, $ per market",
                    ),
                    cell(told, under=between, name="difference, $ per market"),
                    cell(number(profit.get("n"), 0), name="n, markets"),
                    cell(detectable, name="smallest detectable, $"),
                    cell(
                        verdict,
                        kind=f"t {verdict if verdict in VERDICT_LOOK else ''}".strip(),
                        name="verdict",
                    ),
                ],
            )
        )
        if name != base:
            words = f"{number(difference.get('mean'), sign=True)} $  {verdict}"
            look = VERDICT_LOOK.get(verdict, GREY)
            drawn.append(Interval(name, difference.get("mean"), low, high, look, words))
    head = [
        ("policy", ""),
        ("profit", "$ per market, 95 %"),
        ("difference", f"$ to {base}, 95 %"),
        ("n", "markets"),
        ("smallest detectable", "$ per market, 80 % power"),
        ("verdict", ""),
    ]
    return (
        "<div class='two'>"
        + table("Headline: paired, same flow for every policy", head, lines, cards=True, words=[5])
        + intervals(f"Difference to {base}", drawn, unit="$ per market, with its 95 % interval")
        + "</div>"
    )


def _provenance(report: Report) -> str:
    """Conditions, code, tuning and openings: what somebody needs who wants the same figures."""
    tuning = mapping(report.get("tuning"))
    texts = [(name, said(row.get("text"), name)) for name, row in rows(report)]
    parameters = facts([(name, text) for name, text in texts if text != name])
    told = facts(
        [
            ("conditions", _pairs_of(report.get("conditions"))),
            ("same for all", _pairs_of(report.get("common"))),
            ("tuning", _tuned(tuning) if tuning else "none: every policy with the parameters it is given"),
            ("bootstrap", _pairs_of(report.get("bootstrap"))),
            ("commit", said(report.get("commit"), "") + (" with changes" if report.get("dirty") else "")),
            ("generator", said(report.get("generator"), "")),
            ("made", said(report.get("made"), "")),
        ]
    )
    return (
        f"<section><h2>What was compared, and how</h2>{told}"
        + (f"<h3>Parameters</h3>{parameters}" if parameters else "")
        + f"<h3>Openings of the held-back part</h3>{_openings(report)}</section>"
    )


def _tuned(tuning: Mapping[str, Any]) -> str:
    of = [
        f"{number(tuning.get('trials'), 0)} trials for each policy",
        f"on {said(tuning.get('markets'))}",
        f"commit {said(tuning.get('commit'))}",
        f"file {said(tuning.get('digest'))}",
    ]
    return ", ".join(of)


def _openings(report: Report) -> str:
    """All of them, or a word that there are none."""
    lines = [
        (
            said(each.get("time")),
            [
                cell(said(each.get("commit"))[:12], kind="t"),
                cell(number(each.get("markets"), 0)),
                cell(number(each.get("trials"), 0)),
                cell(said(each.get("tuned"))[:12], kind="t"),
                cell(", ".join(map(said, sequence(each.get("policies")))), kind="l"),
            ],
        )
        for each in map(mapping, sequence(report.get("openings")))
    ]
    if not lines:
        return "<p>It has not been opened.</p>"
    head = [
        ("opened", "UTC"),
        ("commit", ""),
        ("markets", ""),
        ("trials", "tuning"),
        ("tuned file", "digest"),
        ("policies", ""),
    ]
    return table("All openings of the held-back part, oldest first", head, lines, words=[1, 4, 5])


def _pairs_of(value: object) -> str:
    return ", ".join(f"{name} {said(each)}" for name, each in mapping(value).items())


def main(arguments: Sequence[str] | None = None) -> int:
    """Renders a kept JSON; 0 done, 2 when it cannot be read or written."""
    parser = argparse.ArgumentParser(
        prog="python -m invmm.replay.compare_page",
        description="Renders the JSON of a comparison as a self-contained HTML page.",
    )
    parser.add_argument("report", help="JSON that `python -m invmm.replay.compare --json` wrote")
    parser.add_argument("out", help="HTML file to write")
    chosen = parser.parse_args(arguments)
    try:
        report = json.loads(Path(chosen.report).read_bytes())
        if not isinstance(report, dict):
            raise DataError(f"expected an object, found {type(report).__name__}")
        write_page(report, chosen.out)
    except (DataError, ValueError) as error:
        print(f"{chosen.report}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
