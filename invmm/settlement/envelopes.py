"""What a relayer is given to execute: the calls of a wallet, numbered and signed, as the venue takes them.

Three kinds of wallet, told apart by the signature type of their orders. The bodies come from the official
client's builders, the signatures from our own signer; nothing is sent here. Whatever is signed can take
effect once at most: the wallet's contract (for a proxy: the relay hub) counts the nonces it has seen, and a
deposit wallet refuses after the deadline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

from invmm.errors import ConfigError
from invmm.settlement.calls import Call

LONGEST_NOTE: Final = 500
"""Characters of the words that the relayer keeps with a submit."""
DEADLINE_S: Final = 600
"""How long a deposit wallet accepts what was signed, as the official client signs it."""
PROXY_GAS: Final = 200_000
"""Gas limit of a proxy's calls where no node estimated one."""


class WalletKind(StrEnum):
    """The relayer's word for a wallet's kind."""

    PROXY = "PROXY"
    SAFE = "SAFE"
    DEPOSIT = "WALLET"


def kind_of(signature_type: int) -> WalletKind:
    """The kind of wallet that orders of this signature type are paid by.

    Raises
    ------
    ConfigError
        Type 0: an account of its own sends its own transactions, and no relayer does.
    """
    kinds = {1: WalletKind.PROXY, 2: WalletKind.SAFE, 3: WalletKind.DEPOSIT}
    if signature_type not in kinds:
        raise ConfigError(f"signature type: expected 1, 2 or 3 for a relayer, found {signature_type}")
    return kinds[signature_type]


