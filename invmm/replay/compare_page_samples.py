"""Sample markets on the comparison page: what a policy quoted, held and earned while a market ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from invmm.replay.compare_page_style import mapping, number, said, sequence
from invmm.replay.compare_plots import Band, Dots, Line, Value, chart, finite

Report = Mapping[str, Any]

PARTS = (
    ("pairs", "spread captured by pairs", 0),
    ("orphans", "orphans", 1),
    ("fees", "fees", 3),
    ("rebates", "rebates", 2),
    ("profit", "profit", 7),
)
"""Field of a series, its words and its look."""


def samples(report: Report) -> str:
    """Inventory, quotes around the book and profit by part, of a few markets."""
    made: list[str] = []
    for each in map(mapping, sequence(report.get("samples"))):
        for name, series in mapping(each.get("policies")).items():
            drawn = _sample(mapping(series))
            if drawn:
                opened = " open" if not made else ""
                which = escape(f"{said(each.get('market'))} · {name}")
                head = f"<details{opened}><summary>{which}</summary>"
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
