"""What a wallet's contract checks of signed calls: who signed, for which wallet, under which nonce.

Nothing here is shared with what seals them: structs are hashed by eth-account, calls decoded by eth-abi, and
the contracts' addresses are spelled a second time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from eth_abi.abi import decode
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data
from eth_utils.crypto import keccak

CHAIN_ID: Final = 137
DEPOSIT_FACTORY: Final = "0x00000000000Fb5C9ADea0298D729A0CB3823Cc07"
PROXY_FACTORY: Final = "0xaB45c5A4B0c941a2F231C04C3f49182e1A254052"
SAFE_MULTISEND: Final = "0xA238CBeb142c10Ef7Ad8442C6D1f9E89e07e7761"
RELAY_HUB: Final = "0xD216153c06E857cD7f72665E0aF1d7D82172F494"
_BATCH_TYPES: Final = {
    "Batch": [
        {"name": "wallet", "type": "address"},
        {"name": "nonce", "type": "uint256"},
        {"name": "deadline", "type": "uint256"},
        {"name": "calls", "type": "Call[]"},
    ],
    "Call": [
        {"name": "target", "type": "address"},
        {"name": "value", "type": "uint256"},
        {"name": "data", "type": "bytes"},
    ],
}
_SAFE_TYPES: Final = {
    "SafeTx": [
        {"name": "to", "type": "address"},
        {"name": "value", "type": "uint256"},
        {"name": "data", "type": "bytes"},
        {"name": "operation", "type": "uint8"},
        {"name": "safeTxGas", "type": "uint256"},
        {"name": "baseGas", "type": "uint256"},
        {"name": "gasPrice", "type": "uint256"},
        {"name": "gasToken", "type": "address"},
        {"name": "refundReceiver", "type": "address"},
        {"name": "nonce", "type": "uint256"},
    ]
}


class BadEnvelopeError(ValueError):
    """It says what no contract would execute."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Signed calls, checked: `calls` are (target, value, data), all to be made or none.

    `deadline_s` is 0 where only the nonce ends it. `kind` is the relayer's word for the wallet's kind.
    """

    kind: str
    account: str
    wallet: str
    nonce: int
    deadline_s: int
    calls: tuple[tuple[str, int, bytes], ...]


def open_envelope(body: Mapping[str, Any]) -> Opened:
    """Checks the signature and gives what was signed.

    Raises
    ------
    BadEnvelopeError
        A field is missing or wrong, or the account that is named did not sign this.
    """
    read = {"WALLET": _deposit, "SAFE": _safe, "PROXY": _proxy}.get(str(body.get("type")))
    if read is None:
        raise BadEnvelopeError(f"invalid type {body.get('type')!r}")
    try:
        opened, signer = read(body)
    except BadEnvelopeError:
        raise
    except Exception as error:
        raise BadEnvelopeError(f"invalid payload: {type(error).__name__}") from None
    if signer.lower() != opened.account.lower():
        raise BadEnvelopeError("invalid signature")
    return opened


def _deposit(body: Mapping[str, Any]) -> tuple[Opened, str]:
    _expect(body["to"], DEPOSIT_FACTORY, "deposit wallet factory")
    params = body["depositWalletParams"]
    calls = tuple(
        (str(call["target"]), int(call["value"]), bytes.fromhex(call["data"][2:])) for call in params["calls"]
    )
    wallet, nonce, deadline = params["depositWallet"], int(body["nonce"]), int(params["deadline"])
    message = {
        "wallet": wallet,
        "nonce": nonce,
        "deadline": deadline,
        "calls": [{"target": to, "value": value, "data": data} for to, value, data in calls],
    }
    domain = {"name": "DepositWallet", "version": "1", "chainId": CHAIN_ID, "verifyingContract": wallet}
    signable = encode_typed_data(domain, _BATCH_TYPES, message)
    signer = Account.recover_message(signable, signature=body["signature"])
    return Opened("WALLET", body["from"], wallet, nonce, deadline, calls), signer


def _safe(body: Mapping[str, Any]) -> tuple[Opened, str]:
    told = body["signatureParams"]
    target, data = body["to"], bytes.fromhex(body["data"][2:])
    wallet, nonce, value = body["proxyWallet"], int(body["nonce"]), int(body.get("value", "0"))
    message = {
        "to": target,
        "value": value,
        "data": data,
        "operation": int(told["operation"]),
        "safeTxGas": int(told["safeTxnGas"]),
        "baseGas": int(told["baseGas"]),
        "gasPrice": int(told["gasPrice"]),
        "gasToken": told["gasToken"],
        "refundReceiver": told["refundReceiver"],
        "nonce": nonce,
    }
    signable = encode_typed_data({"chainId": CHAIN_ID, "verifyingContract": wallet}, _SAFE_TYPES, message)
    digest = keccak(b"\x19" + signable.version + signable.header + signable.body)
    signature = bytearray.fromhex(body["signature"][2:])
    signature[-1] -= 4  # the Safe's mark of a signature made by eth_sign
    signer = Account.recover_message(encode_defunct(primitive=digest), signature=bytes(signature))
    if message["operation"] == 1:
        _expect(target, SAFE_MULTISEND, "multisend")
        calls = _multisend(data)
    else:
        calls = ((target, value, data),)
    return Opened("SAFE", body["from"], wallet, nonce, 0, calls), signer


def _multisend(data: bytes) -> tuple[tuple[str, int, bytes], ...]:
    if data[:4] != keccak(text="multiSend(bytes)")[:4]:
        raise BadEnvelopeError("invalid multisend")
    (packed,) = decode(["bytes"], data[4:])
    calls = []
    while packed:
        operation, target = packed[0], "0x" + packed[1:21].hex()
        value, size = int.from_bytes(packed[21:53], "big"), int.from_bytes(packed[53:85], "big")
        if operation:
            raise BadEnvelopeError("invalid operation in a multisend")
        calls.append((target, value, packed[85 : 85 + size]))
        packed = packed[85 + size :]
    return tuple(calls)


def _proxy(body: Mapping[str, Any]) -> tuple[Opened, str]:
    _expect(body["to"], PROXY_FACTORY, "proxy factory")
    told = body["signatureParams"]
    _expect(told["relayHub"], RELAY_HUB, "relay hub")
    data = bytes.fromhex(body["data"][2:])
    account, nonce = body["from"], int(body["nonce"])
    numbers = (int(told["relayerFee"]), int(told["gasPrice"]), int(told["gasLimit"]), nonce)
    packed = (
        b"rlx:"
        + bytes.fromhex(account[2:] + body["to"][2:])
        + data
        + b"".join(number.to_bytes(32, "big") for number in numbers)
        + bytes.fromhex(told["relayHub"][2:] + told["relay"][2:])
    )
    signer = Account.recover_message(encode_defunct(primitive=keccak(packed)), signature=body["signature"])
    if data[:4] != keccak(text="proxy((uint8,address,uint256,bytes)[])")[:4]:
        raise BadEnvelopeError("invalid proxy call")
    (rows,) = decode(["(uint8,address,uint256,bytes)[]"], data[4:])
    if any(kind != 1 for kind, *_ in rows):
        raise BadEnvelopeError("invalid operation in a proxy call")
    calls = tuple((target, value, content) for _, target, value, content in rows)
    return Opened("PROXY", account, body["proxyWallet"], nonce, 0, calls), signer


def _expect(found: str, expected: str, what: str) -> None:
    if found.lower() != expected.lower():
        raise BadEnvelopeError(f"invalid {what} {found}")
