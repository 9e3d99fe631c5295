"""JSON of the embedded venue, in the shapes that its documentation and captures show."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import orjson

from invmm.replay.tape import MarketInfo
from invmm.sim.account import Leg, Trade
from invmm.sim.batches import decimal_to_int
from invmm.sim.matching import PublicBook
from invmm.sim.orders import Order
from invmm.sim.profile import SECOND
from invmm.sim.rules import INVALID_PAYLOAD, OrderRequest, Refusal, Who, decimal
from invmm.types import PRICE_ONE_E4, OrderStatus, OrderType, Outcome, Side

START_CURSOR, END_CURSOR = "MA==", "LTE="
PUBLIC_MAKER = (
    "0x000000000000000000000000000000000000f10e"  # whoever of the recorded flow was on the other side
)

_STRANGER = Who("00000000-0000-0000-0000-000000000000", PUBLIC_MAKER, PUBLIC_MAKER)

# Status texts of trades: the user channel's and those of `/data/trades` are the same words with a prefix.
_TRADE_STATUS = {
    OrderStatus.TRADE_MATCHED: "MATCHED",
    OrderStatus.TRADE_MINED: "MINED",
    OrderStatus.TRADE_CONFIRMED: "CONFIRMED",
    OrderStatus.TRADE_RETRYING: "RETRYING",
    OrderStatus.TRADE_FAILED: "FAILED",
}


def token_id(market: MarketInfo, token: Outcome) -> str:
    """The venue's id of an outcome."""
    return market.up_token_id if token == Outcome.UP else market.down_token_id


def price_text(price_e4: int) -> str:
    """ "0.57"."""
    return decimal(price_e4, 4)


def size_text(size_micro: int) -> str:
    """ "12.5"."""
    return decimal(size_micro, 6)


# ---- requests ----


def parse_order(payload: Any, market: MarketInfo, tick_e4: int, order_id: bytes) -> OrderRequest | Refusal:
    """An order of `POST /order`. The price follows from the signed amounts.

    Amounts that are exact at 1e-4 dollars give that price; others the nearest price on the grid, so that the
    check of the product names the amount that was expected, as the venue does.
    """
    try:
        signed = payload["order"]
        side = Side[signed["side"]]
        making, taking = int(signed["makerAmount"]), int(signed["takerAmount"])
        token = market.outcome_of(signed["tokenId"])
        kind = OrderType[payload["orderType"]]
        expiration = int(signed.get("expiration", "0"))
        post_only = payload.get("postOnly", False)
    except (KeyError, TypeError, ValueError):
        return Refusal(400, INVALID_PAYLOAD)
    cash, shares = (making, taking) if side == Side.BUY else (taking, making)
    if cash <= 0 or shares <= 0 or not isinstance(post_only, bool):
        return Refusal(400, INVALID_PAYLOAD)
    price, inexact = divmod(cash * PRICE_ONE_E4, shares)
    if inexact:
        price = (2 * cash * PRICE_ONE_E4 + shares * tick_e4) // (2 * shares * tick_e4) * tick_e4
    return OrderRequest(
        order_id=order_id,
        token=token,
        side=side,
        price_e4=price,
        size_micro=shares,
        order_type=kind,
        post_only=post_only,
        expiration_s=expiration,
        making_micro=making,
        taking_micro=taking,
    )


# ---- answers to requests ----


def order_answer(order: Order) -> dict[str, Any]:
    """The answer to an accepted order."""
    request = order.request
    making = taking = 0
    for trade in order.trades:
        for part in trade.legs:
            if part.order_id == request.order_id and part.is_taker:
                cash = part.size_micro * part.price_e4 // PRICE_ONE_E4
                making += cash if part.side == Side.BUY else part.size_micro
                taking += part.size_micro if part.side == Side.BUY else cash
    if order.state == "DELAYED":
        status = "delayed"
    elif order.filled_micro:
        status = "matched"
    else:
        status = "live" if order.is_open else "unmatched"
    return {
        "success": True,
        "errorMsg": "",
        "orderID": request.id_text,
        "status": status,
        "makingAmount": size_text(making) if making else "",
        "takingAmount": size_text(taking) if taking else "",
        "transactionsHashes": [trade.hash_text for trade in order.trades],
        "tradeIDs": [trade.id_text for trade in order.trades],
    }


def refused_leg(text: str) -> dict[str, Any]:
    """A refused order inside a batch: `success` is true, the id is empty."""
    return {
        "success": True,
        "errorMsg": text,
        "orderID": "",
        "status": "",
        "makingAmount": "",
        "takingAmount": "",
        "transactionsHashes": [],
        "tradeIDs": [],
    }


