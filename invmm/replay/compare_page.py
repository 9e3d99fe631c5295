"""The comparison of policies as one self-contained HTML page, from the comparison's JSON alone.

`write_page(report, path)` writes it; `python -m invmm.replay.compare_page report.json out.html` renders a
kept JSON again. What the fields mean is in `docs/comparison.md`. A part that the JSON lacks is left out; a
figure that is none (null, NaN) is a dash.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from invmm.errors import DataError
from invmm.replay.compare_page_parts import (
    GREY,
    costs,
    looks_of,
    mapping,
    markets,
    markouts,
    rows,
    samples,
    sequence,
    toxicity,
    variants,
)
from invmm.replay.compare_page_style import STYLE, bounds, cell, facts, number, said, table
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
    later = (variants, costs, markouts, toxicity, markets, samples)
    sections = [_first_page(report), *(section(report, looks) for section in later)]
    return "\n".join(
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
    source = mapping(report.get("source"))
    caveats = "".join(f"<li>{escape(said(each))}</li>" for each in sequence(report.get("caveats")))
    return (
        "<header><h1>Which policy earns more per market than "
        f"{escape(base)}, on the same flow and under the same limits?</h1>"
        f"<p class='soft'>{escape(said(source.get('words'), ''))}</p></header>"
        f"<section><ul class='verdicts'>{''.join(_verdict(n, r, base) for n, r in rows(report))}</ul>"
        f"{_headline(report, base)}"
        + (f"<div class='warn'><h3>What replay cannot know</h3><ul>{caveats}</ul></div>" if caveats else "")
        + f"</section>{_provenance(report)}"
    )


def _verdict(name: str, row: Mapping[str, Any], base: str) -> str:
    """One sentence."""
    difference, profit = mapping(row.get("difference")), mapping(row.get("profit"))
    words = said(difference.get("verdict"), "")
    earned = f"{number(profit.get('mean'), sign=True)} $ per market"
    if name == base:
        text = f"is what the others are measured against: {earned}."
    elif words in VERDICT_LOOK and finite(difference.get("mean")) is not None:
        text = (
            f"is {words} than {base} by {number(abs(float(difference['mean'])))} $ per market "
            f"(95 % interval of the difference {bounds(difference.get('low'), difference.get('high'))})."
        )
    else:
        text = (
            f"is not shown to be better or worse than {base}: difference "
            f"{number(difference.get('mean'), sign=True)} $ per market "
            f"({bounds(difference.get('low'), difference.get('high')) or 'no interval'}); "
            f"less than {number(difference.get('detectable'))} $ could not have been seen."
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
        (f"difference to {base}", "$ per market, 95 %"),
        ("n", "markets"),
        ("smallest detectable", "$ per market, 80 % power"),
        ("verdict", ""),
    ]
    return (
        "<div class='two'>"
        + table("Headline: paired, same flow for every policy", head, lines, cards=True)
        + intervals(f"Difference to {base}", drawn, unit="$ per market, with its 95 % interval")
        + "</div>"
    )


def _provenance(report: Report) -> str:
    tuning = mapping(report.get("tuning"))
    inferred = [said(each) for each in sequence(report.get("inferred_winners"))]
    openings = [
        (
            said(each.get("time")),
            [
                cell(said(each.get("commit"))[:12], kind="t"),
                cell(number(each.get("trials"), 0)),
                cell(said(each.get("tuned"))[:16], kind="t"),
                cell(", ".join(map(said, sequence(each.get("policies")))), kind="l"),
            ],
        )
        for each in map(mapping, sequence(report.get("openings")))
    ]
    head = [
        ("opened", "UTC"),
        ("commit", ""),
        ("trials", "tuning"),
        ("tuned file", "digest"),
        ("policies", ""),
    ]
    told = facts(
        [
            ("conditions", _pairs_of(report.get("conditions"))),
            ("same for all", _pairs_of(report.get("common"))),
            ("rules", said(report.get("rules"), "")),
            ("inferred winners", f"{len(inferred)}: {', '.join(inferred)}" if inferred else ""),
            ("tuning trials", number(tuning.get("trials"), 0) if tuning else ""),
            ("bootstrap", _pairs_of(report.get("bootstrap"))),
            ("commit", said(report.get("commit"), "") + (" with changes" if report.get("dirty") else "")),
            ("generator", said(report.get("generator"), "")),
            ("made", said(report.get("made"), "")),
        ]
    )
    return (
        f"<section><h2>What was compared, and how</h2>{told}"
        + (table("Openings of the held-back part, all of them", head, openings) if openings else "")
        + "</section>"
    )


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
