"""The executor over TLS on loopback, with a throw-away certificate."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from invmm._ext.l2 import L2Signer
from invmm._ext.sign import OrderSigner
from invmm._ext.template import OrderTemplate
from invmm.clock import LiveClock
from invmm.execution.connections import Endpoint
from invmm.execution.executor import Executor
from invmm.settings import ExecutorSettings
from invmm.types import COMMAND_DTYPE, EVENT_DTYPE, CommandFlag, CommandKind, OrderStatus
from tests import markers
from tests.e2e.certificates import certificate as certificate
from tests.e2e.scripted_venue import SECRET, Reply, ScriptedVenue, Seen, http

SIGNER = OrderSigner(markers.PRIVATE_KEY)
SETTINGS = ExecutorSettings(connections=2, wait="park", connect_timeout_ms=2000)


@pytest.fixture
def venue(certificate: tuple[Path, Path]) -> Iterator[ScriptedVenue]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def script(seen: Seen) -> Reply:
        assert seen.is_signed()
        if seen.method == "DELETE":
            body = orjson.dumps({"canceled": seen.json(), "not_canceled": {}})
        else:
            refused = {"success": True, "errorMsg": "invalid expiration", "orderID": "", "status": ""}
            body = orjson.dumps([refused] * len(seen.json()))
        return Reply(http(200, body), pieces=3)

    server = ScriptedVenue(script, tls=context)
    yield server
    server.close()


def executor_for(
    venue: ScriptedVenue, tls: ssl.SSLContext, settings: ExecutorSettings = SETTINGS
) -> Executor:
    endpoint = Endpoint("127.0.0.1", venue.port, tls)
    executor = Executor(
        endpoint, L2Signer("key", SECRET, markers.PASSPHRASE, SIGNER.address), LiveClock(), settings
    )
    executor.set_template(0, 0, OrderTemplate(SIGNER, "123", "v2", "key"))
    executor.start()
    return executor


def collect(executor: Executor, count: int) -> list[OrderStatus]:
    out, seen, end = np.zeros(64, EVENT_DTYPE), [], time.monotonic() + 10
    while len(seen) < count:
        assert time.monotonic() < end, seen
        got = executor.poll(0, out)
        seen += [OrderStatus(status) for status in out["status"][:got]]
        time.sleep(0.001)
    return seen


def test_orders_and_cancels_travel_encrypted(venue: ScriptedVenue, certificate: tuple[Path, Path]):
    executor = executor_for(venue, ssl.create_default_context(cafile=str(certificate[0])))
    try:
        assert executor.wait_warm(10)
        legs = np.zeros(15, COMMAND_DTYPE)
        legs["kind"], legs["key"], legs["salt"] = CommandKind.PLACE, np.arange(1, 16), np.arange(1, 16)
        legs["price_e4"], legs["size_micro"], legs["flags"][-1] = 4000, 5_000_000, CommandFlag.LAST
        assert executor.submit(legs, 0) == 15
        assert collect(executor, 30) == [OrderStatus.SENT] * 15 + [OrderStatus.REJECTED] * 15
        cancels = np.zeros(600, COMMAND_DTYPE)
        cancels["kind"], cancels["order_id"] = CommandKind.CANCEL, b"\x05" * 32
        cancels["flags"][-1] = CommandFlag.LAST
        assert executor.submit(cancels, 0) == 600
        assert collect(executor, 600) == [OrderStatus.CANCELED] * 600
        assert sum(len(seen.json()) for seen in venue.seen if seen.method == "DELETE") == 600
    finally:
        executor.close()
    assert executor.error is None


def test_rehearsals_never_reach_the_venue(venue: ScriptedVenue, certificate: tuple[Path, Path]):
    tls = ssl.create_default_context(cafile=str(certificate[0]))
    executor = executor_for(venue, tls, replace(SETTINGS, wait="spin-park", rehearse_ms=1))
    try:
        assert executor.wait_warm(10)
        end = time.monotonic() + 10
        while executor.intake.rehearsals < 5 and time.monotonic() < end:
            time.sleep(0.005)
        assert executor.intake.rehearsals >= 5
        assert venue.seen == []
        leg = np.zeros(1, COMMAND_DTYPE)
        leg["kind"], leg["key"], leg["salt"], leg["flags"] = CommandKind.PLACE, 1, 1, CommandFlag.LAST
        leg["price_e4"], leg["size_micro"] = 4000, 5_000_000
        assert executor.submit(leg, 0) == 1
        assert collect(executor, 2) == [OrderStatus.SENT, OrderStatus.REJECTED]
        assert [len(seen.json()) for seen in venue.seen] == [1]
    finally:
        executor.close()
    assert executor.error is None


def test_a_certificate_that_nobody_vouches_for_is_refused(venue: ScriptedVenue):
    executor = executor_for(venue, ssl.create_default_context())
    try:
        assert not executor.wait_warm(0.3)
        errors = executor.last_errors()
        assert any("certificate" in error.lower() for error in errors), errors
    finally:
        executor.close()
    assert venue.seen == []
