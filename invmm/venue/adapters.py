"""A bot's own `ClobClient` as the trading client of our engine or executor thread.

`adapt(client)` takes the client object of `py-clob-client-v2` or `py-clob-client` as the bot has made it,
with key and API credentials. It is recognised by its module; neither package is imported for that.

    adapt(client)                     the package signs and sends; its object is used, not changed
    adapt(client, our_signer=True)    its key, credentials and host are taken over by our signer and client

The older package signs for contracts that were shut off in April 2026: the live venue refuses each of its
orders with `order_version_mismatch`. Its credentials, cancels and key still work, so a bot that has one
passes `our_signer=True`.
"""

from __future__ import annotations

import dataclasses
import importlib
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from invmm.errors import ConfigError, OrderUnknownError, TransportError, VenueError
from invmm.execution.answers import Asked, placed
from invmm.types import OrderStatus, OrderType, Side
from invmm.venue.auth import ApiCredentials, OrderSigner
from invmm.venue.blocking import BlockingVenueClient
from invmm.venue.order_hash import order_hash
from invmm.venue.positions import is_v2_id
from invmm.venue.profile import LIVE, Profile, is_local
from invmm.venue.rest import shape_of
from invmm.venue.trading import VenueTradingClient

CURRENT, DEAD = "py_clob_client_v2", "py_clob_client"
SHUT_OFF: Final = (
    "py-clob-client signs for contracts that were shut off on 2026-04-28: the live venue refuses its orders "
    "with order_version_mismatch. Pass our_signer=True to sign with invmm instead; the client's key and API "
    "credentials stay as they are."
)


def adapt(client: Any, *, our_signer: bool = False) -> ClobClientTrading | VenueTradingClient:
    """A trading client (`buy`, `sell`, `cancel_orders`, `cancel_all`) of a `ClobClient`.

    Parameters
    ----------
    client
        A `ClobClient` of py-clob-client-v2 or py-clob-client with a private key and API credentials.
    our_signer : bool
        Take over its key, credentials and host instead of calling it.

    Raises
    ------
    ConfigError
        The object is no such client, or lacks key or credentials.

    Warns
    -----
    UserWarning
        For a py-clob-client whose own orders are to be sent: the live venue refuses them.
    """
    package = _package_of(client)
    if getattr(client, "signer", None) is None or getattr(client, "creds", None) is None:
        raise ConfigError(f"{package}: expected a client with a private key and API credentials")
    if our_signer:
        return VenueTradingClient(
            BlockingVenueClient(profile_of(client), signer_of(client), credentials_of(client))
        )
    if package == DEAD:
        warnings.warn(SHUT_OFF, UserWarning, stacklevel=2)
    return ClobClientTrading(client, package)


def signer_of(client: Any) -> OrderSigner:
    """Our signer with the private key, wallet and chain of a `ClobClient`."""
    _package_of(client)
    builder = client.builder
    kind = getattr(builder, "signature_type", getattr(builder, "sig_type", 0))
    funder = builder.funder
    own = str(funder).lower() == client.signer.address().lower()
    return OrderSigner(client.signer.private_key, int(kind), None if own else funder, client.signer.chain_id)


def credentials_of(client: Any) -> ApiCredentials:
    """The API credentials of a `ClobClient`."""
    _package_of(client)
    return ApiCredentials(client.creds.api_key, client.creds.api_secret, client.creds.api_passphrase)


def profile_of(client: Any) -> Profile:
    """The venue that a `ClobClient` talks to: the live one, or one on this machine."""
    _package_of(client)
    host = str(client.host).rstrip("/")
    if host == LIVE.rest_url:
        return LIVE
    if not is_local(host):
        raise ConfigError(f"host: expected {LIVE.rest_url} or one on this machine, found {host}")
    sockets = host.replace("http", "ws", 1)
    return Profile(
        f"loopback {urlsplit(host).port}",
        True,
        host,
        f"{sockets}/ws/market",
        f"{sockets}/ws/user",
        chain_id=client.chain_id,
    )


def _package_of(client: Any) -> str:
    for kind in type(client).__mro__:
        if kind.__name__ == "ClobClient" and kind.__module__.split(".")[0] in (CURRENT, DEAD):
            return kind.__module__.split(".")[0]
    raise ConfigError(
        "trading client: expected a ClobClient of py-clob-client-v2 or py-clob-client, "
        f"found {type(client).__module__}.{type(client).__qualname__}"
    )


class _SentOnce:
    """The package's client as an order is sent through it: once, and answered at once.

    py-clob-client-v2 can send an order again after an error, and after a match it waits up to 30 s for the
    transaction hashes of the trades, which nobody here asked for.
    """

    retry_on_error = False

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def _post(self, *arguments: Any, **named: Any) -> Any:
        return type(self._client)._post(self, *arguments, **named)

    @staticmethod
    def _resolve_transactions_hashes(answer: Any) -> Any:
        return answer


