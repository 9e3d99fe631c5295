"""What each Reason means, with the values and the limit that made it bind."""

from __future__ import annotations

from typing import Any, Final

from invmm.ops.record_words import price_words, shares_words
from invmm.settlement.policy import SettleReason
from invmm.types import Reason

MEANINGS: Final = {
    Reason.NONE: "nothing forbids it",
    Reason.QUOTE: "the ladder wants it",
    Reason.TAKER: "taking completes a pair below its cost",
    Reason.NOT_WANTED: "the policy wants it no more",
    Reason.NO_SNAPSHOT: "no book has come since the subscription",
    Reason.STALE: "its book is too old",
    Reason.CROSSED: "the book is crossed",
    Reason.BEST_MISMATCH: "the kept best price is not the message's",
    Reason.MIRROR_MISMATCH: "the two books do not mirror each other",
    Reason.EPOCH_CHANGED: "the tick changed; a new book has not come",
    Reason.MARKET_ENDING: "the market is about to end",
    Reason.MODE: "the engine is paused or stopped",
    Reason.DISCONNECTED: "the market feed is not connected",
    Reason.NO_ASK: "the other token has no ask to complete a pair with",
    Reason.IMBALANCE: "more of this token is held than of the other",
    Reason.UNPROFITABLE: "no price leaves the margin",
    Reason.BELOW_MIN_PRICE: "the price would be below the least one",
    Reason.CASH: "the cash limit of the market is used up",
    Reason.ORDER_LIMIT: "too many orders, or too large a one",
    Reason.SELF_CROSS: "it would match an own order",
    Reason.POST_ONLY: "it would cross the book",
    Reason.BELOW_MIN_SIZE: "it is smaller than the venue's least order",
    Reason.RING_FULL: "the executor's ring is full",
    Reason.IN_FLIGHT: "one like it is on its way",
    Reason.DEADLINE: "it was decided too long ago",
    Reason.SHUTDOWN: "the executor stops",
    Reason.RATE_LIMIT: "the rate of placements is used up",
    Reason.COOL_DOWN: "the venue refused; a pause follows",
    Reason.EXPIRING: "it is about to expire and is replaced",
    Reason.SETTLED: "the market is resolved",
    Reason.POLICY_ERROR: "the policy failed",
    Reason.VENUE_REJECTED: "the venue, or its rules as we know them, refused it",
    Reason.VENUE_POST_ONLY: "the venue refused it: it would have crossed",
    Reason.VENUE_BALANCE: "the venue sees too little balance or allowance",
    Reason.VENUE_NOT_READY: "the market is not prepared for orders",
    Reason.TRANSPORT: "it did not get onto the wire",
    Reason.SIGNER_CAP: "it is beyond a cap of the signer",
    Reason.VENUE_MODE: "the venue takes none now",
    Reason.THROTTLED: "the venue's rate is used up",
    Reason.VENUE_VERSION: "the venue speaks another version",
    Reason.UNAUTHORIZED: "the venue refuses the credentials",
    Reason.GEOBLOCKED: "the venue refuses this region",
    Reason.HEARTBEAT: "heartbeats to the venue fail",
    Reason.CONFLICT: "a fill was both confirmed and failed; what is owned is not known",
    Reason.DIRECTION: "one token over the other would be beyond its limit if all filled",
    Reason.GROSS: "the shares of all orders would be beyond their limit",
    Reason.COLLAR: "its price is too far from the mid",
    Reason.DUPLICATE: "an own order has this price already",
    Reason.CHILDREN: "one target led to too many orders",
    Reason.BASE_MOVED: "what it was decided on has changed since",
    Reason.COMPENSATED: "another order of the same target was refused",
    Reason.KILLED: "the kill switch is set",
    Reason.LOSS_MARKET: "the market has lost too much",
    Reason.LOSS_DAY: "the day has lost too much",
    Reason.TOTAL_CASH: "the cash limit over all markets is used up",
    Reason.TOTAL_ORDERS: "too many orders in all markets",
    Reason.MINUTE_RATE: "too many placements within a minute",
    Reason.SEEN_ID: "an order of this id was sent before",
    Reason.OLD_BOOK: "it rests on a book that is too old",
    Reason.RESERVE: "it would use cash that is kept back",
    Reason.REJECT_STORM: "the venue refused too many orders",
    Reason.SETTLEMENT_FAILURES: "too many fills failed on the chain",
    Reason.SLOW_VENUE: "too many orders waited too long for an answer",
    Reason.LIMIT_ATTEMPT: "an order got past the engine's own limits",
    Reason.MESSAGE_RATE: "too many orders and cancels within a minute",
    Reason.STATE_LOST: "what is used up of the limits cannot be kept",
    Reason.QUIET: "no data for longer than any quiet market explains",
    Reason.DISPUTED: "a second source shows another book",
    Reason.LATE: "the data are old by the venue's own time",
    Reason.UNCONFIRMED: "no second source has shown this book yet",
    Reason.CLOCK: "the venue's clock is too far from ours",
    Reason.USER_FEED: "the user channel is not connected",
    Reason.UNRECONCILED: "what the venue lists is not known well enough",
    Reason.RECOVERED: "an earlier session left it",
    Reason.JOURNAL: "the journal cannot be written, and what cannot be kept is not done",
    Reason.MODEL_NO_RESULT: "the inventory model has no opinion (yet)",
    Reason.MODEL_ERROR: "the inventory model raised an error",
    Reason.MODEL_NONSENSE: "the inventory model's answer lacks a number, or one is not finite or negative",
    Reason.MODEL_FALLBACK: "the inventory model says that it failed",
    Reason.NO_MID: "a side of the book is empty, so there is no middle to quote around",
    Reason.NO_FAIR: "nothing tells what the tokens are worth",
    Reason.LEAD: "this token leads, or would lead, by as many shares as are allowed",
    Reason.NARROWING: "the end is near: nothing widens the lead any more",
    Reason.NO_EXIT: "the end is too near to get rid of anything again",
    Reason.TOO_DEAR: "the order came within the least edge of what it is worth to us",
    Reason.PAIR_COST: "a pair would cost more than is allowed",
    Reason.MOVED: "another price is worth more than the order's place and two messages",
    Reason.COMPLETES: "buys the lighter token: the lead costs more than the pair",
    Reason.SELLS_LEAD: "sells the heavier token: the lead costs more than the sale",
    Reason.MAKES_WAY: "an own bid is in the way of completing pairs",
    Reason.ADVERSE: "by own markouts, such a bid is filled only where it loses",
}

