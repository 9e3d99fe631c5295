"""How hard a market is on a passive quoter: one simple prober, the same for recorded and for generated tapes.

The prober keeps one bid of `SIZE_MICRO` at the best bid of each token and at one and two cents below, follows
the best with a reaction time, always joins the back of the queue, and never completes a pair on purpose. It
is filled

    in full    when a trade goes through its price, or when the other side of the book reaches its price;
    in part    by the volume traded at its price beyond the shares ahead of it, which only trades and a
               shrinking level reduce.

No engine takes part: this measures the market, not a policy. Both books are one book (an Up bid at p is a
Down ask at 1 - p), so all orders are kept in terms of Up: a Down bid at q rests among the Up asks at 1 - q.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from invmm.replay.tape import MarketInfo, Tape
from invmm.types import MICRO, PRICE_ONE_E4, Outcome

SIZE_MICRO = 100 * MICRO
LEVELS = 3
LEVEL_STEP_E4 = 100
HORIZONS_S = (1, 5, 30)
FIRST_QUOTE_S = 5
LAST_QUOTE_S = 20  # before the end: after that nobody should be waiting for a second leg


@dataclass
class _Order:
    price_e4: int  # in terms of Up
    ahead_micro: int
    left_micro: int = SIZE_MICRO


@dataclass
class _Slot:
    """One of the prober's places: a token and a number of cents below its best bid."""

    outcome: Outcome
    level: int
    order: _Order | None = None
    due_ms: int = -1
    due_price_e4: int = 0
    live_ms: int = 0


@dataclass(frozen=True)
class Fill:
    """One fill: `price_e4` is what was paid per share of `outcome`, `mid_e4` moves are looked up later."""

    at_ms: int
    outcome: Outcome
    level: int
    price_e4: int
    size_micro: int


@dataclass(frozen=True)
class Hardness:
    """What the prober met in one market. Money in cents per share, rates per slot and minute."""

    slug: str
    fills_per_minute: float
    markout_c: dict[int, float]
    one_sided: float
    pair_cost: float
    profit_per_share_c: float
    ahead_shares: float
    fills: list[Fill] = field(repr=False)


@dataclass
class _State:
    """The Up book in plain dictionaries: enough for a prober, and independent of the compiled book."""

    bids: dict[int, int] = field(default_factory=dict)
    asks: dict[int, int] = field(default_factory=dict)
    best_bid_e4: int = 0
    best_ask_e4: int = PRICE_ONE_E4

    def side(self, outcome: Outcome) -> dict[int, int]:
        return self.bids if outcome == Outcome.UP else self.asks


_Trade = tuple[bool, int, int]  # hits bids of Up, price in terms of Up, size in micro-shares


def probe(tape: Tape, reaction_ms: int = 100) -> Hardness:
    """Runs the prober over one tape; `reaction_ms` is from a change of the book to its order resting."""
    market = tape.market
    state = _State()
    slots = [_Slot(outcome, level) for outcome in Outcome for level in range(LEVELS)]
    fills: list[Fill] = []
    mids: list[tuple[int, float]] = []
    queues: list[int] = []
    first_ms, last_ms = (market.start_s + FIRST_QUOTE_S) * 1000, (market.end_s - LAST_QUOTE_S) * 1000
    previous_ms = first_ms
    for now_ms, trades in _groups(tape, state):
        quoting = first_ms <= now_ms < last_ms
        for slot in slots:
            if slot.order is not None:
                if quoting:
                    slot.live_ms += now_ms - previous_ms
                _fill(slot, state, trades, now_ms, fills)
        bid, ask = state.best_bid_e4, state.best_ask_e4
        two_sided = bid > 0 and ask < PRICE_ONE_E4
        if bid or ask < PRICE_ONE_E4:
            mids.append((now_ms, (bid + ask) / 2))
        for slot in slots:
            if not quoting or not two_sided:
                slot.order, slot.due_ms = None, -1
                continue
            _requote(slot, state, now_ms, reaction_ms, queues)
        previous_ms = now_ms
    return _summary(market, fills, mids, queues, sum(slot.live_ms for slot in slots))


def _requote(slot: _Slot, state: _State, now_ms: int, reaction_ms: int, queues: list[int]) -> None:
    step = slot.level * LEVEL_STEP_E4
    wanted = state.best_bid_e4 - step if slot.outcome == Outcome.UP else state.best_ask_e4 + step
    if not 0 < wanted < PRICE_ONE_E4:
        slot.order, slot.due_ms = None, -1
        return
    if 0 <= slot.due_ms <= now_ms:
        price = slot.due_price_e4
        slot.due_ms = -1
        crosses = price >= state.best_ask_e4 if slot.outcome == Outcome.UP else price <= state.best_bid_e4
        if crosses:
            slot.order = None  # post-only: refused, and the old order is gone
        elif slot.order is None or slot.order.price_e4 != price:
            ahead = state.side(slot.outcome).get(price, 0)
            queues.append(ahead)
            slot.order = _Order(price, ahead)
    if slot.due_ms < 0 and (slot.order is None or slot.order.price_e4 != wanted):
        slot.due_ms, slot.due_price_e4 = now_ms + reaction_ms, wanted


