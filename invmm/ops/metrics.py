"""Figures for Prometheus on loopback: `http://127.0.0.1:PORT/metrics`.

The engine's thread takes a picture of itself now and then (`Metrics.update`), and the server's thread shows
the last one: a scrape never touches what trades. `invmm_picture_age_seconds` tells how old it is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from invmm.errors import ConfigError
from invmm.journal_types import RECORD_BYTES
from invmm.types import MICRO, Mode, Outcome, Reason

if TYPE_CHECKING:
    from invmm.engine import Engine
    from invmm.execution.journal import SessionJournal
    from invmm.execution.risk import Risk
    from invmm.feed.pair import MarketStream
    from invmm.feed.price import PriceFeed
    from invmm.feed.user import UserFeed
    from invmm.market import Market

GAUGE, COUNTER = GaugeMetricFamily, CounterMetricFamily
Sample = tuple[dict[str, str], float]

FAMILIES: dict[str, tuple[Any, str]] = {
    "invmm_mode": (GAUGE, "1 for the mode that the engine is in (running, paused, stopped)"),
    "invmm_alarms": (COUNTER, "alarms since the start"),
    "invmm_kill_level": (GAUGE, "0 none, 1 no new risk, 2 cancel everything, 3 end"),
    "invmm_trips": (COUNTER, "how often a loss or a breaker spoke, by reason"),
    "invmm_committed_dollars": (
        GAUGE,
        "cash in positions and bids of all markets, unmerged pairs included",
    ),
    "invmm_loss_day_dollars": (GAUGE, "loss of this UTC day at worst; below 0: a profit"),
    "invmm_refusals": (COUNTER, "placements refused, by reason: at the account, or last before the socket"),
    "invmm_journal_records": (COUNTER, "journal records written since the start, by stream"),
    "invmm_journal_refused": (COUNTER, "journal records that found no room, by stream"),
    "invmm_journal_room_bytes": (GAUGE, "what can be written before another file is needed, by stream"),
    "invmm_journal_unsynced_bytes": (GAUGE, "what a loss of power might lose, by stream"),
    "invmm_journal_sync_lag_seconds": (GAUGE, "age of the oldest record that is not on disk, engine time"),
    "invmm_position_shares": (GAUGE, "shares held, provisional fills included"),
    "invmm_position_shares_worst": (GAUGE, "least and most shares that may be held once all is settled"),
    "invmm_pairs": (GAUGE, "matched pairs held, shares"),
    "invmm_pair_cost_dollars": (GAUGE, "average cost of a pair"),
    "invmm_profit_dollars": (GAUGE, "profit by part, with what is held at its worth so far"),
    "invmm_orders": (GAUGE, "own orders that may be alive, by state"),
    "invmm_placed_orders": (COUNTER, "placements handed over"),
    "invmm_fills": (COUNTER, "fill legs heard of"),
    "invmm_failed_fills": (COUNTER, "fill legs that the chain refused"),
    "invmm_frames": (COUNTER, "market messages"),
    "invmm_decode_failures": (COUNTER, "market messages that were refused"),
    "invmm_solves": (COUNTER, "solves, and buffers that did not deserve one"),
    "invmm_reasons": (COUNTER, "how often a quote was prevented or ended, by reason"),
    "invmm_not_quoted": (GAUGE, "1 where a token is not quoted now, by reason"),
    "invmm_feed_age_seconds": (GAUGE, "time since the last message of a feed, engine time"),
    "invmm_feed_reconnects": (COUNTER, "reconnects of a feed"),
    "invmm_fair_up": (GAUGE, "what Up is worth to the model of the settlement, where it says anything"),
    "invmm_fair_known": (GAUGE, "1 for what the model of the settlement knows, or why it says nothing"),
    "invmm_price_age_seconds": (GAUGE, "age of the underlying's price that the model rests on, engine time"),
    "invmm_strike_dollars": (GAUGE, "the strike as far as it is known, by where it is from"),
    "invmm_prices": (COUNTER, "prices of the underlying told to a market, by whether they were taken"),
    "invmm_price_messages": (
        COUNTER,
        "on a price socket: bad, left out, lost, refusals by code",
    ),
    "invmm_requests": (COUNTER, "requests to the venue, by kind"),
    "invmm_answers": (COUNTER, "answers of the venue, by HTTP status"),
    "invmm_unknown": (COUNTER, "requests whose fate was unknown after the deadline"),
    "invmm_venue_mode": (GAUGE, "the venue's mode: 0 running … 4 halted"),
    "invmm_missed_heartbeats": (GAUGE, "heartbeats to the venue that failed in a row"),
    "invmm_latency_seconds": (GAUGE, "latency by stage and quantile, real time"),
    "invmm_reconcile_passes": (COUNTER, "reconciliations, by outcome"),
}
"""Every family, its kind and what it means."""


class Metrics(Collector):
    """The last picture of an engine, for Prometheus.

    Parameters
    ----------
    port : int
        On 127.0.0.1; 0: a free one (`port` tells).

    Raises
    ------
    ConfigError
        The port is taken.
    """

    def __init__(self, port: int = 0) -> None:
        self._picture: dict[str, list[Sample]] = {}
        self._taken_s = time.monotonic()
        registry = CollectorRegistry()
        registry.register(self)
        self._server: WSGIServer
        self._thread: threading.Thread
        try:
            self._server, self._thread = start_http_server(port, "127.0.0.1", registry)
        except OSError as error:
            raise ConfigError(f"[metrics] port: {port} cannot be listened on: {error}") from error
        self.port = int(self._server.server_port)

    def close(self) -> None:
        """Stops serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def update(self, engine: Engine) -> None:
        """Takes a picture. On the engine's thread."""
        picture: dict[str, list[Sample]] = {}
        for name, labels, value in _of_engine(engine):
            picture.setdefault(name, []).append((labels, value))
        self._picture, self._taken_s = picture, time.monotonic()

    def collect(self) -> Iterable[Metric]:
        """For the registry. On the server's thread."""
        age = GaugeMetricFamily("invmm_picture_age_seconds", "how old these figures are, real time")
        age.add_metric([], time.monotonic() - self._taken_s)
        yield age
        for name, samples in self._picture.items():
            kind, what = FAMILIES[name]
            family = kind(name, what, labels=list(samples[0][0]))
            for labels, value in samples:
                family.add_metric(list(labels.values()), value)
            yield family


