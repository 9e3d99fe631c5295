"""What a relayer's lane asks of nodes: heads, logs of the wallet, receipts, nonces of Safes and proxies."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from invmm.clock import NS
from invmm.errors import TransportError
from invmm.settings import SettlementSettings
from invmm.settlement.calls import Call
from invmm.settlement.envelopes import WalletKind
from invmm.settlement.lane import Change, Job
from invmm.settlement.rpc import RpcError
from invmm.settlement.sightings import LOG_BLOCKS, ChainView, is_job_of
from invmm.venue.profile import CONTRACTS, POLYGON

AT = CONTRACTS[POLYGON]
WALLET = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
OTHER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
NOW_S = 1_790_000_000
SINGLE = keccak(text="TransferSingle(address,address,address,uint256,uint256)")


def padded(address: str) -> str:
    return "0x" + address[2:].lower().rjust(64, "0")


def single(block: int, index: int, source: str, target: str, token: int, amount: int) -> dict[str, Any]:
    return {
        "address": AT.conditional_tokens,
        "blockNumber": hex(block),
        "logIndex": hex(index),
        "transactionHash": "0x" + keccak(text=f"{block}").hex(),
        "topics": ["0x" + SINGLE.hex(), padded(OTHER), padded(source), padded(target)],
        "data": "0x" + encode(["uint256", "uint256"], [token, amount]).hex(),
    }


class Node:
    """A node that knows blocks up to `block`, final up to `final`, and logs."""

    def __init__(self, name: str, block: int, final: int, logs: tuple[dict[str, Any], ...] = ()) -> None:
        self.name = name
        self.block, self.final, self.logs = block, final, logs
        self.silent = False
        self.asked: list[tuple[str, Any]] = []

    def call(self, method: str, *params: Any) -> Any:
        self.asked.append((method, params))
        if self.silent:
            raise TransportError(f"{self.name}: no answer")
        return getattr(self, method)(*params)

    def eth_chainId(self) -> str:  # noqa: N802 - the protocol's name
        return "0x89"

    def eth_getBlockByNumber(self, which: str, full: bool) -> dict[str, str]:  # noqa: N802
        number = {"latest": self.block, "finalized": self.final}.get(which)
        number = int(which, 16) if number is None else number
        return {
            "number": hex(number),
            "timestamp": hex(NOW_S - 2 * (self.block - number)),
            "hash": hex(number),
        }

    def eth_getLogs(self, question: dict[str, Any]) -> list[dict[str, Any]]:  # noqa: N802
        first, last = int(question["fromBlock"], 16), int(question["toBlock"], 16)
        wanted = question["topics"]
        return [
            log
            for log in self.logs
            if first <= int(log["blockNumber"], 16) <= last
            and all(
                want is None or have in (want if isinstance(want, list) else [want])
                for want, have in zip(wanted, log["topics"], strict=False)
            )
        ]

    def eth_call(self, question: dict[str, str], block: str) -> str:
        return "0x" + (7).to_bytes(32, "big").hex()

    def eth_estimateGas(self, question: dict[str, str]) -> str:  # noqa: N802
        raise RpcError(self.name, 3, "execution reverted")

    def eth_getCode(self, address: str, block: str) -> str:  # noqa: N802
        return "0x60"


def view(*nodes: Node) -> ChainView:
    return ChainView(nodes, SettlementSettings(), relay_hub=AT.relay_hub)


def test_the_node_that_is_furthest_behind_counts() -> None:
    ahead, behind = Node("ahead", 1_000, 990), Node("behind", 998, 980)
    head = view(ahead, behind).head(NOW_S * NS)
    assert (head.block, head.final_block, head.doubt) == (998, 980, "")
    assert head.final_time_s == NOW_S - 2 * 18


def test_an_old_head_is_doubted_and_silence_is_an_error() -> None:
    node = Node("one", 1_000, 990)
    chain = view(node)
    assert "90 s old" in chain.head((NOW_S + 90) * NS).doubt
    node.silent = True
    with pytest.raises(TransportError, match="no node answers"):
        chain.head(NOW_S * NS)


def test_what_any_node_has_counts_once() -> None:
    sold = single(950, 3, WALLET, OTHER, 5, 70)
    bought = single(950, 4, OTHER, WALLET, 6, 20)
    to_itself = single(960, 1, WALLET, WALLET, 5, 9)
    strange = single(970, 1, OTHER, OTHER, 5, 9)
    later = single(1_000, 1, WALLET, OTHER, 5, 1)
    chain = view(
        Node("one", 1_000, 990, (sold, bought, to_itself, strange)), Node("two", 1_000, 990, (sold, later))
    )
    chain.head(NOW_S * NS)
    found = chain.sightings(WALLET, 940, 1_000)
    assert [(one.block, one.moved) for one in found] == [
        (950, {("token", 5): -70, ("token", 6): 20}),
        (960, {}),
        (1_000, {("token", 5): -1}),
    ]
    assert chain.sightings(WALLET, 951, 959) == []


def test_long_spans_are_asked_in_parts() -> None:
    node = Node(
        "one", 5_000, 4_990, (single(1, 0, WALLET, OTHER, 5, 1), single(4_999, 0, OTHER, WALLET, 5, 1))
    )
    chain = view(node)
    chain.head(NOW_S * NS)
    assert [one.block for one in chain.sightings(WALLET, 1, 5_000)] == [1, 4_999]
    spans = [params[0] for method, params in node.asked if method == "eth_getLogs"]
    assert max(int(one["toBlock"], 16) - int(one["fromBlock"], 16) for one in spans) == LOG_BLOCKS - 1


def test_a_safe_and_a_proxy_tell_their_next_nonce_a_deposit_wallet_does_not() -> None:
    node = Node("one", 1_000, 990)
    chain = view(node)
    chain.head(NOW_S * NS)
    assert chain.next_nonce(WalletKind.SAFE, OTHER, WALLET, 990) == 7
    assert chain.next_nonce(WalletKind.PROXY, OTHER, WALLET, 990) == 7
    assert chain.next_nonce(WalletKind.DEPOSIT, OTHER, WALLET, 990) is None
    safe, proxy = (params for method, params in node.asked if method == "eth_call")
    assert safe == ({"to": WALLET, "data": "0xaffed0e0"}, hex(990))
    assert proxy == ({"to": AT.relay_hub, "data": "0x2d0335ab" + padded(OTHER)[2:]}, hex(990))


def test_gas_is_none_where_the_node_cannot_say() -> None:
    chain = view(Node("one", 1_000, 990))
    chain.head(NOW_S * NS)
    assert chain.gas(OTHER, Call(AT.router, b"")) is None
    assert chain.refusal(WALLET, Call(AT.router, b"")) == ""


@pytest.mark.parametrize(
    ("moved", "is_it"),
    [
        ({5: -10, 6: -10}, True),
        ({5: -11, 6: -10}, True),  # a redemption took what had come since
        ({5: -10}, False),
        ({5: -10, 6: -9}, False),
        ({5: 10, 6: -10}, False),
        ({}, False),
    ],
)
def test_a_transaction_is_the_jobs_if_every_token_moved_as_far(moved: dict[int, int], is_it: bool) -> None:
    job = Job("it", (), (Change("token", 5, -10), Change("token", 6, -10), Change("collateral", 0, 10)))
    assert is_job_of(job, {("token", token): change for token, change in moved.items()}) is is_it
    assert not is_job_of(Job("approval", (), ()), {("token", 5): -10})
