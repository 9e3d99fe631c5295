"""One market's engine at the embedded venue: requests, taking, balances, time. Deterministic and without a
clock.

Whoever drives it (the in-process face, the server) applies the tape's batches to the public book, tells them
to `overlay`, and lets `run_until` do what is due inside: taker delays, expirations, settlement, the market's
end.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Sequence
from random import Random

from invmm.replay.queue_models import named
from invmm.replay.tape import MarketInfo
from invmm.sim import rules
from invmm.sim.account import Account, Leg, leg
from invmm.sim.batches import Batch, up_terms
from invmm.sim.chained import ChainedSettlement
from invmm.sim.matching import Overlay, PublicBook
from invmm.sim.operator import Operator
from invmm.sim.orders import Level, Order, Report
from invmm.sim.profile import SECOND, VenueProfile
from invmm.sim.purses import Purses
from invmm.sim.rules import OrderRequest, Refusal
from invmm.sim.settlement import Settlement
from invmm.types import PRICE_ONE_E4, OrderType, Outcome, Reason, Side
from invmm.venue.profile import exchange as exchange_of


class Exchange:
    """One market's engine: own orders, their queues, the traders' accounts. Reports go to `tell`.

    Parameters
    ----------
    market : MarketInfo
        Rules, window and winner.
    book : PublicBook
        The displayed Up book, kept by the caller.
    profile : VenueProfile
        Latencies, delays, queue model.
    seed : int
        Settlement's randomness comes from it and the market's slug.
    account : Account or Purses, optional
        The trader's balances, or those of several; a new account with the profile's collateral by default.
    """

    def __init__(
        self,
        market: MarketInfo,
        book: PublicBook,
        profile: VenueProfile,
        seed: int,
        account: Account | Purses | None = None,
    ) -> None:
        self.market = market
        self.profile = profile
        known = account if account is not None else Account(profile.collateral_micro)
        self.purses = known if isinstance(known, Purses) else Purses(known)
        self.account = self.purses.first
        self.account.holding(market.condition_id)
        self.tick_e4 = market.tick_e4
        self.now_ns = 0
        self.venue_ms = 0  # stamp of the last batch: what an order arriving now has before it, and no more
        self._stamped_ns = 0
        self.is_closed = False
        self.orders: dict[bytes, Order] = {}
        self.by_key: dict[int, Order] = {}
        self.book = book
        self.overlay = Overlay(book, profile, named(profile.queue_model), self._fill)
        self.tell: Callable[[Report], None] = lambda report: None
        self.wake: Callable[[], None] = lambda: None  # something is due that was not when it was looked last
        self.accepts_ns = 0  # orders before are refused as not ready
        self.others: Callable[[], Iterable[Exchange]] = lambda: ()  # markets on the same balance
        self._active: dict[bytes, Order] = {}  # LIVE or DELAYED
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self.settlement: Settlement = Settlement(self, Random(f"{seed}:{market.slug}:settlement"))
        self.schedule(market.end_s * SECOND, self._close_market)

    def settle_on(self, operator: Operator, question_id: str) -> None:
        """Matches are settled on a chain from now on; before the first one."""
        self.settlement = ChainedSettlement(self, self.settlement.random, operator, question_id)

    # ---- time ----------------------------------------------------------------------------------------------

    def schedule(self, time_ns: int, action: Callable[[], None]) -> None:
        """Something to do at a time; equal times keep their order."""
        heapq.heappush(self._heap, (time_ns, next(self._count), action))

    def stamp_ms(self) -> int:
        """Now as the venue's own stamps count it: recorded stamps are not on the receiver's clock."""
        return self.venue_ms + max(0, self.now_ns - self._stamped_ns) // 1_000_000

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

    # ---- requests ------------------------------------------------------------------------------------------

    def place(self, request: OrderRequest) -> Order | Refusal:
        """An order arrives now. Refused, or an order that rests, was matched, was killed or is held by the
        taker delay.
        """
        refusal = self._refuse(request)
        if refusal is not None:
            return refusal
        side, price = up_terms(request.token, request.side, request.price_e4)
        order = Order(request, side, price, self.now_ns)
        marketable = self.overlay.would_match(order)
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
        if not self.profile.forgets_cancels:
            self._close(order, "CANCELED")
        return ""

    def revoke(self, order: Order) -> None:
        """The venue itself ends an order that it had accepted."""
        if order.state == "LIVE":
            self._close(order, "INVALID", Reason.VENUE_REJECTED)

    def open_orders(self) -> list[Order]:
        """Own orders that rest or are held, by arrival."""
        return list(self._active.values())

    def merge(self, pairs_micro: int, owner: str = "") -> int:
        """Burns an owner's settled pairs; orders that the balance covers no longer are canceled."""
        merged = self.purses.named(owner).merge(pairs_micro, self.market.condition_id)
        self.check_balances()
        return merged

    def leave(self) -> None:
        """Nobody is told any more, and nobody else's orders count: the market is over and everything is done.
        Whoever listened can be dropped.
        """
        self.tell = lambda report: None
        self.wake = lambda: None
        self.others = lambda: ()

    def retire(self) -> None:
        """The end of a market that is not asked for any more. Its parts know each other; cut, they and their
        books go at once and not when the collector comes by.
        """
        self._heap.clear()
        del self.overlay, self.settlement

    def sweep(self, orders: Sequence[Order]) -> None:
        """One taker of the flow takes all that is left of these resting orders of one queue side, best first:
        a single trade, in which each of them has a leg at its own price.
        """
        self._fill([(order, order.left_micro) for order in orders], orders[-1].up_price_e4)

    def check_balances(self) -> None:
        """Cancels the newest resting orders until the balances cover the rest."""
        for order in reversed(self.open_orders()):
            if order.state == "LIVE" and self._uncovered(order.request):
                self._close(order, "CANCELED_NOT_ENOUGH_BALANCE", Reason.VENUE_BALANCE)

    def true_ahead_micro(self, key: int, at_ns: int | None = None) -> int | None:
        """Shares ahead of a resting order, now or (when truth is recorded) at a past time; None if it did not
        rest then.
        """
        order = self.by_key.get(key)
        if order is None:
            return None
        if at_ns is None:
            return self.overlay.ahead_micro(order)
        if order.left_ns and at_ns >= order.left_ns:
            return None
        known: int | None = None
        for time_ns, ahead in order.truth:
            if time_ns > at_ns:
                break
            known = ahead
        return known

    # ---- refusals ------------------------------------------------------------------------------------------

    def _refuse(self, request: OrderRequest) -> Refusal | None:
        if self.is_closed:
            return Refusal(404, rules.NO_BOOK, Reason.MARKET_ENDING)
        if self.now_ns < self.accepts_ns or (self.book.best_bid() is None and self.book.best_ask() is None):
            return Refusal(400, rules.NOT_READY, Reason.VENUE_NOT_READY)
        refusal = rules.check_shape(
            request,
            tick_e4=self.tick_e4,
            min_size_micro=self.market.min_size_micro,
            now_s=self.now_ns / SECOND,
            gtd_min_ahead_s=self.profile.gtd_min_ahead_s,
        )
        if (
            refusal is None
            and self.profile.refuses_duplicates
            and (request.order_id in self.orders or (request.key and request.key in self.by_key))
        ):
            refusal = rules.duplicated(request)
        return refusal or self._short_of_balance(request, False)

    def _reserved(self, request: OrderRequest) -> int:
        """What other open orders hold back of the asset that this one needs, in every market."""
        purse = self.purses.of(request.who)
        if request.side == Side.BUY:
            return self.reserved_cash_micro(purse, request.order_id) + sum(
                other.reserved_cash_micro(purse) for other in self.others()
            )
        return sum(
            other.left_micro
            for other in self._active.values()
            if other.request.side == Side.SELL
            and other.request.token == request.token
            and other.request.order_id != request.order_id
            and self.purses.of(other.request.who) is purse
        )

    def reserved_cash_micro(self, purse: Account, but: bytes = b"") -> int:
        """Collateral that open BUY orders on a purse hold back, except the one named."""
        total = 0
        for other in self._active.values():
            held = other.request
            if other.left_micro <= 0 or held.side != Side.BUY or held.order_id == but:
                continue
            if self.purses.of(held.who) is not purse:
                continue
            total += rules.cost_micro(held.size_micro, held.price_e4, Side.BUY) - other.paid_micro
            if other.state == "DELAYED":
                total += rules.taker_fee_micro(held.size_micro, held.price_e4, self.market.fee_rate)
        return total

    def _available(self, request: OrderRequest) -> int:
        purse = self.purses.of(request.who)
        if request.side == Side.BUY:
            return purse.spendable_cash_micro - self._reserved(request)
        return purse.spendable_tokens_micro(request.token, self.market.condition_id) - self._reserved(request)

    def _short_of_balance(self, request: OrderRequest, marketable: bool) -> Refusal | None:
        amount = request.size_micro
        if request.side == Side.BUY:
            amount = rules.cost_micro(request.size_micro, request.price_e4, Side.BUY)
            if marketable:
                # The fee comes on top. Price improvement lowers the sum, so the limit price bounds it.
                amount += rules.taker_fee_micro(request.size_micro, request.price_e4, self.market.fee_rate)
        available = self._available(request)
        if amount > available:
            return rules.balance_short(max(0, available), amount)
        spender = exchange_of(self.market.exchange).contract
        allowed = self.purses.of(request.who).allowances_micro.get(spender.lower())
        if allowed is not None and request.side == Side.BUY and amount + self._reserved(request) > allowed:
            return rules.allowance_short(spender, allowed, amount)
        return None

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

    # ---- taking --------------------------------------------------------------------------------------------
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
        reach = self.overlay.reach(order)
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
            self.overlay.rest(order, self.now_ns)

    def _take_level(self, order: Order, price: int, public: int, own: Level | None) -> bool:
        """Takes at one price in queue order: shares ahead of own orders, the own order, and so on. False:
        cannot pay.
        """
        taken = 0
        steps: list[tuple[int, Order | None]] = []
        if own is not None:
            for waiting in own.orders:
                steps += [(min(own.shown_ahead(waiting), public), None), (waiting.left_micro, waiting)]
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
            self.overlay.take(Side(1 - order.up_side), price, taken)
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

    def play(
        self,
        batch: Batch,
        frames: Iterable[memoryview | bytes],
        apply_frame: Callable[[memoryview | bytes, int], int],
        named: Callable[[], Sequence[tuple[Side, int]]],
        *,
        is_begun: bool = False,
    ) -> None:
        """One batch of the venue happens: its frames go into the public book, then own orders meet it.

        `named` gives the levels that the batch's messages name (Up terms); it is asked only after own taking.
        `is_begun`: frames before these were applied already, and only the last of them concerned own orders.
        """
        now_ns, overlay = batch.time_ns, self.overlay
        self.now_ns = max(self.now_ns, now_ns)
        self.venue_ms, self._stamped_ns = batch.venue_ms, now_ns
        if batch.tick_e4:
            self.tick_e4 = batch.tick_e4
        overlay.before(batch)
        if overlay.levels and batch.last - batch.first > 1 and not batch.is_derived:
            if is_begun:
                overlay.glimpse(batch)
            # A decrease and what somebody adds in the same millisecond must not cancel out: who joined before
            # is ahead of what was added, and whoever reads frame by frame sees that.
            for frame in frames:
                apply_frame(frame, now_ns)
                overlay.glimpse(batch)
        else:
            for frame in frames:
                apply_frame(frame, now_ns)
        if overlay.is_watching or batch.has_book:
            overlay.apply(batch, named() if overlay.has_taken else ())

    def passed(self, batch: Batch) -> None:
        """This batch, and what was before it, happened without any meaning to own orders."""
        self.now_ns = max(self.now_ns, batch.time_ns)
        self.venue_ms, self._stamped_ns = batch.venue_ms, batch.time_ns
        self.overlay.now_ns = batch.time_ns

    # ---- fills and ends ------------------------------------------------------------------------------------

    def _fill(self, parts: list[tuple[Order, int]], up_price: int, taker: Order | None = None) -> None:
        """One match: a trade with a leg for each own order in it; who rests gets its own price."""
        legs = [
            self._leg(order, size, up_price if order is taker else order.up_price_e4, order is taker)
            for order, size in parts
        ]
        lead = parts[0][0]
        trade = self.settlement.begin(legs, up_price, lead, is_taker=taker is not None)
        for order, size in parts:
            order.filled_micro += size
            order.standing_micro += 0 if trade.fails else size
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
            # Rounding is cumulative, so that the fills of an order cost together what was reserved for it. A
            # fill that will fail has no part in it: then the sum follows from the fills that stand.
            whole = rules.cost_micro(order.standing_micro + size, price, request.side)
            notional = whole - rules.cost_micro(order.standing_micro, price, request.side)
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
            who=request.who,
            purse=self.purses.of(request.who),
        )

    def _forget(self, order: Order) -> None:
        self._active.pop(order.request.order_id, None)
        order.left_ns = self.now_ns
        self.overlay.remove(order)

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
