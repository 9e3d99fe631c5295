"""A running market behind sockets: tape against clock, requests into the exchange, reports out of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any
from weakref import WeakKeyDictionary

from invmm._ext.decode import MarketBooks
from invmm.replay.tape import Tape
from invmm.sim import wire
from invmm.sim.batches import Batch, cut, restated_levels
from invmm.sim.channels import Channel, Connection
from invmm.sim.clock import TapeClock
from invmm.sim.exchange import Exchange
from invmm.sim.faults import Faults
from invmm.sim.orders import Order, Report
from invmm.sim.profile import SECOND, VenueProfile
from invmm.sim.purses import Purses
from invmm.sim.rules import NOT_FOUND, OrderRequest, Refusal, Who
from invmm.types import Outcome, Side

_LONGEST_SLEEP_S = 0.25


class Session:
    """One market of the server.

    Frames are applied at the venue's time (`recv_ns` less the feed latency) and written to clients at
    `recv_ns`. Everything else that has a time sits in the exchange's queue, so one timer drives it all.
    """

    def __init__(
        self,
        tape: Tape,
        profile: VenueProfile,
        seed: int,
        purses: Purses,
        who: Who,
        market_channel: Channel,
        user_channel: Channel,
        faults: Faults,
        batches: list[Batch] | None = None,
    ) -> None:
        self.tape = tape
        self.profile = profile
        self.market = tape.market
        self.books = MarketBooks(self.market.up_token_id, self.market.down_token_id, self.market.tick_e4)
        self.exchange = Exchange(self.market, self.books.up, profile, seed, purses)
        self.exchange.tell = self._told
        self.exchange.wake = self._tick
        self.clock: TapeClock | None = None
        self.sent_rows = 0
        self.last_price = ""
        self.last_trade: tuple[int, Side | None] = (0, None)  # of Up, with the taker's side
        self._who = who
        self._market_channel = market_channel
        self._user_channel = user_channel
        self._jitter = Random(f"{seed}:{self.market.slug}:latency")
        self._batches = cut(tape, profile.feed_latency_ns) if batches is None else batches
        self._faults = faults
        # First tape row that a client still has to get.
        self._next_row: WeakKeyDictionary[Connection, int] = WeakKeyDictionary()
        self.books_beside = 0  # sent beside the tape's frames: whoever counts those is out of step
        self._next_batch = 0
        self._applied_rows = 0
        self._venue_ms = 0
        self._receive_ns = tape.rows["recv_ns"].tolist()
        self._timer: asyncio.TimerHandle | None = None
        self._held: dict[bytes, asyncio.Future[Order]] = {}

    @property
    def is_running(self) -> bool:
        """Started, and something is still to come."""
        return self.clock is not None and (
            self.sent_rows < len(self.tape)
            or self._next_batch < len(self._batches)
            or self.exchange.due_ns() is not None
        )

    # ---- time ----

    def start(self, clock: TapeClock) -> None:
        """Begins at the clock's instant, which may lie ahead."""
        self.clock = clock
        self._tick()

    def join(self, clock: TapeClock) -> None:
        """Begins in the middle: what lies behind has happened, and who is subscribed gets books of now."""
        self._advance(clock.now_ns())
        self.sent_rows = self._applied_rows
        for connection in self._market_channel.connections:
            if connection.is_subscribed:
                self.subscribe(connection, connection.assets)
        self.start(clock)

    def now_ns(self) -> int:
        """The venue's time; the tape's first moment before the start."""
        if self.clock is None:
            return self._receive_ns[0] if self._receive_ns else 0
        return self.clock.now_ns()

    def finish(self) -> None:
        """Does at once what is still to come inside; frames are not sent any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.sent_rows = len(self.tape)
        with self.exchange.settlement.at_once():
            self._advance(1 << 62)

    def _tick(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.clock is None:
            return
        now_ns = self.clock.now_ns()
        self._advance(now_ns)
        self._send(now_ns)
        due_ns = self._next_due()
        if due_ns is not None:
            delay = max(0.0, min(_LONGEST_SLEEP_S, self.clock.wall_s(due_ns)))
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _next_due(self) -> int | None:
        times = []
        if self.sent_rows < len(self._receive_ns):
            times.append(self._receive_ns[self.sent_rows])
        if self._next_batch < len(self._batches):
            times.append(self._batches[self._next_batch].time_ns)
        due = self.exchange.due_ns()
        if due is not None:
            times.append(due)
        return min(times) if times else None

    def _advance(self, now_ns: int) -> None:
        """Batches and inside events up to now in order of time; at equal times the batch comes first."""
        exchange = self.exchange
        while True:
            batch = self._batches[self._next_batch] if self._next_batch < len(self._batches) else None
            due_ns = exchange.due_ns()
            if batch is not None and batch.time_ns <= now_ns and (due_ns is None or batch.time_ns <= due_ns):
                frames = map(self.tape.frame, range(batch.first, batch.last))
                named = partial(restated_levels, self.tape, batch)
                exchange.play(batch, frames, self.books.apply_frame, named)
                if batch.prints:
                    last = batch.prints[-1]
                    self.last_price = wire.price_text(last.price_e4)
                    self.last_trade = (last.price_e4, Side(1 - last.side))
                self._venue_ms = batch.venue_ms
                self._applied_rows = batch.last
                self._next_batch += 1
            elif due_ns is not None and due_ns <= now_ns:
                exchange.run_until(due_ns)
            else:
                break
        if now_ns < 1 << 62:
            exchange.now_ns = max(exchange.now_ns, now_ns)

    # ---- market channel ----

    def _send(self, now_ns: int) -> None:
        first = self.sent_rows
        while self.sent_rows < len(self._receive_ns) and self._receive_ns[self.sent_rows] <= now_ns:
            self.sent_rows += 1
        if first == self.sent_rows:
            return
        frames = [self.tape.frame(row) for row in range(first, self.sent_rows)]
        for connection in self._market_channel.connections:
            if connection.is_subscribed:
                row = self._next_row.get(connection, 0)
                self._market_channel.send(connection, self._for(connection, frames[max(0, row - first) :]))
                self._next_row[connection] = max(row, self.sent_rows)

    def _for(self, connection: Connection, frames: list[bytes]) -> list[bytes]:
        """The frames that name one of the client's assets: nearly always all of them."""
        tokens = {self.market.up_token_id, self.market.down_token_id}
        if tokens <= connection.assets:
            return frames
        if tokens.isdisjoint(connection.assets):
            return []
        wanted = [token.encode() for token in tokens & connection.assets]
        return [frame for frame in frames if any(token in frame for token in wanted)]

    def subscribe(self, connection: Connection, assets: set[str]) -> None:
        """Adds assets of this market; their books are dumped once there are any."""
        mine = [token for token in Outcome if wire.token_id(self.market, token) in assets]
        if not mine:
            return
        if self._applied_rows:
            is_first, is_again = not self._next_row, connection in self._next_row
            self.books_beside += is_again or (is_first and self._applied_rows > 1)
            # The dump is the venue's book of now: frames that it contains already are not sent again.
            self._next_row[connection] = max(self._next_row.get(connection, 0), self._applied_rows)
            self._market_channel.send(connection, [wire.dump([self.book(token) for token in mine])])
        else:
            self._next_row[connection] = self.sent_rows

    def book(self, token: Outcome) -> dict[str, Any]:
        """`GET /book` of a token now."""
        book = self.books.up if token == Outcome.UP else self.books.down
        price = wire.last_price_text(self.last_price)
        return wire.rest_book(book, self.market, token, self.exchange.tick_e4, self._venue_ms, price)

    # ---- requests ----

    async def _through(self, action: Callable[[], Any]) -> Any:
        """Runs something in the exchange after the way there, and comes back after the way back."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Any] = loop.create_future()
        jitter = self._jitter.randrange(self.profile.order_jitter_ns + 1)
        self._tick()

        def arrive() -> None:
            result = action()
            back = self.exchange.now_ns + self.profile.ack_latency_ns
            self.exchange.schedule(back, lambda: _resolve(answered, result))

        if self.clock is None:
            return action()
        self.exchange.schedule(self.clock.now_ns() + self.profile.order_latency_ns + jitter, arrive)
        self._tick()
        return await answered

    async def place(self, requests: list[OrderRequest | Refusal]) -> list[Order | Refusal]:
        """Orders of one request: they arrive together; a held order answers after its hold."""

        def act() -> list[Order | Refusal]:
            answers: list[Order | Refusal] = []
            for request in requests:
                answer = request if isinstance(request, Refusal) else self.exchange.place(request)
                if (
                    isinstance(answer, Order)
                    and answer.state == "DELAYED"
                    and not self.profile.answer_delayed
                ):
                    self._held[answer.request.order_id] = loop.create_future()
                answers.append(answer)
            return answers

        loop = asyncio.get_running_loop()
        answers: list[Order | Refusal] = await self._through(act)
        for answer in answers:
            if isinstance(answer, Order) and answer.request.order_id in self._held:
                await self._held[answer.request.order_id]
                del self._held[answer.request.order_id]
        return answers

    def place_late(self, request: OrderRequest, late_ns: int) -> None:
        """An order that reaches the market `late_ns` from now; whoever sent it gets no answer from here."""
        if self.clock is None:
            self.exchange.place(request)
            return

        def arrive() -> None:
            self.exchange.place(request)

        self.exchange.schedule(self.clock.now_ns() + late_ns, arrive)
        self._tick()

    async def cancel(self, order_ids: list[bytes], account: str = "") -> dict[str, Any]:
        """Cancels by id; the venue's answer. An order of another account than `account` is not found."""

        def act() -> dict[str, Any]:
            canceled, refused = [], {}
            for order_id in order_ids:
                known = self.exchange.orders.get(order_id)
                if known is not None and not known.request.is_of(account):
                    text = NOT_FOUND
                elif known is not None and known.state == "LIVE" and self._faults.strike("undead"):
                    text = ""
                else:
                    text = self.exchange.cancel(order_id)
                if text:
                    refused["0x" + order_id.hex()] = text
                else:
                    canceled.append("0x" + order_id.hex())
            return {"canceled": canceled, "not_canceled": refused}

        answer: dict[str, Any] = await self._through(act)
        return answer

    async def cancel_all(self, token: Outcome | None = None, account: str = "") -> dict[str, Any]:
        """Cancels what is open, of an account if one is given, when the request arrives."""

        def act() -> dict[str, Any]:
            canceled, refused = [], {}
            for order in self.exchange.open_orders():
                if token in (None, order.request.token) and order.request.is_of(account):
                    text = self.exchange.cancel(order.request.order_id)
                    if text:
                        refused[order.request.id_text] = text
                    else:
                        canceled.append(order.request.id_text)
            return {"canceled": canceled, "not_canceled": refused}

        answer: dict[str, Any] = await self._through(act)
        return answer

    # ---- user channel ----

    def _told(self, report: Report) -> None:
        order = report.order
        if report.kind == "released" and order is not None:
            held = self._held.get(order.request.order_id)
            if held is not None and not held.done():
                back = self.exchange.now_ns + self.profile.ack_latency_ns
                self.exchange.schedule(back, lambda: _resolve(held, order))
            return
        if report.kind == "settlement":
            payload = wire.compact(wire.resolved_event(self.market, self.exchange.stamp_ms()))
            self.exchange.schedule(
                report.time_ns + self.profile.feed_latency_ns, lambda: self._to_custom(payload)
            )
            return
        if report.kind == "trade" and report.trade is not None:
            stamp_ms = self.exchange.stamp_ms()
            parties = [part.who or self._who for part in report.trade.legs]
            for who in {who.account: who for who in parties}.values():
                self._tell(who, wire.trade_event(report.trade, self.market, who, stamp_ms), report.time_ns)
        elif order is not None:
            kind = {"placed": "PLACEMENT", "updated": "UPDATE", "canceled": "CANCELLATION"}[report.kind]
            who = order.request.who or self._who
            event = wire.order_event(order, self.market, who, kind, self.exchange.venue_ms)
            self._tell(who, event, report.time_ns)
        if report.kind == "placed" and order is not None and (fault := self._faults.strike("revoke")):
            revoked_ns = report.time_ns + int(fault.number("seconds", 1.0) * SECOND)
            self.exchange.schedule(revoked_ns, lambda: self.exchange.revoke(order))

    def _tell(self, who: Who, event: dict[str, Any], time_ns: int) -> None:
        payload = wire.compact(event)
        due_ns = time_ns + self.profile.user_latency_ns
        for late_ns in self._faults.deliveries(event["event_type"]):
            self.exchange.schedule(due_ns + late_ns, lambda: self._to_user(payload, who.account))

    def _to_custom(self, payload: bytes) -> None:
        for connection in self._market_channel.connections:
            if connection.is_subscribed and connection.wants_custom:
                self._market_channel.send(connection, [payload])

    def _to_user(self, payload: bytes, account: str) -> None:
        for connection in self._user_channel.connections:
            if (
                connection.is_subscribed
                and connection.account in ("", account)
                and (connection.markets is None or self.market.condition_id in connection.markets)
            ):
                self._user_channel.send(connection, [payload])


def _resolve(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():  # the client may have gone
        future.set_result(result)
