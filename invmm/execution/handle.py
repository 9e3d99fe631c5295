"""An executor thread for programs that trade with a client object of their own: commands in, results out.

The engine's own executor is another one, fed by a ring and made for latency; this one serves
`InventoryMMStrategy`. Its queue is bounded, the newest batch replaces an older one that has not begun, and
cancels are never dropped.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from invmm.errors import OrderUnknownError
from invmm.strategy.commands import (
    CancelAll,
    CancelAllForToken,
    CancelOrders,
    ExecuteBatch,
    ExecuteTaker,
    ExecutorCommand,
    ExecutorResult,
    PlaceLimit,
    Shutdown,
)
from invmm.strategy.vocabulary import LimitOrder, TakerOrder
from invmm.types import Side

NO_CLIENT = "no trading client: the executor was started without one"
SUPERSEDED = "superseded by a newer batch before it began"
CLOSING = "not placed: the executor is shutting down"
MAX_KNOWN_ORDERS = 10_000


class TradingClient(Protocol):
    """What the executor calls. Calls block and raise on failure; prices are dollars, sizes shares.

    `buy` and `sell` return the venue's order id; `order_type` is "GTC" or "FOK". `cancel_orders` returns the
    ids that were cancelled. A client may also have `cancel_all()` with the same return. An order of which
    nobody knows whether it arrived raises `OrderUnknownError`: later cancels then include it.

    `invmm.venue.trading.VenueTradingClient` is one; `invmm.venue.adapters.adapt` makes one of a `ClobClient`.
    """

    def buy(self, token_id: str, price: float, size: float, *, order_type: str, post_only: bool) -> str: ...

    def sell(self, token_id: str, price: float, size: float, *, order_type: str, post_only: bool) -> str: ...

    def cancel_orders(self, order_ids: list[str], /) -> Iterable[str]: ...


class ExecutorHandle:
    """Sends commands to a daemon thread of its own that calls a trading client.

    Parameters
    ----------
    client : TradingClient, optional
        Without one every command is answered by an error.
    capacity : int
        Placements that may wait; cancels have room beyond it.
    result_capacity : int
        Results kept for `results`; older ones are dropped and counted in `results_dropped`.

    Examples
    --------
    >>> handle = ExecutorHandle()
    >>> handle.start()
    >>> handle.send(PlaceLimit(LimitOrder("1234", 0.5, 10.0)))
    1
    >>> handle.shutdown()
    True
    >>> handle.results()[0].errors
    ('no trading client: the executor was started without one',)
    """

    def __init__(
        self, client: TradingClient | None = None, capacity: int = 64, result_capacity: int = 4096
    ) -> None:
        if capacity < 1 or result_capacity < 1:
            raise ValueError(f"capacity: expected at least 1, got {capacity} and {result_capacity}")
        self.results_dropped = 0
        self._client = client
        self._capacity = capacity
        self._changed = threading.Condition()
        self._queue: deque[tuple[int, ExecutorCommand]] = deque()
        self._results: deque[ExecutorResult] = deque(maxlen=result_capacity)
        self._sequence = 0
        self._closing = False
        self._known: dict[str, str] = {}  # order id to token, of orders placed here; worker thread only
        self._thread = threading.Thread(target=self._run, name="invmm-executor-handle", daemon=True)

    @property
    def is_running(self) -> bool:
        """True between `start` and the end of the thread."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread; does nothing if it was started before."""
        if self._thread.ident is None:
            self._thread.start()

    def send(self, command: ExecutorCommand) -> int:
        """Queue a command without blocking.

        Returns
        -------
        int
            Its number, from 1, which its result carries; 0 if it was refused: shutting down, or too many are
            waiting. Pure cancels are only refused while shutting down.
        """
        with self._changed:
            if self._closing:
                return 0
            if isinstance(command, ExecuteBatch):
                command = self._absorb_older(command)
            if _places(command) and len(self._queue) >= self._capacity:
                return 0
            self._sequence += 1
            self._queue.append((self._sequence, command))
            self._closing = isinstance(command, Shutdown)
            self._changed.notify_all()
            return self._sequence

    def results(self) -> list[ExecutorResult]:
        """Return and forget the results so far, oldest first; does not block."""
        with self._changed:
            taken = list(self._results)
            self._results.clear()
            return taken

    def wait_result(self, sequence: int, timeout_s: float) -> bool:
        """Wait until the result of command `sequence` is among the kept ones; False after `timeout_s`
        seconds.
        """
        with self._changed:
            return self._changed.wait_for(
                lambda: any(result.sequence == sequence for result in self._results), timeout_s
            )

    def shutdown(self, timeout_s: float = 5.0) -> bool:
        """Run the cancels that wait, end the thread; True if it ended within `timeout_s` seconds."""
        if self._thread.ident is None:
            return True
        self.send(Shutdown())
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _absorb_older(self, batch: ExecuteBatch) -> ExecuteBatch:
        """Take waiting batches out of the queue: their placements are stale, their cancels are kept."""
        cancels = dict.fromkeys(batch.cancellations)
        kept: deque[tuple[int, ExecutorCommand]] = deque()
        for sequence, waiting in self._queue:
            if not isinstance(waiting, ExecuteBatch):
                kept.append((sequence, waiting))
            elif _places(waiting):
                self._queue_result(ExecutorResult(sequence, waiting, errors=(SUPERSEDED,)))
                cancels.update(dict.fromkeys(waiting.cancellations))
            else:
                kept.append((sequence, waiting))
        self._queue = kept
        return replace(batch, cancellations=tuple(cancels))

    def _queue_result(self, result: ExecutorResult) -> None:
        self.results_dropped += len(self._results) == self._results.maxlen
        self._results.append(result)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._queue))
                sequence, command = self._queue.popleft()
                closing = self._closing
            result = _Work(self._client, self._known, closing).run(sequence, command)
            with self._changed:
                self._queue_result(result)
                self._changed.notify_all()
            if isinstance(command, Shutdown):
                return


