"""`--live`: says what it is about to do, refuses with numbered reasons, and nothing overrides that. What it
does when nothing speaks against it is in `test_live.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from invmm.clock import LiveClock
from invmm.errors import ConfigError
from invmm.execution.remote import RemoteVenue
from invmm.venue.auth import ApiCredentials, OrderSigner
from invmm.venue.profile import LIVE
from tests import markers

STATE = tempfile.TemporaryDirectory()
KEY = "0x" + markers.PRIVATE_KEY
SECRET, PASSPHRASE = markers.API_SECRET, markers.PASSPHRASE
IDENTITY = {
    "POLYMARKET_PRIVATE_KEY": KEY,
    "CLOB_API_KEY": "00000000-0000-0000-0000-000000000001",
    "CLOB_SECRET": SECRET,
    "CLOB_PASS_PHRASE": PASSPHRASE,
}


def live(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("INVMM_LIVE", "CLOB"))}
    kept["XDG_STATE_HOME"] = STATE.name
    return subprocess.run(
        [sys.executable, "-m", "invmm.run", "--live", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=kept | environ,
    )


@pytest.fixture(scope="module", autouse=True)
def state() -> Iterator[None]:
    with STATE:
        yield


def test_without_anything_it_refuses_with_every_reason_and_a_number_for_each() -> None:
    done = live()
    assert done.returncode == 3
    reasons = [line.strip() for line in done.stderr.splitlines() if line.strip()[:1].isdigit()]
    assert [reason.split(".")[0] for reason in reasons] == [str(n + 1) for n in range(len(reasons))]
    text = "\n".join(reasons)
    assert "not armed: expected INVMM_LIVE=yes-btc-updown-5m" in text
    assert "private key" in text or "credentials" in text


def test_what_it_would_do_is_said_before_the_reasons() -> None:
    done = live("--series", "eth-updown-15m", "--env", **IDENTITY)
    before, _, after = done.stderr.partition("refused, ")
    assert "series: eth-updown-15m" in before
    assert f"orders go to: {LIVE.rest_url}" in before
    assert "POLYMARKET_PRIVATE_KEY" in before
    assert "max cash dollars per market: 5000.0" in before
    assert after


def test_armed_and_with_an_identity_the_first_days_ceilings_and_the_missing_reaper_refuse() -> None:
    done = live("--env", INVMM_LIVE="yes-btc-updown-5m", **IDENTITY)
    assert done.returncode == 3
    reasons = [line for line in done.stderr.partition("refused, ")[2].splitlines()[1:] if line.strip()]
    assert sum("no reaper watches over" in reason for reason in reasons) == 1
    assert sum("on the first day that" in reason for reason in reasons) == len(reasons) - 1 > 0


def test_within_the_first_days_ceilings_the_missing_reaper_alone_refuses_with_its_command() -> None:
    done = live("--env", "--config", "first-1000", INVMM_LIVE="yes-btc-updown-5m", **IDENTITY)
    assert done.returncode == 3
    (reason,) = [line for line in done.stderr.partition("refused, ")[2].splitlines()[1:] if line.strip()]
    assert f"invmm reaper --state {STATE.name}/invmm/0x" in reason


def test_a_kill_switch_at_its_highest_level_refuses(tmp_path: Path) -> None:
    (tmp_path / "kill").write_text("3")
    done = live("--env", "--state", str(tmp_path), INVMM_LIVE="yes-btc-updown-5m", **IDENTITY)
    assert done.returncode == 3
    assert f"to lift it: invmm kill --release --state {tmp_path}" in done.stderr


@pytest.mark.parametrize("armed", ["1", "yes", "yes-btc-updown-15m", "YES-btc-updown-5m", ""])
def test_the_variable_has_to_name_the_series(armed: str) -> None:
    done = live("--env", INVMM_LIVE=armed, **IDENTITY)
    assert done.returncode == 3
    assert "not armed" in done.stderr


def test_no_secret_is_said_in_any_form() -> None:
    for arguments in ((), ("--json",)):
        done = live("--env", *arguments, INVMM_LIVE="yes-btc-updown-5m", **IDENTITY)
        for secret in (KEY, KEY[2:], SECRET, PASSPHRASE):
            assert secret not in done.stdout + done.stderr


def test_a_wallet_whose_pairs_nobody_would_settle_is_refused() -> None:
    wallet = {"POLYMARKET_FUNDER": "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"}
    done = live("--env", "--signature-type", "2", INVMM_LIVE="yes-btc-updown-5m", **IDENTITY, **wallet)
    assert done.returncode == 3
    assert f"wallet {wallet['POLYMARKET_FUNDER']} needs the relayer's API key, found none" in done.stderr
    assert "pairs are settled by: nobody" in done.stderr


def test_the_reasons_are_also_data() -> None:
    done = live("--json", "--env", **IDENTITY)
    told = json.loads(done.stdout)
    assert told["mode"] == "live"
    assert told["found_in"]["private key"] == "environment POLYMARKET_PRIVATE_KEY"
    assert any("not armed" in reason for reason in told["refusals"])


def test_a_program_that_does_not_say_armed_gets_no_venue_with_real_orders(
    marker_credentials: ApiCredentials,
) -> None:
    signer = OrderSigner(KEY)
    with pytest.raises(ConfigError, match="profile live: its orders are real; expected armed=True"):
        RemoteVenue(LIVE, marker_credentials, signer, LiveClock())


def test_live_and_paper_exclude_each_other() -> None:
    assert live("--paper").returncode == 2


def test_a_series_that_is_none_is_a_reason_among_the_others() -> None:
    done = live("--series", "nonsense")
    assert done.returncode == 3
    assert "series: expected a series such as btc-updown-5m" in done.stderr