Figure = tuple[str, dict[str, str], float]


def _of_engine(engine: Engine) -> Iterator[Figure]:
    for mode in Mode:
        yield "invmm_mode", {"mode": mode.name.lower()}, float(engine.permission.mode is mode)
    yield "invmm_alarms", {}, len(engine.permission.alarms)
    yield from _of_risk(engine.risk)
    if engine.journal is not None:
        yield from _of_journal(engine.journal)
    for market in engine.markets.values():
        yield from _of_market(market)
        if market.asks_prices:
            yield from _of_fair(market)
    feeds: list[MarketStream | UserFeed | PriceFeed] = [*engine.feeds, *engine.prices.feeds.values()]
    if engine.user_feed is not None:
        feeds.append(engine.user_feed)
    for feed in feeds:
        stats, labels = feed.stats(), {"feed": feed.name}
        yield "invmm_feed_reconnects", labels, stats.reconnects
        if stats.data_age_ns is not None:
            yield "invmm_feed_age_seconds", labels, stats.data_age_ns / 1e9
    for price_feed in engine.prices.feeds.values():
        yield from _of_price_feed(price_feed)
    if engine.reconciler is not None:
        counts = engine.reconciler.stats
        for outcome in ("passes", "failed", "rejected"):
            yield "invmm_reconcile_passes", {"outcome": outcome}, getattr(counts, outcome)
    executor = getattr(engine.venue, "executor", None)
    if executor is not None:
        yield from _of_executor(executor)


def _of_risk(risk: Risk) -> Iterator[Figure]:
    found = risk.summary()
    yield "invmm_kill_level", {}, found["kill_level"]
    yield "invmm_committed_dollars", {}, found["committed"]
    yield "invmm_loss_day_dollars", {}, found["loss_day"]
    for reason, count in found["trips"].items():
        yield "invmm_trips", {"reason": reason.lower()}, count
    for reason, count in found["refusals"].items():
        yield "invmm_refusals", {"place": "account", "reason": reason.lower()}, count


