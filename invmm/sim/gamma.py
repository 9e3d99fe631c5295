"""Markets as discovery shows them: objects of Gamma, the CLOB's market objects, the `new_market` event.

Fields and spellings are those of the captured objects (lists as JSON text, times as `…Z`); what has no
meaning here (pictures, liquidity figures) is left out.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from invmm.sim import wire
from invmm.sim.identity import GENERATIONS
from invmm.sim.profile import SECOND
from invmm.sim.windows import Series, Window
from invmm.types import PRICE_ONE_E4, Outcome


def stamp(time_ns: int) -> str:
    """2026-10-05T23:00:00Z."""
    return dt.datetime.fromtimestamp(time_ns // SECOND, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def market(window: Window, now_ns: int) -> dict[str, Any]:
    """A Gamma market object."""
    info = window.market
    version = GENERATIONS[info.exchange]
    tokens = [info.up_token_id, info.down_token_id]
    is_open = not window.is_closed
    told: dict[str, Any] = {
        "$schema": "https://gamma-api.polymarket.com/schemas/Market.json",
        "id": str(window.number),
        "question": _title(window),
        "conditionId": info.condition_id,
        "slug": info.slug,
        "resolutionSource": "generated market: no oracle",
        "endDate": stamp(info.end_s * SECOND),
        "startDate": stamp(window.listed_ns),
        "description": "A generated market of the embedded venue.",
        "outcomes": json.dumps(["Up", "Down"]),
        "outcomePrices": json.dumps(_outcome_prices(window)),
        "active": True,
        "closed": window.is_resolved,
        "marketMakerAddress": "",
        "createdAt": stamp(window.listed_ns),
        "updatedAt": stamp(now_ns),
        "new": False,
        "featured": False,
        "archived": False,
        "restricted": True,
        "questionID": window.question_id,
        "enableOrderBook": True,
        "orderPriceMinTickSize": _tick_e4(window) / PRICE_ONE_E4,
        "orderMinSize": _whole(info.min_size_micro),
        "endDateIso": stamp(info.end_s * SECOND)[:10],
        "startDateIso": stamp(window.listed_ns)[:10],
        "hasReviewedDates": True,
        "clobTokenIds": json.dumps(tokens) if version == "v1" else None,
        "makerBaseFee": 1000,
        "takerBaseFee": 1000,
        "acceptingOrders": is_open,
        "negRisk": info.exchange == "v2-neg-risk",
        "ready": False,
        "funded": False,
        "acceptingOrdersTimestamp": stamp(max(window.listed_ns, window.accepts_ns)),
        "cyom": False,
        "approved": True,
        "rewardsMinSize": 50,
        "rewardsMaxSpread": 4.5,
        "automaticallyActive": True,
        "automaticallyResolved": True,
        "clearBookOnStart": version == "v2",
        "manualActivation": False,
        "negRiskOther": False,
        "umaResolutionStatuses": "[]",
        "pendingDeployment": False,
        "deploying": False,
        "rfqEnabled": False,
        "eventStartTime": stamp(info.start_s * SECOND),
        "holdingRewardsEnabled": False,
        "feesEnabled": info.fee_rate > 0,
        "makerRebatesFeeShareBps": 10000,
        "feeType": "crypto_fees_v2",
        "feeSchedule": {
            "exponent": 1,
            "rate": info.fee_rate,
            "takerOnly": True,
            "rebateRate": info.rebate_share,
        },
        "version": version,
    }
    if version == "v2":
        told["positionIds"] = tokens
    if info.rule == "average":
        told["cryptoMarketConfig"] = {
            "id": f"{info.asset}-twap-{info.average_s}",
            "asset": info.asset,
            "twapEnabled": True,
            "twapLookbackSeconds": info.average_s,
        }
    told.update(_quotes(window))
    if window.is_resolved:
        told["closedTime"] = stamp(window.resolved_ns or now_ns)
    return told


def event(window: Window, now_ns: int) -> dict[str, Any]:
    """A Gamma event object with its one market."""
    of = window.series
    told: dict[str, Any] = {
        "id": str(100_000 + window.number),
        "ticker": window.market.slug,
        "slug": window.market.slug,
        "title": _title(window),
        "startDate": stamp(window.listed_ns),
        "creationDate": stamp(window.listed_ns),
        "endDate": stamp(window.market.end_s * SECOND),
        "startTime": stamp(window.market.start_s * SECOND),
        "active": True,
        "closed": window.is_resolved,
        "archived": False,
        "new": False,
        "featured": False,
        "restricted": True,
        "enableOrderBook": True,
        "negRisk": window.market.exchange == "v2-neg-risk",
        "seriesSlug": of.slug if of is not None else "",
        "series": [series(of)] if of is not None else [],
        "tags": [{"id": "21", "label": "Crypto", "slug": "crypto"}],
        "markets": [market(window, now_ns)],
    }
    return told


def series(one: Series) -> dict[str, Any]:
    """A Gamma series object."""
    return {
        "id": str(one.number),
        "ticker": one.slug,
        "slug": one.slug,
        "title": one.slug,
        "seriesType": "single",
        "active": True,
        "closed": False,
    }


def clob_market(window: Window) -> dict[str, Any]:
    """`GET /clob-markets/{conditionId}`."""
    info, session = window.market, window.session
    version = GENERATIONS[info.exchange]
    told = {
        "r": {"mi": 50, "ma": 4.5, "moas": 30},
        **wire.clob_market(info, _tick_e4(window), accepting=_accepts(window)),
        "aot": stamp(max(window.listed_ns, window.accepts_ns)),
        "v": version,
    }
    if version == "v2":
        told["cbos"] = True
    if info.exchange == "v2-neg-risk":
        told["nr"] = True
    if session is not None and not session.profile.taker_delay_ns:
        del told["itode"]
    return told


def full_market(window: Window) -> dict[str, Any]:
    """`GET /markets/{conditionId}` of the CLOB: the full, older object."""
    info = window.market
    winner = info.winner if window.is_resolved else None
    prices = dict(zip(Outcome, _outcome_prices(window), strict=True))
    return {
        "enable_order_book": True,
        "active": True,
        "closed": window.is_resolved,
        "archived": False,
        "accepting_orders": _accepts(window),
        "accepting_order_timestamp": stamp(max(window.listed_ns, window.accepts_ns)),
        "minimum_order_size": _whole(info.min_size_micro),
        "minimum_tick_size": _tick_e4(window) / PRICE_ONE_E4,
        "condition_id": info.condition_id,
        "question_id": window.question_id,
        "question": _title(window),
        "description": "A generated market of the embedded venue.",
        "market_slug": info.slug,
        "end_date_iso": stamp(info.end_s * SECOND),
        "game_start_time": stamp(info.start_s * SECOND),
        "seconds_delay": 0,
        "fpmm": "",
        "maker_base_fee": 1000,
        "taker_base_fee": 1000,
        "notifications_enabled": False,
        "neg_risk": info.exchange == "v2-neg-risk",
        "neg_risk_market_id": "",
        "neg_risk_request_id": "",
        "icon": "",
        "image": "",
        "rewards": {"rates": None, "min_size": 50, "max_spread": 4.5},
        "is_50_50_outcome": False,
        "tokens": [
            {
                "token_id": wire.token_id(info, token),
                "outcome": token.name.capitalize(),
                "price": float(prices[token]),
                "winner": winner == token,
            }
            for token in Outcome
        ],
        "tags": ["crypto"],
    }


def new_market_event(window: Window, now_ms: int) -> dict[str, Any]:
    """`new_market`, without a schedule, as the venue's."""
    info = window.market
    tokens = [info.up_token_id, info.down_token_id]
    return {
        "id": str(window.number),
        "question": _title(window),
        "market": info.condition_id,
        "slug": info.slug,
        "description": "A generated market of the embedded venue.",
        "assets_ids": tokens,
        "outcomes": ["Up", "Down"],
        "event_message": {
            "id": str(100_000 + window.number),
            "ticker": info.slug,
            "slug": info.slug,
            "title": _title(window),
            "description": "A generated market of the embedded venue.",
        },
        "timestamp": str(now_ms),
        "event_type": "new_market",
        "tags": ["crypto"],
        "condition_id": info.condition_id,
        "active": True,
        "clob_token_ids": tokens,
        "sports_market_type": "",
        "line": "",
        "game_start_time": "",
        "order_price_min_tick_size": wire.price_text(info.tick_e4),
        "group_item_title": "",
        "taker_base_fee": "1000",
        "fees_enabled": True,
        "fee_schedule": {
            "exponent": "1",
            "rate": f"{info.fee_rate:g}",
            "taker_only": True,
            "rebate_rate": f"{info.rebate_share:g}",
        },
    }