def open_order(order: Order, market: MarketInfo, who: Who) -> dict[str, Any]:
    """An entry of `/data/orders`. `who` stands in where the order says nobody."""
    request = order.request
    who = request.who or who
    return {
        "id": request.id_text,
        "status": order.state.partition("_order")[0] if order.state != "DELAYED" else "LIVE",
        "owner": who.api_key,
        "maker_address": who.address,
        "market": market.condition_id,
        "asset_id": token_id(market, request.token),
        "side": request.side.name,
        "original_size": size_text(request.size_micro),
        "size_matched": size_text(order.filled_micro),
        "price": price_text(request.price_e4),
        "outcome": request.token.name.capitalize(),
        "expiration": str(request.expiration_s),
        "order_type": request.order_type.name,
        "associate_trades": [trade.id_text for trade in order.trades],
        "created_at": order.arrived_ns // SECOND,
    }


def trade_entry(
    trade: Trade, market: MarketInfo, who: Who, *, prefix: str = "TRADE_STATUS_"
) -> dict[str, Any]:
    """An entry of `/data/trades` as `who` is told it: the taker's view on top, makers below."""
    own_taker = next((part for part in trade.legs if part.is_taker), None)
    taker = (own_taker.who or who) if own_taker is not None else _STRANGER
    size = own_taker.size_micro if own_taker is not None else sum(part.size_micro for part in trade.legs)
    up_price = trade.price_up_e4
    price = up_price if trade.taker_token == Outcome.UP else PRICE_ONE_E4 - up_price
    makers = [_maker(part, market, who) for part in trade.legs if not part.is_taker]
    if not makers:
        makers = [_public_maker(trade, size, market)]
    return {
        "id": trade.id_text,
        "taker_order_id": "0x" + trade.taker_order_id.hex(),
        "market": market.condition_id,
        "asset_id": token_id(market, trade.taker_token),
        "side": trade.taker_side.name,
        "size": size_text(size),
        "fee_rate_bps": "0",
        "price": price_text(price),
        "status": prefix + _TRADE_STATUS[trade.status],
        "match_time": str(trade.time_ns // SECOND),
        "last_update": str(trade.updated_ns // SECOND),
        "outcome": trade.taker_token.name.capitalize(),
        "bucket_index": 0,
        "owner": taker.api_key,
        "maker_address": taker.address,
        "transaction_hash": trade.hash_text,
        "maker_orders": makers,
        "trader_side": "TAKER" if taker.account == who.account else "MAKER",
    }


def _maker(part: Leg, market: MarketInfo, who: Who) -> dict[str, Any]:
    who = part.who or who
    return {
        "order_id": "0x" + part.order_id.hex(),
        "owner": who.api_key,
        "maker_address": who.address,
        "matched_amount": size_text(part.size_micro),
        "price": price_text(part.price_e4),
        "fee_rate_bps": "0",
        "asset_id": token_id(market, part.token),
        "outcome": part.token.name.capitalize(),
        "side": part.side.name,
    }


def _public_maker(trade: Trade, size_micro: int, market: MarketInfo) -> dict[str, Any]:
    part = trade.legs[0]
    identity = hashlib.blake2b(
        trade.taker_order_id + trade.key.to_bytes(8, "big"), digest_size=32
    ).hexdigest()
    return {
        "order_id": "0x" + identity,
        "owner": _STRANGER.api_key,
        "maker_address": _STRANGER.address,
        "matched_amount": size_text(size_micro),
        "price": price_text(part.price_e4),
        "fee_rate_bps": "0",
        "asset_id": token_id(market, part.token),
        "outcome": part.token.name.capitalize(),
        "side": Side(1 - part.side).name,
    }


def page(entries: Sequence[dict[str, Any]], cursor: str, limit: int) -> dict[str, Any] | None:
    """One page with its envelope; None for a cursor that is none of ours."""
    try:
        start = int(base64.b64decode(cursor or START_CURSOR, validate=True))
    except ValueError:
        return None
    if start < 0:
        return {"limit": limit, "count": 0, "next_cursor": END_CURSOR, "data": []}
    data = list(entries[start : start + limit])
    after = start + limit
    following = base64.b64encode(str(after).encode()).decode() if after < len(entries) else END_CURSOR
    return {"limit": limit, "count": len(data), "next_cursor": following, "data": data}


# ---- user channel ----


def order_event(order: Order, market: MarketInfo, who: Who, kind: str, stamp_ms: int) -> dict[str, Any]:
    """An `order` event: PLACEMENT, UPDATE or CANCELLATION."""
    request = order.request
    who = request.who or who
    if kind == "UPDATE":
        status = "MATCHED"
    else:
        status = order.state
    return {
        "asset_id": token_id(market, request.token),
        "associate_trades": [trade.id_text for trade in order.trades] or None,
        "created_at": str(order.arrived_ns // SECOND),
        "event_type": "order",
        "expiration": str(request.expiration_s),
        "id": request.id_text,
        "maker_address": who.address,
        "market": market.condition_id,
        "order_owner": who.api_key,
        "order_type": request.order_type.name,
        "original_size": size_text(request.size_micro),
        "outcome": request.token.name.capitalize(),
        "owner": who.api_key,
        "price": price_text(request.price_e4),
        "side": request.side.name,
        "size_matched": size_text(order.filled_micro),
        "status": status,
        "timestamp": str(stamp_ms),
        "type": kind,
    }


def trade_event(trade: Trade, market: MarketInfo, who: Who, stamp_ms: int) -> dict[str, Any]:
    """A `trade` event; the same id is sent again at each stage."""
    entry = trade_entry(trade, market, who, prefix="")
    entry.update(event_type="trade", timestamp=str(stamp_ms), trade_owner=entry["owner"], type="TRADE")
    return entry


# ---- books ----


def book_levels(book: PublicBook, side: Side) -> list[dict[str, str]]:
    """Levels as the venue writes them: best last."""
    rows = book.depth(int(side), PRICE_ONE_E4)
    return [
        {"price": decimal(price_e4, 4), "size": decimal(size_micro, 6)}
        for price_e4, size_micro in rows[::-1].tolist()
    ]


def rest_book(
    book: PublicBook, market: MarketInfo, token: Outcome, tick_e4: int, venue_ms: int, last_price: str
) -> dict[str, Any]:
    """`GET /book`, with its hash."""
    told: dict[str, Any] = {
        "market": market.condition_id,
        "asset_id": token_id(market, token),
        "timestamp": str(venue_ms),
        "hash": "",
        "bids": book_levels(book, Side.BUY),
        "asks": book_levels(book, Side.SELL),
        "min_order_size": size_text(market.min_size_micro),
        "tick_size": price_text(tick_e4),
        "neg_risk": market.exchange == "v2-neg-risk",
        "last_trade_price": last_price,
    }
    told["hash"] = hashlib.sha1(orjson.dumps(told)).hexdigest()
    if market.exchange == "v3":
        told["version"] = "v2"
    return told


def dump(books: Sequence[dict[str, Any]]) -> bytes:
    """The array that answers a subscription: compact, ends with a newline."""
    events = []
    for told in books:
        event = {key: told[key] for key in ("market", "asset_id", "timestamp", "hash", "bids", "asks")}
        event.update(
            tick_size=told["tick_size"], event_type="book", last_trade_price=told["last_trade_price"]
        )
        events.append(event)
    return orjson.dumps(events) + b"\n"


def last_price_text(price: str) -> str:
    """The last trade price as it stands in books: three decimals, "" before the first trade."""
    if not price:
        return ""
    value = decimal_to_int(price, 4)
    return f"{value / PRICE_ONE_E4:.3f}" if value % 10 == 0 else price_text(value)


def resolved_event(market: MarketInfo, stamp_ms: int) -> dict[str, Any]:
    """`market_resolved`, for connections that asked for custom features."""
    winner = market.winner if market.winner is not None else Outcome.UP
    return {
        "event_type": "market_resolved",
        "id": str(market.start_s),
        "market": market.condition_id,
        "assets_ids": [market.up_token_id, market.down_token_id],
        "winning_asset_id": token_id(market, winner),
        "winning_outcome": winner.name.capitalize(),
        "timestamp": str(stamp_ms),
        "tags": ["crypto"],
    }


def clob_market(market: MarketInfo, tick_e4: int, *, accepting: bool) -> dict[str, Any]:
    """`GET /clob-markets/{conditionId}`."""
    told = {
        "t": [{"t": market.up_token_id, "o": "Up"}, {"t": market.down_token_id, "o": "Down"}],
        "c": market.condition_id,
        "mos": market.min_size_micro / 1_000_000
        if market.min_size_micro % 1_000_000
        else market.min_size_micro // 1_000_000,
        "mts": tick_e4 / PRICE_ONE_E4,
        "mbf": 1000,
        "tbf": 1000,
        "ao": accepting,
        "itode": True,
        "fd": {"r": market.fee_rate, "e": 1, "to": True},
        "v": "v2" if market.exchange == "v3" else "v1",
    }
    return {**told, "nr": True} if market.exchange == "v2-neg-risk" else told


def compact(event: dict[str, Any]) -> bytes:
    """A message as bytes, without blanks."""
    return json.dumps(event, separators=(",", ":")).encode()
