"""A market as the venue lists it, twice: checked against itself and against arithmetic. Pure.

Gamma says what the market is about and when; the CLOB says how it trades. What both say must agree, the ids
are paired with outcomes by their labels and recomputed from the condition (`positions`), and everything that
is not as expected is a `Refusal` that names what was expected and what was found. A market with a refusal is
not traded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, Final

from invmm.errors import DataError
from invmm.replay.tape import MarketInfo
from invmm.types import MICRO, PRICE_ONE_E4
from invmm.venue.positions import is_v2_id, position_ids_v1, position_ids_v2
from invmm.venue.profile import Contracts, exchange_of_market
from invmm.venue.series import Window
from invmm.venue.settlement_rule import settlement_rule

LABELS: Final = (("Up", "Down"), ("Yes", "No"))
TICKS_E4: Final = (1, 10, 25, 50, 100, 1000)


class RefusalKind(StrEnum):
    """Why a market is not traded. The first group passes by itself, the second does not."""

    NOT_LISTED = "not listed"
    NOT_READY = "not ready"
    NOT_ACCEPTING = "not accepting orders"

    CLOSED = "closed"
    SHAPE = "unreadable listing"
    SLUG = "slug"
    CONDITION = "condition"
    VERSION = "version"
    NEG_RISK = "neg-risk"
    OUTCOMES = "outcomes"
    TOKENS = "tokens"
    IDS = "ids"
    TICK = "tick"
    MIN_SIZE = "minimum size"
    FEES = "fees"
    TIMES = "times"


PASSING: Final = frozenset({RefusalKind.NOT_LISTED, RefusalKind.NOT_READY, RefusalKind.NOT_ACCEPTING})


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason not to trade a market."""

    kind: RefusalKind
    text: str

    @property
    def passes(self) -> bool:
        """Whether asking again later makes sense."""
        return self.kind in PASSING

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


class NotTradableError(DataError):
    """A market that must not be traded; `refusals` says why."""

    def __init__(self, slug: str, refusals: tuple[Refusal, ...]) -> None:
        super().__init__(f"{slug}: not tradable: " + "; ".join(map(str, refusals)))
        self.slug = slug
        self.refusals = refusals


@dataclass(frozen=True, slots=True)
class Found:
    """What was found out about a window. Tradable when there is no refusal."""

    window: Window
    info: MarketInfo | None
    refusals: tuple[Refusal, ...] = ()
    version: str = ""
    taker_delay: bool = False
    closed: bool = False
    winner: str = ""  # label of the outcome that was paid, once the market is closed

    @property
    def tradable(self) -> bool:
        """Whether orders may be placed now."""
        return self.info is not None and not self.refusals

    def require(self) -> MarketInfo:
        """The market; NotTradableError when there is a refusal."""
        if self.info is None or self.refusals:
            raise NotTradableError(self.window.slug or self.window.condition_id, self.refusals)
        return self.info


class _Check:
    """Collects refusals while a listing is read."""

    def __init__(self) -> None:
        self.refusals: list[Refusal] = []

    def refuse(self, kind: RefusalKind, text: str) -> None:
        self.refusals.append(Refusal(kind, text[:700]))  # a listing may hold anything, also very much of it

    def equal(self, kind: RefusalKind, what: str, expected: object, found: object) -> bool:
        if expected == found:
            return True
        self.refuse(kind, f"{what}: expected {_short(expected)}, found {_short(found)}")
        return False


