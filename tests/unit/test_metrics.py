"""Figures for Prometheus: complete, on loopback, of the last picture."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from invmm.engine import Engine
from invmm.errors import ConfigError
from invmm.execution.executor import ExecutorStatistics
from invmm.ops.metrics import FAMILIES, Metrics, _of_executor
from invmm.replay.tape import MarketInfo
from invmm.types import EVENT_DTYPE, EventKind, Mode, VenueMode

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
        throttle={}, alarms=0, signed_ahead={}, refusals={},
        latency_ns={"pop_to_write": {"p50": 1000, "p99": None}},
    )  # fmt: skip

    class Stands:
        def statistics(self) -> ExecutorStatistics:
            return statistics

    figures = list(_of_executor(Stands()))
    assert {name for name, _, _ in figures} <= set(FAMILIES)
    assert ("invmm_latency_seconds", {"stage": "pop_to_write", "quantile": "p50"}, 1e-6) in figures


def test_a_port_that_is_taken_is_a_clear_error(metrics: Metrics) -> None:
    with pytest.raises(ConfigError, match=rf"\[metrics\] port: {metrics.port} cannot be listened on"):
        Metrics(metrics.port)
