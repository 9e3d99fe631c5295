"""What is rare, slow and done by the venue's own client: API credentials and wallets.

`Edges` runs `polymarket-client` on one thread of its own and imports it there, on first use. Each call gives
a `concurrent.futures.Future`; `asyncio.wrap_future` makes it awaitable. None of this is near the trading
path.

The package takes a private key as text. It is asked for on the edge thread when it is needed and dropped
after the call, but Python text cannot be wiped: programs that need no wallet work use `VenueClient` for
credentials, whose signer keeps the key in a native buffer.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from invmm.errors import ConfigError, InvmmError, TransportError, VenueError
from invmm.settings import PRIVATE_KEY
from invmm.venue.auth import ApiCredentials
from invmm.venue.official import official_environment
from invmm.venue.profile import Profile

if TYPE_CHECKING:
    from polymarket import BuilderApiKey, RelayerApiKey

R = TypeVar("R")
WALLET_KINDS: Final = ("EOA", "POLY_PROXY", "GNOSIS_SAFE", "DEPOSIT_WALLET")
"""The package's names, by signature type."""


@dataclass(frozen=True, slots=True)
class Wallets:
    """The wallets that belong to an account, deployed or not. `deposit` is of the present kind, `old_deposit`
    of the one before.
    """

    account: str
    proxy: str
    safe: str
    deposit: str
    old_deposit: str

    def signature_type(self, wallet: str) -> int | None:
        """The type under which the account signs for `wallet`; None if it is none of these."""
        kinds = {self.account: 0, self.proxy: 1, self.safe: 2, self.deposit: 3, self.old_deposit: 3}
        return {address.lower(): kind for address, kind in kinds.items()}.get(wallet.lower())


class Edges:
    """Calls of `polymarket-client` for one venue; a context manager.

    Raises
    ------
    VenueError
        From a result: the venue or its relayer refused.
    TransportError
        From a result: no usable answer; whether a transaction was taken is unknown.
    ConfigError
        From a result: the package is missing, or it refuses what it was given.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="invmm-edge")

    def __enter__(self) -> Edges:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drops what has not begun and waits for what has."""
        self._thread.shutdown(cancel_futures=True)

    def wallets(self, account: str) -> Future[Wallets]:
        """The addresses of an account's wallets, computed; nothing is asked."""

        def work() -> Wallets:
            from polymarket._internal import wallet as derive

            config = official_environment(self.profile)._config.wallet_derivation
            return Wallets(
                account,
                derive.derive_proxy_wallet_address(account, config),
                derive.derive_safe_wallet_address(account, config),
                derive.derive_beacon_deposit_wallet_address(account, config),
                derive.derive_uups_deposit_wallet_address(account, config),
            )

        return self._run("wallets", work)

    def is_deployed(self, wallet: str, signature_type: int) -> Future[bool]:
        """Whether the wallet's contract is on the chain, as the relayer knows; an account needs none."""

        def work() -> bool:
            if signature_type == 0:
                return True
            import httpx
            from polymarket._internal.actions.relayer.deployed import fetch_deployed_sync
            from polymarket.clients._transport import SyncTransport
            from polymarket.models.clob.relayer import RelayerTransactionType as Kind

            url = official_environment(self.profile)._config.relayer_url
            kind = {1: Kind.PROXY, 2: Kind.SAFE, 3: Kind.WALLET}[signature_type]
            with httpx.Client(base_url=url, trust_env=False, timeout=10.0) as http:
                return fetch_deployed_sync(
                    SyncTransport(base_url=url, client=http), address=wallet, type=kind
                )

        return self._run("deployed", work)

    def credentials(self, private_key: Callable[[], str], nonce: int = 0) -> Future[ApiCredentials]:
        """Creates or derives the account's API credentials. No wallet is touched."""

        def work() -> ApiCredentials:
            from eth_account import Account

            key = private_key()
            account = Account.from_key(key).address
            with self._client(private_key=key, wallet=account, nonce=nonce) as client:
                found = client.credentials
                return ApiCredentials(str(found.key), found.secret, found.passphrase)

        return self._run("credentials", work)

    def deploy_wallet(
        self, private_key: Callable[[], str], api_key: BuilderApiKey | RelayerApiKey
    ) -> Future[str]:
        """Deploys the account's deposit wallet through the relayer unless it is there; its address."""

        def work() -> str:
            with self._client(private_key=private_key(), api_key=api_key) as client:
                return str(client.wallet)

        return self._run("deploy wallet", work)

    def _client(self, **arguments: Any) -> Any:
        from polymarket import SecureClient

        return SecureClient.create(environment=official_environment(self.profile), **arguments)

    def _run(self, what: str, work: Callable[[], R]) -> Future[R]:
        def safely() -> R:
            try:
                return work()
            except InvmmError:
                raise
            except ImportError as error:
                raise ConfigError(f"{what}: expected the package polymarket-client, got {error}") from None
            except Exception as error:
                # Not chained: the package's errors hold requests and answers.
                raise _told(what, error) from None

        return self._thread.submit(safely)


def _told(what: str, error: Exception) -> InvmmError:
    from polymarket import errors

    words = f"{what}: {type(error).__name__}: {PRIVATE_KEY.sub('(64 hex digits)', str(error))[:200]}"
    if isinstance(error, errors.RequestRejectedError):
        return VenueError(error.status, words)
    if isinstance(error, errors.RateLimitError):
        return VenueError(429, words)
    if isinstance(error, errors.TransactionFailedError):
        return VenueError(200, words)
    if isinstance(error, errors.UserInputError | ValueError):
        return ConfigError(words)
    return TransportError(words)
