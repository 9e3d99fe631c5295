"""The conditional tokens: our contract and the published one by the same tests, then against each other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

from invmm.sim.chain import Condition, LocalChain
from invmm.sim.chain.node import Reverted
from invmm.venue.positions import position_ids_v1
from invmm.venue.profile import CONTRACTS, POLYGON
from tests.chain.packages import need_published

AT = CONTRACTS[POLYGON]
PAIR = [1, 2]
NOTHING = bytes(32)
SPLIT = "splitPosition(address,bytes32,bytes32,uint256[],uint256)"
MERGE = "mergePositions(address,bytes32,bytes32,uint256[],uint256)"
TRANSFER = "safeTransferFrom(address,address,uint256,uint256,bytes)"
REDEEM = "redeemPositions(address,bytes32,bytes32,uint256[])"


def calldata(signature: str, *values: Any) -> bytes:
    types = signature[signature.index("(") + 1 : -1].split(",")
    return keccak(text=signature)[:4] + encode(types, values)


def made(contracts: str) -> LocalChain:
    if contracts == "published":
        need_published()
        return LocalChain(contracts="published")
    return LocalChain()


@pytest.fixture(scope="module", params=["own", "published"])
def chain(request: pytest.FixtureRequest) -> Iterator[LocalChain]:
    """A chain with one account, "trader", that has money and every approval."""
    with made(request.param) as chain:
        account = chain.account("trader")
        chain.fund(account.address, 1_000_000_000, 10**19)
        chain.approve_all(account.key)
        yield chain


def act(chain: LocalChain, account: LocalAccount, to: str, data: bytes) -> bool:
    """Sends a transaction; whether it was not undone."""
    fees = {"maxFeePerGas": 200 * 10**9, "maxPriorityFeePerGas": 30 * 10**9, "gas": 1_500_000, "value": 0}
    nonce = chain.pending_nonce(account.address)
    signed = account.sign_transaction({"chainId": POLYGON, "nonce": nonce, "to": to, "data": data, **fees})
    mined = chain.mined(chain.send(bytes(signed.raw_transaction)))
    assert mined is not None
    return mined.success


def held(chain: LocalChain, condition: Condition) -> tuple[int, int, int]:
    """The trader's pUSD, Up and Down."""
    address = chain.account("trader").address
    return (
        chain.collateral_micro(address),
        chain.shares_micro(address, condition.up_token),
        chain.shares_micro(address, condition.down_token),
    )


def moved(before: tuple[int, int, int], after: tuple[int, int, int]) -> tuple[int, ...]:
    return tuple(new - old for old, new in zip(before, after, strict=True))


def word(condition: Condition) -> bytes:
    return bytes.fromhex(condition.condition_id[2:])


def test_a_pair_is_a_dollar_and_what_is_left_what_the_oracle_says(chain: LocalChain) -> None:
    condition = chain.prepare(keccak(text="one winner"))
    owner, other = chain.account("trader"), chain.account("other").address
    adapter, pair = AT.collateral_adapter, (AT.collateral, NOTHING, word(condition), PAIR)
    start = held(chain, condition)
    assert act(chain, owner, adapter, calldata(SPLIT, *pair, 45_000_001))
    assert moved(start, held(chain, condition)) == (-45_000_001, 45_000_001, 45_000_001)
    assert act(chain, owner, adapter, calldata(MERGE, *pair, 25_000_000))
    assert moved(start, held(chain, condition)) == (-20_000_001, 20_000_001, 20_000_001)
    give = calldata(TRANSFER, owner.address, other, int(condition.down_token), 8_000_000, b"")
    assert act(chain, owner, AT.conditional_tokens, give)
    redeem = calldata(REDEEM, *pair)
    with pytest.raises(Reverted):  # not before the result
        chain.call(adapter, redeem, sender=owner.address)
    chain.resolve(condition.condition_id, (0, 1))
    assert act(chain, owner, adapter, redeem)
    assert moved(start, held(chain, condition)) == (12_000_001 - 20_000_001, 0, 0)
    assert chain.shares_micro(other, condition.down_token) == 8_000_000


def test_half_each_rounds_down_for_each_outcome_by_itself(chain: LocalChain) -> None:
    condition = chain.prepare(keccak(text="half each"))
    owner, pair = chain.account("trader"), (AT.collateral, NOTHING, word(condition), PAIR)
    start = held(chain, condition)
    assert act(chain, owner, AT.collateral_adapter, calldata(SPLIT, *pair, 10_000_001))
    chain.resolve(condition.condition_id, (1, 1))
    assert act(chain, owner, AT.collateral_adapter, calldata(REDEEM, *pair))
    assert moved(start, held(chain, condition)) == (-1, 0, 0)


