"""The embedded venue in process, on a virtual clock: the deterministic face of `Exchange`.

Commands (`COMMAND_DTYPE`) go in with `submit`, events (`EVENT_DTYPE`) come out of `poll`, both on the
engine's clock. Between the two lie the profile's latencies. Same tape, seed, profile and calls: same events,
byte for byte.

    submit ──order_latency──▶ core ──ack_latency──▶ ORDER_RESULT
    tape frame (recv − feed_latency) ──▶ core ──user_latency──▶ USER_EVENT, SETTLEMENT
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
from collections import Counter
from random import Random
from typing import Any

from invmm._ext.decode import MarketBooks
from invmm.replay.tape import Tape
from invmm.sim.account import Account
from invmm.sim.batches import Batch, restated_levels
from invmm.sim.exchange import Exchange
from invmm.sim.matching import PublicBooks
from invmm.sim.orders import Order, Report
from invmm.sim.profile import VenueProfile
from invmm.sim.rules import MAX_BATCH, OrderRequest, Refusal, too_many
from invmm.sim.stretches import CutTape
from invmm.types import (
    CommandArray,
    CommandFlag,
    CommandKind,
    EventArray,
    EventFlag,
    EventKind,
    OrderStatus,
    OrderType,
    Outcome,
    Reason,
    Side,
    Source,
)

NO_ID = bytes(32)


class EmbeddedVenue:
    """A `Venue` that trades one tape in process.

    Parameters
    ----------
    tape : Tape
        The market's frames.
    seed : int
        All randomness (latency jitter, settlement, failures) comes from it and the market's slug.
    profile : VenueProfile, optional
        Latencies, delays, settlement and the queue model.
    account : Account, optional
        Carries balances over from an earlier market; a new one by default.
    market : int
        The engine's number of the market, used in events that answer no command.
    books : PublicBooks, optional
        Where the frames are applied; its own compiled `MarketBooks` by default, never the engine's.
    tape_cut : CutTape, optional
        The tape and the profile's feed latency, if it is cut already.
    """

    def __init__(
        self,
        tape: Tape,
        *,
        seed: int = 0,
        profile: VenueProfile | None = None,
        account: Account | None = None,
        market: int = 0,
        books: PublicBooks | None = None,
        tape_cut: CutTape | None = None,
    ) -> None:
        self.tape = tape
        self.profile = profile or VenueProfile()
        self.market = market
        if books is None:
            books = MarketBooks(tape.market.up_token_id, tape.market.down_token_id, tape.market.tick_e4)
        self.books = books
        self.core = Exchange(tape.market, self.books.up, self.profile, seed, account)
        self.core.account.leave_market()
        self.core.tell = self._told
        self.now_ns = 0
        self.texts: dict[int, str] = {}  # refusal texts by key, for reports
        self._jitter = Random(f"{seed}:{tape.market.slug}:latency")
        self._seed = seed
        self._cut = tape_cut or CutTape.of(tape, self.profile.feed_latency_ns)
        self._batches, self._times = self._cut.batches, self._cut.times_ns
        self._view = memoryview(tape.data)
        self._next = 0
        self._out: list[tuple[int, int, list[Any]]] = []
        self._count = itertools.count()
        self._sequences = dict.fromkeys((int(s) for s in Source), 0)  # given out in order of delivery
        self._closed = False

    # ---- Venue protocol ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Nothing to connect."""

    def close(self) -> None:
        """Takes no more commands; what is under way still happens when polled."""
        self._closed = True

    def submit(self, commands: CommandArray, now_ns: int) -> int:
        """Takes all commands; each request (a batch of orders, a cancel) travels with one latency."""
        if self._closed:
            return 0
        self.now_ns = max(self.now_ns, now_ns)
        names = commands.dtype.names or ()
        arrivals: dict[tuple[int, int], int] = {}
        named = [dict(zip(names, values, strict=True)) for values in commands.tolist()]
        legs = Counter(command["batch"] for command in named if command["kind"] == CommandKind.PLACE)
        for command in named:
            if command["kind"] == CommandKind.PLACE and legs[command["batch"]] > MAX_BATCH:
                self._refused(
                    now_ns + self.profile.order_latency_ns + self.profile.ack_latency_ns,
                    command,
                    too_many(legs[command["batch"]]),
                )
                continue
            request = (command["kind"], command["batch"])
            if request not in arrivals:
                jitter = self._jitter.randrange(self.profile.order_jitter_ns + 1)
                arrivals[request] = now_ns + self.profile.order_latency_ns + jitter
            self._take(command, now_ns, arrivals[request])
        return len(commands)

    def poll(self, now_ns: int, out: EventArray) -> int:
        """Writes what is known by `now_ns`, oldest first; what does not fit waits for the next call."""
        self.advance(now_ns)
        written = 0
        while self._out and self._out[0][0] <= now_ns and written < len(out):
            record = heapq.heappop(self._out)[2]
            self._sequences[record[1]] += 1
            record[4] = self._sequences[record[1]]
            out[written] = tuple(record)
            written += 1
        return written

    # ---- virtual time --------------------------------------------------------------------------------------

    def next_ns(self) -> int | None:
        """Earliest time at which a `poll` could bring something new; None when nothing is left to come.

        While own orders rest, that includes the venue's next batch, because any batch may fill them.
        """
        times = []
        if self._out:
            times.append(self._out[0][0])
        due = self.core.due_ns()
        if due is not None:
            times.append(due)
        if self.core.overlay.levels and self._next < len(self._times):
            times.append(self._times[self._next])
        return min(times) if times else None

    def told_ns(self) -> int | None:
        """Time of the earliest event that is on its way to `poll`; None if none is."""
        return self._out[0][0] if self._out else None

    def advance(self, now_ns: int) -> None:
        """Brings the venue to `now_ns`: its batches and what is due inside, in order of time; a batch comes
        before others.
        """
        core, times = self.core, self._times
        while True:
            batch_ns = times[self._next] if self._next < len(times) else None
            due_ns = core.due_ns()
            if batch_ns is not None and batch_ns <= now_ns and (due_ns is None or batch_ns <= due_ns):
                until_ns = now_ns if due_ns is None else min(now_ns, due_ns)
                if (row := self._pass_over(until_ns)) is not None:
                    self._play(self._batches[self._next], row)
                    self._next += 1
            elif due_ns is not None and due_ns <= now_ns:
                core.run_until(due_ns)
            else:
                break
        core.now_ns = max(core.now_ns, now_ns)
        self.now_ns = max(self.now_ns, now_ns)

    def _pass_over(self, until_ns: int) -> int | None:
        """Goes over the batches that concern no own order. The first frame of the next one that is to be
        played, None if that lies after `until_ns`.
        """
        if not isinstance(self.books, MarketBooks):
            return self._batches[self._next].first
        first, end = self._next, len(self._times)
        self._next, row = self._cut.pass_over(self.books, self.core.overlay, first, until_ns)
        if self._next > first:
            self.core.passed(self._batches[self._next - 1])
        return row if self._next < end and self._times[self._next] <= until_ns else None

    def _play(self, batch: Batch, row: int) -> None:
        """A batch, of which the frames before `row` were applied already."""
        view, offsets, ends = self._view, self._cut.offsets, self._cut.ends
        frames = (view[offsets[i] : ends[i]] for i in range(row, batch.last))
        self.core.play(
            batch,
            frames,
            self.books.apply_frame,
            lambda: restated_levels(self.tape, batch),
            is_begun=row > batch.first,
        )

    # ---- truth ---------------------------------------------------------------------------------------------

    def true_ahead_micro(self, key: int, at_ns: int | None = None) -> int | None:
        """Shares truly ahead of a resting order, now or (with `record_truth`) at a past venue time."""
        return self.core.true_ahead_micro(key, at_ns)

    def truth(self, key: int) -> list[tuple[int, int]]:
        """Recorded (venue time ns, shares ahead micro) of an order: every change since it rested."""
        order = self.core.by_key.get(key)
        return list(order.truth) if order is not None else []

    @property
    def account(self) -> Account:
        """Balances, trades, fees; hand it to the next market's venue to carry on with it."""
        return self.core.account

    def merge(self, pairs_micro: int) -> int:
        """Burns settled pairs for a dollar each; returns how many."""
        return self.core.merge(pairs_micro)

    def check(self) -> None:
        """Conservation of cash and tokens; AssertionError in words."""
        self.core.account.check()

    # ---- commands ------------------------------------------------------------------------------------------

    def order_id(self, command: dict[str, Any]) -> bytes:
        """The id of an order in this world: a hash of what makes it unique, as the real one is."""
        name = b"%d|%d|%d|%d" % (self._seed, command["market"], command["key"], command["salt"])
        return hashlib.blake2b(name, digest_size=32).digest()

    def _take(self, command: dict[str, Any], now_ns: int, arrival_ns: int) -> None:
        kind = command["kind"]
        if kind == CommandKind.SHUTDOWN:
            return
        if kind == CommandKind.PLACE:
            if command["deadline_ns"] and now_ns > command["deadline_ns"]:
                self._result(now_ns, command, OrderStatus.REFUSED, reason=Reason.DEADLINE)
                return
            request = OrderRequest(
                order_id=self.order_id(command),
                token=Outcome(command["token"]),
                side=Side(command["side"]),
                price_e4=command["price_e4"],
                size_micro=command["size_micro"],
                order_type=OrderType(command["order_type"]),
                post_only=bool(command["flags"] & CommandFlag.POST_ONLY),
                expiration_s=command["expiration_s"],
                key=command["key"],
                batch=command["batch"],
                market=command["market"],
            )
            command["order_id"] = request.order_id
            self._result(now_ns, command, OrderStatus.SENT)
            self.core.schedule(arrival_ns, lambda: self._arrive(command, request))
        elif kind == CommandKind.CANCEL:
            self.core.schedule(arrival_ns, lambda: self._cancel(command))
        elif kind == CommandKind.CANCEL_ALL:
            self.core.schedule(arrival_ns, lambda: self._cancel_all(command))

    def _arrive(self, command: dict[str, Any], request: OrderRequest) -> None:
        answer = self.core.place(request)
        at = self.core.now_ns + self.profile.ack_latency_ns
        if isinstance(answer, Refusal):
            self._refused(at, command, answer)
        elif answer.state == "DELAYED":
            if self.profile.answer_delayed:
                self._result(at, command, OrderStatus.DELAYED, code=200)
        else:
            self._placed(at, command, answer)

    def _refused(self, at_ns: int, command: dict[str, Any], refusal: Refusal) -> None:
        self.texts[command["key"]] = refusal.text
        self._result(at_ns, command, OrderStatus.REJECTED, reason=refusal.reason, code=refusal.status)

    def _placed(self, at_ns: int, command: dict[str, Any], order: Order) -> None:
        if not order.filled_micro and not order.is_open:
            self._refused(at_ns, command, Refusal(400, order.state.removeprefix("CANCELED_")))
            return
        status = OrderStatus.MATCHED if order.filled_micro else OrderStatus.LIVE
        # The stamp of the last change that the order has before it: the border for what counts as ahead.
        self._result(at_ns, command, status, filled=order.filled_micro, code=200, venue_ms=self.core.venue_ms)

    def _cancel(self, command: dict[str, Any]) -> None:
        order = self.core.by_key.get(command["key"]) or self.core.orders.get(command["order_id"])
        order_id = order.request.order_id if order is not None else NO_ID
        text = self.core.cancel(order_id)
        at = self.core.now_ns + self.profile.ack_latency_ns
        command = dict(command)
        if order is not None:
            command.update(_named(order))
        filled = order.filled_micro if order is not None else 0
        status = OrderStatus.NOT_CANCELED if text else OrderStatus.CANCELED
        self._result(at, command, status, filled=filled, code=200)

    def _cancel_all(self, command: dict[str, Any]) -> None:
        at = self.core.now_ns + self.profile.ack_latency_ns
        for order in self.core.open_orders():
            text = self.core.cancel(order.request.order_id)
            status = OrderStatus.NOT_CANCELED if text else OrderStatus.CANCELED
            self._result(at, {**command, **_named(order)}, status, filled=order.filled_micro, code=200)
        # The answer to the request itself, so that "nothing was open" is an answer too.
        self._result(at, {**command, "key": 0, "size_micro": 0}, OrderStatus.CANCELED, code=200)

    # ---- events --------------------------------------------------------------------------------------------

    def _told(self, report: Report) -> None:
        at = report.time_ns + self.profile.user_latency_ns
        if report.kind == "trade" and report.trade is not None:
            trade = report.trade
            for leg in trade.legs:
                self._event(
                    at,
                    EventKind.USER_EVENT,
                    Source.USER_FEED,
                    flags=EventFlag.TAKER if leg.is_taker else 0,
                    status=trade.status,
                    token=leg.token,
                    side=leg.side,
                    key=leg.key,
                    price=leg.price_e4,
                    size=leg.size_micro,
                    filled=self.core.orders[leg.order_id].filled_micro,
                    trade=trade.key,
                    order_id=leg.order_id,
                    venue_ms=self.core.stamp_ms(),
                )
        elif report.kind == "canceled" and report.order is not None:
            order, request = report.order, report.order.request
            self._event(
                at,
                EventKind.USER_EVENT,
                Source.USER_FEED,
                status=OrderStatus.CANCELED,
                token=request.token,
                side=request.side,
                reason=report.reason,
                key=request.key,
                price=request.price_e4,
                size=request.size_micro,
                filled=order.filled_micro,
                order_id=request.order_id,
                batch=request.batch,
                venue_ms=self.core.stamp_ms(),
            )
        elif report.kind == "released" and report.order is not None and not self.profile.answer_delayed:
            request = report.order.request
            command = {"batch": request.batch, "market": request.market, **_named(report.order)}
            self._placed(report.time_ns + self.profile.ack_latency_ns, command, report.order)
        elif report.kind == "settlement":
            winner = self.core.settlement.winner
            self._event(
                at,
                EventKind.SETTLEMENT,
                Source.EDGE,
                token=int(winner) if winner is not None else 0,
                size=self.core.account.payout_micro,
                venue_ms=self.core.stamp_ms(),
            )

    def _result(
        self,
        at_ns: int,
        command: dict[str, Any],
        status: OrderStatus,
        *,
        reason: Reason = Reason.NONE,
        filled: int = 0,
        code: int = 0,
        venue_ms: int = 0,
    ) -> None:
        self._event(
            at_ns,
            EventKind.ORDER_RESULT,
            Source.EXECUTOR,
            market=command["market"],
            status=status,
            token=command.get("token", 0),
            side=command.get("side", 0),
            reason=reason,
            key=command["key"],
            price=command.get("price_e4", 0),
            batch=command["batch"],
            size=command.get("size_micro", 0),
            filled=filled,
            order_id=command.get("order_id", NO_ID),
            code=code,
            venue_ms=venue_ms,
        )

    def _event(
        self,
        at_ns: int,
        kind: EventKind,
        source: Source,
        *,
        market: int | None = None,
        flags: int = 0,
        status: int = 0,
        token: int = 0,
        side: int = 0,
        reason: int = 0,
        key: int = 0,
        price: int = 0,
        batch: int = 0,
        size: int = 0,
        filled: int = 0,
        trade: int = 0,
        order_id: bytes = NO_ID,
        code: int = 0,
        venue_ms: int = 0,
    ) -> None:
        market = self.market if market is None else market
        record = [
            int(kind), int(source), int(flags), market, 0, venue_ms, 0, 0, int(status), int(token),
            int(side), int(reason), key, price, batch, size, filled, at_ns, trade, order_id, code, 0,
        ]  # fmt: skip
        heapq.heappush(self._out, (at_ns, next(self._count), record))


def _named(order: Order) -> dict[str, Any]:
    """An order's own fields as a command would name them."""
    request = order.request
    return {
        "key": request.key,
        "token": request.token,
        "side": request.side,
        "price_e4": request.price_e4,
        "size_micro": request.size_micro,
        "order_id": request.order_id,
    }
