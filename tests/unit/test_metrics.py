"""Figures for Prometheus: complete, on loopback, of the last picture."""

from __future__ import annotations

import http.client
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from invmm.clock import ReplayClock
from invmm.engine import Engine
from invmm.errors import ConfigError
from invmm.execution.executor import ExecutorStatistics
from invmm.execution.journal import SessionJournal
from invmm.journal_types import RECORD_BYTES, JournalKind, Stream
from invmm.ops.metrics import FAMILIES, Metrics, _of_executor
from invmm.ops.view import Health, render
from invmm.permission import AlarmKind
from invmm.replay.tape import MarketInfo
from invmm.settings import RiskSettings, Settings, StateSettings
from invmm.strategy.fair_value import price_event
from invmm.types import EVENT_DTYPE, EventKind, Mode, PriceFact, Side, VenueMode

NOW = 20_000 * 86_400 * 10**9
INFO = MarketInfo("btc-updown-5m-300", "0xab", "11", "22", 300, 600)
BOOK = (
    b'[{"event_type":"book","asset_id":"%s","market":"0xab","timestamp":"400000","hash":"","bids":'
    b'[{"price":"0.48","size":"100"}],"asks":[{"price":"0.52","size":"100"}]}]'
)


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    served = Metrics()
    yield served
    served.close()


def scraped(served: Metrics) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    assert answer.status == 200
    text = answer.read().decode()
    connection.close()
    return {
        family.name: {tuple(sorted(s.labels.items())): s.value for s in family.samples}
        for family in text_string_to_metric_families(text)
    }


def quoting() -> Engine:
    engine = Engine(seed=3)
    engine.add_market(INFO)
    for token in (b"11", b"22"):
        event = np.zeros(1, dtype=EVENT_DTYPE)
        frame = BOOK % token
        event["kind"], event["length"] = EventKind.FRAME, len(frame)
        engine.step(event, 400 * 10**9, frame)
    event["kind"] = EventKind.BUFFER_END
    engine.step(event, 400 * 10**9)
    return engine


def test_a_scrape_shows_the_last_picture(metrics: Metrics) -> None:
    engine = quoting()
    assert set(scraped(metrics)) == {"invmm_picture_age_seconds"}
    metrics.update(engine)
    found = scraped(metrics)
    market = ("market", INFO.slug)
    prepared = found["invmm_orders"][market, ("state", "prepared")]
    assert prepared > 0
    assert found["invmm_placed_orders"][(market,)] == prepared
    assert found["invmm_frames"][(market,)] == 2
    assert found["invmm_mode"][(("mode", Mode.PAUSED.name.lower()),)] == 1
    engine.permission.alarms.append("something")
    assert scraped(metrics)["invmm_alarms"][()] == 0  # of the picture, not of the engine
    metrics.update(engine)
    assert scraped(metrics)["invmm_alarms"][()] == 1


def test_every_figure_has_a_family() -> None:
    statistics = ExecutorStatistics(
        requests={"orders": 1}, answers={200: 1}, refused_by_pool=0, unknown=0, warm=1, connects=1, lost=0,
        waiting_cancels=0, venue_mode=VenueMode.RUNNING, venue_mode_changes=0, missed_heartbeats=0,
        throttle={}, alarms=0, signed_ahead={}, refusals={"OLD_BOOK": 3},
        latency_ns={"pop_to_write": {"p50": 1000, "p99": None}},
    )  # fmt: skip

    class Stands:
        def statistics(self) -> ExecutorStatistics:
            return statistics

    figures = list(_of_executor(Stands()))
    assert {name for name, _, _ in figures} <= set(FAMILIES)
    assert ("invmm_latency_seconds", {"stage": "pop_to_write", "quantile": "p50"}, 1e-6) in figures
    assert ("invmm_refusals", {"place": "gate", "reason": "old_book"}, 3) in figures


