"""`invmm doctor`, `status` and `cancel-all` as processes: at a venue on loopback, a scripted one and none."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from invmm import BlockingVenueClient, OrderSigner, VenueClient, loopback
from invmm.ops.cancel_all import cancel_and_verify
from invmm.testing import TestVenue
from tests.e2e.scripted_venue import Reply, ScriptedVenue, Seen, http

ROOT = Path(__file__).resolve().parents[2]
SHARE = 1_000_000
API = {"CLOB_API_KEY": "key", "CLOB_SECRET": "c2VjcmV0", "CLOB_PASS_PHRASE": "passphrase"}
ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"


@pytest.fixture(scope="module")
def venue() -> Iterator[TestVenue]:
    with TestVenue("btc-updown-5m", light=True, seed=7) as started:
        yield started


@pytest.fixture
def client(venue: TestVenue) -> Iterator[BlockingVenueClient]:
    signer = OrderSigner(venue.private_key)
    with BlockingVenueClient(venue.profile, signer, venue.credentials) as made:
        yield made
        made.cancel_all()


def place(client: BlockingVenueClient, venue: TestVenue, price_e4: int = 100, **more: Any) -> str:
    assert client.signer is not None
    token = venue.market().up_token_id
    order = client.signer.sign(token, "BUY", price_e4, 20 * SHARE, tick_e4=100, **more)
    (outcome,) = client.post_orders([order])
    assert outcome.text == ""
    return outcome.order_id


def invmm(*arguments: str, port: int | None = None, **environ: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command that sees these variables only."""
    clean = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LD_LIBRARY_PATH")}
    where = ["--profile", "loopback", "--port", str(port)] if port is not None else []
    done = subprocess.run(
        [sys.executable, "-m", "invmm.ops.cli", *arguments, *where],
        env={**clean, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def credentials_of(venue: TestVenue) -> dict[str, str]:
    """What a machine needs that may cancel: no private key."""
    key = venue.credentials
    return {
        "POLYMARKET_ADDRESS": venue.address,
        "CLOB_API_KEY": key.api_key,
        "CLOB_SECRET": key.secret,
        "CLOB_PASS_PHRASE": key.passphrase,
    }


def by_name(text: str) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in json.loads(text)["checks"]}


def test_doctor_passes_every_check_at_a_healthy_venue(venue: TestVenue) -> None:
    venue.market()
    code, out, _ = invmm("doctor", "--env", "--json", port=venue.port, PK=venue.private_key)
    checks = by_name(out)
    unwell = [check for check in checks.values() if check["status"] == "fail"]
    assert (code, unwell, json.loads(out)["ok"]) == (0, [], True)
    assert {"keys", "venue", "clock", "credentials", "wallet", "balance", "allowances", "geoblock"} <= set(
        checks
    )
    assert {name for name, check in checks.items() if check["status"] == "skip"} <= {"deployed"}
    assert checks["keys"]["facts"]["sources"]["private key"] == "environment PK"
    assert checks["balance"]["facts"]["balance_micro"] > 0
    assert any(name.startswith("market btc-updown-5m-") for name in checks)
    assert len(checks["latency order book"]["facts"]["round_trip_ms"]) == 8
    assert venue.private_key.removeprefix("0x") not in out
    assert venue.credentials.secret not in out


def test_doctor_names_what_is_wrong_and_the_fix(venue: TestVenue) -> None:
    profile = venue.profile.contracts
    venue.balance(collateral_micro=0, allowances={profile.exchange_v3: 0})
    venue.fault("geoblock")
    venue.fault("clock_offset", seconds=30)
    venue.fault("version", version=3)
    environ = {**credentials_of(venue), "PK": venue.private_key, "CLOB_PASS_PHRASE": "another"}
    other = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
    try:
        code, out, _ = invmm(
            "doctor",
            "--env",
            "--json",
            "--signature-type",
            "3",
            "--funder",
            other,
            port=venue.port,
            **environ,
        )
    finally:
        venue.clear()
        venue.balance(collateral_micro=10_000 * SHARE, allowances={profile.exchange_v3: (1 << 255)})
    checks = by_name(out)
    assert code == 1
    for name, found in {
        "venue": "expected order book version 2, found 3",
        "clock": "ahead",
        "credentials": "401",
        "wallet": "is no wallet of",
        "geoblock": "blocked in",
    }.items():
        assert (checks[name]["status"], found in checks[name]["detail"]) == ("fail", True), checks[name]
        assert checks[name]["fix"], name
    assert checks["balance"]["detail"] == "no credentials in force"


def test_doctor_sees_empty_pockets_and_missing_allowances(venue: TestVenue) -> None:
    spender = venue.profile.contracts.exchange_v3
    venue.balance(collateral_micro=0, allowances={spender: 0})
    try:
        code, out, _ = invmm("doctor", "--env", port=venue.port, PK=venue.private_key)
    finally:
        venue.balance(collateral_micro=10_000 * SHARE, allowances={spender: 1 << 255})
    assert code == 1
    lines = {line.split()[1]: line for line in out.splitlines() if line[:4] in ("pass", "fail", "skip")}
    assert lines["balance"].startswith("fail")
    assert "exchange V3" in lines["allowances"]
    assert out.splitlines()[-1].endswith("2 failed, 0 skipped")


def test_doctor_degrades_honestly_without_network_or_keys() -> None:
    code, out, _ = invmm("doctor", "--json", port=1)
    checks = by_name(out)
    assert code == 1
    assert checks["keys"]["status"] == checks["venue"]["status"] == "fail"
    assert "--env" in checks["keys"]["fix"]
    for name in ("clock", "credentials", "balance", "rate limits", "markets"):
        assert checks[name]["status"] == "skip"
        assert "could not be reached" in checks[name]["detail"]
    assert checks["latency market feed"]["status"] == "fail"
    assert checks["geoblock"]["status"] == "skip"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--profile", "loopback"], "expected --port N"),
        (["--port", "80"], "expected with --profile loopback only"),
        (["--profile", "loopback", "--port", "70000"], "expected 1 to 65535"),
        (["--config", "missing.toml"], "missing.toml"),
    ],
)
def test_a_venue_that_makes_no_sense_is_a_usage_error(arguments: list[str], expected: str) -> None:
    code, out, err = invmm("cancel-all", *arguments)
    assert (code, out) == (2, "")
    assert expected in err


