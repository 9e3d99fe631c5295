"""Single markets on the comparison page: all of them in figures, a few of them as they ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from invmm.replay.compare_page_parts import GREY, OWN_SHARE_LIMIT, Looks, Report, rows
from invmm.replay.compare_page_style import cell, mapping, number, percent, said, sequence, table
from invmm.replay.compare_plots import Band, Dots, Line, Value, chart, finite, strips

PARTS = (
    ("pairs", "spread captured by pairs", 0),
    ("orphans", "orphans", 1),
    ("fees", "fees", 3),
    ("rebates", "rebates", 2),
    ("profit", "profit", 7),
)
"""Field of a series, its words and its look."""


def markets(report: Report, looks: Looks) -> str:
    """Each market: difference to the base, profit, our share of its volume; as dots, and all in a table."""
    listed = [mapping(each) for each in sequence(report.get("markets"))]
    base = said(report.get("base"))
    names = [name for name, _ in rows(report)]
    profits = {name: [finite(mapping(each.get("profit")).get(name)) for each in listed] for name in names}
    shares = {name: [finite(mapping(each.get("own_share")).get(name)) for each in listed] for name in names}
    differences = {
        name: [
            None if one is None or other is None else one - other
            for one, other in zip(each, profits.get(base, ()), strict=False)
        ]
        for name, each in profits.items()
        if name != base
    }
    percents = {name: [None if v is None else 100 * v for v in each] for name, each in shares.items()}

    def plot(title: str, values: Mapping[str, Sequence[Value]], unit: str, line: float | None = None) -> str:
        made = [(name, each, looks.get(name, GREY)) for name, each in values.items()]
        return strips(title, made, unit=unit, line=line)

    plots = (
        plot(f"Difference to {base} of each market", differences, "$ of one market, bar: mean")
        + plot("Profit of each market", profits, "$ of one market, bar: mean")
        + plot("Own share of each market's volume", percents, "% of the traded shares", 100 * OWN_SHARE_LIMIT)
    )
    if not plots:
        return ""
    return (
        f"<section><h2>Market by market</h2><div class='plots'>{plots}</div>"
        f"<details><summary>All {len(listed):,} markets</summary>{_listed(listed, names)}</details></section>"
    )


def _listed(listed: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Every market: who won, and of each policy the profit and the own share, flagged if too much."""
    lines = []
    for each in listed:
        winner = said(each.get("winner"))
        cells = [cell(winner, under="inferred" if each.get("winner_inferred") else "", kind="t")]
        for name in names:
            share = finite(mapping(each.get("own_share")).get(name))
            is_flagged = share is not None and share > OWN_SHARE_LIMIT
            told = number(mapping(each.get("profit")).get(name), sign=True)
            under = "" if share is None else percent(share) + (" ⚑" if is_flagged else "")
            cells.append(cell(told, under=under, kind="above" if is_flagged else ""))
        lines.append((said(each.get("market")), cells))
    head = [("market", ""), ("winner", ""), *((name, "$, own share") for name in names)]
    return table("Profit and own share of traded volume; ⚑ above 5 %", head, lines, words=[1])


def samples(report: Report) -> str:
    """What was quoted, held and earned in a few markets; the last policy of the first one is shown open."""
    made = []
    for index, each in enumerate(map(mapping, sequence(report.get("samples")))):
        policies = mapping(each.get("policies"))
        for name, series in policies.items():
            drawn = _sample(mapping(series))
            if drawn:
                is_open = not index and name == list(policies)[-1]
                which = escape(f"{said(each.get('market'))} · {name}")
                head = f"<details{' open' if is_open else ''}><summary>{which}</summary>"
                made.append(f"{head}<div class='plots pairs'>{drawn}</div></details>")
    return f"<section><h2>Sample markets</h2>{''.join(made)}</section>" if made else ""


def _sample(series: Mapping[str, Any]) -> str:
    times = sequence(series.get("t_s"))
    bid, ask = sequence(series.get("up_bid")), sequence(series.get("up_ask"))
    mids = [
        None if low is None or high is None else (low + high) / 2
        for low, high in zip(map(finite, bid), map(finite, ask), strict=False)
    ]

    def line(key: str, words: str, look: int) -> Line:
        return Line(words, times, sequence(series.get(key)), look, step=True)

    def off_mid(values: Sequence[Any]) -> list[Value]:
        """In cents; from the mid of the same moment."""
        return [
            None if value is None or mid is None else 100 * (value - mid)
            for value, mid in zip(map(finite, values), mids, strict=False)
        ]

    def own(key: str, words: str, look: int) -> Line:
        return Line(words, times, off_mid(sequence(series.get(key))), look, step=True)

    x_unit = "seconds since the window began"
    known = [t for t in map(finite, times) if t is not None]
    span = (min(known), max(known)) if known else None
    return (
        chart(
            "Quotes around the book",
            [
                Band("best bid to best ask", times, off_mid(bid), off_mid(ask)),
                own("own_up_bid", "own bid for Up", 0),
                own("own_up_ask", "own bid for Down, as an ask for Up", 1),
            ],
            x_unit=x_unit,
            span=span,
            y_unit="cents from the middle of Up's book",
            zero=True,
        )
        + chart(
            "Price and own fills",
            [Line("middle of the book", times, mids, 7), *_fills(series)],
            x_unit=x_unit,
            span=span,
            y_unit="price of Up, $; Down at 1 − price",
        )
        + chart(
            "Inventory",
            [line("up_shares", "Up", 0), line("down_shares", "Down", 1)],
            x_unit=x_unit,
            span=span,
            y_unit="shares held",
            zero=True,
        )
        + chart(
            "Profit by part",
            [
                *(line(key, words, look) for key, words, look in PARTS),
            ],
            x_unit=x_unit,
            span=span,
            y_unit="$ so far, the lead at the middle of the book",
            zero=True,
        )
    )


def _fills(series: Mapping[str, Any]) -> list[Dots]:
    """Fills of Up and of Down, these at the price of Up that they come to."""
    listed = [mapping(fill) for fill in sequence(series.get("fills"))]
    made = []
    for token, look in (("Up", 0), ("Down", 1)):
        known = [
            (at_s, price, fill)
            for fill in listed
            for at_s, price in [(finite(fill.get("t_s")), finite(fill.get("price")))]
            if fill.get("token") == token and at_s is not None and price is not None
        ]
        made.append(
            Dots(
                f"{token} filled",
                [at_s for at_s, _, _ in known],
                [price if token == "Up" else 1 - price for _, price, _ in known],
                look,
                [
                    f"{said(fill.get('side'))} {number(fill.get('shares'))} {token} at {number(price, 4)} $"
                    for _, price, fill in known
                ],
            )
        )
    return made
