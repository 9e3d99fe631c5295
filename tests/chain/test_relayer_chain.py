"""A wallet's pairs become dollars on a real EVM, by a relayer behind HTTP that loses answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from polymarket import BuilderApiKey, RelayerApiKey

from invmm import OrderSigner, loopback
from invmm.clock import NS, LiveClock
from invmm.errors import ConfigError, InUseError
from invmm.settings import SettlementSettings
from invmm.settlement.calls import check_tokens, route_of
from invmm.settlement.costs import SubmitCost
from invmm.settlement.envelopes import RelayedWallet, WalletKind
from invmm.settlement.holdings import ChainHoldings
from invmm.settlement.lane import Change, Job, JobReport, JobState
from invmm.settlement.lane_journal import LaneJournal
from invmm.settlement.messages import Holding, Purse, Told
from invmm.settlement.opening import open_lane
from invmm.settlement.policy import Action, SettlePolicy
from invmm.settlement.record import SettlementRecord
from invmm.settlement.relay import Relay
from invmm.settlement.relayer import RelayerLane
from invmm.settlement.rpc import RpcEndpoint
from invmm.settlement.settler import Settler
from invmm.settlement.sightings import ChainView
from invmm.settlement.till import account_till
from invmm.sim.chain import Condition, LocalChain, WalletCall
from invmm.sim.relayed import LocalExecutor
from invmm.sim.relayer import FakeRelayer, Mishap, serve
from invmm.venue.identity import Identity

WALLET = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
OWNER = OrderSigner(KEY)
DOLLARS = 1_000_000
SETTINGS = SettlementSettings(poll_ms=1)


class Time:
    """Virtual: blocks, relayer and lane go by it."""

    now_s = 1_790_000_000.0

    def seconds(self) -> float:
        return self.now_s


TIME = Time()


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain(wallets=[WALLET], finality_blocks=2, seconds=lambda: int(TIME.now_s)) as chain:
        chain.serve()
        chain.fund(WALLET, 1_000 * DOLLARS)
        yield chain


class Desk:
    """A lane on the chain, with a relayer of its own."""

    def __init__(self, chain: LocalChain, folder: Path, kind: WalletKind, *mishaps: Mishap) -> None:
        self.chain = chain
        self.relayer = FakeRelayer(
            LocalExecutor(chain),
            mishap=lambda number: mishaps[number] if number < len(mishaps) else Mishap.NONE,
            delay_s=0.0,
        )
        self._served = serve(self.relayer, TIME.seconds)
        url = self._served.__enter__()
        key: BuilderApiKey | RelayerApiKey = BuilderApiKey(
            key=self.relayer.key, secret=self.relayer.secret, passphrase=self.relayer.passphrase
        )
        if kind is WalletKind.SAFE:
            key = RelayerApiKey(key=self.relayer.key, address=OWNER.address)
        self.lane = RelayerLane(
            Relay(url, key),
            ChainView([RpcEndpoint(chain.url)], SETTINGS),
            RelayedWallet(OrderSigner(KEY, 2 if kind is WalletKind.SAFE else 3, WALLET)),
            LaneJournal(folder / "lane"),
            settings=SETTINGS,
        )

    def settle(self, *jobs: Job) -> list[JobReport]:
        for job in jobs:
            self.lane.submit(job)
        reports = []
        until = time.monotonic() + 60
        while self.lane.open() and time.monotonic() < until:
            TIME.now_s += 5.0
            self.chain.mine()
            reports += self.lane.advance(int(TIME.now_s * NS))
        assert not self.lane.open()
        return reports

    def close(self) -> None:
        self.lane.close()
        self._served.__exit__(None, None, None)


@pytest.fixture
def desks(chain: LocalChain, tmp_path: Path) -> Iterator[Any]:
    made: list[Desk] = []

    def make(kind: WalletKind, *mishaps: Mishap) -> Desk:
        made.append(Desk(chain, tmp_path, kind, *mishaps))
        return made[-1]

    yield make
    for desk in made:
        desk.close()


def held(chain: LocalChain, market: Condition) -> tuple[int, int, int]:
    return (
        chain.collateral_micro(WALLET),
        chain.shares_micro(WALLET, market.up_token),
        chain.shares_micro(WALLET, market.down_token),
    )


def changes(market: Condition, up: int, down: int, money: int) -> tuple[Change, ...]:
    return (
        Change("token", int(market.up_token), up),
        Change("token", int(market.down_token), down),
        Change("collateral", 0, money),
    )


@pytest.mark.parametrize(
    ("version", "kind", "mishap"),
    [
        ("v1", WalletKind.DEPOSIT, Mishap.LOST),
        ("v2", WalletKind.SAFE, Mishap.ERROR),
    ],
)
def test_pairs_are_split_merged_and_redeemed(
    chain: LocalChain, desks: Any, version: str, kind: WalletKind, mishap: Mishap
) -> None:
    market = chain.prepare(b"relayed " + version.encode().ljust(24), version)
    check_tokens(market.condition_id, version, market.up_token, market.down_token)
    route = route_of(version, False)
    desk = desks(kind, Mishap.NONE, mishap, mishap)
    before = held(chain, market)[0]
    n = 40 * DOLLARS

    rights = Job("rights", tuple(right.give(n) for right in route.approvals), ())
    split = Job("split", (route.split(market.condition_id, n),), changes(market, n, n, -n))
    merge = Job(
        "merge",
        (route.merge(market.condition_id, n // 4),),
        changes(market, -n // 4, -n // 4, n // 4),
    )
    left = n - n // 4
    redeem = Job("redeem", route.redeem(market.condition_id, left, left), changes(market, -left, -left, left))

    assert desk.settle(rights)[-1].state is JobState.FINAL
    assert desk.settle(split)[-1].state is JobState.FINAL
    assert held(chain, market) == (before - n, n, n)
    assert desk.settle(redeem)[-1].state is JobState.REFUSED  # nothing is resolved yet
    assert desk.settle(merge)[-1].state is JobState.FINAL
    assert held(chain, market) == (before - left, left, left)
    chain.resolve(market.condition_id, (1, 0))
    last = desk.settle(Job("redeem again", redeem.calls, redeem.changes))[-1]
    assert (last.state, last.reason) == (JobState.FINAL, "")
    assert held(chain, market) == (before, 0, 0)


def test_the_settler_turns_a_wallets_pairs_into_dollars(
    chain: LocalChain, desks: Any, tmp_path: Path
) -> None:
    market = chain.prepare(b"relayed by the settler".ljust(32))
    before = chain.collateral_micro(WALLET)
    n = 20 * DOLLARS
    rights = [right.give(n) for right in route_of("v1", False).approvals]
    chain.execute(WALLET, [WalletCall(call.to, call.data) for call in rights])
    split = route_of("v1", False).split(market.condition_id, n)
    desk = desks(WalletKind.DEPOSIT, Mishap.NONE, Mishap.LOST)
    desk.settle(Job("split", (split,), changes(market, n, n, -n)))

    told: list[Any] = []
    record = LaneJournal(tmp_path / "settled")
    settler = Settler(
        desk.lane,
        ChainHoldings([RpcEndpoint(chain.url)], WALLET),
        SettlePolicy(return_ppm_day=10**6),
        SettlementRecord(record),
        tell=told.append,
        cost=SubmitCost(desk.lane, SETTINGS),
    )
    ids = (market.condition_id, "m", "v2", market.up_token, market.down_token)
    settler.hear(Holding(*ids, TIME.now_s + 300.0, (n, n), (n, n)))
    settler.hear(Purse(0, DOLLARS, False))
    for _ in range(30):
        TIME.now_s += 5.0
        desk.relayer.advance(TIME.now_s)
        chain.mine()
        settler.turn(int(TIME.now_s * NS))
    done = [one.done for one in told if isinstance(one, Told) and one.done is not None]
    assert [(one.action, one.paid_micro) for one in done] == [(Action.MERGE, n)]
    assert held(chain, market) == (before, 0, 0)
    assert len(desk.relayer.submits) == 2  # the split, and one merge whose answer was lost
    record.close()


def test_a_wallet_has_a_till_where_there_is_a_relayer_and_its_key(chain: LocalChain, tmp_path: Path) -> None:
    profile = replace(loopback(9), relayer_url="http://127.0.0.1:9", rpc_url=chain.url)
    signer = OrderSigner(KEY, 3, WALLET)
    who = Identity(signer, None, signer.address, WALLET, 3, None, {})
    key = RelayerApiKey(key="it", address=OWNER.address)
    assert account_till(who, profile, SETTINGS) is None
    assert account_till(who, replace(profile, relayer_url=""), SETTINGS, key) is None
    assert account_till(who, profile, SETTINGS, key) is not None
    nodes = [RpcEndpoint(chain.url)]
    opened: dict[str, Any] = {"settings": SETTINGS, "clock": LiveClock()}
    lane = open_lane(who, profile, nodes, tmp_path, relayer_key=key, **opened)
    assert isinstance(lane, RelayerLane)
    assert lane.submits_left(0) == SETTINGS.relayer_submits_per_day
    with pytest.raises(InUseError):
        open_lane(who, profile, nodes, tmp_path, relayer_key=key, **opened)
    lane.close()
    other = replace(who, signer=OrderSigner(KEY, 3, OWNER.address))
    with pytest.raises(ConfigError, match="expected one of wallet"):
        open_lane(other, profile, nodes, tmp_path, relayer_key=key, **opened)
    with pytest.raises(ConfigError, match="found none"):
        open_lane(who, profile, nodes, tmp_path, **opened)


def test_nothing_is_sent_that_the_wallet_has_not_approved(chain: LocalChain, desks: Any) -> None:
    market = chain.prepare(b"relayed without a right".ljust(32))
    route = route_of("v1", True)  # whose adapter nobody has approved
    split = Job("split", (route.split(market.condition_id, 1),), changes(market, 1, 1, -1))
    desk = desks(WalletKind.DEPOSIT)
    assert desk.settle(split)[-1].state is JobState.REFUSED
    assert not desk.relayer.submits


def test_a_node_of_another_chain_is_not_believed(chain: LocalChain) -> None:
    other = ChainView([RpcEndpoint(chain.url)], SETTINGS, chain_id=80002)
    with pytest.raises(Exception, match="expected chain 80002, found 137"):
        other.head(int(TIME.now_s * NS))


def test_a_relayer_needs_an_address() -> None:
    with pytest.raises(ConfigError, match="found none"):
        Relay("", RelayerApiKey(key="it", address=OWNER.address))


def test_a_contract_that_is_not_there_is_no_target(chain: LocalChain) -> None:
    view = ChainView([RpcEndpoint(chain.url)], SETTINGS)
    view.head(int(TIME.now_s * NS))
    call = route_of("v1", False).merge("0x" + "11" * 32, 1)
    nowhere = type(call)(WALLET[:-1] + "D", call.data)
    assert view.refusal(WALLET, nowhere).startswith("no contract at")
    assert view.refusal(WALLET, call)  # the contract's own