class WalletSigner(Protocol):
    """Holds the account's key: `OrderSigner` of a wallet, or anything with these."""

    @property
    def address(self) -> str: ...

    @property
    def maker(self) -> str: ...

    @property
    def signature_type(self) -> int: ...

    def sign_relayed(
        self,
        calls: Sequence[tuple[str, int, bytes]],
        *,
        nonce: int,
        deadline_s: int = 0,
        relay: str = "",
        gas: int = 0,
    ) -> str:
        """The signature of calls, in hexadecimal; ValueError for calls that it does not sign."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """Signed calls. `body` is what is submitted; `deadline_s` 0 where nothing but the nonce ends it."""

    nonce: int
    deadline_s: int
    body: dict[str, Any]


class RelayedWallet:
    """A wallet whose calls a relayer executes, and the account that signs for it.

    Parameters
    ----------
    signer : WalletSigner
        Of the account that owns the wallet.

    Attributes
    ----------
    address, account : str
        The wallet, and the account.
    kind : WalletKind

    Examples
    --------
    >>> import secrets
    >>> from invmm import OrderSigner
    >>> from invmm.settlement.calls import route_of
    >>> wallet = RelayedWallet(OrderSigner(secrets.token_hex(32), 2, "0x" + "11" * 20))
    >>> merge = route_of("v1", False).merge("0x" + "22" * 32, 25_000_000)
    >>> wallet.seal([merge], nonce=7).body["type"]
    'SAFE'
    """

    def __init__(self, signer: WalletSigner) -> None:
        self.address = signer.maker
        self.kind = kind_of(signer.signature_type)
        self.account = signer.address
        self._signer = signer

    def __repr__(self) -> str:
        return f"RelayedWallet({self.address}, {self.kind}, of {self.account})"

    def seal(
        self,
        calls: Sequence[Call],
        *,
        nonce: int,
        deadline_s: int = 0,
        note: str = "",
        relay: str = "",
        gas: int = PROXY_GAS,
    ) -> Envelope:
        """Signs calls to be executed together, all or none.

        Parameters
        ----------
        calls : sequence of Call
            One or more, in order.
        nonce : int
            As the relayer told it.
        deadline_s : int
            Unix seconds after which a deposit wallet refuses; other kinds know none.
        note : str
            Kept by the relayer; longer than 500 characters is cut.
        relay : str
            The relay's address, as told with the nonce; of a proxy only.
        gas : int
            Gas limit; of a proxy only.
        """
        if not calls:
            raise ValueError("calls: expected one or more, found none")
        note = note[:LONGEST_NOTE]
        signature = self._signer.sign_relayed(
            [(call.to, call.value, call.data) for call in calls],
            nonce=nonce,
            deadline_s=deadline_s,
            relay=relay,
            gas=gas,
        )
        if self.kind is WalletKind.DEPOSIT:
            return Envelope(nonce, deadline_s, self._deposit(calls, nonce, deadline_s, note, signature))
        if self.kind is WalletKind.SAFE:
            return Envelope(nonce, 0, self._safe(calls, nonce, note, signature))
        return Envelope(nonce, 0, self._proxy(calls, nonce, note, signature, relay, gas))

    def gas_question(self, calls: Sequence[Call]) -> Call | None:
        """The call whose gas a proxy's envelope must state; None for wallets whose envelopes state none."""
        if self.kind is not WalletKind.PROXY:
            return None
        from polymarket._internal.actions.relayer.calls import encode_proxy_call

        data = encode_proxy_call(_theirs(calls))
        return Call(_official_config().wallet_derivation.proxy_factory, bytes.fromhex(data[2:]))

    def _deposit(
        self, calls: Sequence[Call], nonce: int, deadline_s: int, note: str, signature: str
    ) -> dict[str, Any]:
        from polymarket._internal.actions.relayer.gasless import build_deposit_wallet_payload

        wallet: Any = self.address
        return build_deposit_wallet_payload(
            signer_address=self.account,
            deposit_wallet_factory=_official_config().wallet_derivation.deposit_wallet_factory,
            wallet=wallet,
            calls=_theirs(calls),
            nonce=str(nonce),
            deadline=str(deadline_s),
            signature=signature,
            metadata=note,
        )

    def _safe(self, calls: Sequence[Call], nonce: int, note: str, signature: str) -> dict[str, Any]:
        from polymarket._internal.actions.relayer.calls import encode_safe_multisend_call
        from polymarket._internal.actions.relayer.gasless import build_safe_payload

        theirs = _theirs(calls)
        is_one = len(theirs) == 1
        wallet: Any = self.address
        target: Any = theirs[0].to if is_one else _official_config().safe_multisend
        return build_safe_payload(
            signer_address=self.account,
            wallet=wallet,
            target=target,
            data=theirs[0].data if is_one else encode_safe_multisend_call(theirs),
            value=0,
            operation=0 if is_one else 1,  # several calls: the Safe runs the multisend's code as its own
            nonce=str(nonce),
            signature=signature,
            metadata=note,
        )

    def _proxy(
        self, calls: Sequence[Call], nonce: int, note: str, signature: str, relay: str, gas: int
    ) -> dict[str, Any]:
        from polymarket._internal.actions.relayer.calls import encode_proxy_call
        from polymarket._internal.actions.relayer.gasless import build_proxy_payload

        config = _official_config()
        named: dict[str, Any] = {"wallet": self.address, "relay": relay}
        return build_proxy_payload(
            signer_address=self.account,
            proxy_factory=config.wallet_derivation.proxy_factory,
            data=encode_proxy_call(_theirs(calls)),
            nonce=str(nonce),
            signature=signature,
            gas_limit=str(gas),
            relay_hub=config.relay_hub,
            metadata=note,
            **named,
        )


def _theirs(calls: Sequence[Call]) -> list[Any]:
    """Calls as the official client has them."""
    from polymarket._internal.actions.relayer.calls import TransactionCall

    made: Any = TransactionCall
    return [made(to=call.to, data="0x" + call.data.hex(), value=call.value) for call in calls]


def _official_config() -> Any:
    """Chain and contracts that a wallet's signature names, as the official client has them."""
    from polymarket._internal.environment import PRODUCTION_CONFIG

    return PRODUCTION_CONFIG
