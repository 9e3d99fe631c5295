"""What the venue's answers prove about each order: total functions from HTTP status and body to verdicts.

Nothing here raises and nothing is guessed: whatever is not a documented, well-formed answer about this very
order is UNKNOWN, which counts as fully alive until somebody asks the venue.

    leg of a placement    LIVE, MATCHED, DELAYED, REJECTED(reason) or UNKNOWN(reason)
    the same bytes again  the same, with COPY_REFUSED(reason) for REJECTED
    id of a cancel        CANCELED (proof of death) or NOT_CANCELED (proof of nothing)

Reasons of UNKNOWN and NOT_CANCELED: UNAUTHORIZED (401, 403), GEOBLOCKED (403 of the region or the edge
network), THROTTLED (429), VENUE_MODE (425, 503 of a mode), IN_FLIGHT ("Duplicated"), otherwise TRANSPORT.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from invmm.execution.venue_mode import told_mode
from invmm.types import MICRO, OrderStatus, OrderType, Reason, Side


@dataclass(frozen=True, slots=True)
class Verdict:
    """About one leg. `filled_micro`: micro-shares that the answer says were filled on entry."""

    status: OrderStatus
    reason: Reason = Reason.NONE
    filled_micro: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """What an answer is compared with. `order_id` is 0x and 64 lower-case hex digits."""

    order_id: str
    side: int = Side.BUY
    order_type: int = OrderType.GTC
    size_micro: int = 0


UNKNOWN = Verdict(OrderStatus.UNKNOWN, Reason.TRANSPORT)
DUPLICATED = Verdict(OrderStatus.UNKNOWN, Reason.IN_FLIGHT)
"""An earlier copy of the same bytes is at the venue; what became of it only a query tells."""
EXPONENT_MAX = 18  # of a decimal number of shares: larger ones are not shares, and costly to expand

PLACED = {
    "live": OrderStatus.LIVE,
    "matched": OrderStatus.MATCHED,
    "delayed": OrderStatus.DELAYED,
}

# Texts of the venue's error table that refuse one order for good, in lower case. "Duplicated" is missing on
# purpose: it says that an earlier copy landed. So is every text of a 5xx answer.
REFUSALS: tuple[tuple[str, Reason], ...] = (
    ("order crosses book", Reason.VENUE_POST_ONLY),
    ("not enough balance", Reason.VENUE_BALANCE),
    ("not yet ready to process", Reason.VENUE_NOT_READY),
    ("lower than the minimum", Reason.BELOW_MIN_SIZE),
    ("breaks minimum tick size", Reason.VENUE_REJECTED),
    ("couldn't be fully filled", Reason.VENUE_REJECTED),
    ("no orders found to match", Reason.VENUE_REJECTED),
    ("invalid amounts", Reason.VENUE_REJECTED),
    ("invalid expiration", Reason.VENUE_REJECTED),
    ("invalid nonce", Reason.VENUE_REJECTED),
    ("invalid post-only order", Reason.VENUE_REJECTED),
    ("market not found", Reason.VENUE_REJECTED),
    ("no orderbook exists", Reason.VENUE_REJECTED),
)
# Texts that say that orders are signed for another version of the exchange: none will do.
VERSIONS = ("order_version_mismatch", "invalid order version")
# Texts that refuse the whole request, whatever is in it.
REQUEST_REFUSALS = (
    "invalid order payload",
    "too many orders in payload",
    "the order owner has to be the owner of the api key",
    "the order signer address has to be the address of the api key",
    "maker address not allowed",
    "' address banned",
    "in closed only mode",
)


def placed(code: int, body: bytes, asked: Sequence[Asked]) -> list[Verdict]:
    """Verdicts about the legs of a POST /orders, in their order.

    Parameters
    ----------
    code : int
        HTTP status; 0 when no answer came.
    body : bytes
        Of the answer, exactly as received.
    asked : sequence of Asked
        The legs as sent.
    """
    document = _parse(body)
    if code == 200 and isinstance(document, list):
        return _by_leg(document, asked)
    if code in (400, 404) and isinstance(document, dict) and isinstance(document.get("error"), str):
        return _whole(document["error"], asked)
    return [Verdict(OrderStatus.UNKNOWN, why_unknown(code, body))] * len(asked)


def resent(code: int, body: bytes, asked: Asked) -> Verdict:
    """Verdict about an order whose bytes were sent once more.

    A refusal of the copy is none of the original, which may be what refuses it (its balance): COPY_REFUSED,
    which ends an order only together with the original's own refusal.
    """
    (verdict,) = placed(code, body, [asked])
    if verdict.status == OrderStatus.REJECTED:
        return Verdict(OrderStatus.COPY_REFUSED, verdict.reason)
    return verdict


def why_unknown(code: int, body: bytes) -> Reason:
    """What an answer that is none about any leg says about the session."""
    if code == 401:
        return Reason.UNAUTHORIZED
    if code == 403:
        # The venue says it in JSON; a page of the edge network in front of it means the same to us.
        text = error_text(body)
        return Reason.GEOBLOCKED if not text or "restricted" in text.lower() else Reason.UNAUTHORIZED
    if code == 429:
        return Reason.THROTTLED
    if told_mode(code, body) is not None:
        return Reason.VENUE_MODE
    return Reason.TRANSPORT


def error_text(body: bytes) -> str:
    """The venue's own words in an answer, at most 160 printable characters; "" where there are none."""
    document = _parse(body)
    text = document.get("error") if isinstance(document, dict) else None
    if not isinstance(text, str):
        return ""
    return "".join(letter if letter.isprintable() else " " for letter in text[:160])


