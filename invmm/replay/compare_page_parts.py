"""The sections of the comparison page after the first, from the variants to single markets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from invmm.replay.compare_page_style import bounds, cell, number, percent, said, table
from invmm.replay.compare_plots import Band, Dots, Interval, Line, Value, chart, finite, intervals, strips

Report = Mapping[str, Any]
Looks = Mapping[str, int]

OWN_SHARE_LIMIT = 0.05
"""Own share of a market's volume above which a fill rate measured without us is not to be believed."""
COLOURED = (0, 1, 2, 3, 4, 5, 7)
GREY = 6
SIGNS = {"better": "▲ ", "worse": "▼ "}
HORIZONS = (("1s", "1 s"), ("5s", "5 s"), ("30s", "30 s"), ("resolution", "resolution"))
PARTS = (("pairs", "pairs (spread captured)", 0), ("orphans", "orphans", 1), ("fees", "fees", 3))


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: object) -> Sequence[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def looks_of(report: Report) -> dict[str, int]:
    """A look for each policy, the same in all plots: grey for `do_nothing`."""
    names = [name for name in mapping(report.get("policies")) if name != "do_nothing"]
    looks = {name: COLOURED[k % len(COLOURED)] for k, name in enumerate(names)}
    return {**looks, "do_nothing": GREY}


def rows(report: Report) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name and figures of each policy."""
    for name, row in mapping(report.get("policies")).items():
        yield str(name), mapping(row)


def variants(report: Report, looks: Looks) -> str:
    """One table: profit per market under other conditions, and the difference to the base under each."""
    made = [each for each in map(mapping, sequence(report.get("variants"))) if each.get("policies")]
    if not made:
        return ""
    names = [name for name, _ in rows(report)]
    head = [("conditions", ""), ("markets", ""), *((name, "$ per market") for name in names)]
    lines = []
    for each in made:
        cells = [cell(number(each.get("n"), 0))]
        for name in names:
            told = mapping(mapping(each["policies"]).get(name))
            profit, difference = mapping(told.get("profit")), mapping(told.get("difference"))
            between = bounds(difference.get("low"), difference.get("high"))
            verdict = said(difference.get("verdict"), "")
            cells.append(
                cell(
                    SIGNS.get(verdict, "") + number(profit.get("mean"), sign=True),
                    under=(f"Δ {number(difference.get('mean'), sign=True)}", between) if between else "",
                    kind=verdict if verdict in SIGNS else "",
                )
            )
        lines.append((said(each.get("name")), cells))
    return (
        "<section><h2>Variants</h2><p class='soft'>One condition changed at a time. Small figures: paired "
        f"difference to {escape(said(report.get('base')))} with its 95 % interval. ▲ better, ▼ worse.</p>"
        + table("Profit per market under other conditions", head, lines)
        + "</section>"
    )


def costs(report: Report, looks: Looks) -> str:
    """How the profit came about: pairs, what was left over, fills and messages."""
    head = [
        ("policy", ""),
        ("fills", "per market"),
        ("messages", "per fill"),
        ("maker share", "of shares"),
        ("one-sided share", "of shares"),
        ("pairs", "per market"),
        ("pair cost", "$"),
        ("pairs ≥ $1", "per market"),
        ("cost of those", "$ per market"),
        ("final imbalance", "shares"),
        ("own share", "of volume"),
        ("markets above 5 %", "own share"),
    ]
    lines = []
    for name, row in rows(report):
        figures = mapping(row.get("figures"))
        above = finite(figures.get("own_share_flagged"))
        own = finite(figures.get("own_share"))
        lines.append(
            (
                name,
                [
                    cell(number(figures.get("fills"), 1)),
                    cell(number(figures.get("messages_per_fill"), 1)),
                    cell(percent(figures.get("maker_share"))),
                    cell(percent(figures.get("one_sided_share"))),
                    cell(number(figures.get("pairs"), 1)),
                    cell(number(figures.get("pair_cost"), 4)),
                    cell(number(figures.get("pairs_at_or_above_one"), 1)),
                    cell(number(figures.get("pairs_at_or_above_one_dollars"), 2)),
                    cell(number(figures.get("final_imbalance_shares"), 1)),
                    cell(percent(own), kind="flag" if own is not None and own > OWN_SHARE_LIMIT else ""),
                    cell(number(above, 0) + (" ⚑" if above else ""), kind="flag" if above else ""),
                ],
            )
        )
    return (
        "<section><h2>How it came about</h2>"
        + table("Figures of each policy", head, lines)
        + "<p class='note'>⚑ own fills are more than 5 % of what the market traded: without us it would have "
        "gone on otherwise, and these fills are the least believable.</p></section>"
    )


def markouts(report: Report, looks: Looks) -> str:
    """What the price did after own fills, as a table and one plot per policy."""
    lines, plots = [], {}
    for name, row in rows(report):
        told = mapping(row.get("markouts"))
        if not told:
            continue
        cells, drawn = [], []
        for key, words in HORIZONS:
            one = mapping(told.get(key))
            cells.append(
                cell(number(one.get("mean"), sign=True), under=bounds(one.get("low"), one.get("high")))
            )
            cells.append(cell(number(one.get("n"), 0)))
            value = finite(one.get("mean"))
            look = GREY if value is None else 0 if value >= 0 else 1
            drawn.append(
                Interval(words, value, one.get("low"), one.get("high"), look, f"{number(value, sign=True)} ¢")
            )
        lines.append((name, cells))
        plots[name] = drawn
    if not lines:
        return ""
    beside = [each for drawn in plots.values() for each in drawn]
    unit = "cents per share, above zero is in our favour"
    figures = "".join(intervals(name, drawn, unit=unit, beside=beside) for name, drawn in plots.items())
    head = [("policy", "")]
    for _, words in HORIZONS:
        head += [(words, "¢ per share"), ("n", "fills")]
    return (
        "<section><h2>Markouts</h2><p class='soft'>How far the price of the bought token had moved from the "
        "price paid, after each fill. Below zero we were picked off.</p>"
        + table("Mean of all fills with its 95 % interval", head, lines)
        + f"<div class='plots'>{figures}</div></section>"
    )


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
                cell(number(mapping(each).get("zero_at"), 2)),
                *(cell(number(v, sign=True)) for v in sequence(mapping(each).get("profit"))),
            ],
        )
        for name, each in curves.items()
    ]
    head = [
        ("policy", ""),
        ("zero at", "×"),
        *((f"{number(level, 2)} ×", "$ per market") for level in levels),
    ]
    return (
        "<section><h2>Toxicity</h2><p class='soft'>Informed takers scaled against the generator's own.</p>"
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


def markets(report: Report, looks: Looks) -> str:
    """Each market's difference to the base, and its profit, one dot each."""
    listed = [mapping(each) for each in sequence(report.get("markets"))]
    base = said(report.get("base"))
    profits: dict[str, list[Value]] = {
        name: [finite(mapping(each.get("profit")).get(name)) for each in listed] for name, _ in rows(report)
    }
    against = profits.get(base, [])
    differences = [
        (
            name,
            [a - b if a is not None and b is not None else None for a, b in zip(each, against, strict=False)],
            looks.get(name, GREY),
        )
        for name, each in profits.items()
        if name != base
    ]
    plots = [
        strips(f"Difference to {base} of each market", differences, unit="$ of one market, bar: mean"),
        strips(
            "Profit of each market",
            [(name, each, looks.get(name, GREY)) for name, each in profits.items()],
            unit="$ of one market, bar: mean",
        ),
    ]
    if not any(plots):
        return ""
    return f"<section><h2>Market by market</h2><div class='plots'>{''.join(plots)}</div></section>"


def samples(report: Report, looks: Looks) -> str:
    """Inventory, quotes around the book and profit by part, of a few markets."""
    made: list[str] = []
    for each in map(mapping, sequence(report.get("samples"))):
        for name, series in mapping(each.get("policies")).items():
            drawn = _sample(mapping(series))
            if drawn:
                opened = " open" if not made else ""
                which = escape(f"{said(each.get('market'))} · {name}")
                head = f"<details{opened}><summary>{which}</summary>"
                made.append(f"{head}<div class='plots'>{drawn}</div></details>")
    return f"<section><h2>Sample markets</h2>{''.join(made)}</section>" if made else ""


def _sample(series: Mapping[str, Any]) -> str:
    times = sequence(series.get("t_s"))

    def line(key: str, words: str, look: int) -> Line:
        return Line(words, times, sequence(series.get(key)), look, step=True)

    fills = [mapping(fill) for fill in sequence(series.get("fills"))]
    dots = []
    for token, look in (("Up", 0), ("Down", 1)):
        of = [fill for fill in fills if fill.get("token") == token]
        prices = [finite(fill.get("price")) for fill in of]
        dots.append(
            Dots(
                f"{token} filled",
                [finite(fill.get("t_s")) or 0.0 for fill in of],
                [price if token == "Up" or price is None else 1 - price for price in prices],
                look,
                [
                    f"{said(fill.get('side'))} {number(fill.get('shares'))} {token} "
                    f"at {number(fill.get('price'), 4)} $"
                    for fill in of
                ],
            )
        )
    x_unit = "seconds since the window began"
    return (
        chart(
            "Quotes around the book",
            [
                Band(
                    "best bid to best ask",
                    times,
                    sequence(series.get("up_bid")),
                    sequence(series.get("up_ask")),
                ),
                line("own_up_bid", "own bid for Up", 0),
                line("own_up_ask", "own bid for Down, as an ask for Up", 1),
                *dots,
            ],
            x_unit=x_unit,
            y_unit="price of Up, $",
            height=240,
        )
        + chart(
            "Inventory",
            [line("up_shares", "Up", 0), line("down_shares", "Down", 1)],
            x_unit=x_unit,
            y_unit="shares held",
            zero=True,
        )
        + chart(
            "Profit by part",
            [
                *(line(key, words, look) for key, words, look in PARTS),
                line("rebates", "rebates", 2),
                line("profit", "profit", 7),
            ],
            x_unit=x_unit,
            y_unit="$, the lead at the middle of the book",
            zero=True,
        )
    )