def _places(command: ExecutorCommand) -> bool:
    if isinstance(command, ExecuteBatch):
        return bool(command.limit_orders or command.taker_orders)
    return isinstance(command, (PlaceLimit, ExecuteTaker))


class _Work:
    """One command under way: calls the client and counts what came of it."""

    def __init__(self, client: TradingClient | None, known: dict[str, str], closing: bool) -> None:
        self.client = client
        self.known = known
        self.closing = closing
        self.cancelled = self.placed = self.taken = 0
        self.order_ids: list[str] = []
        self.errors: list[str] = []

    def run(self, sequence: int, command: ExecutorCommand) -> ExecutorResult:
        if self.client is None:
            if not isinstance(command, Shutdown):
                self.errors.append(NO_CLIENT)
        else:
            self.dispatch(self.client, command)
        return ExecutorResult(
            sequence,
            command,
            self.cancelled,
            self.placed,
            self.taken,
            tuple(self.order_ids),
            tuple(self.errors),
        )

    def dispatch(self, client: TradingClient, command: ExecutorCommand) -> None:
        match command:
            case ExecuteBatch():
                self.cancel(client, list(command.cancellations))
                for taker in command.taker_orders:
                    self.taken += self.place(client, taker)
                for limit in command.limit_orders:
                    self.placed += self.place(client, limit)
            case CancelOrders():
                self.cancel(client, list(command.order_ids))
            case CancelAllForToken():
                self.cancel(client, [key for key, token in self.known.items() if token == command.token_id])
            case CancelAll():
                cancel_all: Callable[[], Iterable[str]] | None = getattr(client, "cancel_all", None)
                if cancel_all is None:
                    self.cancel(client, list(self.known))
                else:
                    self.forget("cancel_all", cancel_all)
            case PlaceLimit():
                self.placed += self.place(client, command.order)
            case ExecuteTaker():
                self.taken += self.place(client, command.order)
            case Shutdown():
                pass
            case _:
                self.errors.append(f"unknown command {type(command).__name__}")

    def cancel(self, client: TradingClient, order_ids: list[str]) -> None:
        if order_ids:
            self.forget(f"cancel {len(order_ids)} orders", lambda: client.cancel_orders(order_ids))

    def forget(self, what: str, call: Callable[[], Iterable[str]]) -> None:
        try:
            cancelled = list(call())
        except (
            Exception
        ) as error:  # whatever a foreign client raises becomes an answer; the thread must go on
            self.errors.append(f"{what}: {type(error).__name__}: {error}")
            return
        self.cancelled += len(cancelled)
        for order_id in cancelled:
            self.known.pop(order_id, None)

    def place(self, client: TradingClient, order: LimitOrder | TakerOrder) -> bool:
        if self.closing:
            self.errors.append(CLOSING)
            return False
        is_limit = isinstance(order, LimitOrder)
        send = client.buy if order.side == Side.BUY else client.sell
        try:
            order_id = send(
                order.token_id,
                order.price,
                order.size,
                order_type="GTC" if is_limit else "FOK",
                post_only=isinstance(order, LimitOrder) and order.post_only,
            )
        except Exception as error:  # as above
            if isinstance(error, OrderUnknownError) and error.order_id:
                self.remember(error.order_id, order.token_id)
            self.errors.append(
                f"{order.side.name} {order.size:g} at {order.price:g}: {type(error).__name__}: {error}"
            )
            return False
        self.order_ids.append(order_id)
        if is_limit:
            self.remember(order_id, order.token_id)
        return True

    def remember(self, order_id: str, token_id: str) -> None:
        self.known[order_id] = token_id
        if len(self.known) > MAX_KNOWN_ORDERS:
            del self.known[next(iter(self.known))]
