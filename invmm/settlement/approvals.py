"""Which rights a wallet must have given to trade and settle, which it has, and the calls that give the rest.

Rights to collateral have an amount; what is planned is the amount that was asked for, never more unless that
was asked for too. Rights to outcome tokens have none: the contracts know only all or nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from invmm.errors import InvmmError, TransportError
from invmm.settlement.calls import UNLIMITED, Approval, Call, Standard, address_word, route_of, selector
from invmm.settlement.nodes import Endpoint
from invmm.settlement.rpc import RpcError
from invmm.venue.profile import CONTRACTS, POLYGON, Contracts

ENDLESS: Final = 1 << 255
"""Allowances from here up are never used up: some tokens count the largest number down, too."""


class Purpose(StrEnum):
    """What rights are for."""

    TRADE = "trade"  # the exchanges take collateral for buys, outcome tokens for sells
    MERGE = "merge"  # outcome tokens, to merge pairs and redeem what is left
    SPLIT = "split"  # collateral, to make pairs


@dataclass(frozen=True, slots=True)
class Right:
    """An approval and what of it a wallet has given: micro-dollars of an ERC-20, 0 or 1 of an ERC-1155."""

    approval: Approval
    given: int

    def is_short(self, amount_micro: int) -> bool:
        """Whether less is given than `amount_micro`; of an ERC-1155 whether nothing is."""
        if self.approval.standard is Standard.ERC1155:
            return not self.given
        return self.given < min(amount_micro, ENDLESS)


def needed(
    purposes: Collection[Purpose], *, neg_risk: bool = False, chain_id: int = POLYGON
) -> tuple[Approval, ...]:
    """The approvals that these purposes take, on both generations' contracts.

    Up/Down markets are not neg-risk; `neg_risk` adds what those are traded and settled with. What nobody
    here uses is left out: redeeming by the venue's own operator, and modules that move tokens between
    generations.
    """
    contracts = CONTRACTS[chain_id]
    found: list[Approval] = []
    if Purpose.TRADE in purposes:
        found += _exchanges(contracts, neg_risk)
    routes = [route_of("v1", False, chain_id), route_of("v2", False, chain_id)]
    if neg_risk:
        routes.insert(1, route_of("v1", True, chain_id))
    wanted = {
        Standard.ERC20: Purpose.SPLIT in purposes,
        Standard.ERC1155: Purpose.MERGE in purposes,
    }
    found += [one for route in routes for one in route.approvals if wanted[one.standard]]
    return tuple(found)


def plan(rights: Sequence[Right], amount_micro: int, *, unlimited: bool = False) -> tuple[Call, ...]:
    """The calls that give what is missing: collateral rights of exactly `amount_micro`, or without end."""
    return tuple(
        right.approval.give(UNLIMITED if unlimited else amount_micro)
        for right in rights
        if right.is_short(UNLIMITED if unlimited else amount_micro)
    )


def withdrawal(rights: Sequence[Right]) -> tuple[Call, ...]:
    """The calls that take back every right that is given."""
    return tuple(right.approval.give(0) for right in rights if right.given)


class RightsReader:
    """Reads rights and balances of a wallet from the first node that answers. Belongs to one thread."""

    def __init__(self, endpoints: Sequence[Endpoint], wallet: str, chain_id: int = POLYGON) -> None:
        self._endpoints = tuple(endpoints)
        self._wallet = wallet
        self._contracts = CONTRACTS[chain_id]
        self._chain_id = chain_id
        self._known: set[str] = set()

    def rights(self, approvals: Sequence[Approval]) -> tuple[Right, ...]:
        """What of them the wallet has given.

        Raises
        ------
        TransportError
            No node tells.
        """
        return tuple(Right(one, self._ask(one.question(self._wallet))) for one in approvals)

    def collateral_micro(self) -> int:
        """Micro-dollars that the wallet holds. TransportError when no node tells."""
        data = selector("balanceOf(address)") + address_word(self._wallet)
        return self._ask(Call(self._contracts.collateral, data, what="read the balance"))

    def _ask(self, call: Call) -> int:
        silent = ""
        for node in self._endpoints:
            try:
                if node.name not in self._known:
                    found = int(str(node.call("eth_chainId")), 16)
                    if found != self._chain_id:
                        silent = f"{node.name}: expected chain {self._chain_id}, found {found}"
                        continue
                    self._known.add(node.name)
                return _number(
                    node.call("eth_call", {"to": call.to, "data": "0x" + call.data.hex()}, "latest")
                )
            except (RpcError, TransportError, ValueError) as error:
                silent = str(error) if isinstance(error, InvmmError) else f"{node.name}: {error}"
        raise TransportError(f"{call.what}: no node tells: {silent}")


def _exchanges(contracts: Contracts, neg_risk: bool) -> list[Approval]:
    named = [("exchange V2", contracts.exchange_v2, contracts.conditional_tokens)]
    if neg_risk:
        named.append(("neg-risk exchange V2", contracts.exchange_v2_neg_risk, contracts.conditional_tokens))
    named.append(("exchange V3", contracts.exchange_v3, contracts.position_manager))
    return [
        approval
        for name, spender, tokens in named
        for approval in (
            Approval(Standard.ERC20, contracts.collateral, spender, f"pUSD for the {name} (buys)"),
            Approval(Standard.ERC1155, tokens, spender, f"outcome tokens for the {name} (sells)"),
        )
    ]


def _number(answer: Any) -> int:
    """One word; ValueError for anything else, as of an address without a contract."""
    if not isinstance(answer, str) or len(answer) != 66:
        raise ValueError(f"expected one word, found {str(answer)[:80]!r}")
    return int(answer, 16)
