"""The feed over TLS, with a certificate made for the test; and what a venue that asks for patience gets."""

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from aiohttp import web

from invmm.clock import LiveClock
from invmm.feed.backoff import ReconnectBudget
from invmm.feed.connection import FeedSettings
from invmm.feed.market import MarketFeed
from invmm.feed.states import EndCause
from tests.e2e.feed_server import FAST, UP, Log, Server, until


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    tool = shutil.which("openssl")
    if tool is None:
        pytest.skip("needs the openssl command to make a certificate")
    files = folder / "certificate.pem", folder / "key.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    out = ["-out", str(files[0]), "-keyout", str(files[1])]
    subprocess.run([tool, "req", "-x509", *key, *subject, *out], check=True, capture_output=True)
    return files


@pytest.mark.parametrize("trusted", [True, False])
def test_feed_speaks_tls_and_refuses_a_certificate_that_it_does_not_trust(
    tmp_path: Path, trusted: bool
) -> None:
    public, private = certificate(tmp_path)

    async def body() -> None:
        server, log = Server(), Log()
        app = web.Application()
        app.router.add_get("/ws/market", server.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(public, private)
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        feed = MarketFeed(
            f"wss://127.0.0.1:{runner.addresses[0][1]}/ws/market",
            [UP],
            log.sink,
            LiveClock(),
            FAST,
            ssl_context=ssl.create_default_context(cafile=str(public)) if trusted else None,
            budget=ReconnectBudget(1000, 100.0),
        )
        feed.start()
        if trusted:
            await until(lambda: feed.is_live, "live over TLS")
        else:
            await until(lambda: EndCause.CONNECT in feed.stats().ends, "refusal")
            assert "CERTIFICATE_VERIFY_FAILED" in str(feed.last_error)
            assert log.told == []
        await feed.close()
        await runner.cleanup()

    asyncio.run(body())


def test_retry_after_of_a_busy_venue_is_obeyed() -> None:
    async def body() -> None:
        attempts: list[int] = []
        clock = LiveClock()

        async def busy(request: web.Request) -> web.StreamResponse:
            attempts.append(clock.now_ns())
            return web.Response(status=429, headers={"Retry-After": "1"})

        app = web.Application()
        app.router.add_get("/", busy)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        settings = FeedSettings(backoff_base_s=0.001, backoff_cap_s=0.002)
        feed = MarketFeed(
            f"ws://127.0.0.1:{runner.addresses[0][1]}/", [UP], Log().sink, clock, settings, draw=lambda: 0.0
        )
        feed.start()
        await until(lambda: len(attempts) == 2, "second attempt")
        assert attempts[1] - attempts[0] >= 900_000_000
        await feed.close()
        await runner.cleanup()

    asyncio.run(body())