def test_status_shows_orders_positions_and_trades(venue: TestVenue, client: BlockingVenueClient) -> None:
    resting = place(client, venue)
    bought = place(client, venue, 9900, order_type="FAK")
    venue.advance(10)  # the match is settled, so the balance has moved
    code, out, err = invmm("status", "--env", "--json", port=venue.port, **credentials_of(venue))
    assert out, err
    told = json.loads(out)
    assert (code, err, told["problems"]) == (0, "", [])
    assert [row["id"] for row in told["open_orders"]] == [resting]
    assert {row["taker_order_id"] for row in told["trades"]} == {bought}
    assert told["balance_micro"] < 10_000 * SHARE
    code, out, _ = invmm("status", "--env", port=venue.port, **credentials_of(venue))
    assert code == 0
    assert "1 open orders" in out


def test_status_says_what_it_could_not_learn(venue: TestVenue) -> None:
    wrong = {**credentials_of(venue), "CLOB_PASS_PHRASE": "another"}
    code, out, _ = invmm("status", "--env", "--json", port=venue.port, **wrong)
    told = json.loads(out)
    assert code == 1
    assert (told["open_orders"], told["trades"], told["balance_micro"]) == (None, None, None)
    assert [problem.split(":")[0] for problem in told["problems"]] == ["balance", "open orders", "trades"]


def test_cancel_all_needs_no_private_key_and_verifies(venue: TestVenue, client: BlockingVenueClient) -> None:
    ids = [place(client, venue, 100 * level) for level in (1, 2, 3)]
    code, out, err = invmm("cancel-all", "--env", "--json", port=venue.port, **credentials_of(venue))
    told = json.loads(out)
    assert (code, err, told["verified"], told["open"]) == (0, "", True, [])
    assert sorted(told["cancelled"]) == sorted(ids)
    code, out, _ = invmm("cancel-all", "--env", port=venue.port, **credentials_of(venue))
    assert (code, "verified: no open order" in out) == (0, True)


def test_cancel_all_of_one_token_leaves_the_other(venue: TestVenue, client: BlockingVenueClient) -> None:
    kept = place(client, venue)

    async def run() -> Any:
        async with VenueClient(venue.profile, None, venue.credentials, address=venue.address) as own:
            return await cancel_and_verify(own, token=venue.market().down_token_id, settle_s=0.1)

    assert asyncio.run(run()).is_verified
    assert [row["id"] for row in client.open_orders()] == [kept]


