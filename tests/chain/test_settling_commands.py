"""`invmm positions`, `split`, `merge`, `redeem` against contracts on a real EVM and a scripted data API."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from invmm.execution.state import StateFolder
from invmm.ops import lane, merge, positions, redeem, settling, split
from invmm.settlement.chain import ChainLane
from invmm.sim.chain import Condition, LocalChain
from invmm.sim.chain.stage import approvals
from invmm.sim.relayed import LocalExecutor
from invmm.sim.relayer import FakeRelayer, Mishap, serve
from invmm.venue.wallet_positions import ListedMarket
from tests.e2e.scripted_venue import Reply, ScriptedVenue, Seen, http

DOLLAR = 1_000_000
WALLET = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain(wallets=[WALLET]) as chain:
        chain.serve()
        yield chain


class Desk:
    """An account with money on the chain, a data API that lists its markets, and the commands."""

    def __init__(self, chain: LocalChain, folder: Path, patch: pytest.MonkeyPatch, name: str) -> None:
        self.chain, self.folder = chain, folder
        self.account = chain.account(name)
        self.holder = self.account.address
        chain.fund(self.holder, 100 * DOLLAR, 10**19)
        self.condition = chain.prepare(name.encode().ljust(32, b"."))
        self.venue = ScriptedVenue(self._answer)
        config = folder / "my.toml"
        config.write_text("[settlement]\npoll_ms = 1\ntip_floor_gwei = 1\nrpc_timeout_ms = 60000\n")
        self.given = ["--profile", "loopback", "--port", str(self.venue.port), "--config", str(config)]
        self.given += ["--env", "--state", str(folder / "state"), "--json"]
        patch.setenv("POLYMARKET_PRIVATE_KEY", "0x" + bytes(self.account.key).hex())
        patch.setenv("POLYGON_RPC_URL", chain.url)
        for module in (settling, positions):
            patch.setattr(module, "harden", lambda: None)

        async def named(_account: Any, _name: str) -> ListedMarket:
            return ListedMarket(self.condition.condition_id, "m", "v2", *self._tokens(self.condition))

        patch.setattr(settling, "named_market", named)

    @staticmethod
    def _tokens(condition: Condition) -> tuple[str, str]:
        return condition.up_token, condition.down_token

    def _answer(self, seen: Seen) -> Reply:
        """One position of the market; the index does not know how much the chain shows."""
        asked = parse_qs(urlsplit(seen.path).query)
        up, down = self._tokens(self.condition)
        rows = []
        if asked["status"] == ["OPEN"]:
            row = {"token_id": up, "opposite_token_id": down, "outcome_index": 0, "slug": "m"}
            rows = [row | {"condition_id": self.condition.condition_id, "current_size": 1}]
        page = {"data": rows, "pagination": {"next_cursor": None}}
        return Reply(http(200, json.dumps(page).encode()))

    def run(self, module: Any, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, dict[str, Any]]:
        code = module.main([*more, *self.given])
        return code, json.loads(capsys.readouterr().out)

    def shares(self) -> tuple[int, int]:
        up, down = (self.chain.shares_micro(self.holder, t) for t in self._tokens(self.condition))
        return up, down


def test_dollars_become_pairs_pairs_dollars_and_the_rest_is_redeemed(
    chain: LocalChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = Desk(chain, tmp_path, monkeypatch, "commands")
    code, told = desk.run(split, capsys, "--market", "m", "--dollars", "30", "--yes")
    assert code == 3
    assert "approval of pUSD for the collateral adapter" in told["refusals"][0]
    chain.approve_all(desk.account.key)

    code, told = desk.run(split, capsys, "--market", "m", "--dollars", "30")
    assert (code, told["refusals"], told["jobs"]) == (0, [], [])
    assert desk.shares() == (0, 0), "nothing is sent without --yes"
    code, told = desk.run(split, capsys, "--market", "m", "--dollars", "130", "--yes")
    assert code == 3
    assert told["refusals"] == ["expected 130.000000 dollars, found 100.000000"]

    code, told = desk.run(split, capsys, "--market", "m", "--dollars", "30.5", "--yes")
    assert (code, told["jobs"][0]["state"]) == (0, "final")
    assert desk.shares() == (30_500_000, 30_500_000)
    assert told["collateral_after_micro"] == 69_500_000

    code, told = desk.run(positions, capsys)
    (market,) = told["markets"]
    assert (code, told["collateral_micro"]) == (0, 69_500_000)
    assert (market["up_micro"], market["pairs_micro"], market["payouts"]) == (30_500_000, 30_500_000, None)
    assert (market["action"], market["reason"], market["brings_micro"]) == ("merge", "pairs", 30_500_000)

    code, told = desk.run(redeem, capsys, "--yes")
    assert (code, len(told["refusals"])) == (3, 1), "it is not resolved yet"
    code, told = desk.run(merge, capsys, "--pairs", "10", "--yes")
    assert (code, [job["state"] for job in told["jobs"]]) == (0, ["final"])
    assert desk.shares() == (20_500_000, 20_500_000)

    chain.resolve(desk.condition.condition_id, (0, 1))
    code, told = desk.run(positions, capsys)
    assert (told["markets"][0]["payouts"], told["markets"][0]["action"]) == ([0, 1], "redeem")
    code, told = desk.run(redeem, capsys, "--yes")
    assert (code, told["jobs"][0]["state"]) == (0, "final")
    assert told["collateral_after_micro"] == chain.collateral_micro(desk.account.address) == 100 * DOLLAR
    assert desk.shares() == (0, 0)
    code, told = desk.run(positions, capsys)
    assert (code, told["markets"]) == (0, [])


def test_a_wallets_shares_go_through_the_relayer_that_knows_its_key(
    chain: LocalChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = Desk(chain, tmp_path, monkeypatch, "owner of a wallet")
    desk.holder = WALLET
    chain.fund(WALLET, 40 * DOLLAR)
    chain.act(WALLET, approvals())
    monkeypatch.setenv("POLYMARKET_SIGNATURE_TYPE", "3")
    monkeypatch.setenv("POLYMARKET_FUNDER", WALLET)
    wanted = ("--market", "m", "--dollars", "30", "--yes")
    code, told = desk.run(split, capsys, *wanted)
    assert code == 3
    assert told["refusals"][0].startswith(f"wallet {WALLET} needs the relayer's API key, found none")
    mishaps = iter([Mishap.NONE, Mishap.ERROR])
    relayer = FakeRelayer(LocalExecutor(chain), mishap=lambda number: next(mishaps, Mishap.NONE), delay_s=0.0)
    monkeypatch.setenv("POLY_BUILDER_API_KEY", relayer.key)
    monkeypatch.setenv("POLY_BUILDER_SECRET", relayer.secret)
    monkeypatch.setenv("POLY_BUILDER_PASSPHRASE", relayer.passphrase)
    code, told = desk.run(split, capsys, *wanted)
    assert (code, told["refusals"]) == (
        3,
        [f"wallet {WALLET} needs a relayer, found none at the venue loopback"],
    )
    with serve(relayer, time.time) as url:
        desk.given += ["--relayer-port", url.rpartition(":")[2]]
        code, told = desk.run(split, capsys, *wanted)
        assert (code, told["jobs"][0]["state"], told["funder"]) == (0, "final", WALLET)
        assert desk.shares() == (30 * DOLLAR, 30 * DOLLAR)
        code, told = desk.run(merge, capsys, "--pairs", "20", "--yes")  # whose answer is lost
        assert (code, told["jobs"][0]["state"]) == (0, "final")
        assert desk.shares() == (10 * DOLLAR, 10 * DOLLAR)
        chain.resolve(desk.condition.condition_id, (1, 0))
        code, told = desk.run(redeem, capsys, "--yes")
        assert (code, told["collateral_after_micro"]) == (0, 40 * DOLLAR)
    assert desk.shares() == (0, 0)
    assert len(relayer.submits) == 3
    assert lane.main(["--state", str(tmp_path / "state"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["wallet"] == WALLET
    assert [job["state"] for job in told["jobs"]] == ["final"] * 3
    assert bytes(desk.account.key).hex() not in json.dumps(told)


def test_a_command_gives_way_to_an_engine_and_carries_on_what_was_interrupted(
    chain: LocalChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = Desk(chain, tmp_path, monkeypatch, "carried on")
    chain.approve_all(desk.account.key)
    wanted = ("--market", "m", "--dollars", "5", "--yes")
    with StateFolder(tmp_path / "state"):
        code, told = desk.run(split, capsys, *wanted)
    assert code == 3
    assert "an engine runs from it" in told["refusals"][0]
    with monkeypatch.context() as patch:
        patch.setattr(ChainLane, "advance", lambda self, now_ns: [])
        code, told = desk.run(split, capsys, *wanted, "--wait", "0.1")
    assert (code, told["jobs"][0]["state"]) == (4, "queued")
    code, told = desk.run(split, capsys, *wanted)
    assert code == 0
    assert desk.shares() == (10 * DOLLAR, 10 * DOLLAR), "both of them, once each"


def test_what_cannot_be_learnt_is_a_problem_and_not_an_empty_list(
    chain: LocalChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = Desk(chain, tmp_path, monkeypatch, "unlearnt")
    desk.venue.script = lambda seen: Reply(http(503, b"<html>away</html>", "text/html"))
    code, told = desk.run(positions, capsys)
    assert code == 1
    assert told["collateral_micro"] == 100 * DOLLAR
    assert told["problems"][0].startswith("positions: ")
