"""Ethereum's JSON-RPC on a `Node`: what web3's HTTPProvider and a transaction lane ask, in geth's words."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

from eth.abc import ReceiptAPI
from eth_utils.address import to_checksum_address
from eth_utils.exceptions import ValidationError

from invmm.errors import InvmmError
from invmm.sim.chain.node import GAS_LIMIT, TIP_WEI, Block, Node, NodeRefusal, Reverted, Sent
from invmm.venue.profile import POLYGON

MAX_LOG_BLOCKS: Final = 10_000
"""Blocks that one eth_getLogs may span."""
_EMPTY_UNCLES: Final = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"


class _BadRequest(InvmmError):
    def __init__(self, code: int, message: str) -> None:
        self.code = code
        super().__init__(message)


class Rpc:
    """Answers requests. `lock` is held around each, since several threads may ask one node."""

    def __init__(self, node: Node, lock: AbstractContextManager[Any]) -> None:
        self._node = node
        self._lock = lock
        self._methods: dict[str, Callable[..., Any]] = {
            "web3_clientVersion": lambda: "invmm/local",
            "net_version": lambda: str(POLYGON),
            "eth_chainId": lambda: hex(POLYGON),
            "eth_syncing": lambda: False,
            "eth_accounts": list,
            "eth_blockNumber": lambda: hex(node.head),
            "eth_gasPrice": lambda: hex(node.base_fee_wei + TIP_WEI),
            "eth_maxPriorityFeePerGas": lambda: hex(TIP_WEI),
            "eth_feeHistory": self._fee_history,
            "eth_getBalance": lambda owner, tag="latest": hex(
                node.balance_wei(_address(owner), self._number(tag))
            ),
            "eth_getCode": lambda owner, tag="latest": _hex(node.code(_address(owner), self._number(tag))),
            "eth_getStorageAt": lambda owner, slot, tag="latest": _word(
                node.storage(_address(owner), int(slot, 16), self._number(tag))
            ),
            "eth_getTransactionCount": self._transaction_count,
            "eth_call": self._call,
            "eth_estimateGas": self._estimate,
            "eth_sendRawTransaction": lambda raw: _hex(node.send(_bytes(raw))),
            "eth_getTransactionByHash": self._transaction,
            "eth_getTransactionReceipt": self._receipt,
            "eth_getBlockByNumber": self._block_by_number,
            "eth_getBlockByHash": self._block_by_hash,
            "eth_getLogs": self._logs,
        }

    def answer(self, body: bytes) -> bytes:
        """One request, or a list of them, as bytes in and out. Nothing in `body` makes it raise."""
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            return _json(_error(None, -32700, "parse error"))
        if isinstance(asked, list):
            return _json([self._answer(one) for one in asked] or _error(None, -32600, "empty batch"))
        return _json(self._answer(asked))

    def request(self, method: str, *parameters: Any) -> Any:
        """One method's result. InvmmError with the node's words, and a `code`, for an error."""
        handler = self._methods.get(method)
        if handler is None:
            raise _BadRequest(-32601, f"the method {method} does not exist/is not available")
        with self._lock:
            try:
                return handler(*parameters)
            except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
                raise _BadRequest(-32602, f"invalid argument: {error}") from None
            except ValidationError as error:  # py-evm's, of numbers out of range
                raise _BadRequest(-32602, f"invalid argument: {error}") from None

    def _answer(self, asked: Any) -> dict[str, Any]:
        if not isinstance(asked, dict) or not isinstance(asked.get("method"), str):
            return _error(None, -32600, "invalid request")
        parameters = asked.get("params", [])
        try:
            if not isinstance(parameters, list):
                raise _BadRequest(-32602, "invalid argument: expected a list")
            result = self.request(asked["method"], *parameters)
        except (NodeRefusal, Reverted, _BadRequest) as error:
            answer = _error(asked.get("id"), error.code, str(error))
            if isinstance(error, Reverted):
                answer["error"]["data"] = _hex(error.data)
            return answer
        return {"jsonrpc": "2.0", "id": asked.get("id"), "result": result}

    def _number(self, tag: str) -> int:
        number = self._node.number(tag)
        if number is None:
            raise NodeRefusal("header not found")
        return number

    # ---- accounts, calls

    def _transaction_count(self, owner: str, tag: str = "latest") -> str:
        if tag == "pending":
            return hex(self._node.pending_nonce(_address(owner)))
        return hex(self._node.nonce(_address(owner), self._number(tag)))

    def _call(self, call: dict[str, str], tag: str = "latest") -> str:
        return _hex(
            self._node.call(
                _address(call["to"]),
                _data(call),
                sender=_address(call.get("from", "0x" + "00" * 20)),
                value_wei=int(call.get("value", "0x0"), 16),
                gas=min(int(call["gas"], 16), GAS_LIMIT) if "gas" in call else GAS_LIMIT,
                block=self._number(tag),
            )
        )

    def _estimate(self, call: dict[str, str], tag: str = "latest") -> str:
        del tag  # on the head, which is where it would be mined
        sender = _address(call.get("from", "0x" + "00" * 20))
        value = int(call.get("value", "0x0"), 16)
        return hex(self._node.estimate(_address(call["to"]), _data(call), sender=sender, value_wei=value))

    def _fee_history(self, count: str | int, newest: str, percentiles: list[float] | None = None) -> Any:
        last = self._number(newest)
        wanted = count if isinstance(count, int) else int(count, 16)
        first = max(0, last + 1 - min(wanted, 1024))
        blocks = self._node.blocks[first : last + 1]
        answer: dict[str, Any] = {
            "oldestBlock": hex(first),
            "baseFeePerGas": [
                *(hex(block.base_fee_wei) for block in blocks),
                hex(self._node.base_fee_wei),
            ],
            "gasUsedRatio": [block.header.gas_used / block.header.gas_limit for block in blocks],
        }
        if percentiles:
            answer["reward"] = [
                [hex(self._tip_at(block, percentile)) for percentile in percentiles] for block in blocks
            ]
        return answer

    def _tip_at(self, block: Block, percentile: float) -> int:
        base = block.base_fee_wei
        tips = sorted(self._node.price_wei(one, block) - base for one in block.sent)
        return tips[min(len(tips) - 1, int(len(tips) * percentile / 100))] if tips else 0

    # ---- transactions

    def _transaction(self, name: str) -> dict[str, Any] | None:
        wanted = _bytes(name)
        place = self._node.found(wanted)
        if place is not None:
            block = self._node.blocks[place[0]]
            return self._shown(block.sent[place[1]], block, place)
        waiting = self._node.pool.get(wanted)
        return None if waiting is None else self._shown(waiting, None, None)

    def _shown(self, one: Sent, block: Block | None, place: tuple[int, int] | None) -> dict[str, Any]:
        fields = one.transaction
        kind = fields.type_id or 0
        price = fields.max_fee_per_gas if block is None else self._node.price_wei(one, block)
        shown: dict[str, Any] = {
            "hash": _hex(one.hash),
            "type": hex(kind),
            "chainId": hex(POLYGON),
            "nonce": hex(fields.nonce),
            "from": to_checksum_address(one.sender),
            "to": to_checksum_address(fields.to) if fields.to else None,
            "value": hex(fields.value),
            "gas": hex(fields.gas),
            "gasPrice": hex(price),
            "input": _hex(fields.data),
            "r": hex(fields.r),
            "s": hex(fields.s),
            "v": hex(fields.y_parity if kind else 35 + 2 * POLYGON + fields.y_parity),
            "blockHash": None if block is None else _hex(block.header.hash),
            "blockNumber": None if place is None else hex(place[0]),
            "transactionIndex": None if place is None else hex(place[1]),
        }
        if kind:
            shown["accessList"] = [
                {"address": to_checksum_address(address), "storageKeys": [_word(slot) for slot in slots]}
                for address, slots in fields.access_list
            ]
            shown["yParity"] = shown["v"]
        if kind == 2:
            shown["maxFeePerGas"] = hex(fields.max_fee_per_gas)
            shown["maxPriorityFeePerGas"] = hex(fields.max_priority_fee_per_gas)
        return shown

    def _receipt(self, name: str) -> dict[str, Any] | None:
        place = self._node.found(_bytes(name))
        if place is None:
            return None
        number, index = place
        block = self._node.blocks[number]
        one, receipt = block.sent[index], block.receipts[index]
        return {
            "transactionHash": _hex(one.hash),
            "transactionIndex": hex(index),
            "blockHash": _hex(block.header.hash),
            "blockNumber": hex(number),
            "type": hex(one.transaction.type_id or 0),
            "from": to_checksum_address(one.sender),
            "to": to_checksum_address(one.transaction.to) if one.transaction.to else None,
            "contractAddress": None,
            "status": hex(int.from_bytes(receipt.state_root, "big")),
            "gasUsed": hex(block.gas_used[index]),
            "cumulativeGasUsed": hex(receipt.gas_used),
            "effectiveGasPrice": hex(self._node.price_wei(one, block)),
            "logsBloom": _hex(receipt.bloom.to_bytes(256, "big")),
            "logs": self._logs_of(number, index, receipt),
        }

    # ---- blocks, logs

    def _block_by_number(self, tag: str, whole: bool = False) -> dict[str, Any] | None:
        number = self._node.number(tag)
        return None if number is None else self._block(number, whole)

    def _block_by_hash(self, name: str, whole: bool = False) -> dict[str, Any] | None:
        wanted = _bytes(name)
        for number, block in enumerate(self._node.blocks):
            if block.header.hash == wanted:
                return self._block(number, whole)
        return None

    def _block(self, number: int, whole: bool) -> dict[str, Any]:
        block = self._node.blocks[number]
        header = block.header
        return {
            "number": hex(number),
            "hash": _hex(header.hash),
            "parentHash": _hex(header.parent_hash),
            "timestamp": hex(header.timestamp),
            "gasLimit": hex(header.gas_limit),
            "gasUsed": hex(header.gas_used),
            "baseFeePerGas": hex(block.base_fee_wei),
            "extraData": _hex(header.extra_data),
            "logsBloom": _hex(header.bloom.to_bytes(256, "big")),
            "miner": to_checksum_address(header.coinbase),
            "mixHash": _hex(header.mix_hash),
            "nonce": _hex(header.nonce),
            "difficulty": "0x0",
            "totalDifficulty": "0x0",
            "sha3Uncles": _EMPTY_UNCLES,
            "uncles": [],
            "size": hex(1024 + sum(len(one.raw) for one in block.sent)),
            "stateRoot": _hex(header.state_root),
            "transactionsRoot": _hex(header.transaction_root),
            "receiptsRoot": _hex(header.receipt_root),
            "transactions": [
                self._shown(one, block, (number, index)) if whole else _hex(one.hash)
                for index, one in enumerate(block.sent)
            ],
        }

    def _logs_of(self, number: int, index: int, receipt: ReceiptAPI) -> list[dict[str, Any]]:
        block = self._node.blocks[number]
        before = sum(len(earlier.logs) for earlier in block.receipts[:index])
        return [
            {
                "address": to_checksum_address(log.address),
                "topics": [_word(topic) for topic in log.topics],
                "data": _hex(log.data),
                "blockNumber": hex(number),
                "blockHash": _hex(block.header.hash),
                "transactionHash": _hex(block.sent[index].hash),
                "transactionIndex": hex(index),
                "logIndex": hex(before + place),
                "removed": False,
            }
            for place, log in enumerate(receipt.logs)
        ]

    def _logs(self, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        first = self._number(wanted.get("fromBlock", "latest"))
        last = self._number(wanted.get("toBlock", "latest"))
        if last - first >= MAX_LOG_BLOCKS:
            raise NodeRefusal(f"block range too large: at most {MAX_LOG_BLOCKS} blocks")
        addresses = {one.lower() for one in _several(wanted.get("address"))}
        topics = [{one.lower() for one in _several(topic)} for topic in wanted.get("topics") or ()]
        found = []
        for number in range(first, last + 1):
            for index, receipt in enumerate(self._node.blocks[number].receipts):
                for log in self._logs_of(number, index, receipt):
                    if addresses and log["address"].lower() not in addresses:
                        continue
                    given = log["topics"]
                    if len(topics) > len(given):
                        continue
                    if all(not some or one in some for some, one in zip(topics, given, strict=False)):
                        found.append(log)
        return found


def _several(wanted: str | list[str] | None) -> list[str]:
    return [] if wanted is None else [wanted] if isinstance(wanted, str) else wanted


def _data(call: dict[str, str]) -> bytes:
    return _bytes(call.get("input", call.get("data", "0x")))


def _bytes(text: str) -> bytes:
    if text[:2] not in ("0x", "0X"):
        raise ValueError(f"expected 0x and hexadecimal digits, found {text[:80]!r}")
    return bytes.fromhex(text[2:])


def _address(text: str) -> bytes:
    data = _bytes(text)
    if len(data) != 20:
        raise ValueError(f"expected an address of 20 bytes, found {len(data)}")
    return data


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def _word(number: int) -> str:
    return "0x" + number.to_bytes(32, "big").hex()


def _error(request: Any, code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request, "error": {"code": code, "message": message}}


def _json(answer: Any) -> bytes:
    return json.dumps(answer, separators=(",", ":")).encode()
