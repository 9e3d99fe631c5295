"""What the strategy asks an executor to do, and what it hears back. Plain frozen records; the thread is
elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from invmm.strategy.vocabulary import LimitOrder, TakerOrder


@dataclass(frozen=True, slots=True)
class ExecutorCommand:
    """Base of the commands: ExecuteBatch, CancelOrders, CancelAllForToken, CancelAll, PlaceLimit,
    ExecuteTaker, Shutdown.

    Examples
    --------
    >>> isinstance(CancelAll(), ExecutorCommand)
    True
    """


@dataclass(frozen=True, slots=True)
class ExecuteBatch(ExecutorCommand):
    """One solve's actions; they run cancels first, then takers, then limits.

    Examples
    --------
    >>> ExecuteBatch(cancellations=("x",)).limit_orders
    ()
    """

    cancellations: tuple[str, ...] = ()
    limit_orders: tuple[LimitOrder, ...] = ()
    taker_orders: tuple[TakerOrder, ...] = ()


@dataclass(frozen=True, slots=True)
class CancelOrders(ExecutorCommand):
    """Cancel these orders.

    Examples
    --------
    >>> CancelOrders(("x", "y")).order_ids
    ('x', 'y')
    """

    order_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CancelAllForToken(ExecutorCommand):
    """Cancel every order that this executor placed for a token.

    Examples
    --------
    >>> CancelAllForToken("1234").token_id
    '1234'
    """

    token_id: str


@dataclass(frozen=True, slots=True)
class CancelAll(ExecutorCommand):
    """Cancel everything: by the client's `cancel_all` if it has one, else what this executor placed.

    Examples
    --------
    >>> CancelAll()
    CancelAll()
    """


@dataclass(frozen=True, slots=True)
class PlaceLimit(ExecutorCommand):
    """Place one resting order.

    Examples
    --------
    >>> PlaceLimit(LimitOrder("1234", 0.5, 10.0)).order.price
    0.5
    """

    order: LimitOrder


@dataclass(frozen=True, slots=True)
class ExecuteTaker(ExecutorCommand):
    """Send one fill-or-kill order.

    Examples
    --------
    >>> ExecuteTaker(TakerOrder("1234", 0.5, 10.0)).order.size
    10.0
    """

    order: TakerOrder


@dataclass(frozen=True, slots=True)
class Shutdown(ExecutorCommand):
    """End the executor's thread; what was queued before it still runs its cancels, but places nothing.

    Examples
    --------
    >>> Shutdown()
    Shutdown()
    """


@dataclass(frozen=True, slots=True)
class ExecutorResult:
    """What became of one command.

    Parameters
    ----------
    sequence : int
        The number that `send` gave the command, from 1.
    command : ExecutorCommand
        The command itself.
    cancelled, placed, taken : int
        How many orders each part of it succeeded for.
    order_ids : tuple of str
        The venue's ids of orders placed and taken, in order.
    errors : tuple of str
        What failed, one text each; an order that failed may still be live if its error was one of transport.

    Examples
    --------
    >>> ExecutorResult(1, CancelAll(), errors=("no trading client",)).is_ok
    False
    """

    sequence: int
    command: ExecutorCommand
    cancelled: int = 0
    placed: int = 0
    taken: int = 0
    order_ids: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def is_ok(self) -> bool:
        """True if nothing failed."""
        return not self.errors
