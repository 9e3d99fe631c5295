"""`VenueTradingClient`: what the original strategy's executor calls (`buy`, `sell`, `cancel_orders`), done by
our signer over our REST client.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from invmm._ext.amounts import OrderRuleError
from invmm.errors import ConfigError, InvmmError, OrderUnknownError, VenueError
from invmm.types import MICRO, PRICE_ONE_E4, OrderStatus, Side
from invmm.venue.blocking import BlockingVenueClient
from invmm.venue.client import OrderOutcome
from invmm.venue.market_data import ClobMarket

ASK_AGAIN_S: Final = (0.0, 0.25, 0.5, 1.0, 2.0)
"""When an order without a usable answer is asked for, seconds after the answer should have come."""


def exact_price_e4(price: float) -> int:
    """Dollars as 1e-4 dollars; ValueError unless that is what was meant, up to a float's last digits."""
    price_e4 = round(price * PRICE_ONE_E4)
    if abs(price * PRICE_ONE_E4 - price_e4) > 1e-6:
        raise ValueError(f"price: expected at most 4 decimals, found {price!r}")
    return price_e4


class VenueTradingClient:
    """A `TradingClient` (see `invmm.execution.handle`) over a client with signer and credentials.

    Tick, minimum size and exchange are the venue's, asked for on a token's first order and again when a
    price does not fit the tick, which becomes finer in the life of a market. Sizes are floored to 0.01.

    Raises
    ------
    VenueError
        From `buy` and `sell`: the venue refused this order. It is not alive.
    OrderUnknownError
        From `buy` and `sell`: nobody knows. It was asked for during some seconds, then a cancel was tried;
        it counts as alive until proven otherwise, and must not be placed anew.

    Examples
    --------
    A strategy that trades by itself (needs a funded account):

    >>> from invmm import BlockingVenueClient, ExecutorHandle, LIVE
    >>> def executor(signer, credentials):
    ...     client = BlockingVenueClient(LIVE, signer, credentials)
    ...     return ExecutorHandle(VenueTradingClient(client))
    """

    def __init__(self, client: BlockingVenueClient) -> None:
        if client.signer is None:
            raise ConfigError("trading client: expected a client with a signer, found none")
        self.client = client
        self._signer = client.signer
        self._markets: dict[str, ClobMarket] = {}

    def buy(
        self, token_id: str, price: float, size: float, *, order_type: str = "GTC", post_only: bool = False
    ) -> str:
        """Places a bid; its order id once the venue has it."""
        return self._place(Side.BUY, token_id, price, size, order_type, post_only)

    def sell(
        self, token_id: str, price: float, size: float, *, order_type: str = "GTC", post_only: bool = False
    ) -> str:
        """Places an ask; its order id once the venue has it."""
        return self._place(Side.SELL, token_id, price, size, order_type, post_only)

    def cancel_orders(self, order_ids: Sequence[str], /) -> list[str]:
        """Cancels orders; the ids that the venue says are gone."""
        return self.client.cancel(order_ids)["canceled"]

    def cancel_all(self) -> list[str]:
        """Cancels every open order of the account; their ids."""
        return self.client.cancel_all()["canceled"]

    def close(self) -> None:
        """Closes the client's connections."""
        self.client.close()

    def _place(
        self, side: Side, token_id: str, price: float, size: float, order_type: str, post_only: bool
    ) -> str:
        price_e4, size_micro = exact_price_e4(price), round(size * MICRO)
        known = token_id in self._markets
        while True:
            market = self._market(token_id)
            try:
                order = self._signer.sign(
                    token_id,
                    side,
                    price_e4,
                    size_micro,
                    tick_e4=market.tick_e4,
                    order_type=order_type,
                    post_only=post_only,
                    exchange=market.exchange,
                )
                break
            except OrderRuleError:
                if not known:
                    raise
                known = False  # the tick may have become finer since it was read
                del self._markets[token_id]
        outcome = self.client.post_orders([order])[0]
        if outcome.status == OrderStatus.REJECTED:
            self._markets.pop(token_id, None)
            raise VenueError(400, outcome.text)
        if outcome.status == OrderStatus.UNKNOWN:
            self._resolve(outcome)
        return outcome.order_id

    def _market(self, token_id: str) -> ClobMarket:
        if token_id not in self._markets:
            self._markets[token_id] = self.client.market_of(token_id)
        return self._markets[token_id]

    def _resolve(self, outcome: OrderOutcome) -> None:
        """Returns if the order turns out to be known to the venue; otherwise raises."""
        start = time.monotonic()
        for after_s in ASK_AGAIN_S:
            time.sleep(max(0.0, start + after_s - time.monotonic()))
            try:
                found = self.client.order(outcome.order_id)
            except InvmmError:
                continue
            status = str(found["status"]).removeprefix("ORDER_STATUS_") if found is not None else ""
            if status in ("LIVE", "MATCHED"):
                return
            if status.startswith(("CANCELED", "INVALID")):
                raise VenueError(400, f"{status} after: {outcome.text}")
        try:
            self.client.cancel(outcome.order_id)
        except InvmmError as error:
            raise OrderUnknownError(outcome.order_id, f"{outcome.text}; cancel: {error}") from None
        raise OrderUnknownError(outcome.order_id, outcome.text)