def test_what_cannot_be_split_merged_or_moved_is_undone(chain: LocalChain) -> None:
    condition = chain.prepare(keccak(text="undone"))
    owner, poor = chain.account("trader"), chain.account("poor").address
    chain.fund(poor, 10_000_000)  # it approves nothing
    tokens, adapter, up = AT.conditional_tokens, AT.collateral_adapter, int(condition.up_token)
    pair = (AT.collateral, NOTHING, word(condition))
    inside = (AT.bridged_collateral, NOTHING, word(condition))
    assert act(chain, owner, adapter, calldata(SPLIT, *pair, PAIR, 10_000_000))
    too_much = held(chain, condition)[0] + 1
    refused = [
        (owner.address, adapter, calldata(SPLIT, *pair, PAIR, too_much)),
        (owner.address, adapter, calldata(MERGE, *pair, PAIR, 10_000_001)),
        (owner.address, adapter, calldata(SPLIT, AT.collateral, NOTHING, keccak(b"unknown"), PAIR, 0)),
        (poor, adapter, calldata(SPLIT, *pair, PAIR, 1)),
        (poor, tokens, calldata(TRANSFER, owner.address, poor, up, 1, b"")),
        (owner.address, tokens, calldata(TRANSFER, owner.address, "0x" + "00" * 20, up, 1, b"")),
        (owner.address, tokens, calldata(TRANSFER, owner.address, AT.router, up, 1, b"")),  # takes none
        (owner.address, tokens, calldata(MERGE, *inside, [1], 1)),
        (owner.address, tokens, calldata(MERGE, *inside, [1, 1], 1)),
        (owner.address, tokens, calldata(MERGE, *inside, [1, 3], 1)),
        (owner.address, tokens, calldata("reportPayouts(bytes32,uint256[])", keccak(text="undone"), [1, 0])),
    ]
    for sender, to, data in refused:
        with pytest.raises(Reverted):
            chain.call(to, data, sender=sender)
    chain.call(adapter, calldata(MERGE, *pair, PAIR, 10_000_000), sender=owner.address)


def test_ids_are_those_that_are_computed_without_a_chain(chain: LocalChain) -> None:
    for number in range(4):
        condition = keccak(number.to_bytes(1, "big"))
        ids = []
        for index_set in PAIR:
            collection = chain.call(
                AT.conditional_tokens,
                calldata("getCollectionId(bytes32,bytes32,uint256)", NOTHING, condition, index_set),
            )
            position = chain.call(
                AT.conditional_tokens,
                calldata("getPositionId(address,bytes32)", AT.bridged_collateral, collection),
            )
            ids.append(str(int.from_bytes(position, "big")))
        assert tuple(ids) == position_ids_v1("0x" + condition.hex(), AT.bridged_collateral)


def test_the_official_clients_calldata_splits_merges_and_redeems(chain: LocalChain) -> None:
    golden = json.loads((Path(__file__).parents[1] / "data" / "golden_onchain.json").read_text())
    theirs = bytes.fromhex("cd5f9f505e0c0182746aa65963f72f01e7463259e5ea9f56672c0fe3a37f348a")
    older, newer = chain.prepare(keccak(text="golden")), chain.prepare(keccak(text="golden"), "v2")
    owner = chain.account("trader")
    calls = {call["name"]: (call["to"], bytes.fromhex(call["data"][2:])) for call in golden["calls"]}
    start = held(chain, older)

    def run(*names: str) -> None:
        for name in names:
            to, data = calls[name]
            data = data.replace(theirs, word(older))
            data = data.replace(bytes.fromhex("017791f201d5a788e0039e511fc1900e5f"), word(newer)[:17])
            assert act(chain, owner, to, data), name

    run("v1_split_25pUSD_on_CtfCollateralAdapter", "v2_router_split")
    for condition in (older, newer):
        assert moved(start, held(chain, condition)) == (-50_000_000, 25_000_000, 25_000_000)
    run("v2_router_merge", "v1_merge_25_sets")
    for condition in (older, newer):
        assert held(chain, condition) == start
    run("v1_split_25pUSD_on_CtfCollateralAdapter", "v2_router_split")
    chain.resolve(older.condition_id, (0, 1))
    chain.resolve(newer.condition_id, (1, 0))
    run("v1_redeem", "v2_router_redeem_up")
    assert held(chain, older) == start
    assert moved(start, held(chain, newer)) == (0, 0, 25_000_000)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_our_contract_does_what_the_published_one_does_at_length(seed: int) -> None:
    succeeded, undone = compare(seed, steps=300)
    assert succeeded >= 8, "of 9 functions that change something"
    assert undone >= 7


def test_our_contract_does_what_the_published_one_does() -> None:
    succeeded, undone = compare(7, steps=12)
    assert succeeded >= 4
    assert undone >= 4


