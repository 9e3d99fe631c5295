"""The sections of the comparison page between the first and the markets: what holds over all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from invmm.replay.compare_page_style import (
    bounds,
    cell,
    facts,
    mapping,
    number,
    percent,
    said,
    sequence,
    table,
)
from invmm.replay.compare_plots import Interval, Line, chart, finite, intervals

Report = Mapping[str, Any]
Looks = Mapping[str, int]

OWN_SHARE_LIMIT = 0.05
"""Own share of a market's volume above which a fill rate measured without us is not to be believed."""
COLOURED = (0, 1, 2, 3, 4, 5, 7)
GREY = 6
SIGNS = {"better": "▲ ", "worse": "▼ "}
HORIZONS = (("1s", "1 s"), ("5s", "5 s"), ("30s", "30 s"), ("resolution", "resolution"))


def looks_of(report: Report) -> dict[str, int]:
    """A look for each policy, the same in all plots: grey for `do_nothing`."""
    names = [name for name in mapping(report.get("policies")) if name != "do_nothing"]
    looks = {name: COLOURED[k % len(COLOURED)] for k, name in enumerate(names)}
    return {**looks, "do_nothing": GREY}


def rows(report: Report) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name and figures of each policy."""
    for name, row in mapping(report.get("policies")).items():
        yield str(name), mapping(row)


def variants(report: Report) -> str:
    """One table: profit per market under other conditions, and the difference to the base under each."""
    made = [each for each in map(mapping, sequence(report.get("variants"))) if each.get("policies")]
    if not made:
        return ""
    base = said(report.get("base"))
    names = [name for name, _ in rows(report)]
    head = [("conditions", ""), ("markets", ""), *((name, "$ per market") for name in names)]
    lines = []
    for each in made:
        cells = [cell(number(each.get("n"), 0))]
        for name in names:
            told = mapping(mapping(each["policies"]).get(name))
            profit = number(mapping(told.get("profit")).get("mean"), sign=True)
            difference = {} if name == base else mapping(told.get("difference"))
            shown = f"Δ {number(difference.get('mean'), sign=True)}" if difference else ""
            cells.append(_judged(profit, difference, shown))
        lines.append((said(each.get("name")), cells))
    return (
        "<section><h2>Variants</h2><p class='soft'>One condition changed at a time. Small figures: paired "
        f"difference to {escape(base)} with its 95 % interval. ▲ better, ▼ worse.</p>"
        + table("Profit per market under other conditions", head, lines)
        + "</section>"
    )


def _judged(text: str, difference: Mapping[str, Any], *under: str) -> str:
    """A cell with the sign and the colour of a difference's verdict, its interval below."""
    verdict = said(difference.get("verdict"), "")
    lines = (*under, bounds(difference.get("low"), difference.get("high")))
    return cell(SIGNS.get(verdict, "") + text, under=lines, kind=verdict if verdict in SIGNS else "")


def against(report: Report) -> str:
    """Every policy against every other one; with two there is nothing that the headline does not say."""
    told = mapping(report.get("against"))
    names = [name for name, _ in rows(report) if name in told]
    if len(names) < 3:
        return ""
    lines = []
    for name in names:
        cells = []
        for other in names:
            difference = mapping(mapping(told[name]).get(other))
            text = number(difference.get("mean"), sign=True)
            cells.append(cell("") if name == other else _judged(text, difference))
        lines.append((name, cells))
    head = [("row less column", ""), *((name, "$ per market") for name in names)]
    return (
        "<section><h2>Each against each</h2><p class='soft'>Paired difference per market of the row's policy "
        "to the column's, with its 95 % interval. ▲ better, ▼ worse.</p>"
        + table("Profit of one policy less that of another", head, lines)
        + "</section>"
    )


Column = tuple[str, str, str, Callable[[object], str]]
"""Name, unit, field of a policy's figures, and how it is written."""


def _digits(places: int, *, sign: bool = False) -> Callable[[object], str]:
    return lambda value: number(value, places, sign=sign)


TRADING: Sequence[Column] = (
    ("fills", "per market", "fills", _digits(1)),
    ("orders", "per market", "orders", _digits(1)),
    ("fills failed", "in all", "failed_fills", _digits(0)),
    ("messages", "per fill", "messages_per_fill", _digits(1)),
    ("maker share", "of shares", "maker_share", percent),
    ("one-sided share", "of shares", "one_sided_share", percent),
    ("final imbalance", "shares", "final_imbalance_shares", _digits(1)),
    ("most cash committed", "$", "max_committed_dollars", _digits(0)),
    ("own share", "of volume", "own_share", percent),
    ("greatest", "own share", "own_share_most", percent),
    ("own share > 5 %", "markets", "own_share_flagged", _digits(0)),
)
MONEY: Sequence[Column] = (
    ("pairs", "per market", "pairs", _digits(1)),
    ("pair cost", "$", "pair_cost", _digits(4)),
    ("pairs ≥ $1", "per market", "pairs_at_or_above_one", _digits(1)),
    ("of all pairs", "≥ $1", "pairs_at_or_above_one_share", percent),
    ("cost of those", "$ per market", "pairs_at_or_above_one_dollars", _digits(2)),
    ("from pairs", "$ per market", "pairs_dollars", _digits(2, sign=True)),
    ("from orphans", "$ per market", "orphans_dollars", _digits(2, sign=True)),
    ("taker fees", "$ per market", "fees_dollars", _digits(2, sign=True)),
    ("rebates, not in profit", "$ per market", "rebates_dollars", _digits(2, sign=True)),
)