class ClobClientTrading:
    """A `TradingClient` that calls a bot's `ClobClient`; made by `adapt`.

    The package builds, signs and sends; what comes back is judged as our executor judges it. An order whose
    fate is unknown raises `OrderUnknownError` with the id computed from its fields.
    """

    def __init__(self, client: Any, package: str) -> None:
        self.client = client
        self._package = package
        self._types = importlib.import_module(f"{package}.clob_types")
        self._failure: type[Exception] = importlib.import_module(f"{package}.exceptions").PolyApiException

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
        ids = list(order_ids)
        return self._cancelled(lambda: self.client.cancel_orders(ids)) if ids else []

    def cancel_all(self) -> list[str]:
        """Cancels every open order of the account; their ids."""
        return self._cancelled(self.client.cancel_all)

    def _place(
        self, side: Side, token_id: str, price: float, size: float, order_type: str, post_only: bool
    ) -> str:
        try:  # asks for tick, exchange and fees; nothing is placed by it
            signed = self._signed(side, token_id, price, size, OrderType[order_type])
            order_id = self._order_id(signed, token_id)
        except self._failure as error:
            raise _error_of("before the order", error) from None
        try:
            if self._package == CURRENT:
                post = type(self.client).post_order
                answer = post(_SentOnce(self.client), signed, order_type, post_only)
            else:
                answer = self.client.post_order(signed, order_type, post_only)
            status, body = 200, [answer]
        except self._failure as error:
            status, body = _told(error)
        asked = Asked(order_id, side, OrderType[order_type], round(size * 1_000_000))
        if not order_id and status == 200 and isinstance(body, list) and isinstance(body[0], dict):
            asked = dataclasses.replace(asked, order_id=str(body[0].get("orderID", "")).lower())
        verdict = placed(status, orjson.dumps(body, default=str), [asked])[0]
        text = _text_of(status, body)
        if verdict.status == OrderStatus.UNKNOWN:
            raise OrderUnknownError(asked.order_id, text)
        if verdict.status == OrderStatus.REJECTED:
            hint = f" ({SHUT_OFF})" if self._package == DEAD and "version" in text else ""
            raise VenueError(status, text + hint)
        return asked.order_id

    def _signed(self, side: Side, token_id: str, price: float, size: float, kind: OrderType) -> Any:
        terms: dict[str, Any] = {"price": price, "side": side.name, "token_id": token_id}
        if self._is_position(token_id):
            terms |= {"position_id": token_id, "token_id": None}
        if kind in (OrderType.FOK, OrderType.FAK):
            # The venue takes whole cents from a market buy; shares are floored by the package.
            amount = round(price * size * 1e6) // 10_000 / 100 if side == Side.BUY else size
            market = self._types.MarketOrderArgs(**terms, amount=amount, order_type=kind.name)
            return self.client.create_market_order(market)
        return self.client.create_order(self._types.OrderArgs(**terms, size=size))

    def _is_position(self, token_id: str) -> bool:
        return self._package == CURRENT and is_v2_id(token_id)

    def _order_id(self, signed: Any, token_id: str) -> str:
        """Known before sending for the live generations, "" for the dead one."""
        if self._package == DEAD:
            return ""
        if self._is_position(token_id):
            name = "v3"
        else:
            name = "v2-neg-risk" if self.client.get_neg_risk(token_id) else "v2"
        fields = dataclasses.asdict(signed)
        return order_hash(fields, name, self.client.chain_id) if "timestamp" in fields else ""

    def _cancelled(self, call: Callable[[], Any]) -> list[str]:
        try:
            answer = call()
        except self._failure as error:
            raise _error_of("cancel", error) from None
        gone = answer.get("canceled") if isinstance(answer, Mapping) else None
        if not isinstance(gone, Iterable):
            raise TransportError(f"cancel: expected an object with canceled, found {shape_of(answer)}")
        return [str(order_id).lower() for order_id in gone]


def _told(error: Any) -> tuple[int, Any]:
    """Status (0 for none) and parsed body of a package's error."""
    return int(error.status_code or 0), error.error_msg


def _error_of(what: str, error: Any) -> VenueError | TransportError:
    status, body = _told(error)
    text = f"{what}: {_text_of(status, body)}"
    return VenueError(status, text) if 400 <= status < 500 else TransportError(text)


def _text_of(status: int, body: Any) -> str:
    if isinstance(body, list) and len(body) == 1:
        body = body[0]
    if isinstance(body, Mapping):
        body = body.get("error") or body.get("errorMsg") or shape_of(body)
    return str(body)[:300] if status else f"no answer ({str(body)[:100]})"