SETTLEMENT: Final = {
    SettleReason.MERGE_WORTH: "their dollars earn more until the payout than the transaction costs",
    SettleReason.MERGE_CASH_SHORT: "the quotes lack cash",
    SettleReason.MERGE_RULE: "the three criteria of the original are met",
    SettleReason.REDEEM_RESOLVED: "the market is resolved",
    SettleReason.SPLIT_OPEN: "inventory was asked for at the open",
    SettleReason.PAIRS: "pairs are held",
    SettleReason.BY_HAND: "a person asked for it",
    SettleReason.EMPTY: "nothing is held",
    SettleReason.OFF: "merging is switched off",
    SettleReason.STOPPED: "the kill level, an alarm or a stop forbids new transactions",
    SettleReason.BUSY: "a transaction of this market is under way",
    SettleReason.NO_PAIRS: "one side only is held",
    SettleReason.PROVISIONAL: "its fills are not final yet",
    SettleReason.TOO_FEW: "fewer pairs than the least that is merged",
    SettleReason.NOT_WORTH: "the transaction costs more than the dollars earn until the payout",
    SettleReason.RULE: "the original's criteria are not met",
    SettleReason.QUOTA: "the lane takes no further job now",
    SettleReason.UNRESOLVED: "the market is not resolved on the chain yet",
    SettleReason.LOST: "what is left lost: there is nothing to redeem",
    SettleReason.DUST: "it pays less than its transaction costs",
    SettleReason.CHAIN_DIFFERS: "the chain does not show the shares that the fills should have brought",
    SettleReason.NO_CASH: "the quotes need the cash",
    SettleReason.UNKNOWN_COST: "what a transaction costs is not known yet",
    SettleReason.LANE: "the chain or the relayer cannot be asked",
    SettleReason.DENIED: "the engine did not give the shares away",
}
"""Why shares are, or are not, turned into dollars."""


def binding(
    reason: Reason, quote: dict[str, Any], settings: dict[str, dict[str, Any]]
) -> tuple[str, dict[str, Any]]:
    """A reason in words with what bound it, and the values by name.

    Parameters
    ----------
    reason : Reason
    quote : dict
        Facts of a QUOTE record.
    settings : dict
        The session's, by table; {} if they are not known.
    """
    at = quote["token"] == "DOWN"
    engine, risk = settings.get("engine", {}), settings.get("risk", {})
    values: dict[str, Any] = {
        "bid_e4": quote["bid_e4"][at],
        "ask_e4": quote["ask_e4"][at],
        "position_micro": quote["position_micro"][at],
        "other_position_micro": quote["position_micro"][1 - at],
        "committed_dollars": quote["committed_e10"] / 1e10,
        "data_age_ms": max(-1, quote["age_ns"][at] / 1e6),
        "ms_to_end": quote["ms_to_end"],
        "live_orders": quote["live"],
    }
    words = MEANINGS.get(reason, reason.name.lower().replace("_", " "))
    book = f"book {price_words(values['bid_e4'])} / {price_words(values['ask_e4'])}"
    detail = book
    if reason is Reason.STALE:
        values["limit_ms"] = engine.get("book_max_age_ms")
        detail = f"{values['data_age_ms']:.0f} ms old, allowed are {values['limit_ms']}"
    elif reason is Reason.MARKET_ENDING:
        values["limit_ms"] = engine.get("stop_before_end_ms")
        detail = f"{values['ms_to_end'] / 1000:.3f} s are left, quoting stops {values['limit_ms']} ms before"
    elif reason in (Reason.IMBALANCE, Reason.NONE, Reason.NO_ASK, Reason.UNPROFITABLE):
        held, other = shares_words(values["position_micro"]), shares_words(values["other_position_micro"])
        detail = f"{book}; held {held}, of the other {other}"
    elif reason is Reason.CASH:
        values["limit_dollars"] = risk.get("max_cash_dollars")
        detail = f"{values['committed_dollars']:.2f} of {values['limit_dollars']} dollars spent and bid for"
    elif reason is Reason.ORDER_LIMIT:
        values["limit_orders"], values["limit_shares"] = (
            risk.get("max_open_orders"),
            risk.get("max_order_shares"),
        )
        detail = (
            f"{values['live_orders']} of {values['limit_orders']} open, {values['limit_shares']} shares each"
        )
    elif reason is Reason.RATE_LIMIT:
        values["limit_per_second"] = risk.get("orders_per_second")
        detail = f"{values['limit_per_second']} a second, {risk.get('orders_burst')} at once"
    return f"{words}: {detail}", values
