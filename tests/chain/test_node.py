"""The node: what waits, what is mined, what vanishes, and how it answers over JSON-RPC."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from web3 import HTTPProvider, Web3
from web3.exceptions import ContractLogicError, TransactionNotFound, Web3RPCError
from web3.middleware import ExtraDataToPOAMiddleware

from invmm.sim.chain import LocalChain
from invmm.sim.chain.node import NodeRefusal
from invmm.venue.profile import CONTRACTS, POLYGON

AT = CONTRACTS[POLYGON]
METHODS = (
    "eth_call",
    "eth_estimateGas",
    "eth_feeHistory",
    "eth_getBalance",
    "eth_getBlockByHash",
    "eth_getBlockByNumber",
    "eth_getCode",
    "eth_getLogs",
    "eth_getStorageAt",
    "eth_getTransactionByHash",
    "eth_getTransactionCount",
    "eth_getTransactionReceipt",
    "eth_sendRawTransaction",
)
GWEI = 10**9


@pytest.fixture
def chain() -> Iterator[LocalChain]:
    """Mines only when told, final two blocks later; its clock stands at 1000 s."""
    with LocalChain(block_time_ms=None, finality_blocks=2, seconds=lambda: 1000) as chain:
        chain.fund(chain.account("trader").address, 0, 10**18)
        yield chain


def signed(chain: LocalChain, nonce: int, *, fee_gwei: int = 60, tip_gwei: int = 30, **fields: Any) -> bytes:
    """A plain transfer of one wei."""
    transaction = {
        "chainId": POLYGON,
        "nonce": nonce,
        "to": chain.owner.address,
        "value": 1,
        "gas": 21_000,
        "maxFeePerGas": fee_gwei * GWEI,
        "maxPriorityFeePerGas": tip_gwei * GWEI,
        **fields,
    }
    return bytes(chain.account("trader").sign_transaction(transaction).raw_transaction)


def test_transactions_wait_in_order_of_nonce_and_can_be_replaced_for_more(chain: LocalChain) -> None:
    later, first = chain.send(signed(chain, 1)), chain.send(signed(chain, 0))
    assert chain.pending_nonce(chain.account("trader").address) == 2
    with pytest.raises(NodeRefusal, match="replacement transaction underpriced"):
        chain.send(signed(chain, 0, fee_gwei=66, tip_gwei=32))
    with pytest.raises(NodeRefusal, match="replacement transaction underpriced"):
        chain.send(signed(chain, 0, fee_gwei=65, tip_gwei=33))
    better = chain.send(signed(chain, 0, fee_gwei=66, tip_gwei=33))
    assert chain.mined(better) is None
    chain.mine()
    mined = chain.mined(better)
    assert mined is not None
    assert mined.success
    assert mined.gas_used == 21_000
    assert mined.fee_wei == 21_000 * (25 + 33) * GWEI
    assert chain.mined(first) is None
    assert chain.mined(later) is not None


def test_a_gap_waits_and_what_cannot_pay_the_base_fee_waits_too(chain: LocalChain) -> None:
    gap = chain.send(signed(chain, 1))
    chain.mine()
    assert chain.mined(gap) is None
    assert chain.pending_nonce(chain.account("trader").address) == 0
    first = chain.send(signed(chain, 0))
    chain.node.base_fee_wei = 61 * GWEI
    chain.mine()
    assert chain.mined(first) is None
    chain.node.base_fee_wei = 59 * GWEI
    chain.mine()
    mined = chain.mined(first)
    assert mined is not None
    assert mined.fee_wei == 21_000 * 60 * GWEI  # of the tip, what the cap leaves
    assert chain.mined(gap) is not None


def test_what_the_node_does_not_take_it_refuses_in_geths_words(chain: LocalChain) -> None:
    done = signed(chain, 0)
    chain.send(done)
    with pytest.raises(NodeRefusal, match=r"^already known$"):
        chain.send(done)
    chain.mine()
    refused = {
        "already known": done,
        "nonce too low: next nonce 1, tx nonce 0": signed(chain, 0, value=2),
        "invalid chain id for signer: have 1 want 137": signed(chain, 1, chainId=1),
        "insufficient funds for gas": signed(chain, 1, value=10**18),
        "intrinsic gas too low: have 20999, want 21000": signed(chain, 1, gas=20_999),
        "exceeds block gas limit": signed(chain, 1, gas=30_000_001),
        "rlp": b"\x02nonsense",
    }
    for words, raw in refused.items():
        with pytest.raises(NodeRefusal, match=f"^{re.escape(words)}"):
            chain.send(raw)


def test_a_reorganisation_takes_receipts_away_until_the_same_bytes_are_mined_again(chain: LocalChain) -> None:
    name = chain.send(signed(chain, 0))
    chain.mine(2)
    before = chain.mined(name)
    assert before is not None
    assert not before.final
    hashes = [block.header.hash for block in chain.node.blocks]
    chain.node.reorganise(2)
    assert chain.mined(name) is None
    assert chain.pending_nonce(chain.account("trader").address) == 1  # it waits again
    chain.mine(3)
    after = chain.mined(name)
    assert after is not None
    assert after.block == before.block
    assert after.final
    assert [block.header.hash for block in chain.node.blocks][before.block] != hashes[before.block]
    chain.node.reorganise(3, lose=True)
    assert chain.pending_nonce(chain.account("trader").address) == 0
    dropped = chain.send(signed(chain, 0))
    assert dropped == name
    chain.node.drop(bytes.fromhex(dropped[2:]))
    chain.mine()
    assert chain.mined(name) is None


def test_blocks_come_at_the_block_time_full_or_empty() -> None:
    with LocalChain(block_time_ms=10) as chain:
        address = chain.account("someone").address
        chain.fund(address, 5, 7)  # in effect at once
        assert chain.collateral_micro(address) == 5
        head = chain.node.head
        while chain.node.head < head + 3:
            assert chain.call(AT.collateral, keccak(text="totalSupply()")[:4])[-1] == 5


def test_web3_works_over_http(chain: LocalChain) -> None:
    chain.serve()
    web3 = Web3(HTTPProvider(chain.url))
    web3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)  # type: ignore[arg-type]
    trader = chain.account("trader").address
    assert web3.eth.chain_id == POLYGON
    assert web3.eth.get_balance(trader) == 10**18
    assert web3.eth.get_code(web3.to_checksum_address(AT.router)) != b""
    chain.mine(2)
    head = web3.eth.get_block("latest")
    assert web3.eth.block_number == head["number"]
    assert head["timestamp"] == 1000
    assert web3.eth.get_block("finalized")["number"] == head["number"] - 2
    assert web3.eth.get_block(head["hash"])["number"] == head["number"]
    history = web3.eth.fee_history(2, "latest", [50])
    assert history["baseFeePerGas"] == [25 * GWEI] * 3
    assert web3.eth.max_priority_fee == 30 * GWEI
    mint = keccak(text="mint(address,uint256)")[:4] + encode(["address", "uint256"], [trader, 5])
    with pytest.raises(ContractLogicError, match=r"dollar: not a minter"):
        web3.eth.call({"to": AT.collateral, "from": trader, "data": mint})
    with pytest.raises(ContractLogicError, match=r"dollar: not a minter"):
        web3.eth.estimate_gas({"to": AT.collateral, "from": trader, "data": mint})
    call = {"to": AT.collateral, "from": chain.owner.address, "data": mint, "value": 0}
    gas = web3.eth.estimate_gas(call)  # type: ignore[arg-type]
    raw = chain.owner.sign_transaction(
        {
            **call,
            "chainId": POLYGON,
            "gas": gas,
            "nonce": web3.eth.get_transaction_count(chain.owner.address, "pending"),
            "maxFeePerGas": 100 * GWEI,
            "maxPriorityFeePerGas": 30 * GWEI,
            "type": 2,
        }
    ).raw_transaction
    name = web3.eth.send_raw_transaction(raw)
    with pytest.raises(Web3RPCError, match="already known"):
        web3.eth.send_raw_transaction(raw)
    waiting = web3.eth.get_transaction(name)
    assert waiting.get("blockNumber") is None
    assert waiting["gas"] == gas
    with pytest.raises(TransactionNotFound):
        web3.eth.get_transaction_receipt(name)
    nonce = web3.eth.get_transaction_count(chain.owner.address)
    assert web3.eth.get_transaction_count(chain.owner.address, "pending") == nonce + 1
    chain.mine()
    receipt = web3.eth.get_transaction_receipt(name)
    assert receipt["status"] == 1
    assert receipt["gasUsed"] <= gas
    assert receipt["effectiveGasPrice"] == 55 * GWEI
    assert web3.eth.get_transaction(name)["blockHash"] == receipt["blockHash"]
    transfer = "0x" + keccak(text="Transfer(address,address,uint256)").hex()
    to = "0x" + bytes(12).hex() + trader[2:].lower()
    logs = web3.eth.get_logs({"fromBlock": 0, "toBlock": "latest", "topics": [transfer, None, to]})  # type: ignore[list-item]
    assert [int.from_bytes(log["data"], "big") for log in logs] == [5]
    assert logs[0]["transactionHash"] == name
    assert web3.eth.get_logs({"fromBlock": 0, "address": web3.to_checksum_address(AT.router)}) == []


THINGS = (
    st.sampled_from(
        ["latest", "pending", "finalized", "earliest", "0x0", "0x1", "-0x1", "0x" + "f" * 80, "", "0x", "zz"]
    )
    | st.sampled_from(
        [AT.collateral, AT.router, "0x" + "11" * 32, "0x12", 0, 1, -1, True, None, 1e300, [], {}]
    )
    | st.fixed_dictionaries(
        {},
        optional={
            "to": st.sampled_from([AT.collateral, "0x", 7, None]),
            "from": st.sampled_from([AT.router, "0x01", 7]),
            "data": st.sampled_from(["0x18160ddd", "0x", "0xz", 1]),
            "value": st.sampled_from(["0x0", "0x1", "-0x1", "0x" + "f" * 80, 3]),
            "gas": st.sampled_from(["0x0", "0x5208", "-0x1", "0x" + "f" * 80]),
            "fromBlock": st.sampled_from(["0x0", "0xffff", 0]),
            "address": st.sampled_from([AT.collateral, [AT.router], 5, [None]]),
            "topics": st.sampled_from([[], [None], "0x", [[1]], [["0x11"]], 5]),
        },
    )
)


@pytest.fixture(scope="module")
def still() -> LocalChain:
    return LocalChain(block_time_ms=None)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=st.sampled_from(METHODS), parameters=st.lists(THINGS, max_size=3))
def test_no_request_makes_the_node_raise(still: LocalChain, method: str, parameters: list[Any]) -> None:
    body = json.dumps({"id": 3, "method": method, "params": parameters}).encode()
    answer = json.loads(still.rpc.answer(body))
    assert answer["id"] == 3
    assert ("result" in answer) != ("error" in answer)
    if "error" in answer:
        assert answer["error"]["code"] in (-32602, -32000, 3)


def test_whatever_is_asked_is_answered(chain: LocalChain) -> None:
    url = chain.serve()

    def post(body: bytes) -> Any:
        with urllib.request.urlopen(urllib.request.Request(url, body)) as answer:
            return json.load(answer)

    def code(method: str, *parameters: Any) -> int:
        answer = post(json.dumps({"id": 1, "method": method, "params": parameters}).encode())
        return int(answer["error"]["code"])

    assert post(b"nonsense")["error"]["code"] == -32700
    # Deeper than the recursion limit: what importing py-evm sets would overflow the stack.
    assert post(b"[" * 100_000)["error"]["code"] == -32700
    assert post(b"[]")["error"]["code"] == -32600
    assert post(b"[7]")[0]["error"]["code"] == -32600
    assert code("eth_mine") == -32601
    assert code("eth_getBalance") == -32602
    assert code("eth_getBalance", "0x12", "soon") == -32602
    assert code("eth_getBlockByNumber", {"block": 1}) == -32602
    assert code("eth_call", {}) == -32602
    assert code("eth_call", {"to": AT.router}, "0xffff") == -32000
    assert post(b'{"id":7,"method":"eth_getBlockByNumber","params":["0xffff"]}') == {
        "jsonrpc": "2.0",
        "id": 7,
        "result": None,
    }
