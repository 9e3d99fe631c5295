"""The live view in the terminal: books, quotes, places, inventory, pair cost, profit, latency, feed.

Drawn by rich a few times a second from copies; it never touches what the step owns while the step runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from invmm.replay.report import WARNING
from invmm.types import MICRO, Outcome, Reason, Side

if TYPE_CHECKING:
    from invmm.market import Market

DEPTH = 6
GAP = "   "
STATES = {
    "prepared": "new",
    "sent": "sent",
    "unknown": "?",
}  # beside the size of an own order that is not live


@dataclass
class Health:
    """What the view shows beside the market itself."""

    speed: float = 1.0
    seconds_left: float = 0.0
    feed: str = "idle"
    user_feed: str = "idle"
    reconnects: int = 0
    data_age_ms: float | None = None
    pong_ms: float | None = None
    latency_ns: dict[str, dict[str, float]] = field(default_factory=dict)
    messages: Sequence[str] = ()


def render(market: Market, health: Health) -> Group:
    """One picture of a market."""
    step, ledger, info = market.step, market.ledger, market.info
    orders = step.registry.orders_live()
    reasons = step.no_quote_reasons
    head = Text()
    head.append(f" {info.slug} ", style="bold reverse")
    head.append(f"  ×{health.speed:g}  {max(0.0, health.seconds_left):5.1f} s of the market left")
    if info.origin == "GENERATED":
        head.append("   GENERATED", style="bold yellow")
    books = Table.grid(expand=True, padding=(0, 2))
    books.add_row(*(_book(market, outcome, orders, reasons[outcome]) for outcome in Outcome))
    parts: list[Any] = [head, books, _money(market, ledger), _health(step, health)]
    if market.asks_prices:
        parts.insert(3, _fair(step.stats()["fair"]))
    if info.origin == "GENERATED":
        parts.append(Text(WARNING, style="yellow"))
    parts += [Text(line, style="magenta") for line in health.messages]
    return Group(*parts)


def _book(market: Market, outcome: Outcome, orders: list[dict[str, object]], reason: int) -> Panel:
    book = market.step.books.up if outcome == Outcome.UP else market.step.books.down
    own: dict[tuple[int, int], list[dict[str, object]]] = {}
    for order in orders:
        if order["token"] == outcome:
            own.setdefault((int(str(order["side"])), int(str(order["price_e4"]))), []).append(order)
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 0, 0, 1))
    for name, justify in (
        ("ours", "left"),
        ("ahead", "right"),
        ("bid", "right"),
        ("ask", "left"),
        ("size", "left"),
    ):
        style = "dim" if name == "ahead" else ""
        table.add_column(name, justify=justify, style=style, no_wrap=True)  # type: ignore[arg-type]
    bids = [(int(p), int(s)) for p, s in book.depth(Side.BUY, DEPTH)]
    asks = [(int(p), int(s)) for p, s in book.depth(Side.SELL, DEPTH)]
    shown = {price for price, _ in bids}
    extra = [(price, 0) for side, price in own if side == Side.BUY and price not in shown]
    bids = sorted(bids + extra, reverse=True)
    for i in range(max(len(bids), len(asks), DEPTH)):
        mine, ahead, bid, ask, size = "", "", "", "", ""
        if i < len(bids):
            price, shares = bids[i]
            bid = f"{shares / MICRO:,.0f} {_price(price)}"
            here = own.get((int(Side.BUY), price), [])
            if here:
                left = sum(int(str(order["remaining_micro"])) for order in here) / MICRO
                mine = f"{left:,.0f} {STATES.get(str(here[0]['state']), '')}"
                if here[0]["ahead_micro"] is not None:
                    ahead = f"{int(str(here[0]['ahead_micro'])) / MICRO:,.0f}"
        if i < len(asks):
            ask, size = _price(asks[i][0]), f"{asks[i][1] / MICRO:,.0f}"
        table.add_row(Text(mine, style="green"), ahead, Text(bid, style="cyan"), Text(ask, style="red"), size)
    title = outcome.name.title()
    if reason:
        title += f" [yellow](no quote: {Reason(reason).name.lower().replace('_', ' ')})[/]"
    return Panel(table, title=title, border_style="cyan" if outcome == Outcome.UP else "red")


def _money(market: Market, ledger: Any) -> _Items:
    up, down = (ledger.held_micro(outcome) / MICRO for outcome in Outcome)
    profit = ledger.settle(market.winner)
    cost = f" at {ledger.pair_cost:.4f}" if ledger.pair_cost else ""
    return _line(
        f"inventory [b]{up:,.1f}[/] Up [b]{down:,.1f}[/] Down",
        f"pairs [b]{ledger.pairs_micro / MICRO:,.1f}[/]{cost}",
        f"fills {len(ledger.standing)}",
        f"pair edge {profit.pair_edge:+,.2f} $",
        f"unmatched {profit.orphans:+,.2f} $",
        f"fees {profit.fees:+,.2f} $",
        f"[b]total {profit.total:+,.2f} $[/]",
    )


def _fair(fair: dict[str, Any]) -> _Items:
    """What Up is worth by the settlement, and what that rests on."""
    strike = "–" if fair["strike"] is None else f"{fair['strike']:,.2f} $ ({fair['strike_from']})"
    if fair["up"] is None:
        return _line(f"settlement model: {fair['state']}, books alone", f"strike {strike}")
    return _line(
        f"settlement model [b]{fair['up']:.3f}[/]",
        f"strike {strike}",
        f"price age {fair['age_s'] * 1000:,.0f} ms",
        f"volatility {fair['sigma'] * 1e4:.2f} bp/√s",
        f"basis {fair['basis'] * 1e4:+.1f} ± {fair['basis_deviation'] * 1e4:.1f} bp",
    )


def _health(step: Any, health: Health) -> Group:
    stats = step.stats()
    age = "–" if health.data_age_ms is None else f"{health.data_age_ms:,.0f} ms"
    pong = "–" if health.pong_ms is None else f"{health.pong_ms:.1f} ms"
    feeds = _line(
        f"feed {health.feed}",
        f"user {health.user_feed}",
        f"data age {age}",
        f"pong {pong}",
        f"reconnects {health.reconnects}",
        f"frames {stats['frames']:,}",
        f"solves {stats['solves']:,} ({stats['suppressed']:,} suppressed)",
        f"commands {stats['commands']:,}",
    )
    latencies = [
        f"{name.replace('_', ' ')} {_micros(f['p50'])} / {_micros(f['p99'])}"
        for name, f in health.latency_ns.items()
        if f.get("count")
    ]
    if not latencies:
        return Group(feeds)
    return Group(feeds, _line("latency p50 / p99 µs:", *latencies))


class _Items:
    """Items on one line, or on as many as the width asks for; none is broken within."""

    def __init__(self, items: Sequence[str]) -> None:
        self._items = [Text.from_markup(item) for item in items]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        line = Text()
        for item in self._items:
            if line and len(line) + len(GAP) + len(item) > options.max_width:
                yield line
                line = Text()
            line = Text(GAP).join([line, item]) if line else item
        yield line


def _line(*items: str) -> _Items:
    return _Items(items)


def _price(price_e4: int) -> str:
    """Dollars with two decimals, or as many as it has."""
    return f"{price_e4 / 1e4:.2f}" if price_e4 % 100 == 0 else f"{price_e4 / 1e4:g}"


def _micros(ns: float) -> str:
    """Microseconds with three digits that mean something."""
    return f"{ns / 1e3:,.1f}" if ns < 1e6 else f"{ns / 1e3:,.0f}"
