"""What a relayer is given to execute: the calls of a wallet, numbered and signed, as the venue takes them.

Three kinds of wallet, told apart by the signature type of their orders. The bytes come from the official
client's builders; nothing is sent here. Whatever is signed can take effect once at most: the wallet's
contract (for a proxy: the relay hub) counts the nonces it has seen, and a deposit wallet refuses after the
deadline.
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


class MessageSigner(Protocol):
    """Holds the account's key; eth-account's `LocalAccount` is one."""

    @property
    def address(self) -> Any:
        """The account."""

    def sign_message(self, signable_message: Any) -> Any:
        """Signs by EIP-191; the result has `signature`, 65 bytes."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """Signed calls. `body` is what is submitted; `deadline_s` 0 where nothing but the nonce ends it."""

    nonce: int
    deadline_s: int
    body: dict[str, Any]


class RelayedWallet:
    """A wallet whose calls a relayer executes, with the account that signs for it.

    Parameters
    ----------
    address : str
        The wallet.
    kind : WalletKind
    signer : MessageSigner
        Of the account that owns it.

    Examples
    --------
    >>> from eth_account import Account
    >>> from invmm.settlement.calls import route_of
    >>> wallet = RelayedWallet("0x" + "11" * 20, WalletKind.SAFE, Account.create())
    >>> merge = route_of("v1", False).merge("0x" + "22" * 32, 25_000_000)
    >>> wallet.seal([merge], nonce=7).body["nonce"]
    '7'
    """

    def __init__(self, address: str, kind: WalletKind, signer: MessageSigner) -> None:
        self.address = address
        self.kind = kind
        self.account = str(signer.address)
        self._signer: Any = signer

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
        if self.kind is WalletKind.DEPOSIT:
            return Envelope(nonce, deadline_s, self._deposit(calls, nonce, deadline_s, note))
        if self.kind is WalletKind.SAFE:
            return Envelope(nonce, 0, self._safe(calls, nonce, note))
        return Envelope(nonce, 0, self._proxy(calls, nonce, note, relay, gas))

    def gas_question(self, calls: Sequence[Call]) -> Call | None:
        """The call whose gas a proxy's envelope must state; None for wallets whose envelopes state none."""
        if self.kind is not WalletKind.PROXY:
            return None
        from polymarket._internal.actions.relayer.calls import encode_proxy_call

        data = encode_proxy_call(_theirs(calls))
        return Call(_official_config().wallet_derivation.proxy_factory, bytes.fromhex(data[2:]))

    def _deposit(self, calls: Sequence[Call], nonce: int, deadline_s: int, note: str) -> dict[str, Any]:
        from polymarket._internal.actions.relayer.gasless import build_deposit_wallet_payload
        from polymarket._internal.actions.relayer.signing.deposit_wallet import sign_deposit_wallet_batch

        config = _official_config()
        wallet: Any = self.address
        signed: dict[str, Any] = {
            "wallet": wallet,
            "calls": _theirs(calls),
            "nonce": str(nonce),
            "deadline": str(deadline_s),
        }
        return build_deposit_wallet_payload(
            signer_address=self.account,
            deposit_wallet_factory=config.wallet_derivation.deposit_wallet_factory,
            signature=sign_deposit_wallet_batch(self._signer, chain_id=config.chain_id, **signed),
            metadata=note,
            **signed,
        )

    def _safe(self, calls: Sequence[Call], nonce: int, note: str) -> dict[str, Any]:
        from polymarket._internal.actions.relayer.calls import encode_safe_multisend_call
        from polymarket._internal.actions.relayer.gasless import build_safe_payload
        from polymarket._internal.actions.relayer.signing.safe import sign_safe_transaction

        config = _official_config()
        theirs = _theirs(calls)
        wallet: Any = self.address
        multisend: Any = config.safe_multisend
        is_one = len(theirs) == 1
        signed: dict[str, Any] = {
            "to": theirs[0].to if is_one else multisend,
            "data": theirs[0].data if is_one else encode_safe_multisend_call(theirs),
            "value": theirs[0].value if is_one else 0,
            "operation": 0 if is_one else 1,  # several calls: the Safe runs the multisend's code as its own
            "nonce": str(nonce),
        }
        signature = sign_safe_transaction(
            self._signer, safe_address=wallet, chain_id=config.chain_id, **signed
        )
        return build_safe_payload(
            signer_address=self.account,
            wallet=wallet,
            target=signed.pop("to"),
            signature=signature,
            metadata=note,
            **signed,
        )

    def _proxy(self, calls: Sequence[Call], nonce: int, note: str, relay: str, gas: int) -> dict[str, Any]:
        from polymarket._internal.actions.relayer.calls import encode_proxy_call
        from polymarket._internal.actions.relayer.gasless import build_proxy_payload
        from polymarket._internal.actions.relayer.signing.proxy import (
            build_proxy_transaction_hash,
            sign_proxy_message,
        )

        config = _official_config()
        account: Any = self.account
        wallet: Any = self.address
        factory: Any = config.wallet_derivation.proxy_factory
        signed: dict[str, Any] = {
            "data": encode_proxy_call(_theirs(calls)),
            "gas_limit": str(gas),
            "nonce": str(nonce),
            "relay": relay,
            "relay_hub": config.relay_hub,
        }
        hashed = build_proxy_transaction_hash(
            from_address=account, to=factory, relayer_fee="0", gas_price="0", **signed
        )
        return build_proxy_payload(
            signer_address=account,
            proxy_factory=factory,
            wallet=wallet,
            signature=sign_proxy_message(self._signer, hashed),
            metadata=note,
            **signed,
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
