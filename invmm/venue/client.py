"""`VenueClient`: every REST call of the venue, typed and checked, for asyncio programs.

`BlockingVenueClient` in `venue/blocking.py` has the same methods for scripts. Neither is the trading path of
the engine, whose orders go through the executor's warm connections.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, TypedDict

import orjson

from invmm._ext.order import SignedOrder
from invmm.errors import ConfigError, InvmmError, TransportError, VenueError
from invmm.execution.answers import Asked, Verdict, placed
from invmm.types import OrderStatus, OrderType, Reason, Side
from invmm.venue.auth import ApiCredentials, OrderSigner
from invmm.venue.market_data import MarketData, condition_of, token_of
from invmm.venue.profile import Profile
from invmm.venue.rest import READ_ATTEMPTS, Answer, object_at, shape_of, unexpected, words_of

ASSET_TYPES: Final = ("COLLATERAL", "CONDITIONAL", "CONDITIONAL-V2")


@dataclass(frozen=True, slots=True)
class OrderOutcome:
    """What is known about one order after it was posted.

    Attributes
    ----------
    order_id : str
        0x and 64 hex digits; computed before sending, so it is there whatever came back.
    status : OrderStatus
        LIVE, MATCHED, DELAYED, REJECTED, or UNKNOWN: anything but a documented answer about this very order,
        no answer included. An UNKNOWN order may rest or fill: ask with `order`, or cancel it by its id.
    reason : Reason
        Why it was rejected or is unknown.
    filled_micro : int
        Micro-shares that the answer says were filled on entry.
    text : str
        The venue's words, or the transport's.
    """

    order_id: str
    status: OrderStatus
    reason: Reason = Reason.NONE
    filled_micro: int = 0
    text: str = ""


class CancelAnswer(TypedDict):
    """The venue's answer to a cancel.

    `canceled` proves that those orders are gone; `not_canceled` (id to the venue's words) proves nothing:
    the order may be filled, cancelled before, or never have arrived.
    """

    canceled: list[str]
    not_canceled: dict[str, str]


def order_id_of(text: str) -> str:
    """`text` in lower case if it is an order id: 0x and 64 hex digits."""
    if not isinstance(text, str) or not re.fullmatch(r"0x[0-9a-fA-F]{64}", text):
        raise ValueError(f"order id: expected 0x and 64 hex digits, found {text!r}")
    return text.lower()


class VenueClient(MarketData):
    """A client of the venue's REST face; an async context manager.

    Parameters
    ----------
    profile : Profile
        `invmm.venue.profile.LIVE` or `loopback(port)`.
    signer : OrderSigner, optional
        Only for creating, deriving API keys and for its address; orders come signed.
    credentials : ApiCredentials, optional
        For everything private. May be set later: `client.credentials = await client.create_or_derive()`.
    address : str
        The account of the private key, where there is no signer.
    signature_type : int, optional
        The wallet whose balances are meant; by default the signer's, else 0.
    timeout_s : float
        For each request as a whole.
    read_attempts : int
        How often a read that failed for the moment is made at most; orders and cancels are made once.

    Raises
    ------
    VenueError
        From every method: the venue refused; its status and words.
    TransportError
        From every method: no usable answer came, so whether the request took effect is unknown.
    ConfigError
        A private request without credentials, a login without signer.

    Examples
    --------
    >>> import asyncio
    >>> from invmm import LIVE, VenueClient
    >>> async def offset() -> float:
    ...     async with VenueClient(LIVE) as client:
    ...         return await client.time_offset_ms()
    >>> asyncio.run(offset())  # doctest: +SKIP
    -12.4
    """

    def __init__(
        self,
        profile: Profile,
        signer: OrderSigner | None = None,
        credentials: ApiCredentials | None = None,
        *,
        address: str = "",
        signature_type: int | None = None,
        timeout_s: float = 5.0,
        read_attempts: int = READ_ATTEMPTS,
    ) -> None:
        super().__init__(
            profile, signer, credentials, address=address, timeout_s=timeout_s, read_attempts=read_attempts
        )
        given = signer.signature_type if signer is not None else 0
        self.signature_type = given if signature_type is None else signature_type

    async def __aenter__(self) -> VenueClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.profile.name}, {self.address or 'no address'})"

    # ---- orders --------------------------------------------------------------------------------------------

    async def post_orders(self, signed: Sequence[SignedOrder]) -> list[OrderOutcome]:
        """Sends 1 to 15 signed orders in one request, once.

        Each leg has its own outcome, in the order given, matched by id. A failure after the request may have
        left is not an exception but UNKNOWN for every leg; nothing is ever sent again. Post-only and the
        order type are part of a signed order's body. Cancelling the task does not cancel the orders.

        Raises
        ------
        ValueError
            None or too many orders, or one of them twice.
        ConfigError
            No credentials. Nothing was sent.
        """
        limit = self.profile.limits.orders_per_batch
        ids = [order.order_id.lower() for order in signed]
        if not 1 <= len(signed) <= limit or len(set(ids)) != len(ids):
            raise ValueError(
                f"post_orders: expected 1 to {limit} different orders, found {len(signed)}, "
                f"{len(set(ids))} of them different"
            )
        if self.credentials is None:
            raise ConfigError("post_orders: expected API credentials, found none")
        bodies = [order.body(self.credentials.api_key) for order in signed]
        asked = [_asked(order_id, body) for order_id, body in zip(ids, bodies, strict=True)]
        try:
            answer, sent = await self.post_raw("POST", "/orders", b"[" + b",".join(bodies) + b"]")
        except TransportError as error:
            return [
                OrderOutcome(order_id, OrderStatus.UNKNOWN, Reason.TRANSPORT, text=str(error))
                for order_id in ids
            ]
        verdicts = placed(answer.status, answer.body, asked)
        texts = _leg_texts(answer, sent, ids)
        return [_outcome(*leg) for leg in zip(ids, verdicts, texts, strict=True)]

    async def cancel(self, order_ids: str | Iterable[str]) -> CancelAnswer:
        """Cancels orders by id; as many requests as their number needs.

        When one of several requests fails the others are still made, then its error is raised: what was
        proven dead meanwhile is found by asking for the orders.
        """
        ids = [order_ids] if isinstance(order_ids, str) else list(order_ids)
        ids = list(dict.fromkeys(order_id_of(one) for one in ids))
        if len(ids) == 1:
            return await self._cancel("/order", {"orderID": ids[0]})
        whole, failure = CancelAnswer(canceled=[], not_canceled={}), None
        limit = self.profile.limits.cancels_per_batch
        for start in range(0, len(ids), limit):
            try:
                part = await self._cancel("/orders", ids[start : start + limit])
            except InvmmError as error:
                failure = failure or error
            else:
                whole["canceled"] += part["canceled"]
                whole["not_canceled"].update(part["not_canceled"])
        if failure is not None:
            raise failure
        return whole

    async def cancel_all(self) -> CancelAnswer:
        """Cancels every open order of the account."""
        return await self._cancel("/cancel-all", None)

    async def cancel_market_orders(
        self, market: str | None = None, asset_id: str | None = None
    ) -> CancelAnswer:
        """Cancels what is open in a market, or for one token; without either everything.

        Parameters
        ----------
        market : str, optional
            Condition id.
        asset_id : str, optional
            Token or position id.
        """
        return await self._cancel("/cancel-market-orders", _market_query(market, asset_id))

    async def _cancel(self, path: str, document: Any) -> CancelAnswer:
        body = b"" if document is None else orjson.dumps(document)
        answer = object_at(path, await self.ask("DELETE", path, body=body), "canceled")
        gone, kept = answer["canceled"], answer.get("not_canceled") or {}
        if not isinstance(gone, list) or not isinstance(kept, dict):
            raise unexpected(path, "a list and a map of order ids", answer)
        return CancelAnswer(
            canceled=[str(one).lower() for one in gone],
            not_canceled={str(one).lower(): str(why) for one, why in kept.items()},
        )

    async def heartbeat(self, heartbeat_id: str = "") -> str:
        """Tells the venue that we live; gives the id to send next, at most 10 s later.

        The first one ("") arms the switch: without a next one the venue cancels every open order of these
        credentials. A wrong id is answered with the expected one, which is then sent once.
        """
        path = "/v1/heartbeats"
        for attempt in (1, 2):
            answer, sent = await self.post_raw("POST", path, orjson.dumps({"heartbeat_id": heartbeat_id}))
            try:
                told = orjson.loads(answer.body)
            except orjson.JSONDecodeError:
                told = None
            next_id = told.get("heartbeat_id") if isinstance(told, dict) else None
            if answer.status == 200 and isinstance(next_id, str) and next_id:
                return next_id
            if answer.status == 400 and isinstance(next_id, str) and attempt == 1:
                heartbeat_id = next_id
                continue
            words = words_of(answer, sent)
            if answer.status != 200 and words:
                raise VenueError(answer.status, words)
            break
        raise unexpected(path, "a heartbeat id", told)

    # ---- own data ------------------------------------------------------------------------------------------

    async def open_orders(
        self, market: str | None = None, asset_id: str | None = None
    ) -> list[dict[str, Any]]:
        """Every open order, as the venue writes it, over all pages."""
        return await self.pages("/data/orders", _market_query(market, asset_id))

    async def order(self, order_id: str) -> dict[str, Any] | None:
        """One order in the state that the venue has it; None if the venue shows none under this id.

        The venue may show only open orders here: None is not proof that it never was, nor that it did not
        fill; trades tell.
        """
        wanted = order_id_of(order_id)
        path = f"/data/order/{wanted}"
        try:
            found = await self.ask("GET", path)
        except VenueError as error:
            if error.status != 404:
                raise
            found = None
        if not found:  # null, empty text or object, or 404: the listing may know more
            rows = await self.pages("/data/orders", {"id": wanted})
            found = next((row for row in rows if str(row.get("id")).lower() == wanted), None)
        elif str(object_at(path, found, "id")["id"]).lower() != wanted:
            raise TransportError(f"{path}: expected that order, found another one")
        return None if found is None else object_at(path, found, "id", "status")

    async def trades(
        self,
        after: int | None = None,
        before: int | None = None,
        market: str | None = None,
        id: str | None = None,
    ) -> list[dict[str, Any]]:
        """Own trades, as the venue writes them, over all pages.

        Parameters
        ----------
        after, before : int, optional
            Unix seconds of the match; both ends are left out.
        market : str, optional
            Condition id.
        id : str, optional
            Of one trade.
        """
        query = _market_query(market, None)
        query.update(
            {name: str(int(at)) for name, at in (("after", after), ("before", before)) if at is not None}
        )
        if id is not None:
            query["id"] = id
        return await self.pages("/data/trades", query)

    async def balance_allowance(
        self, asset_type: str = "COLLATERAL", token_id: str | None = None
    ) -> dict[str, Any]:
        """Balance and allowances as the venue sees them: decimal texts of micro units.

        Parameters
        ----------
        asset_type : str
            "COLLATERAL", "CONDITIONAL" or, for markets of generation "v2", "CONDITIONAL-V2".
        token_id : str, optional
            Needed for the conditional ones.

        Returns
        -------
        dict
            "balance": text, "allowances": spender to text.
        """
        path = "/balance-allowance"
        answer = object_at(path, await self.ask("GET", path, self._asset(asset_type, token_id)), "balance")
        allowances = answer.get("allowances", {})
        if not isinstance(allowances, dict):
            raise unexpected(f"{path}: allowances", "a map of spenders", allowances)
        for number in (answer["balance"], *allowances.values()):
            if not isinstance(number, str) or not re.fullmatch(r"[0-9]{1,78}", number):
                raise unexpected(path, "decimal texts", number)
        return answer | {"allowances": allowances}

    async def update_balance_allowance(
        self, asset_type: str = "COLLATERAL", token_id: str | None = None
    ) -> None:
        """Has the venue read balance and allowances from the chain again."""
        await self.ask("GET", "/balance-allowance/update", self._asset(asset_type, token_id))

    def _asset(self, asset_type: str, token_id: str | None) -> dict[str, str]:
        if asset_type not in ASSET_TYPES:
            raise ValueError(f"asset type: expected one of {', '.join(ASSET_TYPES)}, found {asset_type!r}")
        if (asset_type == "COLLATERAL") is not (token_id is None):
            raise ValueError(f"token id: expected {'none' if token_id else 'one'} with {asset_type}")
        query = {"asset_type": asset_type, "signature_type": str(self.signature_type)}
        return query if token_id is None else query | {"token_id": token_of(token_id)}

    async def rate_limit_tier(self) -> dict[str, Any]:
        """The account's tier of the venue's rate limits, in the venue's words."""
        return object_at("/v1/user/rate-limit-tier", await self.ask("GET", "/v1/user/rate-limit-tier"))

    # ---- API keys ------------------------------------------------------------------------------------------

    async def create_api_key(self, nonce: int = 0) -> ApiCredentials:
        """New API credentials for the signer's account; VenueError 400 where this nonce has some."""
        return _credentials(await self.login("POST", "/auth/api-key", nonce))

    async def derive_api_key(self, nonce: int = 0) -> ApiCredentials:
        """The API credentials that exist for the signer's account and this nonce."""
        return _credentials(await self.login("GET", "/auth/derive-api-key", nonce))

    async def create_or_derive(self, nonce: int = 0) -> ApiCredentials:
        """API credentials, whether or not they existed. They are returned, not taken into use."""
        try:
            return await self.create_api_key(nonce)
        except VenueError as error:
            if error.status != 400:
                raise
        return await self.derive_api_key(nonce)

    async def api_keys(self) -> list[str]:
        """The account's API keys."""
        path = "/auth/api-keys"
        keys = object_at(path, await self.ask("GET", path), "apiKeys")["apiKeys"]
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise unexpected(f"{path}: apiKeys", "a list of keys", keys)
        return keys

    async def delete_api_key(self) -> None:
        """Revokes the API key in use."""
        await self.ask("DELETE", "/auth/api-key")

    async def closed_only(self) -> bool:
        """Whether the account may only reduce what it has."""
        path = "/auth/ban-status/closed-only"
        flag = object_at(path, await self.ask("GET", path), "closed_only")["closed_only"]
        if not isinstance(flag, bool):
            raise unexpected(f"{path}: closed_only", "true or false", flag)
        return flag


def _market_query(market: str | None, asset_id: str | None) -> dict[str, str]:
    query = {} if market is None else {"market": condition_of(market)}
    return query if asset_id is None else query | {"asset_id": token_of(asset_id)}


def _asked(order_id: str, body: bytes) -> Asked:
    """What the answer about an order is compared with, from the very bytes that are sent."""
    document = orjson.loads(body)
    order = document["order"]
    side = Side[order["side"]]
    shares = order["takerAmount"] if side == Side.BUY else order["makerAmount"]
    return Asked(order_id, side, OrderType[document["orderType"]], int(shares))


def _leg_texts(answer: Answer, sent: Mapping[str, str], ids: Sequence[str]) -> list[str]:
    """The words about each leg, as `answers.placed` assigns answers: by id, else by place."""
    try:
        document = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        document = None
    if answer.status != 200 or not isinstance(document, list):
        words = words_of(answer, sent) or f"{len(answer.body)} bytes without a message"
        return [f"status {answer.status}: {words}"] * len(ids)
    legs = [leg if isinstance(leg, dict) else {} for leg in document]
    by_id = {str(leg.get("orderID")).lower(): leg for leg in legs}
    if len(legs) != len(ids):
        legs = [{} for _ in ids]
    texts = (by_id.get(order_id, leg).get("errorMsg") for order_id, leg in zip(ids, legs, strict=True))
    return [text if isinstance(text, str) else "" for text in texts]


def _outcome(order_id: str, verdict: Verdict, text: str) -> OrderOutcome:
    return OrderOutcome(order_id, verdict.status, verdict.reason, verdict.filled_micro, text)


def _credentials(answer: Any) -> ApiCredentials:
    names = ("apiKey", "secret", "passphrase")
    values = [answer.get(name) if isinstance(answer, dict) else None for name in names]
    key, secret, passphrase = (value if isinstance(value, str) else "" for value in values)
    if not key or not secret or not passphrase:
        raise TransportError(f"/auth: expected an object with {', '.join(names)}, found {shape_of(answer)}")
    return ApiCredentials(key, secret, passphrase)