def test_what_is_known_of_the_settlement_is_shown(metrics: Metrics) -> None:
    engine = Engine(Settings.parse('[strategy]\npolicy = "pairs"\n'))
    info = replace(INFO, rule="average", average_s=60, asset="btc")
    market = engine.add_market(info)
    metrics.update(engine)
    name = ("market", INFO.slug)
    assert scraped(metrics)["invmm_fair_known"] == {(name, ("state", "no price")): 1}
    for at_s in range(-61, 10):
        ms = (info.start_s + at_s) * 1000
        engine.step(price_event(PriceFact.SPOT, market.number, ms, 65_000.0, ms * 10**6), ms * 10**6)
    metrics.update(engine)
    found = scraped(metrics)
    assert found["invmm_fair_known"] == {(name, ("state", "known")): 1}
    assert found["invmm_fair_up"][(name,)] == 0.5
    assert found["invmm_strike_dollars"] == {(("from", "observed"), name): 65_000.0}
    assert found["invmm_prices"][name, ("outcome", "taken")] == 71
    shown = io.StringIO()
    Console(file=shown, width=200).print(render(market, Health()))
    assert "settlement model 0.500" in shown.getvalue()
    assert "strike 65,000.00 $ (observed)" in shown.getvalue()


def test_kill_level_and_refusals_are_shown(metrics: Metrics) -> None:
    engine = Engine(Settings(risk=RiskSettings(max_total_dollars=1.0)), seed=3)
    engine.add_market(INFO)
    engine.risk.tick(NOW)
    metrics.update(engine)
    found = scraped(metrics)
    assert found["invmm_kill_level"][()] == 0
    assert found["invmm_loss_day_dollars"][()] == 0
    assert "invmm_refusals" not in found
    engine.risk.account.admit(0, Side.BUY, 2 * 10**10, NOW)
    engine.permission.alarm("a loss", AlarmKind.MARKET_LOSS)
    engine.permission.alarm("a stranger", AlarmKind.FOREIGN_ORDER)
    metrics.update(engine)
    found = scraped(metrics)
    assert found["invmm_kill_level"][()] == 1
    assert found["invmm_refusals"] == {(("place", "account"), ("reason", "total_cash")): 1}
    assert found["invmm_alarms"][()] == 2


def test_the_journal_is_shown_by_stream(metrics: Metrics, tmp_path: Path) -> None:
    clock = ReplayClock(NOW)
    state = StateSettings(journal_records=1_024)
    with SessionJournal(tmp_path, state, clock, background=False) as journal:
        engine = Engine(seed=3, journal=journal, clock=clock)
        journal.tend()
        for _ in range(3):
            journal.intents.append(JournalKind.NOTE, b"one record")
        clock.set(NOW + 10**9)
        metrics.update(engine)
        found = {name: values for name, values in scraped(metrics).items() if "journal" in name}
        intents, inputs = (("stream", "intents"),), (("stream", "inputs"),)
        before = journal.figures()[Stream.INTENTS]
        assert found["invmm_journal_records"][intents] == before.records >= 3
        assert found["invmm_journal_room_bytes"][intents] == before.room * RECORD_BYTES
        assert 0 < before.room < 2 * 1_024
        assert found["invmm_journal_unsynced_bytes"] == {intents: 3 * RECORD_BYTES, inputs: 0}
        assert found["invmm_journal_sync_lag_seconds"] == {intents: 1.0, inputs: 0.0}
        journal.tend()
        after = journal.figures()[Stream.INTENTS]
        assert (after.unsynced, after.lag_ns, after.records) == (0, 0, before.records)
        while journal.intents.append(JournalKind.NOTE, b"until there is no room"):
            pass
        metrics.update(engine)
        found = scraped(metrics)
        assert found["invmm_journal_room_bytes"][intents] == 0
        assert found["invmm_journal_refused"] == {intents: 1, inputs: 0}


def test_a_port_that_is_taken_is_a_clear_error(metrics: Metrics) -> None:
    with pytest.raises(ConfigError, match=rf"\[metrics\] port: {metrics.port} cannot be listened on"):
        Metrics(metrics.port)