def costs(report: Report) -> str:
    """How the profit came about: pairs, what was left over, fills and messages."""
    made = [(name, mapping(row.get("figures"))) for name, row in rows(report)]
    reasons = [
        (name, ", ".join(f"{why} {number(count, 0)}" for why, count in _greatest(figures.get("reasons"))))
        for name, figures in made
    ]
    why = facts(reasons)
    wrong = sum(finite(figures.get("unreconciled")) or 0 for _, figures in made)
    differing = f"<p class='warn'>{number(wrong, 0)} trials whose ledger and venue differ.</p>"
    return (
        "<section><h2>How it came about</h2>"
        + table("Pairs and what they cost, and where the profit came from", *_figures(MONEY, made))
        + table("Trading", *_figures(TRADING, made))
        + "<p class='note'>⚑ own fills are more than 5 % of what the market traded: without us it would have "
        "gone on otherwise, and these fills are the least believable.</p>"
        + (differing if wrong else "")
        + (f"<details><summary>Why nothing was quoted</summary>{why}</details>" if why else "")
        + "</section>"
    )


def _figures(
    columns: Sequence[Column], made: Sequence[tuple[str, Mapping[str, Any]]]
) -> tuple[list[tuple[str, str]], list[tuple[str, list[str]]]]:
    """Head and lines of a table of figures; an own share above the limit is flagged."""
    lines = []
    for name, figures in made:
        cells = []
        for _, _, key, write in columns:
            value = finite(figures.get(key))
            limit = {"own_share": OWN_SHARE_LIMIT, "own_share_most": OWN_SHARE_LIMIT, "own_share_flagged": 0}
            is_flagged = value is not None and value > limit.get(key, value)
            cells.append(cell(write(value) + (" ⚑" if is_flagged else ""), kind="flag" if is_flagged else ""))
        lines.append((name, cells))
    return [("policy", ""), *((name, unit) for name, unit, _, _ in columns)], lines


def _greatest(counts: object, most: int = 8) -> list[tuple[str, float]]:
    known = [(str(name), finite(count)) for name, count in mapping(counts).items()]
    return sorted(((n, c) for n, c in known if c), key=lambda each: -each[1])[:most]


def markouts(report: Report) -> str:
    """What the price did after own fills: a table, and a plot of each horizon with a row per policy."""
    told = {name: mapping(row.get("markouts")) for name, row in rows(report) if mapping(row.get("markouts"))}
    if not told:
        return ""
    lines = []
    for name, each in told.items():
        cells = []
        for key, _ in HORIZONS:
            one = mapping(each.get(key))
            mean = number(one.get("mean"), sign=True)
            cells += [
                cell(mean, under=bounds(one.get("low"), one.get("high"))),
                cell(number(one.get("n"), 0)),
            ]
        lines.append((name, cells))
    figures = ""
    for key, words in HORIZONS:
        drawn = [_favour(name, mapping(each.get(key))) for name, each in told.items()]
        drawn = [each for each in drawn if each.value is not None]
        after = "At the resolution" if key == "resolution" else f"After {words}"
        figures += intervals(after, drawn, unit="cents per share, above zero is in our favour")
    head = [("policy", "")]
    for _, words in HORIZONS:
        head += [(words, "¢ per share"), ("n", "fills")]
    return (
        "<section><h2>Markouts</h2><p class='soft'>How far the price of the bought token had moved from the "
        "price paid, after each fill. Below zero we were picked off. Grey: the interval holds zero.</p>"
        + table("Mean of all fills with its 95 % interval", head, lines)
        + f"<div class='plots pairs'>{figures}</div></section>"
    )


def _favour(name: str, one: Mapping[str, Any]) -> Interval:
    """Blue above zero with all of its interval, vermilion below it, else grey."""
    value, low, high = (finite(one.get(key)) for key in ("mean", "low", "high"))
    look = 0 if low is not None and low > 0 else 1 if high is not None and high < 0 else GREY
    return Interval(name, value, low, high, look, f"{number(value, sign=True)} ¢")


def toxicity(report: Report, looks: Looks) -> str:
    """Profit against the share of informed flow, and where it reaches zero."""
    told = mapping(report.get("toxicity"))
    levels = sequence(told.get("levels"))
    curves = mapping(told.get("policies"))
    if not levels or not curves:
        return ""
    drawn = [
        Line(name, levels, sequence(mapping(each).get("profit")), looks.get(name, GREY), marked=True)
        for name, each in curves.items()
    ]
    lines = [
        (
            name,
            [
                _zero(mapping(each)),
                *(cell(number(v, sign=True)) for v in sequence(mapping(each).get("profit"))),
            ],
        )
        for name, each in curves.items()
    ]
    head = [
        ("policy", ""),
        ("profit is zero at", "× informed flow"),
        *((f"{number(level, 2)} ×", "$ per market") for level in levels),
    ]
    return (
        "<section><h2>Toxicity</h2><p class='soft'>The share of informed takers, scaled against the "
        "generator's own; between two levels profit is taken to be a line.</p>"
        "<div class='two'>"
        + table(f"Profit per market, {number(told.get('n'), 0)} markets", head, lines)
        + chart(
            "Profit per market by share of informed flow",
            drawn,
            x_unit="informed takers, × the generator's own",
            y_unit="$ per market",
            zero=True,
        )
        + "</div></section>"
    )


def _zero(curve: Mapping[str, Any]) -> str:
    """Where profit is zero, or on which side of it the whole curve lies."""
    words = said(curve.get("zero_words"), "")
    if finite(curve.get("zero_at")) is None and words:
        return cell(words, kind="l")
    return cell(number(curve.get("zero_at")))
