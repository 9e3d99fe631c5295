"""`invmm approve` on a real EVM: for an account of its own, and for a wallet behind a relayer."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_utils.crypto import keccak

from invmm.errors import ConfigError
from invmm.execution.state import StateFolder
from invmm.ops import approve
from invmm.settlement.approvals import ENDLESS, Purpose, Right, needed, plan, withdrawal
from invmm.settlement.calls import UNLIMITED, Standard
from invmm.sim.chain import LocalChain
from invmm.sim.relayed import LocalExecutor
from invmm.sim.relayer import FakeRelayer, serve
from invmm.venue.profile import CONTRACTS, POLYGON

AT = CONTRACTS[POLYGON]
DOLLARS = 1_000_000
WALLET = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain(wallets=[WALLET]) as chain:
        chain.serve()
        yield chain


@pytest.fixture
def run(
    chain: LocalChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """Runs the command with this machine's chain and an account's key."""
    monkeypatch.setattr(approve, "harden", lambda: None)
    monkeypatch.setattr(approve, "LOOK_S", 0.01)
    config = tmp_path / "settings.toml"
    config.write_text(
        f'[settlement]\nrpc_urls = "{chain.url}"\npoll_ms = 1\n'
        f'[state]\nfolder = "{tmp_path / "state"}"\n[wallet]\nenvironment = true\n'
    )

    def call(key: str, *arguments: str, **environ: str) -> tuple[int, dict[str, Any]]:
        for name, value in {"POLYMARKET_PRIVATE_KEY": key, **environ}.items():
            monkeypatch.setenv(name, value)
        code = approve.main(
            ["--profile", "loopback", "--port", "9", "--config", str(config), "--json", *arguments]
        )
        return code, json.loads(capsys.readouterr().out)

    return call


def allowance(chain: LocalChain, owner: str, spender: str) -> int:
    data = keccak(text="allowance(address,address)")[:4] + encode(["address", "address"], [owner, spender])
    return int.from_bytes(chain.call(AT.collateral, data), "big")


def shorts(facts: dict[str, Any]) -> list[bool]:
    return [right["is_short"] for right in facts["rights"]]


def test_an_account_gives_exactly_what_it_lacks_and_takes_it_back(chain: LocalChain, run: Any) -> None:
    account = chain.account("approver")
    chain.fund(account.address, 70 * DOLLARS, 10**18)
    key = account.key.hex()

    code, facts = run(key, "--dry-run")
    assert (code, facts["done"], set(shorts(facts)), len(facts["calls"])) == (1, False, {True}, 6)
    assert allowance(chain, account.address, AT.exchange_v2) == 0
    assert facts["amount_micro"] == 70 * DOLLARS

    code, facts = run(key, "--yes", "--amount", "12.345678", "--for", "split")
    assert (code, facts["done"], shorts(facts)) == (0, True, [False, False])
    assert facts["reports"][-1]["state"] == "final"
    assert allowance(chain, account.address, AT.router) == 12_345_678
    assert allowance(chain, account.address, AT.collateral_adapter) == 12_345_678
    assert allowance(chain, account.address, AT.exchange_v2) == 0  # nobody asked for trades

    assert run(key, "--amount", "12.345678", "--for", "split")[0] == 0
    code, facts = run(key, "--amount", "12.345679", "--for", "split,merge")
    assert (code, len(facts["calls"])) == (1, 4)

    code, facts = run(key, "--yes", "--revoke", "--for", "split")
    assert (code, len(facts["calls"])) == (0, 2)
    assert {right["given"] for right in facts["rights"]} == {"0"}


def test_a_wallet_gives_its_rights_through_the_relayer(chain: LocalChain, run: Any) -> None:
    owner = Account.create()
    relayer = FakeRelayer(LocalExecutor(chain), delay_s=0.0)
    with serve(relayer, time.time) as url:
        arguments = ["--funder", WALLET, "--signature-type", "3", "--relayer-port", url.rsplit(":", 1)[1]]
        key = owner.key.hex()
        with pytest.raises(ConfigError, match="POLY_BUILDER_API_KEY"):
            run(key, *arguments, "--yes")
        keys = {
            "POLY_BUILDER_API_KEY": relayer.key,
            "POLY_BUILDER_SECRET": relayer.secret,
            "POLY_BUILDER_PASSPHRASE": relayer.passphrase,
        }
        code, facts = run(key, *arguments, "--yes", "--for", "split", "--unlimited", **keys)
    assert (code, facts["done"], facts["wallet"]) == (0, True, WALLET)
    assert allowance(chain, WALLET, AT.router) == UNLIMITED
    assert allowance(chain, WALLET, AT.collateral_adapter) == UNLIMITED
    assert len(relayer.submits) == 1
    assert relayer.secret not in json.dumps(facts)


def test_nothing_is_sent_while_an_engine_runs_with_the_account(
    chain: LocalChain, run: Any, tmp_path: Path
) -> None:
    account = chain.account("busy")
    chain.fund(account.address, DOLLARS, 10**18)
    with StateFolder(tmp_path / "state"):
        code, facts = run(account.key.hex(), "--yes")
    assert (code, facts["done"], facts["reports"]) == (3, False, [])
    assert "expected it to be free" in facts["problems"][0]
    assert allowance(chain, account.address, AT.exchange_v2) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--for", "trade,lend"], "--for: expected some of trade, merge, split"),
        (["--relayer-port", "9", "--profile", "live"], "loopback only"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], words: str, run: Any) -> None:
    with pytest.raises(ConfigError, match=words):
        run("4c" * 32, *arguments)


@pytest.mark.parametrize("amount", ["-1", "1.2345678", "x", "1e3", "٣"])
def test_an_amount_must_be_exact(amount: str, run: Any) -> None:
    with pytest.raises(SystemExit):
        run("4c" * 32, f"--amount={amount}")


def test_only_what_is_asked_for_is_planned() -> None:
    money = [one for one in needed({Purpose.TRADE}) if one.standard is Standard.ERC20]
    assert [one.spender for one in money] == [AT.exchange_v2, AT.exchange_v3]
    more = needed(set(Purpose), neg_risk=True)
    assert len(more) == 12
    assert {one.spender for one in more} - {one.spender for one in needed(set(Purpose))} == {
        AT.exchange_v2_neg_risk,
        AT.collateral_adapter_neg_risk,
    }
    rights = [Right(money[0], 5), Right(money[1], UNLIMITED)]
    assert [call.what.split(": ")[-1] for call in plan(rights, 6)] == ["0.000006 dollars"]
    assert plan(rights, 5) == ()
    assert len(plan(rights, 5, unlimited=True)) == 1
    assert len(withdrawal(rights)) == 2
    assert not Right(money[0], ENDLESS).is_short(UNLIMITED)  # some tokens count it down