def test_cancel_all_outlasts_a_restart(venue: TestVenue, client: BlockingVenueClient) -> None:
    order_id = place(client, venue)
    venue.fault("http", status=425, body={"error": "service not ready"}, count=2)

    async def run() -> Any:
        async with VenueClient(venue.profile, None, venue.credentials, address=venue.address) as own:
            return await cancel_and_verify(own, settle_s=0.1)

    done = asyncio.run(run())
    assert (done.is_verified, done.cancelled, done.error) == (True, [order_id], "")


def test_cancel_all_that_is_not_proven_exits_with_four() -> None:
    row = {"id": "0x" + "ab" * 32, "status": "LIVE"}

    def script(seen: Seen) -> Reply:
        if seen.method == "DELETE":
            return Reply(http(200, b'{"canceled":[],"not_canceled":{}}'))
        return Reply(http(200, orjson.dumps({"data": [row], "next_cursor": "LTE="})))

    stubborn = ScriptedVenue(script)
    arguments = ["cancel-all", "--env", "--json", "--timeout", "1"]
    code, out, _ = invmm(*arguments, port=stubborn.port, POLYMARKET_ADDRESS=ADDRESS, **API)
    stubborn.close()
    told = json.loads(out)
    assert (code, told["verified"], told["open"]) == (4, False, [row["id"]])
    assert sum(seen.method == "DELETE" for seen in stubborn.seen) >= 2
    code, out, _ = invmm(*arguments, port=stubborn.port, POLYMARKET_ADDRESS=ADDRESS, **API)
    assert (code, json.loads(out)["verified"]) == (4, False)
    assert "Connect" in json.loads(out)["error"]


def test_an_order_that_lands_after_the_cancel_is_cancelled_too() -> None:
    late = {"id": "0x" + "ab" * 32, "status": "LIVE"}
    listings = [[], [late], [], []]
    cancels = 0

    def script(seen: Seen) -> Reply:
        nonlocal cancels
        if seen.method == "DELETE":
            cancels += 1
            return Reply(http(200, orjson.dumps({"canceled": [late["id"]] if cancels == 2 else []})))
        return Reply(http(200, orjson.dumps({"data": listings.pop(0), "next_cursor": "LTE="})))

    scripted = ScriptedVenue(script)

    async def run() -> Any:
        from invmm import ApiCredentials

        key = ApiCredentials("key", "c2VjcmV0", "passphrase")
        async with VenueClient(loopback(scripted.port), None, key, address=ADDRESS) as client:
            return await cancel_and_verify(client, settle_s=0.05)

    done = asyncio.run(run())
    scripted.close()
    assert (done.is_verified, done.cancelled, cancels, listings) == (True, [late["id"]], 2, [])


def test_credentials_are_fetched_kept_encrypted_and_enough_to_cancel(
    venue: TestVenue, client: BlockingVenueClient, tmp_path: Path
) -> None:
    order_id = place(client, venue)
    password, kept = tmp_path / "password", tmp_path / "kept.json"
    password.write_text("a password of the test\n")
    password.chmod(0o600)
    given = ["--password-file", str(password)]
    arguments = ["credentials", "--env", "--json", "--out", str(kept), *given]
    code, out, err = invmm(*arguments, port=venue.port, PK=venue.private_key)
    assert (code, err) == (0, "")
    assert json.loads(out)["address"] == venue.address
    assert kept.stat().st_mode & 0o777 == 0o600
    assert venue.credentials.secret not in kept.read_text() + out
    code, _, err = invmm(*arguments, port=venue.port, PK=venue.private_key)
    assert (code, "exists already" in err) == (2, True)
    arguments = ["cancel-all", "--json", "--credentials", str(kept), *given]
    code, out, _ = invmm(*arguments, port=venue.port)
    assert (code, json.loads(out)["cancelled"]) == (0, [order_id])


@pytest.mark.parametrize("command", ["credentials", "doctor", "status", "cancel-all"])
def test_each_command_explains_itself(command: str) -> None:
    code, out, _ = invmm(command, "--help")
    assert code == 0
    for option in ("--json", "--profile", "--port", "--config", "--env", "--keystore", "Exit codes"):
        assert option in out
