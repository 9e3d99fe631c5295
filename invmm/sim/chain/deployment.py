"""What lies where on a local chain: code at the production addresses, and storage at genesis."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from eth_utils.crypto import keccak

from invmm.sim.identity import ORACLE
from invmm.venue.profile import CONTRACTS, POLYGON

ADDRESSES: Final = CONTRACTS[POLYGON]
UNLIMITED: Final = (1 << 256) - 1


@dataclass(frozen=True, slots=True)
class Artifact:
    """A compiled contract: its ABI, the code that runs, and the storage slot of each variable."""

    name: str
    abi: tuple[dict[str, Any], ...]
    runtime: bytes
    slots: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Placed:
    """A contract at an address."""

    address: str
    artifact: Artifact
    storage: Mapping[int, int]


@cache
def artifact(name: str) -> Artifact:
    """One of the compiled contracts in `contracts/`."""
    made = json.loads((files("invmm.sim.chain") / "contracts" / f"{name}.json").read_text())
    return Artifact(name, tuple(made["abi"]), bytes.fromhex(made["runtime"][2:]), made["slots"])


def published_tokens(build: Mapping[str, Any]) -> Artifact:
    """The published conditional tokens from their package's build file, `ConditionalTokens.json`."""
    return Artifact(
        "conditional_tokens", tuple(build["abi"]), bytes.fromhex(build["deployedBytecode"][2:]), {}
    )


def placed(owner: str, *, tokens: Artifact | None = None, wallets: Iterable[str] = ()) -> tuple[Placed, ...]:
    """Every contract of the chain, owned by `owner`.

    Parameters
    ----------
    owner
        Address of the account that mints, reports results and settles matches.
    tokens
        Conditional tokens other than our own.
    wallets
        Addresses of stand-ins for smart wallets.
    """
    at = ADDRESSES
    owners = _number(owner)
    places = [
        _place(at.bridged_collateral, "dollar", owner=owners, minter=at.collateral, title="USDC.e"),
        _place(at.collateral, "dollar", owner=owners, backing=at.bridged_collateral, title="pUSD"),
        Placed(at.conditional_tokens, tokens or artifact("conditional_tokens"), _SUPPORTS if tokens else {}),
        _place(at.position_manager, "position_manager", owner=owners, router=at.router),
        _place(at.router, "router", collateral=at.collateral, positions=at.position_manager),
        _place(ORACLE, "oracle", owner=owners, tokens=at.conditional_tokens),
    ]
    for neg_risk, adapter, exchange in (
        (0, at.collateral_adapter, at.exchange_v2),
        (1, at.collateral_adapter_neg_risk, at.exchange_v2_neg_risk),
    ):
        places += [
            _place(
                adapter,
                "collateral_adapter",
                collateral=at.collateral,
                bridged=at.bridged_collateral,
                tokens=at.conditional_tokens,
                neg_risk=neg_risk,
            ),
            _exchange(exchange, owners, ledger=at.conditional_tokens, converter=adapter, newer=0),
        ]
    places.append(_exchange(at.exchange_v3, owners, ledger=at.position_manager, converter=at.router, newer=1))
    places += [_place(wallet, "wallet", owner=owners) for wallet in wallets]
    return tuple(places)


def _exchange(address: str, owner: int, *, ledger: str, converter: str, newer: int) -> Placed:
    return _place(
        address,
        "exchange",
        owner=owner,
        treasury=owner,
        collateral=ADDRESSES.collateral,
        ledger=ledger,
        converter=converter,
        newer=newer,
    )


def _place(address: str, name: str, **variables: str | int) -> Placed:
    """A contract with variables set: addresses and numbers, and one text, a token's title."""
    made = artifact(name)
    storage: dict[int, int] = {}
    for variable, value in variables.items():
        slot = made.slots[variable]
        if variable == "title":
            text = str(value).encode()
            storage[slot] = len(text)
            storage[slot + 1] = int.from_bytes(text.ljust(32, b"\0"), "big")
        else:
            storage[slot] = value if isinstance(value, int) else _number(value)
    return Placed(address, made, {slot: value for slot, value in storage.items() if value})


def _number(address: str) -> int:
    return int(address, 16)


_SUPPORTS: Final = {
    int.from_bytes(keccak(bytes.fromhex(interface).ljust(32, b"\0") + bytes(32)), "big"): 1
    for interface in ("01ffc9a7", "d9b67a26")
}
"""What the published contract's constructor writes: `_supportedInterfaces`, a mapping in slot 0."""
