"""What the REST client makes of answers that are not as documented: a typed error, no guess and no secret."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invmm import ApiCredentials, BlockingVenueClient, OrderSigner, Profile, VenueClient, loopback
from invmm.errors import ConfigError, InvmmError, TransportError, VenueError
from invmm.types import OrderStatus, Reason
from invmm.venue.client import OrderOutcome
from tests import markers
from tests.e2e.scripted_venue import SECRET, Reply, ScriptedVenue, Seen, http

KEY = markers.PRIVATE_KEY
API = ApiCredentials("9180014b-33c8-9240-a14b-bdca11c0a465", SECRET, "a passphrase of the account")
HTML = http(403, b"<!DOCTYPE html><title>Attention Required!</title>", "text/html")
TOKEN, CONDITION, ORDER = "7" * 77, "0x" + "cd" * 32, "0x" + "ab" * 32
Serve = Callable[[Callable[[Seen], Reply] | bytes], tuple[BlockingVenueClient, ScriptedVenue]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    opened: list[Any] = []

    def start(script: Callable[[Seen], Reply] | bytes) -> tuple[BlockingVenueClient, ScriptedVenue]:
        venue = ScriptedVenue(script if callable(script) else lambda seen: Reply(script))
        client = BlockingVenueClient(loopback(venue.port), OrderSigner(KEY), API, timeout_s=1.0)
        opened.extend((client, venue))
        return client, venue

    yield start
    for each in opened:
        each.close()


def ok(value: Any) -> bytes:
    return http(200, orjson.dumps(value))


def page(rows: list[Any], cursor: str) -> bytes:
    return ok({"data": rows, "next_cursor": cursor})


def order(price_e4: int = 4500) -> Any:
    return OrderSigner(KEY).sign(TOKEN, "BUY", price_e4, 20_000_000, tick_e4=100)


# ---- errors ----


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (http(400, b'{"error":"invalid nonce"}'), VenueError, "venue answered 400: invalid nonce"),
        (http(400, b'{"error_msg":"Invalid Heartbeat ID"}'), VenueError, "Invalid Heartbeat ID"),
        (http(425, b"service not ready", "text/plain"), VenueError, "425: service not ready"),
        (http(503, b'{"error":"Trading is currently disabled."}'), VenueError, "503: Trading is"),
        (HTML, TransportError, "expected an answer in JSON, found status 403 with 49 bytes"),
        (http(302, b"", extra="Location: http://127.0.0.1:1/\r\n"), TransportError, "found status 302"),
        (http(500, b""), TransportError, "found status 500"),
        (http(200, b"<html>", "text/html"), TransportError, "expected JSON, found 6 bytes"),
        (ok([1, 2]), TransportError, "expected an object with canceled, found a list of 2"),
        (ok({"canceled": "all"}), TransportError, "expected a list and a map of order ids"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", TransportError, "no answer within 1 s"),
        (b"what?\r\n\r\n", TransportError, "DELETE /cancel-all: "),
        (b"", TransportError, "no answer within 1 s"),
    ],
)
def test_a_cancel_without_a_documented_answer_is_an_error(
    serve: Serve, answer: bytes, kind: type[Exception], says: str
) -> None:
    client, venue = serve(answer)
    with pytest.raises(kind) as caught:
        client.cancel_all()
    assert says in str(caught.value)
    assert len(venue.seen) == 1  # whatever it was, it is not sent again


@pytest.mark.parametrize(
    ("call", "answer", "says"),
    [
        (lambda c: c.version(), ok({"version": "2"}), "expected an integer, found a str"),
        (lambda c: c.time_offset_ms(1), ok({"time": 1}), "expected unix seconds"),
        (lambda c: c.tick_size(TOKEN), ok({"minimum_tick_size": 0.00012}), "at most 4 decimals"),
        (lambda c: c.tick_size(TOKEN), ok({"minimum_tick_size": 0}), "expected 0.0001 to 0.5"),
        (lambda c: c.neg_risk(TOKEN), ok({"neg_risk": 0}), "expected true or false"),
        (lambda c: c.book(TOKEN), ok({"asset_id": "8", "bids": [], "asks": []}), "found another one"),
        (lambda c: c.book(TOKEN), ok({"asset_id": TOKEN, "bids": [7], "asks": []}), "a list of objects"),
        (lambda c: c.books([TOKEN]), ok([]), "expected a book of token"),
        (lambda c: c.market(CONDITION), ok({"c": ORDER, "t": [], "mts": 0.01, "mos": 5}), "another one"),
        (lambda c: c.market(CONDITION), ok({"c": CONDITION, "t": [], "mts": True, "mos": 5}), "decimals"),
        (lambda c: c.order(ORDER), ok({"id": CONDITION, "status": "LIVE"}), "found another one"),
        (lambda c: c.balance_allowance(), ok({"balance": 5}), "expected decimal texts"),
        (lambda c: c.balance_allowance(), ok({"balance": "5", "allowances": []}), "a map of spenders"),
        (lambda c: c.closed_only(), ok({"closed_only": "no"}), "expected true or false"),
        (lambda c: c.api_keys(), ok({"apiKeys": [1]}), "expected a list of keys"),
        (lambda c: c.create_api_key(), ok({"apiKey": "a", "secret": "b"}), "keys apiKey, secret"),
        (lambda c: c.heartbeat("a"), ok({"status": "ok"}), "expected a heartbeat id"),
        (lambda c: c.open_orders(), ok({"data": []}), "an object with data, next_cursor"),
        (lambda c: c.open_orders(), page(["row"], "LTE="), "expected a list of objects"),
        (lambda c: c.open_orders(), page([], ""), "expected a cursor"),
    ],
)
def test_an_answer_of_another_shape_names_what_was_expected(
    serve: Serve, call: Callable[[BlockingVenueClient], Any], answer: bytes, says: str
) -> None:
    client, _ = serve(answer)
    with pytest.raises(TransportError) as caught:
        call(client)
    assert says in str(caught.value)


def test_no_error_repeats_what_was_sent_to_prove_who_we_are(serve: Serve) -> None:
    def echo(seen: Seen) -> Reply:
        return Reply(http(401, orjson.dumps({"error": f"bad headers {seen.headers}"})))

    client, venue = serve(echo)
    for call in (client.cancel_all, client.open_orders, client.create_api_key, client.heartbeat):
        with pytest.raises(VenueError) as caught:
            call()
        sent = venue.seen[-1].headers
        told = repr(caught.value) + str(caught.value) + caught.value.text
        for name in ("poly_signature", "poly_passphrase", "poly_api_key"):
            assert name not in sent or sent[name] not in told, name
        assert caught.value.__cause__ is None
    (outcome,) = client.post_orders([order()])
    assert API.passphrase not in outcome.text
    assert SECRET not in repr(client)


@settings(max_examples=150, deadline=None)
@given(
    status=st.sampled_from([200, 201, 204, 301, 400, 401, 403, 404, 418, 425, 429, 500, 502, 503]),
    body=st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["error", "data", "next_cursor", "canceled", "not_canceled", "heartbeat_id"]
                    ),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=8,
        ).map(lambda value: json.dumps(value).encode()),
    ),
)
def test_every_answer_is_a_result_or_an_error_of_ours(status: int, body: bytes) -> None:
    from invmm.venue import rest

    class Canned(rest.Transport):
        async def send(self, *_: Any, **__: Any) -> rest.Answer:
            return rest.Answer(status, body, None, 1)

    async def ask() -> None:
        client = VenueClient(loopback(1), OrderSigner(KEY), API, read_attempts=1)
        client.transport = Canned(client.profile.rest_url)
        outcomes = await client.post_orders([order(4500), order(4600)])
        assert len(outcomes) == 2
        assert all(isinstance(outcome, OrderOutcome) for outcome in outcomes)
        for call in (
            client.cancel_all,
            client.open_orders,
            client.trades,
            client.version,
            client.heartbeat,
            client.balance_allowance,
            client.create_or_derive,
            client.api_keys,
            client.rate_limit_tier,
            lambda: client.order(ORDER),
            lambda: client.market(CONDITION),
            lambda: client.book(TOKEN),
            lambda: client.books([TOKEN]),
        ):
            with contextlib.suppress(InvmmError):
                await call()

    asyncio.run(ask())


# ---- orders ----


def test_an_order_is_sent_once_whatever_happens(serve: Serve) -> None:
    inserted = http(500, b'{"error":"could not insert order"}')
    for answer in (b"", HTML, inserted, http(429, b"Too Many Requests")):
        client, venue = serve(answer)
        (outcome,) = client.post_orders([order()])
        assert outcome.status == OrderStatus.UNKNOWN
        assert outcome.reason != Reason.NONE
        assert outcome.text
        assert len(venue.seen) == 1


def test_a_connection_that_is_cut_is_not_tried_again_with_an_order(serve: Serve) -> None:
    client, venue = serve(lambda seen: Reply(ok({"version": 2}) if seen.method == "GET" else b"", close=True))
    assert client.version() == 2
    (outcome,) = client.post_orders([order()])
    assert outcome.status == OrderStatus.UNKNOWN
    # None, when it met the end of the connection on its way; never two.
    assert [seen.method for seen in venue.seen].count("POST") <= 1


def test_what_is_signed_is_what_is_sent(serve: Serve) -> None:
    client, venue = serve(ok([]))
    first, second = order(4500), order(4600)
    client.post_orders([first, second])
    (seen,) = venue.seen
    assert seen.is_signed()
    assert seen.path == "/orders"
    assert seen.body == b"[" + first.body(API.api_key) + b"," + second.body(API.api_key) + b"]"
    with pytest.raises(TransportError):
        client.cancel([ORDER, CONDITION])
    assert venue.seen[-1].is_signed()
    assert venue.seen[-1].json() == [ORDER, CONDITION]


def test_legs_are_matched_by_id_whatever_their_order(serve: Serve) -> None:
    first, second, third = order(4500), order(4600), order(4700)

    def leg(order_id: str, **more: Any) -> dict[str, Any]:
        return {"success": True, "errorMsg": "", "orderID": order_id, "status": "live", **more}

    refused = leg("", status="", errorMsg="invalid post-only order: order crosses book")
    client, _ = serve(ok([leg(third.order_id), refused, leg(first.order_id, status="delayed")]))
    outcomes = client.post_orders([first, second, third])
    assert [outcome.status for outcome in outcomes] == [
        OrderStatus.DELAYED,
        OrderStatus.REJECTED,
        OrderStatus.LIVE,
    ]
    assert [outcome.text for outcome in outcomes] == ["", refused["errorMsg"], ""]


def test_many_cancels_go_in_requests_of_a_thousand_and_all_are_tried(serve: Serve) -> None:
    def script(seen: Seen) -> Reply:
        ids = seen.json()
        if len(venue.seen) == 1:
            return Reply(HTML)
        return Reply(ok({"canceled": ids, "not_canceled": {}}))

    client, venue = serve(script)
    ids = [f"0x{number:064x}" for number in range(2500)]
    with pytest.raises(TransportError):
        client.cancel(ids)
    assert [len(seen.json()) for seen in venue.seen] == [1000, 1000, 500]
    assert client.cancel(ids)["canceled"] == ids
    assert client.cancel([]) == {"canceled": [], "not_canceled": {}}


# ---- listings ----


def test_a_listing_is_read_to_its_end(serve: Serve) -> None:
    pages = {
        "MA==": page([{"id": "1"}], "MTAw"),
        "MTAw": page([{"id": "2"}], "MjAw"),
        "MjAw": page([], "LTE="),
    }

    def script(seen: Seen) -> Reply:
        cursor = seen.path.rpartition("next_cursor=")[2].replace("%3D", "=")
        return Reply(pages[cursor])

    client, venue = serve(script)
    assert [row["id"] for row in client.trades(after=5, before=9, market=CONDITION, id="t")] == ["1", "2"]
    assert all(seen.path.startswith(f"/data/trades?market={CONDITION}") for seen in venue.seen)
    assert "&after=5&before=9&id=t&" in venue.seen[0].path


def test_a_listing_that_turns_in_circles_ends(serve: Serve) -> None:
    turns = iter(["MTAw", "MjAw", "MTAw", "MjAw"])
    client, venue = serve(lambda seen: Reply(page([{}], next(turns))))
    with pytest.raises(TransportError, match="page 4 repeats or exceeds"):
        client.open_orders()
    assert len(venue.seen) == 3


def test_an_order_that_the_venue_does_not_show_is_looked_for_in_the_listing(serve: Serve) -> None:
    row = {"id": ORDER, "status": "MATCHED"}
    for first in (ok(None), ok({}), ok(""), http(200, b""), http(404, b'{"error":"order not found"}')):
        for listed, found in (([row], row), ([], None)):
            rest = page(listed, "LTE=")
            client, _ = serve(lambda seen, a=first, b=rest: Reply(a if "/data/order/" in seen.path else b))
            assert client.order(ORDER) == found


# ---- time ----


def test_a_read_is_made_again_as_the_venue_asks_but_not_for_ever(serve: Serve) -> None:
    answers = [http(503, b"", extra="Retry-After: 0\r\n"), HTML, ok({"version": 2})]
    client, venue = serve(lambda seen: Reply(answers[min(len(venue.seen), 3) - 1]))
    assert client.version() == 2
    assert len(venue.seen) == 3
    client, patient = serve(http(429, b'{"error":"Too Many Requests"}', extra="Retry-After: 60\r\n"))
    start = time.monotonic()
    with pytest.raises(VenueError, match="429"):
        client.version()
    assert time.monotonic() - start < 2  # a minute is beyond what the caller allowed
    assert len(patient.seen) == 1
    client, refused = serve(http(400, b'{"error":"no"}'))
    with pytest.raises(VenueError):
        client.version()
    assert len(refused.seen) == 1


def test_an_answer_that_stops_half_way_is_given_up(serve: Serve) -> None:
    client, _ = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n" + b"x" * 10)
    start = time.monotonic()
    with pytest.raises(TransportError, match="no answer within 1 s"):
        client.cancel_all()
    assert time.monotonic() - start < 3


def test_the_clock_offset_holds_the_truth(serve: Serve) -> None:
    client, _ = serve(lambda seen: Reply(ok(int(time.time() + 5.3))))
    found = client.clock_offset()
    assert abs(found.offset_ms - 5300) <= found.error_ms + 1
    assert found.error_ms < 500
    jumps = iter([100, 900, 100, 900, 100, 900])
    client, _ = serve(lambda seen: Reply(ok(next(jumps))))
    assert client.clock_offset().error_ms >= 500  # nothing in common: one sample says it all


# ---- size, TLS, life ----


def test_an_answer_without_end_is_cut_off(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("invmm.venue.rest.MAX_ANSWER_BYTES", 1000)
    client, _ = serve(ok({"version": 2, "more": "x" * 2000}))
    with pytest.raises(TransportError, match="more than 1000 bytes"):
        client.version()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1"
    more = f"-addext subjectAltName=IP:127.0.0.1 -keyout {folder}/key.pem -out {folder}/cert.pem"
    subprocess.run(["openssl", *make.split(), *more.split()], check=True, capture_output=True)
    return folder


def test_certificates_are_verified(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    venue = ScriptedVenue(lambda seen: Reply(ok({"version": 2})), tls=context)
    profile = loopback(venue.port, tls=True)
    with BlockingVenueClient(profile) as client, pytest.raises(TransportError, match=r"[Cc]ertificate"):
        client.version()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))  # trusted, as an operator would
    with BlockingVenueClient(profile) as client:
        assert client.version() == 2
    other = Profile("other", True, f"https://localhost:{venue.port}", profile.market_url, profile.user_url)
    with BlockingVenueClient(other) as client, pytest.raises(TransportError, match=r"[Hh]ostname"):
        client.version()
    venue.close()
    gc.collect()


def test_proxies_of_the_environment_are_not_used(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    client, _ = serve(ok({"version": 2}))
    assert client.version() == 2


def test_a_client_that_cannot_be_is_refused() -> None:
    signer = OrderSigner(KEY)
    with pytest.raises(ConfigError, match="address: expected the signer's"):
        VenueClient(loopback(1), signer, address="0x" + "11" * 20)
    with pytest.raises(ConfigError, match="chain id: expected 137"):
        VenueClient(loopback(1), OrderSigner(KEY, 0, None, 80002))
    with pytest.raises(ConfigError, match="timeout_s"):
        VenueClient(loopback(1), timeout_s=0)
    with BlockingVenueClient(loopback(1)) as client:
        with pytest.raises(ConfigError, match="expected a signer with the private key"):
            client.create_api_key()
        client.credentials = API
        with pytest.raises(ConfigError, match="expected a signer or an address"):
            client.cancel_all()


def test_a_client_that_nobody_closed_ends_quietly(serve: Serve) -> None:
    _, venue = serve(ok({"version": 2}))
    script = (
        "from invmm import BlockingVenueClient, loopback\n"
        f"client = BlockingVenueClient(loopback({venue.port}))\n"
        "print(client.version())\n"
        f"print(BlockingVenueClient(loopback({venue.port})).version())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n2\n", "")


def test_closing_ends_the_calls_that_wait_in_other_threads(serve: Serve) -> None:
    client, venue = serve(b"")
    ended: list[BaseException] = []

    def wait() -> None:
        try:
            client.cancel_all()
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while not venue.seen:
        time.sleep(0.01)
    client.close()
    thread.join(5)
    assert not thread.is_alive()
    assert len(ended) == 1
