"""What is looked at before a transaction is signed: nodes that agree, a nonce that is free, fees, a dry run.

Nothing here changes anything. An objection says how lasting it is, so that a job is neither given up for a
spike of the base fee nor kept waiting for a contract that will not do it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from invmm.settings import SettlementSettings
from invmm.settlement.calls import Call
from invmm.settlement.fees import Fees, first_fees
from invmm.settlement.nodes import Nodes
from invmm.settlement.rpc import RpcError, number

POL: Final = 10**18


class Lasts(IntEnum):
    """How lasting an objection is."""

    A_WHILE = 1  # the job waits
    FOR_NOW = 2  # a job that has not begun is refused, since its reasons may be gone when this is over
    FOR_GOOD = 3  # the call will not be made


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a call is not sent; `kind` is one word that stays the same while `words` change."""

    kind: str
    words: str
    lasts: Lasts


@dataclass(frozen=True, slots=True)
class Clearance:
    """What the transaction is to be signed with."""

    nonce: int
    fees: Fees
    gas_limit: int


class Preflight:
    """Checks before each first transaction of a call. Belongs to the lane's thread.

    Parameters
    ----------
    nodes : Nodes
    account : str
        Who will send.
    settings : SettlementSettings

    Attributes
    ----------
    balance_wei : int
        Of the account, when it was last asked for; -1 before.
    """

    def __init__(self, nodes: Nodes, account: str, settings: SettlementSettings) -> None:
        self._nodes = nodes
        self._account = account
        self._settings = settings
        self._with_code: set[str] = set()
        self.balance_wei = -1

    def ask_balance(self) -> int:
        """The account's wei for gas, by the node that says less."""
        answers = self._nodes.each("eth_getBalance", self._account, "latest")
        self.balance_wei = min(number(one, "balance") for one in answers)
        return self.balance_wei

    def check(self, call: Call, next_nonce: int, now_ns: int) -> Clearance | Objection:
        """Whether a call may be sent now, and with what.

        Parameters
        ----------
        next_nonce : int
            One above the last nonce that is known to be used up by the lane itself.
        now_ns : int
            unix ns, for the age of the latest block.

        Raises
        ------
        TransportError
            No node is left to ask.
        """
        if doubt := self._nodes.doubt(now_ns):
            return Objection("doubt", doubt, Lasts.FOR_NOW)
        nonce = self._free_nonce(next_nonce)
        if isinstance(nonce, Objection):
            return nonce
        fees = first_fees(self._nodes.base_fee_wei, self._nodes.suggested_tip_wei(), self._settings)
        if fees is None:
            words = f"the base fee and tip are above {self._settings.max_fee_gwei} gwei"
            return Objection("fee", words, Lasts.A_WHILE)
        gas_limit = self._dry_run(call)
        if isinstance(gas_limit, Objection):
            return gas_limit
        need = gas_limit * fees.max_fee_wei + call.value
        if self.ask_balance() < need:
            have = f"{self.balance_wei / POL:.6f}"
            words = f"expected at least {need / POL:.6f} POL for gas, found {have}"
            return Objection("balance", words, Lasts.FOR_NOW)
        return Clearance(nonce, fees, gas_limit)

    def _free_nonce(self, next_nonce: int) -> int | Objection:
        """The account's next nonce, where all nodes agree about it and nothing else is on its way."""
        latest = self._nodes.nonces(self._account, "latest")
        known = sorted({*latest, *self._nodes.nonces(self._account, "pending")})
        problem = ""
        if len(known) > 1:
            problem = (
                f"the account's next nonce is {known[0]} or {known[-1]}: a transaction that is not ours is "
                "on its way, or a node is behind"
            )
        elif known[0] < next_nonce:
            problem = (
                f"the account's next nonce is {known[0]}, expected at least {next_nonce}: the nodes do not "
                "know what was final"
            )
        elif known[0] > next_nonce:
            # Others have sent. Were theirs to be reorganised away, ours would wait for a nonce nobody fills.
            final = self._nodes.final_nonce(self._account)
            if final is not None and final < known[0]:
                problem = "transactions of this account that are not ours are not final yet"
        return Objection("nonce", problem, Lasts.A_WHILE) if problem else known[0]

    def _dry_run(self, call: Call) -> int | Objection:
        """The gas limit of a call that the contracts would execute now."""
        what = call.what or "call"
        if call.to not in self._with_code:
            if any(code in ("0x", "", None) for code in self._nodes.each("eth_getCode", call.to, "latest")):
                return Objection("call", f"{what}: there is no contract at {call.to}", Lasts.FOR_GOOD)
            self._with_code.add(call.to)
        data, value = "0x" + call.data.hex(), hex(call.value)
        question = {"from": self._account, "to": call.to, "data": data, "value": value}
        try:
            self._nodes.each("eth_call", question, "latest")
            needed = max(number(gas, "gas") for gas in self._nodes.each("eth_estimateGas", question))
        except RpcError as error:
            return Objection("call", f"{what}: dry run refused: {error.reason}", Lasts.FOR_GOOD)
        limit = needed + needed * self._settings.gas_margin_percent // 100
        if limit > self._settings.gas_limit_max:
            words = f"{what}: needs {limit} gas, expected at most {self._settings.gas_limit_max}"
            return Objection("call", words, Lasts.FOR_GOOD)
        return limit