def read_market(
    window: Window, gamma: Mapping[str, Any], clob: Mapping[str, Any] | None, contracts: Contracts
) -> Found:
    """Reads both listings of one market.

    Parameters
    ----------
    window
        What was asked for; times of 0 and an empty slug or condition are not compared.
    gamma
        Gamma's market object.
    clob
        The answer of `/clob-markets/{condition}`; None while the CLOB does not know the market yet.
    contracts
        Of the chain that the market lives on.

    Never raises for what a listing says: every surprise is a refusal.
    """
    check = _Check()
    slug = _text(gamma.get("slug"))
    condition = _condition(gamma.get("conditionId"))
    if window.slug:
        check.equal(RefusalKind.SLUG, "Gamma's slug", window.slug, slug)
    if window.condition_id:
        check.equal(RefusalKind.CONDITION, "Gamma's condition", window.condition_id.lower(), condition)
    start_s, end_s = _times(check, window, gamma)
    closed = gamma.get("closed") is True
    gamma_tokens = _gamma_tokens(check, gamma)
    winner = _winner(gamma) if closed else ""
    if gamma.get("closed") is not False:
        check.refuse(RefusalKind.CLOSED, f"closed: expected False, found {_short(gamma.get('closed'))}")
    window = Window(slug or window.slug, start_s, end_s, condition or window.condition_id)
    if clob is None:
        check.refuse(RefusalKind.NOT_READY, "the CLOB does not know the market yet")
        return Found(window, None, tuple(check.refusals), closed=closed, winner=winner)

    check.equal(RefusalKind.CONDITION, "the CLOB's condition", condition, _condition(clob.get("c")))
    version = _version(check, gamma, clob)
    tokens = _clob_tokens(check, clob)
    labels = _labels(check, gamma_tokens, tokens)
    if labels is not None and version:
        _recompute(check, version, condition, [tokens[label] for label in labels], contracts)
    neg_risk = bool(clob.get("nr")) or bool(gamma.get("negRisk"))
    if neg_risk:
        # Their ids rest on another collateral, so they could not be recomputed: not traded.
        check.refuse(RefusalKind.NEG_RISK, "expected a market without neg-risk, found one with it")
    tick_e4 = _scaled(check, RefusalKind.TICK, "mts", clob.get("mts"), PRICE_ONE_E4)
    if tick_e4 and tick_e4 not in TICKS_E4:
        check.refuse(RefusalKind.TICK, f"mts: expected one of {TICKS_E4} (1e-4 dollars), found {tick_e4}")
    min_size_micro = _scaled(check, RefusalKind.MIN_SIZE, "mos", clob.get("mos"), MICRO)
    fee_rate, rebate_share = _fees(check, gamma, clob)
    accepting = gamma.get("acceptingOrders") is True and clob.get("ao") is True
    if not closed and not (
        accepting and gamma.get("active") is True and gamma.get("enableOrderBook") is True
    ):
        check.refuse(
            RefusalKind.NOT_ACCEPTING,
            "expected active, enableOrderBook, acceptingOrders and ao to be true, found "
            f"{gamma.get('active')!r}, {gamma.get('enableOrderBook')!r}, {gamma.get('acceptingOrders')!r}, "
            f"{clob.get('ao')!r}",
        )
    info = None
    if all(refusal.passes or refusal.kind is RefusalKind.CLOSED for refusal in check.refusals):
        assert labels is not None
        settled = settlement_rule(gamma)
        info = MarketInfo(
            slug=window.slug,
            condition_id=condition,
            up_token_id=tokens[labels[0]],
            down_token_id=tokens[labels[1]],
            start_s=start_s,
            end_s=end_s,
            tick_e4=tick_e4,
            min_size_micro=min_size_micro,
            fee_rate=fee_rate,
            rebate_share=rebate_share,
            origin="LISTED",
            exchange=str(exchange_of_market(version, neg_risk)),
            rule=settled.rule,
            average_s=settled.average_s,
            asset=settled.asset,
            strike=settled.strike,
        )
    return Found(
        window, info, tuple(check.refusals), version, clob.get("itode") is True, closed=closed, winner=winner
    )


def _times(check: _Check, window: Window, gamma: Mapping[str, Any]) -> tuple[int, int]:
    start_s, end_s = (_unix_s(gamma.get(key)) for key in ("eventStartTime", "endDate"))
    if not 0 < start_s < end_s:
        check.refuse(
            RefusalKind.TIMES,
            "expected eventStartTime before endDate, both ISO 8601 with an offset, found "
            f"{gamma.get('eventStartTime')!r} and {gamma.get('endDate')!r}",
        )
    elif window.start_s:
        check.equal(RefusalKind.TIMES, "window", (window.start_s, window.end_s), (start_s, end_s))
    return start_s, end_s


def _version(check: _Check, gamma: Mapping[str, Any], clob: Mapping[str, Any]) -> str:
    """ "v1" or "v2", as both listings say; "" with a refusal otherwise."""
    said = gamma.get("version"), clob.get("v")
    for name, version in zip(("Gamma's version", "the CLOB's v"), said, strict=True):
        if version not in ("v1", "v2"):
            check.refuse(RefusalKind.VERSION, f"{name}: expected 'v1' or 'v2', found {version!r}")
            return ""
    return str(said[0]) if check.equal(RefusalKind.VERSION, "the CLOB's v", *said) else ""


def _gamma_tokens(check: _Check, gamma: Mapping[str, Any]) -> dict[str, str]:
    """Label to id. The id at a place of the list belongs to the outcome at the same place."""
    field = "positionIds" if gamma.get("version") == "v2" else "clobTokenIds"
    labels, ids = _texts(gamma.get("outcomes")), _texts(gamma.get(field))
    if len(labels) != 2 or len(ids) != 2 or len(set(labels)) != 2:
        check.refuse(
            RefusalKind.OUTCOMES,
            f"Gamma's outcomes and {field}: expected two different outcomes and two ids, found "
            f"{_short(gamma.get('outcomes'))} and {_short(gamma.get(field))}",
        )
        return {}
    return dict(zip(labels, ids, strict=True))


