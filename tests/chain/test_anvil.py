"""What can be done to a lane on anvil is what its methods say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from invmm.sim.chain import Match, Part
from invmm.types import Outcome, Side
from invmm.venue.profile import POLYGON
from tests.chain.anvil import FINALITY_BLOCKS, Anvil


@pytest.fixture(scope="module")
def node() -> Iterator[Anvil]:
    with Anvil() as node:
        yield node


def signed(node: Anvil, name: str, nonce: int, *, fee_wei: int = 60 * 10**9) -> bytes:
    """A plain transfer of one wei by an account."""
    account = node.account(name)
    fields = {
        "type": 2,
        "chainId": POLYGON,
        "nonce": nonce,
        "to": node.owner.address,
        "value": 1,
        "gas": 21_000,
        "maxFeePerGas": fee_wei,
        "maxPriorityFeePerGas": 10**9,
    }
    return bytes(account.sign_transaction(fields).raw_transaction)


def test_matches_settle_on_anvil_as_in_this_process(node: Anvil) -> None:
    assert node.rpc("eth_chainId") == hex(POLYGON)
    people = [node.account(name) for name in ("maker", "taker")]
    for account in people:
        node.fund(account.address, 20_000_000, 10**18)
        node.approve_all(account.key)
    condition = node.prepare(b"q" * 32)
    maker, taker = people[0].address, people[1].address
    match = Match(
        condition,
        (
            Part(maker, Outcome.UP, Side.BUY, 10_000_000, 4_200_000),
            Part(taker, Outcome.DOWN, Side.BUY, 10_000_000, 5_800_000, 70_000),
        ),
    )
    node.finish([node.settle(match)])
    assert node.collateral_micro(maker) == 15_800_000
    assert node.collateral_micro(taker) == 14_130_000
    assert node.shares_micro(maker, condition.up_token) == 10_000_000
    assert node.shares_micro(taker, condition.down_token) == 10_000_000


def test_transactions_wait_are_dropped_and_priced_out(node: Anvil) -> None:
    account = node.account("waiting")
    node.fund(account.address, 0, 10**18)
    node.automine(False)
    try:
        first = node.send(signed(node, "waiting", 0))
        node.drop(first)
        node.mine()
        assert node.rpc("eth_getTransactionByHash", first) is None
        again = node.send(signed(node, "waiting", 0))
        assert again == first
        node.base_fee(100 * 10**9)
        node.mine()
        assert node.rpc("eth_getTransactionByHash", again) is None  # unlike geth, anvil forgets it
        node.base_fee(25 * 10**9)
        node.mine()
        assert node.send(signed(node, "waiting", 0)) == again
        node.mine()
        assert node.rpc("eth_getTransactionReceipt", again)["status"] == "0x1"
        gap = node.send(signed(node, "waiting", 2))
        node.mine()
        assert node.rpc("eth_getTransactionReceipt", gap) is None
        node.drop_all()
    finally:
        node.automine(True)


def test_a_reorganisation_takes_a_receipt_away_and_the_same_bytes_come_back(node: Anvil) -> None:
    account = node.account("reorganised")
    node.fund(account.address, 0, 10**18)
    raw = signed(node, "reorganised", 0)
    name = node.send(raw)
    assert node.receipt(name) is not None
    head = node.head
    old = node.rpc("eth_getBlockByNumber", hex(head), False)["hash"]
    node.reorganise(1)
    assert node.head == head
    assert node.rpc("eth_getBlockByNumber", hex(head), False)["hash"] != old
    assert node.rpc("eth_getTransactionReceipt", name) is None
    assert node.send(raw) == name
    node.finish([name])


def test_the_finalized_block_lags_and_a_snapshot_comes_back(node: Anvil) -> None:
    snapshot = node.snapshot()
    head = node.head
    node.mine(3)
    assert node.head == head + 3
    finalized = int(node.rpc("eth_getBlockByNumber", "finalized", False)["number"], 16)
    assert finalized == head + 3 - FINALITY_BLOCKS
    node.revert(snapshot)
    assert node.head == head