def canceled(code: int, body: bytes, order_ids: Sequence[str]) -> list[Verdict]:
    """Verdicts about the ids of a DELETE /orders, in their order."""
    listed, _ = canceled_ids(code, body)
    gone, kept = set(listed), Verdict(OrderStatus.NOT_CANCELED, why_unknown(code, body))
    return [Verdict(OrderStatus.CANCELED) if order_id in gone else kept for order_id in order_ids]


def canceled_ids(code: int, body: bytes) -> tuple[list[str], bool]:
    """Ids that an answer to a cancel proves dead, in its order, and whether it is an answer at all.

    An id that the same answer also lists as not cancelled is proof of nothing.
    """
    document = _parse(body)
    if code != 200 or not isinstance(document, dict):
        return [], False
    listed, kept = document.get("canceled"), document.get("not_canceled", {})
    if not isinstance(listed, list) or not isinstance(kept, dict | type(None)):
        return [], False
    alive = {str(order_id).lower() for order_id in kept or {}}
    gone = [order_id.lower() for order_id in listed if isinstance(order_id, str)]
    return [order_id for order_id in gone if order_id not in alive], True


def _parse(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _by_leg(answers: list[Any], asked: Sequence[Asked]) -> list[Verdict]:
    """By id where an answer has one; by place only among answers without id, if nothing is missing."""
    verdicts = [UNKNOWN] * len(asked)
    place_of = {leg.order_id: place for place, leg in enumerate(asked)}
    ids = [_id_of(answer) for answer in answers]
    times = Counter(ids)
    for answer, order_id in zip(answers, ids, strict=True):
        if order_id in place_of:
            place = place_of[order_id]
            # Two answers about one leg contradict each other, or repeat: only the query can tell.
            verdicts[place] = _leg(answer, asked[place]) if times[order_id] == 1 else UNKNOWN
    if len(answers) == len(asked):
        for place, (answer, order_id) in enumerate(zip(answers, ids, strict=True)):
            if order_id == "" and asked[place].order_id not in times:
                verdicts[place] = _leg(answer, asked[place])
    return verdicts


def _id_of(answer: Any) -> str | None:
    """The answer's order id in lower case, "" if it has none, None if it is no answer."""
    if not isinstance(answer, dict):
        return None
    order_id = answer.get("orderID", "")
    return order_id.lower() if isinstance(order_id, str) else None


def _leg(answer: dict[str, Any], asked: Asked) -> Verdict:
    text, status = answer.get("errorMsg", ""), answer.get("status", "")
    if not isinstance(text, str) or not isinstance(status, str):
        return UNKNOWN
    if text:
        return _refusal(text)
    if answer.get("success") is not True or not answer.get("orderID"):
        return UNKNOWN
    if status in PLACED:
        return Verdict(PLACED[status], filled_micro=_filled(answer, asked) if status == "matched" else 0)
    if status == "unmatched" and asked.order_type in (OrderType.FOK, OrderType.FAK):
        return Verdict(OrderStatus.REJECTED, Reason.VENUE_REJECTED)
    return UNKNOWN


def _whole(text: str, asked: Sequence[Asked]) -> list[Verdict]:
    """A refusal of the request: about all legs, about the one it names, or about the only one."""
    lower = text.lower()
    if any(known in lower for known in VERSIONS):
        return [Verdict(OrderStatus.REJECTED, Reason.VENUE_VERSION)] * len(asked)
    if any(known in lower for known in REQUEST_REFUSALS):
        return [Verdict(OrderStatus.REJECTED, Reason.VENUE_REJECTED)] * len(asked)
    verdict = _refusal(text)
    if len(asked) == 1:
        return [verdict]
    return [verdict if leg.order_id in lower else UNKNOWN for leg in asked]


def _refusal(text: str) -> Verdict:
    lower = text.lower()
    if "order match delayed" in lower:
        return Verdict(OrderStatus.DELAYED)
    if any(known in lower for known in VERSIONS):
        return Verdict(OrderStatus.REJECTED, Reason.VENUE_VERSION)
    if "duplicated" in lower:
        return DUPLICATED
    for known, reason in REFUSALS:
        if known in lower:
            return Verdict(OrderStatus.REJECTED, reason)
    return UNKNOWN


def _filled(answer: dict[str, Any], asked: Asked) -> int:
    """Micro-shares filled on entry.

    The venue writes decimal shares; documents also show micro-shares. A number that cannot be shares of this
    order is taken as micro-shares, and one that can be neither as nothing.
    """
    text = answer.get("takingAmount" if asked.side == Side.BUY else "makingAmount", "")
    if not isinstance(text, str) or not text or len(text) > 40:
        return 0
    try:
        shares = Decimal(text)
    except InvalidOperation:
        return 0
    if not shares.is_finite() or shares < 0 or shares.adjusted() > EXPONENT_MAX:
        return 0
    for micro in (int(shares * MICRO), int(shares)):
        if micro <= asked.size_micro:
            return micro
    return 0