def _clob_tokens(check: _Check, clob: Mapping[str, Any]) -> dict[str, str]:
    entries = clob.get("t")
    if isinstance(entries, list) and all(isinstance(entry, Mapping) for entry in entries):
        tokens = {_text(entry.get("o")): _text(entry.get("t")) for entry in entries}
        if len(tokens) == len(entries) == 2 and len(set(tokens.values())) == 2:
            return tokens
    check.refuse(
        RefusalKind.OUTCOMES,
        f"the CLOB's t: expected two different outcomes and ids, found {_short(entries)}",
    )
    return {}


def _labels(
    check: _Check, gamma_tokens: dict[str, str], clob_tokens: dict[str, str]
) -> tuple[str, str] | None:
    """The outcome that stands for Up and the other one, where both listings name the same ids for them."""
    if not gamma_tokens or not clob_tokens:
        return None
    for labels in LABELS:
        if set(labels) == set(clob_tokens):
            break
    else:
        expected = " or ".join("/".join(labels) for labels in LABELS)
        check.refuse(RefusalKind.OUTCOMES, f"expected {expected}, found {_short(list(clob_tokens))}")
        return None
    if check.equal(RefusalKind.TOKENS, "ids by outcome, Gamma against CLOB", gamma_tokens, clob_tokens):
        return labels
    return None


def _recompute(check: _Check, version: str, condition: str, ids: list[str], contracts: Contracts) -> None:
    try:
        if version == "v2":
            expected = position_ids_v2(condition)
        else:
            expected = position_ids_v1(condition, contracts.bridged_collateral)
        layouts = [is_v2_id(token_id) for token_id in ids]
    except ValueError as error:
        check.refuse(RefusalKind.IDS, str(error)[:300])
        return
    check.equal(RefusalKind.IDS, "ids of the first and the second outcome", expected, tuple(ids))
    check.equal(RefusalKind.IDS, "second-generation layout of the ids", [version == "v2"] * 2, layouts)


def _fees(check: _Check, gamma: Mapping[str, Any], clob: Mapping[str, Any]) -> tuple[float, float]:
    """Taker fee rate and the makers' share of it. No schedule at the CLOB means no fee."""
    charged, listed = clob.get("fd"), gamma.get("feeSchedule")
    if charged is None and not gamma.get("feesEnabled"):
        return 0.0, 0.0
    if not isinstance(charged, Mapping) or not isinstance(listed, Mapping):
        check.refuse(
            RefusalKind.FEES,
            f"expected fd and feeSchedule to be objects, found {_short(charged)} and {_short(listed)}",
        )
        return 0.0, 0.0
    for what, clob_key, gamma_key in (
        ("rate", "r", "rate"),
        ("exponent", "e", "exponent"),
        ("takers only", "to", "takerOnly"),
    ):
        said = listed.get(gamma_key), charged.get(clob_key)
        check.equal(RefusalKind.FEES, f"fee {what}, Gamma against CLOB", *said)
    rate, rebate = _share(charged.get("r")), _share(listed.get("rebateRate", 0))
    exponent, takers_only = charged.get("e"), charged.get("to")
    if rate is None or rebate is None or type(exponent) is bool or exponent != 1 or takers_only is not True:
        check.refuse(
            RefusalKind.FEES,
            "expected a rate and a rebate of 0 to 1, exponent 1, takers only, found "
            f"{_short(charged)} and {_short(listed)}",
        )
        return 0.0, 0.0
    return rate, rebate


def _winner(gamma: Mapping[str, Any]) -> str:
    """Label of the outcome whose final price is one, "" while the listing does not say."""
    labels, prices = _texts(gamma.get("outcomes")), _texts(gamma.get("outcomePrices"))
    if len(labels) != len(prices):
        return ""
    won = [label for label, price in zip(labels, prices, strict=True) if price in ("1", "1.0")]
    return won[0] if len(won) == 1 else ""


def _share(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    return None


def _scaled(check: _Check, kind: RefusalKind, key: str, value: object, unit: int) -> int:
    """A decimal number times `unit` when that is a whole number above 0, else 0 with a refusal."""
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise InvalidOperation
        scaled = Decimal(str(value)) * unit
        if 0 < scaled < 10**15 and scaled == scaled.to_integral_value():
            return int(scaled)
    except InvalidOperation:
        pass
    check.refuse(kind, f"{key}: expected a number above 0 in steps of 1/{unit}, found {_short(value)}")
    return 0


def _texts(value: object) -> list[str]:
    """A list of texts, also when it comes as JSON inside a text; empty when it is neither."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        return []
    return value


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _condition(value: object) -> str:
    """A condition id in the CLOB's spelling; 31 bytes of the second generation are padded on the right."""
    text = _text(value).lower()
    return text + "00" if len(text) == 64 else text


def _unix_s(value: object) -> int:
    try:
        when = datetime.fromisoformat(_text(value))
    except ValueError:
        return 0
    return int(when.timestamp()) if when.tzinfo is not None else 0


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 300 else text[:299] + "…"
