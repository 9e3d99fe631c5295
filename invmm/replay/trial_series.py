"""What the plots of a comparison are drawn from: one trial, second by second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invmm.replay.leads import Leads
from invmm.replay.result import MarketResult
from invmm.replay.tape import Tape
from invmm.settlement.ledger import E10, taker_fee_micro
from invmm.types import MICRO, Outcome, Side

if TYPE_CHECKING:
    from invmm.market import Market

SECOND = 1_000_000_000


class SeriesWatch:
    """Notes books, own bids and holdings once a second; `figures` adds the profit by part."""

    def __init__(self, tape: Tape) -> None:
        self._start_ns = tape.market.start_s * SECOND
        self._next_ns = 0
        self._times: list[int] = []
        self._columns: dict[str, list[float | None]] = {
            name: [] for name in ("up_bid", "up_ask", "own_up_bid", "own_up_ask", "up_shares", "down_shares")
        }

    def look(self, now_ns: int, market: Market) -> None:
        """One sample; those of the same second are left out."""
        if now_ns < self._next_ns:
            return
        self._next_ns = now_ns // SECOND * SECOND + SECOND
        step, columns = market.step, self._columns
        bid, ask = step.books.up.best_bid(), step.books.up.best_ask()
        own: dict[Outcome, list[int]] = {outcome: [] for outcome in Outcome}
        for order in step.registry.orders_live():
            if int(str(order["side"])) == Side.BUY:
                own[Outcome(int(str(order["token"])))].append(int(str(order["price_e4"])))
        up, down = step.registry.position()
        self._times.append(now_ns)
        columns["up_bid"].append(None if bid is None else bid[0] / 1e4)
        columns["up_ask"].append(None if ask is None else ask[0] / 1e4)
        columns["own_up_bid"].append(max(own[Outcome.UP]) / 1e4 if own[Outcome.UP] else None)
        # A bid for Down is an offer of Up at a dollar less its price.
        columns["own_up_ask"].append(1 - max(own[Outcome.DOWN]) / 1e4 if own[Outcome.DOWN] else None)
        columns["up_shares"].append(up / MICRO)
        columns["down_shares"].append(down / MICRO)

    def figures(self, result: MarketResult, rebates: bool) -> dict[str, Any]:
        """Lists of equal length: `t_s` since the start of the window, prices of Up in dollars, own best bids
        (that for Down as an offer of Up), shares held, and cumulative dollars: `pairs`, `orphans` (the lead
        at the middle of the book, at the resolution in the last element), `fees`, `rebates` (0 unless they
        count) and their sum `profit`. `fills`: the own fills, each with `t_s`, `token`, `side`, `price`,
        `shares`, `taker`.
        """
        ledger, columns = result.ledger, self._columns
        legs = ledger.standing
        leads = Leads(ledger.fee_rate_ppm)
        rebate = 0.0
        parts: dict[str, list[float]] = {n: [] for n in ("pairs", "orphans", "fees", "rebates", "profit")}
        taken, mid = 0, 5_000.0
        rows = [*zip(self._times, columns["up_bid"], columns["up_ask"], strict=True)]
        for index, (now_ns, bid, ask) in enumerate(rows):
            is_last = index == len(rows) - 1
            while taken < len(legs) and (is_last or legs[taken].time_ns <= now_ns):
                leg = legs[taken]
                leads.take(leg)
                taken += 1
                if rebates and not leg.taker:
                    fee = taker_fee_micro(leg.size_micro, leg.price_e4, ledger.fee_rate_ppm)
                    rebate += fee * ledger.rebate_ppm // MICRO / MICRO
            if bid is not None and ask is not None:
                mid = (bid + ask) * 5_000
            if is_last and result.winner is not None:
                mid = 10_000.0 if result.winner == Outcome.UP else 0.0
            now = (leads.pairs_e10 / E10, leads.orphans_e10(mid) / E10, -leads.fees_micro / MICRO, rebate)
            for name, value in zip(parts, (*now, sum(now)), strict=True):
                parts[name].append(round(value, 6))
        return {
            "t_s": [round((at - self._start_ns) / SECOND, 3) for at in self._times],
            **columns,
            **parts,
            "fills": [
                {
                    "t_s": round((leg.time_ns - self._start_ns) / SECOND, 3),
                    "token": leg.outcome.name.title(),
                    "side": leg.side.name,
                    "price": leg.price_e4 / 1e4,
                    "shares": leg.size_micro / MICRO,
                    "taker": leg.taker,
                }
                for leg in legs
            ],
        }
