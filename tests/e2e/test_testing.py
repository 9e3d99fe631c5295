"""`invmm.testing` as authors of other bots meet it: the documented example, the class, the command."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from invmm import testing
from invmm.errors import ConfigError, TransportError, VenueError
from invmm.sim.access import AccessRules
from invmm.testing import Series, TestVenue
from invmm.venue.auth import l2_headers

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


def test_the_documented_examples_run_as_they_stand(capsys: pytest.CaptureFixture[str]) -> None:
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, str(PAGE), "exec"), {"__name__": "example"})
    told = capsys.readouterr().out
    assert "the bot sees:" in told
    assert re.search(r"next: btc-updown-5m-\d{10}\n", told)


def test_the_page_names_everything_that_a_venue_gives() -> None:
    page = PAGE.read_text()
    names = [name for name in vars(TestVenue) if not name.startswith("_") and name not in ("start", "stop")]
    missing = [name for name in names if name not in page and name != "facts"]
    assert not missing


def test_the_command_prints_what_a_bot_needs_and_stops_when_told() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "invmm.testing", "--series", "eth-updown-15m", "--light", "--speed", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        with urllib.request.urlopen(told["url"] + "/markets?closed=false", timeout=10) as answer:
            markets = json.loads(answer.read())
        assert all(one["slug"].startswith("eth-updown-15m-") for one in markets)
        assert (told["chain_id"], told["series"], told["speed"]) == (137, ["eth-updown-15m"], 2.0)
        assert set(told) >= {"private_key", "address", "api_key", "api_secret", "api_passphrase", "pid"}
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(told["url"] + "/time", timeout=2)


def test_the_command_refuses_what_makes_no_sense(capsys: pytest.CaptureFixture[str]) -> None:
    assert testing.main(["--series", "bitcoin"]) == 2
    assert "expected a slug such as btc-updown-5m" in capsys.readouterr().err


def test_a_seed_gives_an_account_and_markets_and_the_clock_jumps() -> None:
    with TestVenue(light=True, seed=4, start_s=1_795_260_000) as venue:
        first = (venue.address, venue.market().condition_id, venue.market(1).condition_id)
        before = venue.now_s()
        assert venue.advance(100) - before >= 100
        assert venue.now_s() - before >= 100
        assert abs(venue.clock().now_ns() / 1e9 - venue.now_s()) < 2
        venue.add_series(Series("sol-updown-15m", tape="light", generation="v2"))
        assert venue.market(series="sol-updown-15m").exchange == "v3"
        with pytest.raises(VenueError, match="unknown fault"):
            venue.fault("earthquake")
    with TestVenue(light=True, seed=4, start_s=1_795_260_000) as again:
        assert (again.address, again.market().condition_id, again.market(1).condition_id) == first


def test_a_calibrated_market_is_made_beside_the_venue() -> None:
    with TestVenue(Series("btc-updown-5m", count=1), start_s=1_795_260_000, speed=0.1) as venue:
        market = venue.market(timeout_s=120)
        with urllib.request.urlopen(f"{venue.url}/book?token_id={market.up_token_id}", timeout=10) as answer:
            book = json.loads(answer.read())
        assert len(book["bids"]) > 10
        assert len(book["asks"]) > 10
        assert len(venue.listed()) == 1


def test_a_venue_without_the_window_that_is_asked_for_says_so() -> None:
    with (
        TestVenue(Series("btc-updown-5m", tape="light", count=1)) as venue,
        pytest.raises(TransportError, match="expected window 5 to open within"),
    ):
        venue.market(5, timeout_s=0.2)
    with pytest.raises(ConfigError, match="private"):
        TestVenue(private_key="0x12")


def test_rules_of_access_may_be_told() -> None:
    def status(late_s: int) -> int:
        stamp = int(time.time()) - late_s
        headers = l2_headers(venue.credentials, venue.address, "GET", "/data/orders", None, stamp)
        request = urllib.request.Request(venue.url + "/data/orders", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    with TestVenue(light=True, access=AccessRules(tolerance_s=30.0)) as venue:
        assert [status(0), status(60)] == [200, 401]
