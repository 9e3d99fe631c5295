"""One market, one policy, one set of conditions: `play_trial` says what it came to.

Pure: equal arguments give an equal dictionary in any process. The engine, its limits and its settings are
those of live trading; conditions change what surrounds it. Every trial starts with an engine of its own, so
nothing is learnt from one market to the next.

>>> tape_of("generated:one")
Traceback (most recent call last):
invmm.errors.ConfigError: market: expected generated:SEED or generated:SEED@TOXICITY, found 'generated:one'
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from invmm.errors import ConfigError
from invmm.market import Market
from invmm.replay import queue_models
from invmm.replay.entrants import entrant
from invmm.replay.leads import leads_of
from invmm.replay.player import MS, Player, Prepared, venue_profile
from invmm.replay.result import MarketResult
from invmm.replay.tape import Tape, find, load
from invmm.replay.trial_series import SeriesWatch
from invmm.settings import Settings
from invmm.settlement.ledger import E10, TERMINAL, Leg
from invmm.types import MICRO, OrderStatus, Outcome, Reason, Side

HORIZONS_S: Final = (1, 5, 30)
SAMPLE_MS: Final = 250
LATENCY_MS: Final = 50.0
"""One way, from the decision to the venue's matching engine, and as much back. The bench `tick_to_order` puts
the 99th percentile of our own part (frame read to signed order written) at 0.6 to 4 ms; the rest of the 50 is
allowance for the way to the venue, which nobody has measured from here.
"""


@dataclass(frozen=True)
class Conditions:
    """What a market is played under; the defaults are those of a comparison's headline.

    Examples
    --------
    >>> Conditions().queue_model, Conditions(size_factor=5).size_factor
    ('conservative', 5)
    """

    queue_model: str = "conservative"
    """Of the venue: where cancelled shares stood (`invmm.replay.queue_models`)."""
    latency_ms: float = LATENCY_MS
    """One way to the venue, and the way of its answers, which are never faster than its feed."""
    taker_delay_ms: float = 150.0
    """Hold of orders that would match on entry: since 2026-09-04, by the venue's changelog."""
    failure_rate: float = 0.0
    """Share of matched trades whose settlement fails: the shares go back."""
    size_factor: float = 1
    """Own sizes, and with them every limit and the bankroll."""
    prices: bool = True
    """Whether policies that ask for it hear the price of the underlying, which generated markets have."""
    rebates: bool = False
    """Whether what makers are paid back counts as profit."""

    def __post_init__(self) -> None:
        try:
            queue_models.named(self.queue_model)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        for name, low, high in (
            ("latency_ms", 0.0, 5_000.0),
            ("taker_delay_ms", 0.0, 5_000.0),
            ("failure_rate", 0.0, 1.0),
            ("size_factor", 0.01, 100.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name}: expected {low:g} to {high:g}, found {value!r}")


@lru_cache(maxsize=1)
def tape_of(source: str | Path) -> Tape:
    """A market by its name. The last one is kept.

    Parameters
    ----------
    source : str or Path
        `generated:SEED`, `generated:SEED@TOXICITY`, or the path of a recorded file. TOXICITY, 0 to 10, scales
        the informed flow of a generated market: how readily takers hit stale quotes, and how far the others
        lean with what comes. 1 is the generator as it is.

    Raises
    ------
    ConfigError
        There is no such seed or toxicity.
    DataError
        The file is not there or cannot be read.
    """
    kind, colon, rest = str(source).partition(":")
    if not (colon and kind == "generated"):
        return load(find([source])[0])
    seed, at, toxicity = rest.partition("@")
    if not seed.isdecimal() or (at and not re.fullmatch(r"\d+(\.\d+)?", toxicity)):
        raise ConfigError(
            f"market: expected generated:SEED or generated:SEED@TOXICITY, found {str(source)!r}"
        )
    from invmm.sim.flow import DEFAULT_FLOW
    from invmm.sim.market import generate

    factor = float(toxicity or 1)
    if factor > 10:
        raise ConfigError(f"market: expected a toxicity of 0 to 10, found {str(source)!r}")
    if factor == 1:
        return generate(int(seed))
    flow = replace(
        DEFAULT_FLOW,
        informed_rate=DEFAULT_FLOW.informed_rate * factor,
        foresight_weight=DEFAULT_FLOW.foresight_weight * factor,
    )
    return generate(int(seed), settings=flow)


def sized(settings: Settings, factor: float) -> Settings:
    """Settings for own orders `factor` times as large: sizes, limits in shares and dollars, and the bankroll
    that risk aversion is measured by, so that a policy without a sense of scale trades the same in larger
    numbers.
    """
    if factor == 1:
        return settings
    tables = {
        "strategy": ("order_size", "min_merge_size"),
        "pairs": ("dollars_at_risk", "max_lead_shares"),
        "sim": ("collateral_dollars",),
        "risk": (
            "max_cash_dollars",
            "max_direction_shares",
            "max_gross_shares",
            "max_order_shares",
            "max_order_dollars",
            "max_total_dollars",
            "reserve_dollars",
            "max_loss_market_dollars",
            "max_loss_day_dollars",
        ),
    }
    scaled = {
        name: replace(table, **{key: getattr(table, key) * factor for key in keys})
        for name, keys in tables.items()
        for table in (getattr(settings, name),)
    }
    return replace(settings, **scaled)


def play_trial(
    tape: Tape,
    policy: str,
    settings: Settings | None = None,
    conditions: Conditions | None = None,
    seed: int = 1,
    *,
    series: bool = False,
) -> dict[str, Any]:
    """Plays one market with one policy; what it came to, as a dictionary that JSON can hold.

    Parameters
    ----------
    tape : Tape
        The market (`tape_of`).
    policy : str
        As in `invmm.replay.entrants`.
    settings : Settings, optional
        What every policy gets; the defaults if omitted.
    conditions : Conditions, optional
        Those of the headline if omitted.
    seed : int
        Of order salts, of the venue's jitter and of its failing settlements.
    series : bool
        Whether to add `series`: what the plots of a report are drawn from.

    Returns
    -------
    dict
        The figures of `docs/comparison.md`, flat but for `reasons` (counts by name) and `series`. Money in
        dollars, sizes in shares, markouts in cents per share. None where there is nothing to divide by.

    Raises
    ------
    ConfigError
        There is no such policy, parameter or model.
    """
    conditions = conditions or Conditions()
    who = entrant(policy)
    common = sized(who.settings(settings or Settings()), conditions.size_factor)
    if not conditions.prices:
        common = replace(common, price=replace(common.price, use=False))
    profile = venue_profile(common.sim)
    way_ns = round(conditions.latency_ms * MS)
    back_ns = max(way_ns, profile.feed_latency_ns)
    profile = replace(
        profile,
        queue_model=conditions.queue_model,
        order_latency_ns=way_ns,
        ack_latency_ns=back_ns,
        user_latency_ns=back_ns,
        taker_delay_ns=round(conditions.taker_delay_ms * MS),
        failure_rate=conditions.failure_rate,
    )
    watch = _Watch(SeriesWatch(tape) if series else None)
    player = Player(
        common,
        seed=seed,
        policy=who.policy,
        sample_ms=SAMPLE_MS,
        profile=profile,
        watch=watch,
        is_checking=False,
    )
    result = player.play(_prepared(tape, profile.feed_latency_ns))
    row = _figures(result, conditions, watch, player.commands)
    row = {"policy": who.text, "seed": seed, "digest": player.digest, **row}
    if watch.series is not None:
        row["series"] = watch.series.figures(result, conditions.rebates)
    return row


def _prepared(tape: Tape, feed_latency_ns: int) -> Prepared:
    """What playing needs of a tape; that of the last one is kept."""
    if not _LAST or _LAST[0].tape is not tape or _LAST[0].cut.feed_latency_ns != feed_latency_ns:
        _LAST[:] = [Prepared.of(tape, feed_latency_ns)]
    return _LAST[0]


_LAST: list[Prepared] = []


class _Watch:
    """Looks at the engine at every sample."""

    def __init__(self, series: SeriesWatch | None) -> None:
        self.series = series
        self.most_e10 = 0

    def __call__(self, now_ns: int, market: Market) -> None:
        account = market.step.account
        if account is not None:
            self.most_e10 = max(self.most_e10, account.figures()["committed_e10"] or 0)
        if self.series is not None:
            self.series.look(now_ns, market)


def _figures(result: MarketResult, conditions: Conditions, watch: _Watch, messages: int) -> dict[str, Any]:
    ledger, market, winner = result.ledger, result.tape.market, result.winner
    legs = ledger.standing
    leads = leads_of(legs, ledger.fee_rate_ppm)
    if winner is None:
        profit_e10 = round(ledger.settle(None).total * E10)
    else:
        profit_e10 = ledger.cash_e10(0, winner)
    fees_e10 = ledger.fees_micro * (E10 // MICRO)
    rebates = ledger.rebates_micro / MICRO
    bought, sold = (sum(leg.size_micro for leg in legs if leg.side == side) for side in Side)
    filled = bought + sold
    made = sum(leg.size_micro for leg in legs if not leg.taker)
    traded = _traded_micro(result.tape)
    pairs = leads.pairs_micro
    return {
        "market": _name(result.tape),
        "slug": market.slug,
        "origin": market.origin,
        "start_s": market.start_s,
        "winner": None if winner is None else winner.name.title(),
        "winner_inferred": bool(result.tape.meta.get("winner_inferred", False)),
        "reconciled": result.reconciled,
        "profit_e10": profit_e10 + (round(rebates * E10) if conditions.rebates else 0),
        "profit_dollars": profit_e10 / E10 + (rebates if conditions.rebates else 0.0),
        "pairs_dollars": leads.pairs_e10 / E10,
        "orphans_dollars": (profit_e10 + fees_e10 - leads.pairs_e10) / E10,
        "fees_dollars": -fees_e10 / E10,
        "rebates_dollars": rebates,
        "fills": len(legs),
        "failed_fills": sum(leg.status == OrderStatus.TRADE_FAILED for leg in ledger.legs.values()),
        "unsettled_fills": sum(leg.status not in TERMINAL for leg in legs),
        "orders": result.orders,
        "messages": messages,
        "messages_per_fill": _ratio(messages, len(legs)),
        "bought_shares": bought / MICRO,
        "sold_shares": sold / MICRO,
        "placed_shares": result.placed_micro / MICRO,
        "maker_shares": made / MICRO,
        "maker_share": _ratio(made, filled),
        "traded_shares": traded / MICRO,
        "own_share": _ratio(filled, traded),
        "pairs": pairs / MICRO,
        "pair_cost": _ratio(pairs * 10_000 - leads.pairs_e10 + leads.pair_fees_e10, pairs * 10_000),
        "pairs_at_or_above_one": leads.dear_micro / MICRO,
        "pairs_at_or_above_one_dollars": -leads.dear_e10 / E10,
        "final_imbalance_shares": leads.lead_micro / MICRO,
        "one_sided_share": _ratio(abs(leads.lead_micro), filled),
        "max_committed_dollars": watch.most_e10 / E10,
        **_markouts(result, legs),
        "reasons": {Reason(number).name.lower(): n for number, n in sorted(result.step["reasons"].items())},
    }


def _markouts(result: MarketResult, legs: list[Leg]) -> dict[str, Any]:
    """Of each horizon: cents per share that the fills' side moved our way, the shares and fills with a price
    then. At the resolution a share is worth a dollar or nothing.
    """
    out: dict[str, Any] = {}
    mids = result.mids if result.mids is not None else np.zeros(0, [("time_ns", "<i8"), ("up_mid", "<f8")])
    at = np.array([leg.time_ns for leg in legs], dtype=np.int64)
    size = np.array([leg.size_micro for leg in legs], dtype=np.float64) / MICRO
    paid = np.array([leg.price_e4 for leg in legs], dtype=np.float64) / 1e4
    is_up = np.array([leg.outcome == Outcome.UP for leg in legs], dtype=bool)
    sign = np.array([1.0 if leg.side == Side.BUY else -1.0 for leg in legs])
    for name in (*HORIZONS_S, "resolution"):
        if name == "resolution":
            later = np.full(len(legs), 0.0 if result.winner == Outcome.DOWN else 1.0)
            known = np.full(len(legs), result.winner is not None)
        else:
            index = np.searchsorted(mids["time_ns"], at + int(name) * 1_000_000_000)
            known = index < len(mids)
            later = np.zeros(len(legs))
            later[known] = mids["up_mid"][index[known]]
        worth = np.where(is_up, later, 1.0 - later)
        shares = float(size[known].sum())
        gain = float((sign * size * (worth - paid))[known].sum())
        label = name if name == "resolution" else f"{name}s"
        out[f"markout_{label}_cents"] = 100 * gain / shares if shares else None
        out[f"markout_{label}_shares"] = shares
        out[f"markout_{label}_fills"] = int(known.sum())
    return out


def _name(tape: Tape) -> str:
    """`generated:SEED`, or the slug of a recorded market."""
    seed = tape.meta.get("seed")
    return tape.market.slug if seed is None else f"generated:{seed}"


def _traded_micro(tape: Tape) -> int:
    """Shares that the tape's trades say were traded, whoever made them: without our own."""
    known = tape.meta.get("traded_micro")
    if known is None:
        known = sum(
            round(float(event["size"]) * MICRO)
            for frame in tape.frames()
            if b"last_trade_price" in frame
            for event in _events(frame)
            if event.get("event_type") == "last_trade_price"
        )
        tape.meta["traded_micro"] = known
    return int(known)


def _events(frame: bytes) -> list[dict[str, Any]]:
    told = orjson.loads(frame)
    return told if isinstance(told, list) else [told]


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
