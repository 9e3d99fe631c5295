"""Matching of own orders against a tape's flow: an overlay beside the recorded book, never in it.

Everything is said in terms of the Up book, because there is one logical book per market (polymarket.md 11.2): BUY Up at p
and SELL Down at 1−p wait in one queue, a bid at p; SELL Up at p and BUY Down at 1−p wait in one queue, an ask at p.

When a resting bid of ours at p fills (asks: mirror image). "Batch" = all frames of one venue timestamp, one atomic change.

| # | what the batch shows                                                         | fills                              |
|---|------------------------------------------------------------------------------|------------------------------------|
| 1 | a trade printed at p, the bid side was hit                                   | what is left of the volume after   |
|   |                                                                              | the shares ahead and own orders    |
|   |                                                                              | that came earlier                  |
| 2 | a trade printed strictly below p                                             | in full                            |
| 3 | the best ask is at or below p                                                | in full (but see 5)                |
| 4 | sweep: best bid ended below p and below where the batch began, and the batch | in full                            |
|   | has trade evidence (a `book` frame, a print, or derived from two books) ...  |                                    |
|   | ... and no print, or one that hit the bid side (at or below p when p was     |                                    |
|   | behind the best bid)                                                         |                                    |
|   | ... but only prints that hit the ask side: the level was cancelled           | nothing                            |
| 5 | the ask at or below p is a level from which we took ourselves                | only what was added to it since    |
| 6 | the level decreased otherwise                                                | nothing; the queue model decides   |
|   |                                                                              | how many shares are still ahead    |

A print that comes after the `book` frames of its trade (33-39 ms on the captured feed) belongs to the moment of those
frames: it explains the decrease that they showed, and does not reach orders that arrived in between.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Protocol

from invmm.replay.queue_models import named
from invmm.replay.tape import MarketInfo
from invmm.sim import rules
from invmm.sim.account import Account, Leg, leg
from invmm.sim.batches import Batch, Print, up_terms
from invmm.sim.orders import Level, Order, Report
from invmm.sim.profile import SECOND, VenueProfile
from invmm.sim.rules import OrderRequest, Refusal
from invmm.sim.settlement import Settlement
from invmm.types import PRICE_ONE_E4, OrderType, Outcome, Reason, Side


class PublicBook(Protocol):
    """What matching reads of a displayed book."""

    def best_bid(self) -> tuple[int, int] | None: ...
    def best_ask(self) -> tuple[int, int] | None: ...
    def size(self, side: int, price_e4: int) -> int: ...
    def depth(self, side: int, levels: int) -> Any: ...


class PublicBooks(Protocol):
    """Both displayed books of a market; the two are mirrors, so matching reads Up only."""

    @property
    def up(self) -> PublicBook: ...
    def apply_frame(self, data: memoryview, now_ns: int) -> int: ...


class MatchingCore:
    """One market's engine: own orders, their queues, the trader's account; deterministic, without a clock.

    `apply` takes one batch after it was applied to `books`; `run_until` does what is due inside. Reports go to `tell`.
    """

    def __init__(
        self,
        market: MarketInfo,
        book: PublicBook,
        profile: VenueProfile,
        seed: int,
        account: Account | None = None,
    ) -> None:
        self.market = market
        self.book = book
        self.profile = profile
        self.account = account if account is not None else Account(profile.collateral_micro)
        self.model = named(profile.queue_model)
        self.tick_e4 = market.tick_e4
        self.now_ns = 0
        self.is_closed = False
        self.orders: dict[bytes, Order] = {}
        self.by_key: dict[int, Order] = {}
        self.levels: dict[tuple[Side, int], Level] = {}
        self.tell: Callable[[Report], None] = lambda report: None
        self._active: dict[bytes, Order] = {}  # LIVE or DELAYED
        self._best: dict[Side, int | None] = {Side.BUY: None, Side.SELL: None}
        self._taken: dict[tuple[Side, int], int] = {}  # displayed shares that we took, until restated
        self._spent: dict[
            tuple[Side, int], int
        ] = {}  # levels we took from: displayed size that is not new to us
        self._book_batches: deque[tuple[int, dict[Side, tuple[int | None, int | None]]]] = deque(maxlen=16)
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self.settlement = Settlement(self, Random(f"{seed}:{market.slug}:settlement"))
        self.schedule(market.end_s * SECOND, self._close_market)

    # ---- time -----------------------------------------------------------------------------------------------------

    def schedule(self, time_ns: int, action: Callable[[], None]) -> None:
        """Something to do at a time; equal times keep their order."""
        heapq.heappush(self._heap, (time_ns, next(self._count), action))

    def due_ns(self) -> int | None:
        """When the next inside event is due."""
        return self._heap[0][0] if self._heap else None

    def run_until(self, time_ns: int) -> None:
        """Does everything that is due up to and including `time_ns`, in order."""
        while self._heap and self._heap[0][0] <= time_ns:
            due, _, action = heapq.heappop(self._heap)
            self.now_ns = max(self.now_ns, due)
            action()
        self.now_ns = max(self.now_ns, time_ns)

    # ---- requests -------------------------------------------------------------------------------------------------

    def place(self, request: OrderRequest) -> Order | Refusal:
        """An order arrives now. Refused, or an order that rests, was matched, was killed or is held by the taker delay."""
        refusal = self._refuse(request)
        if refusal is not None:
            return refusal
        side, price = up_terms(request.token, request.side, request.price_e4)
        order = Order(request, side, price, self.now_ns)
        marketable = self._would_match(order)
        if marketable and request.post_only:
            return Refusal(400, rules.POST_ONLY_CROSSES, Reason.VENUE_POST_ONLY)
        notional = rules.cost_micro(request.size_micro, request.price_e4, request.side)
        if marketable and request.side == Side.BUY and notional < rules.MARKETABLE_MIN_MICRO:
            return rules.marketable_too_small(notional)
        short = self._short_of_balance(request, marketable)
        if short is not None:
            return short
        if not marketable and request.order_type in (OrderType.FOK, OrderType.FAK):
            return Refusal(400, self._kill_text(request))
        self.orders[request.order_id] = order
        if request.key:
            self.by_key[request.key] = order
        self._active[request.order_id] = order
        if request.order_type == OrderType.GTD:
            self.schedule(
                (request.expiration_s - self.profile.gtd_early_s) * SECOND, lambda: self._expire(order)
            )
        if marketable and self.profile.taker_delay_ns:
            order.state = "DELAYED"
            self.schedule(self.now_ns + self.profile.taker_delay_ns, lambda: self._release(order))
            self.tell(Report("placed", self.now_ns, order))
        else:
            order.state = "LIVE"
            self.tell(Report("placed", self.now_ns, order))
            self._enter(order)
        return order

    def cancel(self, order_id: bytes) -> str:
        """Empty text when canceled; otherwise why not, in the venue's words."""
        order = self.orders.get(order_id)
        if order is None:
            return rules.NOT_FOUND
        if order.state == "DELAYED":
            return rules.HELD
        if order.state != "LIVE":
            return rules.ALREADY_MATCHED if order.state == "MATCHED" else rules.NOT_FOUND
        self._close(order, "CANCELED")
        return ""

    def open_orders(self) -> list[Order]:
        """Own orders that rest or are held, by arrival."""
        return list(self._active.values())

    def merge(self, pairs_micro: int) -> int:
        """Burns settled pairs; orders that the balance no longer covers are canceled by the venue."""
        merged = self.account.merge(pairs_micro)
        self.check_balances()
        return merged

    def check_balances(self) -> None:
        """Cancels the newest resting orders until the balances cover the rest (polymarket.md 11.3)."""
        for order in reversed(self.open_orders()):
            if order.state == "LIVE" and self._uncovered(order.request):
                self._close(order, "CANCELED_NOT_ENOUGH_BALANCE", Reason.VENUE_BALANCE)

    def true_ahead_micro(self, key: int, at_ns: int | None = None) -> int | None:
        """Shares ahead of a resting order, now or (when truth is recorded) at a past time; None if it did not rest then."""
        order = self.by_key.get(key)
        if order is None:
            return None
        if at_ns is None:
            level = self.levels.get((order.up_side, order.up_price_e4))
            return level.shown_ahead(order) if level is not None and order in level.orders else None
        known: int | None = None
        for time_ns, ahead in order.truth:
            if time_ns > at_ns:
                break
            known = ahead
        return known

    # ---- refusals -------------------------------------------------------------------------------------------------

    def _refuse(self, request: OrderRequest) -> Refusal | None:
        if self.is_closed:
            return Refusal(404, rules.NO_BOOK, Reason.MARKET_ENDING)
        if self.book.best_bid() is None and self.book.best_ask() is None:
            return Refusal(400, rules.NOT_READY, Reason.VENUE_NOT_READY)
        refusal = rules.check_shape(
            request,
            tick_e4=self.tick_e4,
            min_size_micro=self.market.min_size_micro,
            now_s=self.now_ns / SECOND,
            gtd_min_ahead_s=self.profile.gtd_min_ahead_s,
        )
        if refusal is None and (
            request.order_id in self.orders or (request.key and request.key in self.by_key)
        ):
            refusal = rules.duplicated(request)
        return refusal or self._short_of_balance(request, False)

    def _reserved(self, request: OrderRequest) -> int:
        """What other open orders hold back of the asset that this one needs."""
        total = 0
        for other in self._active.values():
            held = other.request
            if other.left_micro <= 0 or held.side != request.side or held.order_id == request.order_id:
                continue
            if request.side == Side.BUY:
                total += rules.cost_micro(held.size_micro, held.price_e4, Side.BUY) - other.paid_micro
                if other.state == "DELAYED":
                    total += rules.taker_fee_micro(held.size_micro, held.price_e4, self.market.fee_rate)
            elif held.token == request.token:
                total += other.left_micro
        return total

    def _available(self, request: OrderRequest) -> int:
        if request.side == Side.BUY:
            return self.account.spendable_cash_micro - self._reserved(request)
        return self.account.spendable_tokens_micro(request.token) - self._reserved(request)

    def _short_of_balance(self, request: OrderRequest, marketable: bool) -> Refusal | None:
        amount = request.size_micro
        if request.side == Side.BUY:
            amount = rules.cost_micro(request.size_micro, request.price_e4, Side.BUY)
            if (
                marketable
            ):  # a BUY's fee comes on top; price improvement lowers the sum, so the limit price bounds it
                amount += rules.taker_fee_micro(request.size_micro, request.price_e4, self.market.fee_rate)
        available = self._available(request)
        return rules.balance_short(max(0, available), amount) if amount > available else None

    def _uncovered(self, request: OrderRequest) -> bool:
        order = self.orders[request.order_id]
        if request.side == Side.BUY:
            need = rules.cost_micro(request.size_micro, request.price_e4, Side.BUY) - order.paid_micro
        else:
            need = order.left_micro
        return need > self._available(request)

    @staticmethod
    def _kill_text(request: OrderRequest) -> str:
        return rules.FOK_KILLED if request.order_type == OrderType.FOK else rules.FAK_KILLED

    # ---- taking ---------------------------------------------------------------------------------------------------

    def _reach(self, order: Order) -> list[tuple[int, int, Level | None]]:
        """Opposite levels within an order's limit, best first: (price, displayed shares not yet taken, own queue)."""
        opposite = Side(1 - order.up_side)
        sign = 1 if opposite == Side.SELL else -1
        public: dict[int, int] = {}
        limit = order.up_price_e4
        levels = 8
        while True:
            rows = self.book.depth(opposite, levels)
            if len(rows) < levels or (int(rows[-1]["price_e4"]) - limit) * sign > 0:
                break
            levels *= 4
        for row in rows:
            price = int(row["price_e4"])
            if (price - limit) * sign <= 0:
                public[price] = max(0, int(row["size_micro"]) - self._taken.get((opposite, price), 0))
        prices = set(public)
        for side, price in self.levels:
            if side == opposite and (price - limit) * sign <= 0:
                prices.add(price)
        return [
            (price, public.get(price, 0), self.levels.get((opposite, price)))
            for price in sorted(prices, reverse=sign < 0)
            if public.get(price, 0) > 0 or (opposite, price) in self.levels
        ]

    def _would_match(self, order: Order) -> bool:
        opposite = Side(1 - order.up_side)
        best = self.book.best_ask() if opposite == Side.SELL else self.book.best_bid()
        sign = 1 if opposite == Side.SELL else -1
        near = best is not None and (best[0] - order.up_price_e4) * sign <= 0
        near = near or any(s == opposite and (p - order.up_price_e4) * sign <= 0 for s, p in self.levels)
        return near and bool(self._reach(order))

    def _release(self, order: Order) -> None:
        """The taker delay is over: validated again, then matched or rested."""
        if order.state != "DELAYED":
            return
        if self._uncovered(order.request):
            self._close(order, "CANCELED_NOT_ENOUGH_BALANCE", Reason.VENUE_BALANCE)
        elif order.request.price_e4 % self.tick_e4:
            self._close(order, "INVALID", Reason.VENUE_REJECTED)
        else:
            order.state = "LIVE"
            self._enter(order)
        self.tell(Report("released", self.now_ns, order))

    def _enter(self, order: Order) -> None:
        """Takes what it may, then rests or dies."""
        request = order.request
        reach = self._reach(order)
        if request.order_type == OrderType.FOK:
            there = sum(
                size + sum(o.left_micro for o in (own.orders if own else ())) for _, size, own in reach
            )
            if there < request.size_micro:
                self._close(order, f"CANCELED_{rules.FOK_KILLED}", Reason.VENUE_REJECTED)
                return
        for price, size, own in reach:
            if order.left_micro <= 0 or not self._take_level(order, price, size, own):
                break
        if not order.is_open:
            return
        if request.order_type in (OrderType.FOK, OrderType.FAK):
            text = "CANCELED" if order.filled_micro else f"CANCELED_{rules.FAK_KILLED}"
            self._close(order, text, Reason.VENUE_REJECTED)
        else:
            self._rest(order)

    def _take_level(self, order: Order, price: int, public: int, own: Level | None) -> bool:
        """Takes at one price in queue order: shares ahead of own orders, the own order, and so on. False: cannot pay."""
        opposite = Side(1 - order.up_side)
        taken = 0
        steps: list[tuple[int, Order | None]] = []
        for resting in own.orders if own else ():
            ahead = max(0, min(own.shown_ahead(resting) if own else 0, public))
            steps += [(ahead, None), (resting.left_micro, resting)]
        steps.append((public, None))
        for amount, resting in steps:
            # Shares ahead are counted from the front of the public queue, own orders stand in between.
            size = min(order.left_micro, amount - taken if resting is None else amount)
            if size <= 0:
                continue
            if not self._can_pay(order, price, size):
                self._close(order, "CANCELED_NOT_ENOUGH_BALANCE", Reason.VENUE_BALANCE)
                return False
            if resting is None:
                taken += size
                self._fill([(order, size)], price, taker=order)
            else:
                self._fill([(order, size), (resting, size)], price, taker=order)
        if taken:
            at = (opposite, price)
            self._taken[at] = self._taken.get(at, 0) + taken
            self._spent[at] = self.book.size(opposite, price)
            for resting in own.orders if own else ():
                resting.ahead_micro = max(0, resting.ahead_micro - taken)
        return True

    def _can_pay(self, order: Order, up_price: int, size: int) -> bool:
        request = order.request
        if request.side == Side.SELL:
            return self._available(request) >= size
        price = up_price if request.token == Outcome.UP else PRICE_ONE_E4 - up_price
        cost = rules.cost_micro(size, price, Side.BUY) + rules.taker_fee_micro(
            size, price, self.market.fee_rate
        )
        return self._available(request) >= cost

    # ---- resting --------------------------------------------------------------------------------------------------

    def _rest(self, order: Order) -> None:
        at = (order.up_side, order.up_price_e4)
        level = self.levels.get(at)
        if level is None:
            if not self.levels:
                self._read_best()
            level = self.levels[at] = Level(*at, self.book.size(*at))
        displayed = level.size_micro - self._taken.get(at, 0)
        order.ahead_micro = max(0, displayed)
        if level.pending_micro:  # keeps its place behind a decrease whose print may still come
            order.ahead_micro += level.pending_micro
        order.rested_ns = self.now_ns
        level.orders.append(order)
        self._remember(level, order)

    def _remember(self, level: Level, order: Order) -> None:
        if self.profile.record_truth:
            ahead = level.shown_ahead(order)
            if not order.truth or order.truth[-1][1] != ahead:
                order.truth.append((self.now_ns, ahead))

    def _read_best(self) -> None:
        bid, ask = self.book.best_bid(), self.book.best_ask()
        self._best[Side.BUY] = None if bid is None else bid[0]
        self._best[Side.SELL] = None if ask is None else ask[0]

    @property
    def is_watching(self) -> bool:
        """Whether a batch can matter: own orders rest, or displayed shares were taken."""
        return bool(self.levels or self._taken or self._spent)

    @property
    def has_taken(self) -> bool:
        """Whether restated levels have to be told to `apply`."""
        return bool(self._taken)

    def before(self, batch: Batch) -> None:
        """Called before a batch's frames are applied to the book."""
        self.now_ns = max(self.now_ns, batch.time_ns)
        if batch.tick_e4:
            self.tick_e4 = batch.tick_e4
        if batch.has_book and not batch.is_derived:
            self._read_best()

    def apply(self, batch: Batch, restated: Sequence[tuple[Side, int]] = ()) -> None:
        """Called after a batch's frames were applied; `restated` are the levels that its messages named (Up terms)."""
        for at in restated:
            self._taken.pop(at, None)
        for at in [at for at in self._spent if self.book.size(*at) == 0]:
            del self._spent[at]
        if not self.levels:
            self._note_book_batch(batch)
            return
        began = dict(self._best)
        for told in batch.prints:
            self._print(told, batch)
        self._note_book_batch(batch)
        self._read_best()
        for level in list(self.levels.values()):
            self._level_moved(level, batch)
        if self.levels:
            self._reached_by_opposite()
        if self.levels and batch.has_trade_evidence:
            for level in list(self.levels.values()):
                if self._was_swept(level, batch, began):
                    self._fill_in_full(level)

    def _note_book_batch(self, batch: Batch) -> None:
        """Remembers which prices a live `book` batch may have traded at, for the print that follows it."""
        if batch.has_book and not batch.is_derived:
            began = dict(self._best)
            self._read_best()
            self._book_batches.append((batch.time_ns, {s: (began[s], self._best[s]) for s in Side}))

    def _trade_time(self, told: Print, batch: Batch) -> int:
        """When the printed trade happened: at the oldest recent `book` batch that could show it, or in this batch."""
        if batch.has_book or batch.is_derived:
            return batch.time_ns
        for index, (time_ns, bests) in enumerate(self._book_batches):
            if batch.time_ns - time_ns > self.profile.late_print_ns:
                continue
            began, ended = bests[told.side]
            sign = 1 if told.side == Side.BUY else -1
            if (
                began is not None
                and (began - told.price_e4) * sign >= 0
                and (ended is None or (told.price_e4 - ended) * sign >= 0)
            ):
                del self._book_batches[index]
                return time_ns
        return batch.time_ns

    def _print(self, told: Print, batch: Batch) -> None:
        """Rules 1 and 2."""
        happened_ns = self._trade_time(told, batch)
        volume = told.size_micro
        for level in self._best_first(told.side) + self._best_first(Side(1 - told.side)):
            sign = 1 if level.side == Side.BUY else -1
            beyond = (level.price_e4 - told.price_e4) * sign
            if beyond > 0:
                volume -= min(volume, self._fill_in_full(level, happened_ns))
            elif beyond == 0 and level.side == told.side:
                self._traded_at(level, volume, happened_ns, batch.time_ns)

    def _traded_at(self, level: Level, volume: int, happened_ns: int, now_ns: int) -> None:
        is_late = happened_ns < now_ns
        explained = min(volume, level.pending_micro)
        level.pending_micro -= explained
        used = 0
        for order in list(level.orders):
            if is_late and order.rested_ns >= happened_ns:
                # It stood behind the decrease that this print explains; `ahead` carried that decrease along.
                order.ahead_micro = max(0, order.ahead_micro - explained)
                continue
            passing = volume - order.ahead_micro - used
            order.ahead_micro = max(0, order.ahead_micro - volume)
            if passing > 0:
                size = min(order.left_micro, passing)
                used += size
                self._fill([(order, size)], level.price_e4)
        if not is_late:
            level.printed_micro += volume - explained
            level.printed_ns = now_ns

    def _level_moved(self, level: Level, batch: Batch) -> None:
        """Rule 6: what a level lost without a trade is a cancellation, apportioned by the queue model."""
        now_ns = batch.time_ns
        if level.pending_micro and now_ns - level.pending_ns > self.profile.late_print_ns:
            self._cancelled(level, level.size_micro + level.pending_micro, level.pending_micro)
            level.pending_micro = 0
        if level.printed_micro and now_ns - level.printed_ns > SECOND:
            level.printed_micro = 0
        new = self.book.size(level.side, level.price_e4)
        lost = level.size_micro - new
        if lost > 0:
            explained = min(lost, level.printed_micro)
            level.printed_micro -= explained
            rest = lost - explained
            if rest and batch.has_book and not batch.is_derived:
                level.pending_micro += rest
                level.pending_ns = now_ns
            elif rest:
                self._cancelled(level, level.size_micro - explained, rest)
        level.size_micro = new
        if batch.is_derived:
            level.printed_micro = 0  # prints and decreases of one interval come in one batch
        for order in level.orders:
            if not level.pending_micro:
                order.ahead_micro = min(order.ahead_micro, new)
            self._remember(level, order)

    def _cancelled(self, level: Level, total: int, cancelled: int) -> None:
        for order in level.orders:
            ahead = min(order.ahead_micro, total)
            order.ahead_micro = self.model.after_cancel(ahead, total - ahead, cancelled)

    def _reached_by_opposite(self) -> None:
        """Rules 3 and 5."""
        for side in Side:
            opposite = Side(1 - side)
            best = self._best[opposite]
            sign = 1 if side == Side.BUY else -1
            if best is None:
                continue
            reached = [level for level in self._best_first(side) if (level.price_e4 - best) * sign >= 0]
            if not reached:
                continue
            limit = reached[0].price_e4
            prices = [int(row["price_e4"]) for row in self.book.depth(opposite, 16)]
            for price in (p for p in prices if (limit - p) * sign >= 0):
                at = (opposite, price)
                level_now = [level for level in reached if (level.price_e4 - price) * sign >= 0]
                if at not in self._spent:
                    for level in level_now:
                        self._fill_in_full(level)
                    continue
                size = self.book.size(*at)
                fresh, self._spent[at] = size - self._spent[at], size
                for level in level_now:
                    for order in list(level.orders):
                        part = min(fresh, order.left_micro)
                        if part > 0:
                            fresh -= part
                            self._taken[at] = self._taken.get(at, 0) + part
                            self._fill([(order, part)], level.price_e4)

    def _was_swept(self, level: Level, batch: Batch, began: dict[Side, int | None]) -> bool:
        """Rule 4."""
        first, last = began[level.side], self._best[level.side]
        if first is None:
            return False
        sign = 1 if level.side == Side.BUY else -1
        edge = min(level.price_e4 * sign, first * sign)
        if last is not None and last * sign >= edge:
            return False
        same = [told.price_e4 for told in batch.prints if told.side == level.side]
        if same:
            at_best = (level.price_e4 - first) * sign >= 0
            return at_best or any((price - level.price_e4) * sign <= 0 for price in same)
        return not batch.prints

    def _best_first(self, side: Side) -> list[Level]:
        found = [level for (s, _), level in self.levels.items() if s == side]
        return sorted(found, key=lambda level: level.price_e4, reverse=side == Side.BUY)

    def _fill_in_full(self, level: Level, before_ns: int | None = None) -> int:
        filled = 0
        for order in list(level.orders):
            if before_ns is None or order.rested_ns < before_ns or before_ns >= self.now_ns:
                filled += order.left_micro
                self._fill([(order, order.left_micro)], level.price_e4)
        return filled

    # ---- fills and ends -------------------------------------------------------------------------------------------

    def _fill(self, parts: list[tuple[Order, int]], up_price: int, taker: Order | None = None) -> None:
        """One match at one price: a trade with a leg for each own order in it."""
        legs = [self._leg(order, size, up_price, order is taker) for order, size in parts]
        lead = parts[0][0]
        trade = self.settlement.begin(legs, up_price, lead, is_taker=taker is not None)
        for order, size in parts:
            order.filled_micro += size
            order.trades.append(trade)
            if order.left_micro == 0:
                order.state = "MATCHED"
                self._forget(order)
        self.tell(Report("trade", self.now_ns, trade=trade))
        for order, _ in parts:
            self.tell(Report("updated", self.now_ns, order, trade))

    def _leg(self, order: Order, size: int, up_price: int, is_taker: bool) -> Leg:
        request = order.request
        price = up_price if request.token == Outcome.UP else PRICE_ONE_E4 - up_price
        notional = rules.cost_micro(size, price, request.side)
        if not is_taker and price == request.price_e4:
            # Rounding is cumulative, so that the fills of an order cost together what was reserved for it.
            whole = rules.cost_micro(order.filled_micro + size, price, request.side)
            notional = whole - rules.cost_micro(order.filled_micro, price, request.side)
            order.paid_micro += notional
        else:
            order.paid_micro += rules.cost_micro(size, request.price_e4, request.side)
        return leg(
            key=order.key,
            order_id=request.order_id,
            token=request.token,
            side=request.side,
            price_e4=price,
            size_micro=size,
            is_taker=is_taker,
            fee_rate=self.market.fee_rate,
            notional_micro=notional,
        )

    def _forget(self, order: Order) -> None:
        self._active.pop(order.request.order_id, None)
        at = (order.up_side, order.up_price_e4)
        level = self.levels.get(at)
        if level is not None and order in level.orders:
            level.orders.remove(order)
            if not level.orders:
                del self.levels[at]

    def _close(self, order: Order, state: str, reason: Reason = Reason.NONE) -> None:
        if not order.is_open:
            return
        order.state = state
        self._forget(order)
        self.tell(Report("canceled", self.now_ns, order, text=state, reason=reason))

    def _expire(self, order: Order) -> None:
        if order.state == "DELAYED":  # not cancellable while held
            self.schedule(self.now_ns + self.profile.taker_delay_ns, lambda: self._expire(order))
            return
        self._close(order, "CANCELED_EXPIRED_ORDER", Reason.DEADLINE)

    def _close_market(self) -> None:
        self.is_closed = True
        for order in self.open_orders():
            was_held = order.state == "DELAYED"
            self._close(order, "CANCELED_MARKET_RESOLVED", Reason.MARKET_ENDING)
            if was_held:
                self.tell(Report("released", self.now_ns, order))
        self.schedule(self.now_ns + self.profile.settlement_lag_ns, self.settlement.resolve)