def _fill(slot: _Slot, state: _State, trades: list[_Trade], now_ms: int, fills: list[Fill]) -> None:
    order = slot.order
    assert order is not None
    is_bid = slot.outcome == Outcome.UP
    price = order.price_e4
    through = state.best_ask_e4 <= price if is_bid else state.best_bid_e4 >= price
    traded = 0
    for hits_bids, trade_price, size in trades:
        if hits_bids == is_bid:
            if trade_price < price if is_bid else trade_price > price:
                through = True
            elif trade_price == price:
                traded += size
    if through:
        matched = order.left_micro
    else:
        beyond = traded - order.ahead_micro
        matched = min(max(beyond, 0), order.left_micro)
        order.ahead_micro = max(order.ahead_micro - traded, 0)
        order.ahead_micro = min(order.ahead_micro, state.side(slot.outcome).get(price, 0))
    if matched:
        paid = price if is_bid else PRICE_ONE_E4 - price
        fills.append(Fill(now_ms, slot.outcome, slot.level, paid, matched))
        order.left_micro -= matched
        if order.left_micro == 0:
            slot.order = None


def _e4(text: str) -> int:
    return round(float(text) * PRICE_ONE_E4)


def _micro(text: str) -> int:
    return round(float(text) * MICRO)


def _groups(tape: Tape, state: _State) -> Iterator[tuple[int, list[_Trade]]]:
    """Applies the frames of one venue time after the other to `state` and yields that time with its
    trades."""
    market = tape.market
    trades: list[_Trade] = []
    times = tape.rows["venue_ms"].tolist()
    for index, frame in enumerate(tape.frames()):
        message = orjson.loads(frame)
        for one in message if isinstance(message, list) else [message]:
            _apply(market, state, one, trades)
        if index + 1 == len(times) or times[index + 1] != times[index]:
            yield times[index], trades
            trades = []


def _apply(market: MarketInfo, state: _State, message: dict[str, Any], trades: list[_Trade]) -> None:
    kind = message.get("event_type")
    if kind == "price_change":
        for entry in message["price_changes"]:
            if entry["asset_id"] == market.up_token_id:
                price, size = _e4(entry["price"]), _micro(entry["size"])
                levels = state.bids if entry["side"] == "BUY" else state.asks
                if size:
                    levels[price] = size
                else:
                    levels.pop(price, None)
                state.best_bid_e4, state.best_ask_e4 = _e4(entry["best_bid"]), _e4(entry["best_ask"])
    elif kind == "book":
        near = {_e4(level["price"]): _micro(level["size"]) for level in message["bids"]}
        far = {_e4(level["price"]): _micro(level["size"]) for level in message["asks"]}
        if message["asset_id"] == market.up_token_id:
            state.bids, state.asks = near, far
        else:
            state.bids = {PRICE_ONE_E4 - price: size for price, size in far.items()}
            state.asks = {PRICE_ONE_E4 - price: size for price, size in near.items()}
        state.best_bid_e4 = max(state.bids, default=0)
        state.best_ask_e4 = min(state.asks, default=PRICE_ONE_E4)
    elif kind == "last_trade_price":
        is_up = message["asset_id"] == market.up_token_id
        price = _e4(message["price"])
        hits_bids = (message["side"] == "SELL") == is_up
        trades.append((hits_bids, price if is_up else PRICE_ONE_E4 - price, _micro(message["size"])))


def _summary(
    market: MarketInfo, fills: list[Fill], mids: list[tuple[int, float]], queues: list[int], live_ms: int
) -> Hardness:
    times = np.array([at for at, _ in mids], dtype=np.int64)
    values = np.array([mid for _, mid in mids])
    sizes = np.array([fill.size_micro for fill in fills], dtype=np.float64)
    markout: dict[int, float] = {}
    for horizon in HORIZONS_S:
        if not fills:
            markout[horizon] = float("nan")
            continue
        later = np.array([fill.at_ms + horizon * 1000 for fill in fills])
        mid = values[np.maximum(np.searchsorted(times, later, side="right") - 1, 0)]
        up = np.array([fill.outcome == Outcome.UP for fill in fills])
        worth = np.where(up, mid, PRICE_ONE_E4 - mid)
        paid = np.array([fill.price_e4 for fill in fills])
        markout[horizon] = float(np.average(worth - paid, weights=sizes)) / 100
    size_of = {o: sum(f.size_micro for f in fills if f.outcome == o) for o in Outcome}
    cost_of = {o: sum(f.size_micro * f.price_e4 for f in fills if f.outcome == o) for o in Outcome}
    total = sum(size_of.values())
    average = {o: cost_of[o] / size_of[o] / PRICE_ONE_E4 if size_of[o] else float("nan") for o in Outcome}
    payout = size_of[market.winner] * PRICE_ONE_E4 if market.winner is not None else float("nan")
    return Hardness(
        slug=market.slug,
        fills_per_minute=total / SIZE_MICRO / max(live_ms / 60_000, 1e-9),
        markout_c=markout,
        one_sided=abs(size_of[Outcome.UP] - size_of[Outcome.DOWN]) / total if total else float("nan"),
        pair_cost=average[Outcome.UP] + average[Outcome.DOWN],
        profit_per_share_c=(payout - sum(cost_of.values())) / total / 100 if total else float("nan"),
        ahead_shares=float(np.median(queues)) / MICRO if queues else float("nan"),
        fills=fills,
    )