def compare(seed: int, *, steps: int) -> tuple[int, int]:
    """The same drawn transactions on both: undone alike, the same events word for word, the same answers.

    Gives how many functions succeeded, and how many were undone, at least once.
    """
    chains = [made("own"), made("published")]
    script = Script(Random(seed), chains[0])
    for chain in chains:
        for account in script.people:
            chain.fund(account.address, 0, 10**18)
            owner = chain.owner
            mint = calldata("mint(address,uint256)", account.address, 10**12)
            assert act(chain, owner, AT.bridged_collateral, mint)
            approve = calldata("approve(address,uint256)", AT.conditional_tokens, 10**12)
            assert act(chain, account, AT.bridged_collateral, approve)
    outcomes = set()
    for account, data in [*script.opening(), *(script.drawn() for _ in range(steps))]:
        results = [act(chain, account, AT.conditional_tokens, data) for chain in chains]
        assert results[0] == results[1], data.hex()
        outcomes.add((data[:4], results[0]))
        logs = [
            [
                (log.address, log.topics, log.data)
                for receipt in chain.node.blocks[-1].receipts
                for log in receipt.logs
            ]
            for chain in chains
        ]
        assert logs[0] == logs[1], data.hex()
    for to, data in script.questions():
        assert len({chain.call(to, data) for chain in chains}) == 1, data.hex()
    return sum(success for _, success in outcomes), sum(not success for _, success in outcomes)


class Script:
    """Transactions of two people, one of them the oracle, on three conditions, nested too."""

    def __init__(self, draw: Random, chain: LocalChain) -> None:
        self._draw = draw
        self.people = [chain.account("one"), chain.account("two")]
        self._oracle = self.people[0].address
        self._slots = (2, 3, 2)
        self._asked = [keccak(text=f"question {number}") for number in range(3)]
        self._conditions = [
            keccak(bytes.fromhex(self._oracle[2:]) + question + count.to_bytes(32, "big"))
            for question, count in zip(self._asked, self._slots, strict=True)
        ]
        get = "getCollectionId(bytes32,bytes32,uint256)"
        self._collections = [
            chain.call(AT.conditional_tokens, calldata(get, NOTHING, condition, index_set))
            for condition in self._conditions[:2]
            for index_set in PAIR
        ]
        inside = bytes.fromhex(AT.bridged_collateral[2:])
        self._ids = [int.from_bytes(keccak(inside + one), "big") for one in self._collections]

    def opening(self) -> list[tuple[LocalAccount, bytes]]:
        """Three conditions, one of them prepared twice, and positions for both people."""
        prepare = "prepareCondition(address,bytes32,uint256)"
        calls = [
            (self.people[0], calldata(prepare, self._oracle, question, count))
            for question, count in zip(self._asked, self._slots, strict=True)
        ]
        inside = AT.bridged_collateral
        for person in self.people:
            for condition, count in zip(self._conditions, self._slots, strict=True):
                partition = PAIR if count == 2 else [1, 6]
                calls.append((person, calldata(SPLIT, inside, NOTHING, condition, partition, 10**8)))
        return [*calls, calls[0]]

    def drawn(self) -> tuple[LocalAccount, bytes]:
        """Anything, also what makes no sense."""
        draw = self._draw
        account, number = draw.choice(self.people), draw.randrange(3)
        amount = draw.choice([0, 1, 7, 1_000_000, 50_000_000])
        partition = draw.choice([[1, 2], [1, 2], [2, 1], [1, 2, 4], [1, 6], [3, 4], [2], [1, 3]])
        parent = draw.choice([NOTHING, NOTHING, NOTHING, *self._collections])
        position = (AT.bridged_collateral, parent, self._conditions[number], partition)
        kind = draw.randrange(10)
        if kind < 3:
            return account, calldata(SPLIT, *position, amount)
        if kind < 5:
            return account, calldata(MERGE, *position, amount)
        if kind < 6:
            return account, calldata(REDEEM, *position)
        if kind < 7:
            payouts = draw.choice([[1, 0], [1, 1, 1], [0, 0], [2, 3], [0, 5, 1]])
            return account, calldata("reportPayouts(bytes32,uint256[])", self._asked[number], payouts)
        if kind < 8:
            approved = draw.random() < 0.6
            return account, calldata("setApprovalForAll(address,bool)", self.people[1].address, approved)
        sender = draw.choice(self.people).address
        to = draw.choice([self._oracle, self.people[1].address, AT.router, AT.collateral_adapter])
        if kind < 9:
            return account, calldata(TRANSFER, sender, to, draw.choice(self._ids), amount, b"")
        batch = "safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)"
        return account, calldata(batch, sender, to, self._ids[:2], [amount, 1], b"x")

    def questions(self) -> list[tuple[str, bytes]]:
        """What both contracts must answer alike."""
        other = self.people[1].address
        holders = [self._oracle, other]
        tokens = [
            *(calldata("payoutDenominator(bytes32)", condition) for condition in self._conditions),
            *(calldata("getOutcomeSlotCount(bytes32)", condition) for condition in self._conditions),
            calldata("balanceOfBatch(address[],uint256[])", holders, self._ids[:2]),
            calldata("isApprovedForAll(address,address)", self._oracle, other),
            *(
                calldata("supportsInterface(bytes4)", bytes.fromhex(one))
                for one in ("01ffc9a7", "d9b67a26", "12345678")
            ),
            *(
                calldata("getCollectionId(bytes32,bytes32,uint256)", parent, self._conditions[2], 1)
                for parent in self._collections
            ),
        ]
        held = calldata("balanceOf(address)", AT.conditional_tokens)
        return [*((AT.conditional_tokens, data) for data in tokens), (AT.bridged_collateral, held)]