def _of_journal(journal: SessionJournal) -> Iterator[Figure]:
    for stream, found in journal.figures().items():
        labels = {"stream": stream.name.lower()}
        yield "invmm_journal_records", labels, found.records
        yield "invmm_journal_refused", labels, found.refused
        yield "invmm_journal_room_bytes", labels, found.room * RECORD_BYTES
        yield "invmm_journal_unsynced_bytes", labels, found.unsynced * RECORD_BYTES
        yield "invmm_journal_sync_lag_seconds", labels, found.lag_ns / 1e9


def _of_market(market: Market) -> Iterator[Figure]:
    name, step, ledger = {"market": market.info.slug}, market.step, market.ledger
    for outcome in Outcome:
        labels = name | {"outcome": outcome.name.lower()}
        low, high = ledger.interval(outcome)
        yield "invmm_position_shares", labels, ledger.held_micro(outcome) / MICRO
        yield "invmm_position_shares_worst", labels | {"bound": "least"}, low / MICRO
        yield "invmm_position_shares_worst", labels | {"bound": "most"}, high / MICRO
        if reason := step.no_quote_reasons[outcome]:
            yield "invmm_not_quoted", labels | {"reason": Reason(reason).name.lower()}, 1
    yield "invmm_pairs", name, ledger.pairs_micro / MICRO
    if cost := ledger.pair_cost:
        yield "invmm_pair_cost_dollars", name, cost
    profit = ledger.settle(market.winner)
    for part in ("pair_edge", "orphans", "fees", "total"):
        yield "invmm_profit_dollars", name | {"part": part}, getattr(profit, part)
    counts, stats = step.registry.counts(), step.stats()
    states: dict[str, int] = {}
    for order in step.registry.orders_live():
        states[str(order["state"])] = states.get(str(order["state"]), 0) + 1
    for state in ("prepared", "sent", "live", "unknown"):
        yield "invmm_orders", name | {"state": state}, states.get(state, 0)
    yield "invmm_placed_orders", name, counts["orders"]
    yield "invmm_fills", name, counts["fills"]
    yield "invmm_failed_fills", name, counts["failed_legs"]
    yield "invmm_frames", name, stats["frames"]
    yield "invmm_decode_failures", name, sum(step.books.stats["decode_failures"].values())
    yield "invmm_solves", name | {"outcome": "solved"}, stats["solves"]
    yield "invmm_solves", name | {"outcome": "suppressed"}, stats["suppressed"]
    for number, count in stats["reasons"].items():
        yield "invmm_reasons", name | {"reason": Reason(number).name.lower()}, count


def _of_fair(market: Market) -> Iterator[Figure]:
    """What is known of the settlement, where it is modelled."""
    name, fair = {"market": market.info.slug}, market.step.stats()["fair"]
    yield "invmm_fair_known", name | {"state": fair["state"]}, 1
    if fair["up"] is not None:
        yield "invmm_fair_up", name, fair["up"]
        yield "invmm_price_age_seconds", name, fair["age_s"]
    if fair["strike"] is not None:
        yield "invmm_strike_dollars", name | {"from": fair["strike_from"]}, fair["strike"]
    yield "invmm_prices", name | {"outcome": "taken"}, fair["prices"]
    yield "invmm_prices", name | {"outcome": "refused"}, fair["refused"]


def _of_price_feed(feed: PriceFeed) -> Iterator[Figure]:
    counts = feed.messages.counts
    told = {"bad": counts.bad, "dropped": counts.dropped, "missed": counts.missed, **feed.messages.errors}
    for what, count in told.items():
        yield "invmm_price_messages", {"feed": feed.name, "what": what}, count


def _of_executor(executor: Any) -> Iterator[Figure]:
    found = executor.statistics()
    for kind, count in found.requests.items():
        yield "invmm_requests", {"kind": str(kind)}, count
    for status, count in found.answers.items():
        yield "invmm_answers", {"status": str(status)}, count
    yield "invmm_unknown", {}, found.unknown
    for reason, refused in found.refusals.items():
        yield "invmm_refusals", {"place": "gate", "reason": reason.lower()}, refused
    yield "invmm_venue_mode", {}, float(found.venue_mode)
    yield "invmm_missed_heartbeats", {}, found.missed_heartbeats
    for stage, summary in found.latency_ns.items():
        for quantile in ("p50", "p99", "p999"):
            if (value := summary.get(quantile)) is not None:
                yield "invmm_latency_seconds", {"stage": stage, "quantile": quantile}, value / 1e9
