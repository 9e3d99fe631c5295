"""Talks to the venue's relayer: asks for nonces, submits, follows, and says what an answer proves.

Requests go by the official client's own calls, each once. Its retries are not used: they sign anew, with the
next nonce, without asking whether the copy before took effect.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from invmm.errors import ConfigError, TransportError
from invmm.settings import PRIVATE_KEY
from invmm.settlement.envelopes import WalletKind

if TYPE_CHECKING:
    import httpx
    from polymarket import BuilderApiKey, RelayerApiKey

TAKEN: Final = frozenset({"STATE_NEW", "STATE_EXECUTED", "STATE_MINED"})
CONFIRMED: Final = "STATE_CONFIRMED"
ENDED_WITHOUT: Final = frozenset({"STATE_FAILED", "STATE_INVALID"})
"""The relayer's last words about a transaction that it says had no effect."""

_WORDS: Final = 200
_BUSY: Final = re.compile(r"wallet busy.*active action|wallet has in-flight action", re.IGNORECASE)
_NONCE: Final = re.compile(r"batch nonce\s+(\d+)\s+does not match on-chain nonce\s+(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Params:
    """What the next envelope must say. `relay` is a proxy's."""

    nonce: int
    relay: str


@dataclass(frozen=True, slots=True)
class Told:
    """A transaction as the relayer tells it. `hash` is "" while there is none."""

    identifier: str
    state: str
    hash: str
    error: str = ""


class NotTakenError(TransportError):
    """The relayer answered 400: this submit was not taken and has no effect.

    Attributes
    ----------
    is_busy : bool
        The wallet has something in flight.
    nonce : int or None
        The nonce that it wants instead.
    """

    def __init__(self, words: str) -> None:
        super().__init__(f"relayer: {words}")
        found = _NONCE.search(words)
        self.words = words
        self.is_busy = _BUSY.search(words) is not None
        self.nonce = int(found.group(2)) if found else None


class UnansweredError(TransportError):
    """Nothing that proves anything came back; `pause_s` is how long to keep away, 0 if nobody said."""

    def __init__(self, words: str, pause_s: float = 0.0) -> None:
        super().__init__(f"relayer: {words}")
        self.pause_s = pause_s


class Relay:
    """One relayer, for one API key. Belongs to one thread.

    Parameters
    ----------
    url : str
        `Profile.relayer_url`.
    api_key : BuilderApiKey or RelayerApiKey
        Of `polymarket-client`.
    timeout_s : float
        For connecting, for sending, and between two pieces of an answer.
    transport : httpx.BaseTransport, optional
        Replaces the network, for tests.
    """

    def __init__(
        self,
        url: str,
        api_key: BuilderApiKey | RelayerApiKey,
        *,
        timeout_s: float = 10.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        if not url:
            raise ConfigError("relayer: expected its address in the venue's profile, found none")
        try:
            import httpx
            from polymarket._internal.actions.relayer.auth import make_relayer_header_resolver_sync
            from polymarket.clients._transport import SyncTransport
        except ImportError as error:
            raise ConfigError(f"relayer: expected the package polymarket-client, got {error}") from None

        self._client = httpx.Client(
            base_url=url, timeout=timeout_s, trust_env=False, follow_redirects=False, transport=transport
        )
        self._wire: Any = SyncTransport(
            base_url=url,
            client=self._client,
            header_resolver=make_relayer_header_resolver_sync(api_key),
        )
        self._url = url

    def __repr__(self) -> str:
        return f"Relay({self._url})"

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    def params(self, account: str, kind: WalletKind) -> Params:
        """The nonce of the next envelope.

        Raises
        ------
        UnansweredError
            It did not say.
        """
        from polymarket._internal.actions.relayer.nonce import (
            fetch_execute_params_sync,
            fetch_relay_payload_sync,
        )
        from polymarket.models.clob.relayer import RelayerTransactionType as Kind

        ask = fetch_relay_payload_sync if kind is WalletKind.PROXY else fetch_execute_params_sync
        try:
            found = ask(self._wire, address=account, type=Kind(kind.value))
        except Exception as error:
            raise _proof(error, asked=True) from None
        return Params(int(found.nonce), str(found.address))

    def submit(self, body: dict[str, Any]) -> Told:
        """Hands an envelope over, once.

        Raises
        ------
        NotTakenError
            It was refused and has no effect.
        UnansweredError
            Anything else but an acceptance: it may have been taken.
        """
        from polymarket._internal.actions.relayer.submit import submit_gasless_sync

        envelope: Any = body
        try:
            found = submit_gasless_sync(self._wire, payload=envelope)
        except Exception as error:
            raise _proof(error) from None
        return Told(found.transaction_id, str(found.state), str(found.transaction_hash or ""))

    def transaction(self, identifier: str) -> Told:
        """What became of a submit that was taken.

        Raises
        ------
        UnansweredError
            It did not say.
        """
        from polymarket._internal.actions.relayer.poll import fetch_gasless_transaction_sync

        try:
            found = fetch_gasless_transaction_sync(self._wire, transaction_id=identifier)
        except Exception as error:
            raise _proof(error, asked=True) from None
        return Told(
            found.transaction_id,
            str(found.state),
            str(found.transaction_hash or ""),
            _safe(found.error_msg or ""),
        )


def _proof(error: Exception, *, asked: bool = False) -> NotTakenError | UnansweredError:
    """What an error of the official client proves. Its text is kept, cut; requests and headers are not."""
    from polymarket import errors

    words = f"{type(error).__name__}: {_safe(str(error))}"
    if isinstance(error, errors.RateLimitError):
        return UnansweredError(words, error.retry_after or 0.0)
    if isinstance(error, errors.RequestRejectedError):
        if error.status == 400 and not asked:
            return NotTakenError(_safe(str(error)))
        return UnansweredError(f"HTTP {error.status}: {words}", error.retry_after or 0.0)
    return UnansweredError(words)


def _safe(text: str) -> str:
    return PRIVATE_KEY.sub("(64 hex digits)", text)[:_WORDS]