def _title(window: Window) -> str:
    info = window.market
    return f"Generated Up or Down - {stamp(info.start_s * SECOND)} to {stamp(info.end_s * SECOND)}"


def _whole(size_micro: int) -> int | float:
    return size_micro / 1_000_000 if size_micro % 1_000_000 else size_micro // 1_000_000


def _tick_e4(window: Window) -> int:
    return window.session.exchange.tick_e4 if window.session is not None else window.market.tick_e4


def _accepts(window: Window) -> bool:
    session = window.session
    return (
        session is not None
        and not session.exchange.is_closed
        and session.now_ns() >= session.exchange.accepts_ns
    )


def _outcome_prices(window: Window) -> list[str]:
    """Middle of the book while it trades, 1 and 0 once resolved."""
    winner = window.market.winner
    if window.is_resolved and winner is not None:
        return ["1", "0"] if winner == Outcome.UP else ["0", "1"]
    middle_e4 = PRICE_ONE_E4 // 2
    if window.session is not None:
        bid, ask = window.session.books.up.best_bid(), window.session.books.up.best_ask()
        if bid is not None and ask is not None:
            middle_e4 = (bid[0] + ask[0]) // 2
    return [wire.price_text(middle_e4), wire.price_text(PRICE_ONE_E4 - middle_e4)]


def _quotes(window: Window) -> dict[str, Any]:
    if window.session is None:
        return {}
    bid, ask = window.session.books.up.best_bid(), window.session.books.up.best_ask()
    if bid is None or ask is None:
        return {}
    return {
        "bestBid": bid[0] / PRICE_ONE_E4,
        "bestAsk": ask[0] / PRICE_ONE_E4,
        "spread": (ask[0] - bid[0]) / PRICE_ONE_E4,
        "lastTradePrice": float(window.session.last_price or 0.5),
    }
