"""What an account has on the chain: collateral, outcome tokens, and what a resolution pays.

Questions are asked of the first node that answers. The answers decide whether a job is worth sending; that it
is right is for the dry run and the receipt to show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from invmm.errors import TransportError
from invmm.settlement.calls import Approval, address_word, route_of, selector, word
from invmm.settlement.nodes import Endpoint
from invmm.settlement.rpc import RpcError
from invmm.venue.profile import CONTRACTS, POLYGON

_SHARE: Final = 1_000_000


class Holdings(Protocol):
    """What the settler asks. Each call blocks up to its deadline; TransportError without a usable answer."""

    def collateral_micro(self) -> int:
        """Micro-dollars of pUSD."""

    def shares_micro(self, exchange: str, token: str) -> int:
        """Micro-shares of one outcome token."""

    def payouts(self, exchange: str, market: str, tokens: tuple[str, str]) -> tuple[int, int] | None:
        """What the resolution of a condition pays per share, Up to Down: (1, 0), (0, 1), (1, 1), …; None
        while it is not resolved.
        """


def version_of(exchange: str) -> tuple[str, bool]:
    """Generation ("v1" conditional tokens, "v2" positions) and neg-risk flag of a market's exchange."""
    return ("v2" if exchange == "v3" else "v1"), exchange == "v2-neg-risk"


class ChainHoldings:
    """The account's holdings as nodes of the chain tell them; satisfies `Holdings`. Belongs to one thread.

    Parameters
    ----------
    endpoints : sequence of Endpoint
    account : str
        The wallet that holds the shares.
    chain_id : int
    """

    def __init__(self, endpoints: Sequence[Endpoint], account: str, chain_id: int = POLYGON) -> None:
        self._endpoints = tuple(endpoints)
        self._account = account
        self._chain_id = chain_id
        self._contracts = CONTRACTS[chain_id]

    def collateral_micro(self) -> int:
        """See `Holdings`."""
        return self._ask(
            self._contracts.collateral, selector("balanceOf(address)") + address_word(self._account)
        )

    def shares_micro(self, exchange: str, token: str) -> int:
        """See `Holdings`."""
        contract = route_of(*version_of(exchange), self._chain_id).token_contract
        data = selector("balanceOf(address,uint256)") + address_word(self._account) + word(int(token))
        return self._ask(contract, data)

    def payouts(self, exchange: str, market: str, tokens: tuple[str, str]) -> tuple[int, int] | None:
        """See `Holdings`."""
        if exchange == "v3":
            return self._position_payouts(tokens)
        condition = bytes.fromhex(market[2:])
        contract = self._contracts.conditional_tokens
        if not self._ask(contract, selector("payoutDenominator(bytes32)") + condition):
            return None
        numerator = selector("payoutNumerators(bytes32,uint256)") + condition
        up, down = (self._ask(contract, numerator + word(outcome)) for outcome in (0, 1))
        return up, down

    def allowed(self, approval: Approval) -> int:
        """What the account has allowed: micro-dollars of an ERC-20, 0 or 1 of an ERC-1155 contract."""
        question = approval.question(self._account)
        return self._ask(question.to, question.data)

    def _position_payouts(self, tokens: tuple[str, str]) -> tuple[int, int] | None:
        contract = self._contracts.position_manager
        question = selector("getPayout(uint256,uint256)")
        try:
            up, down = (self._ask(contract, question + word(int(t)) + word(_SHARE)) for t in tokens)
        except RpcError as error:
            if error.is_revert:  # the contract's way to say that there is no resolution
                return None
            raise
        return (up, down) if up or down else None

    def _ask(self, contract: str, data: bytes) -> int:
        problem: Exception | None = None
        for node in self._endpoints:
            try:
                answer = node.call("eth_call", {"to": contract, "data": "0x" + data.hex()}, "latest")
            except RpcError as error:
                if error.is_revert:
                    raise
                problem = error
                continue
            except TransportError as error:
                problem = error
                continue
            if isinstance(answer, str) and len(answer) == 66:
                return int(answer, 16)
            problem = TransportError(f"{node.name}: eth_call: expected one word of {contract}")
        raise TransportError(f"no node tells: {problem}")
