"""Who trades: finds the private key, the API credentials and the wallet that pays, and says where they were.

A private key comes from an encrypted keystore file, from the OS keyring or, when the settings ask for it,
from an environment variable; API credentials likewise. The names are those that bots for this venue use.
Where things were found is told in `Identity.sources`; no message, `repr` or source ever holds a value.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Final, NoReturn

from invmm._ext.eip712 import checksum_address
from invmm.errors import ConfigError
from invmm.settings import WalletSettings
from invmm.venue.auth import ApiCredentials, OrderSigner
from invmm.venue.keystore import (
    address_in,
    credentials_of,
    from_keyring,
    keyring_place,
    password_source,
    read_credentials,
    read_key,
)

PRIVATE_KEY_NAMES: Final = ("POLYMARKET_PRIVATE_KEY", "POLYMARKET_PK", "PK", "PRIVATE_KEY")
FUNDER_NAMES: Final = ("POLYMARKET_FUNDER", "FUNDER", "BROWSER_ADDRESS", "PROXY_WALLET")
ADDRESS_NAMES: Final = ("POLYMARKET_ADDRESS",)
SIGNATURE_TYPE_NAMES: Final = ("POLYMARKET_SIGNATURE_TYPE",)
RPC_NAMES: Final = ("POLYGON_RPC_URL",)
API_KEY_NAMES: Final = ("CLOB_API_KEY", "POLYMARKET_API_KEY")
API_SECRET_NAMES: Final = ("CLOB_SECRET", "CLOB_API_SECRET", "POLYMARKET_API_SECRET", "POLYMARKET_SECRET")
API_PASSPHRASE_NAMES: Final = (
    "CLOB_PASS_PHRASE",
    "CLOB_PASSPHRASE",
    "CLOB_API_PASS_PHRASE",
    "CLOB_API_PASSPHRASE",
    "POLYMARKET_API_PASSPHRASE",
    "POLYMARKET_PASSPHRASE",
)
BUILDER_KEY_NAMES: Final = ("POLY_BUILDER_API_KEY",)
BUILDER_SECRET_NAMES: Final = ("POLY_BUILDER_SECRET",)
BUILDER_PASSPHRASE_NAMES: Final = ("POLY_BUILDER_PASSPHRASE",)
RELAYER_KEY_NAMES: Final = ("RELAYER_API_KEY",)
RELAYER_ADDRESS_NAMES: Final = ("RELAYER_API_KEY_ADDRESS",)
SECRET_NAMES: Final = (
    *PRIVATE_KEY_NAMES,
    *API_KEY_NAMES,
    *API_SECRET_NAMES,
    *API_PASSPHRASE_NAMES,
    *BUILDER_KEY_NAMES,
    *BUILDER_SECRET_NAMES,
    *BUILDER_PASSPHRASE_NAMES,
    *RELAYER_KEY_NAMES,
    *RPC_NAMES,
)
"""Variables whose values are secret; an RPC address often holds its provider's key."""

ON_REQUEST: Final = "the environment is read on request only: set [wallet] environment = true, or give --env"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Identity:
    """Who trades. `repr` shows the address only; pickling and copying are refused.

    Attributes
    ----------
    signer : OrderSigner or None
        Holds the private key. None where only API credentials were asked for.
    credentials : ApiCredentials or None
    address : str
        The account of the private key, which the API credentials belong to.
    funder : str
        Who pays: the account itself, or its wallet.
    signature_type : int
        0 to 3.
    rpc_url : str or None
        Of a Polygon node.
    sources : mapping
        What was found to where: "private key" to "environment PK". Never a value.
    """

    signer: OrderSigner | None
    credentials: ApiCredentials | None
    address: str
    funder: str
    signature_type: int
    rpc_url: str | None
    sources: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Identity({self.address})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("Identity holds secrets: it cannot be pickled or copied")


def find_identity(
    wallet: WalletSettings,
    environ: Mapping[str, str],
    *,
    chain_id: int = 137,
    password: Callable[[str], str] | None = None,
    needs_key: bool = True,
    needs_credentials: bool = False,
    keyless: bool = False,
) -> Identity:
    """Finds who trades, in the order keystore file, OS keyring, environment.

    Parameters
    ----------
    wallet : WalletSettings
        Which keystore, which keyring entry, whether the environment may be read, who pays.
    environ : mapping
        `os.environ`. Read only if `wallet.environment`.
    chain_id : int
        137 (Polygon) or 80002.
    password : callable, optional
        Takes a prompt, gives the password of a keystore file. None: a password file, else the terminal.
    needs_key : bool
        False: no private key is read, unless it is the only thing that tells the address.
    needs_credentials : bool
        True: no API credentials are an error.
    keyless : bool
        True: no private key is read whatever happens; the address must be stated in plain.

    Raises
    ------
    ConfigError
        Something needed was not found, two sources disagree, or a value is not what it should be. The text
        names the sources and what was expected.
    """
    ask = password_source(environ) if password is None else password
    variables = Variables(environ, wallet.environment)
    sources: dict[str, str] = {}

    credentials, credentials_address = _find_credentials(wallet, variables, ask, sources)
    if credentials is None and needs_credentials:
        raise ConfigError(
            "API credentials: none found; expected [wallet] credentials or keyring, or the environment "
            f"variables {API_KEY_NAMES[0]}, {API_SECRET_NAMES[0]}, {API_PASSPHRASE_NAMES[0]}"
            + variables.hint(API_KEY_NAMES)
        )

    address = _find_address(wallet, variables, credentials_address, sources)
    funder, signature_type = _find_payer(wallet, variables, sources)
    signer = None
    if keyless and not address:
        raise ConfigError(
            "address: none found, and no private key is read to tell it; expected a [wallet] credentials or "
            f"keystore file that states it, or the environment variable {ADDRESS_NAMES[0]}"
            + variables.hint(ADDRESS_NAMES)
        )
    if needs_key or not address:
        private_key, where = _find_key(wallet, variables, ask, needs_key)
        holder = _address_of(private_key, where)
        if address and address != holder:
            raise ConfigError(f"the account of {sources['address']} is not that of the key of {where}")
        address = holder
        sources["private key"] = sources["address"] = where
        if needs_key:
            _check_payer(address, signature_type, funder, sources)
            signer = OrderSigner(private_key, signature_type, funder or None, chain_id)
        del private_key
    if credentials is not None:
        try:
            credentials.signer(address)
        except ValueError as error:
            raise ConfigError(f"{sources['API credentials']}: {error}") from None
    if not funder:
        sources["funder"] = "the account itself"
    rpc = variables.find(RPC_NAMES)
    if rpc is not None:
        sources["RPC address"] = f"environment {rpc[1]}"
    return Identity(
        signer,
        credentials,
        address,
        funder or address,
        signature_type,
        rpc[0] if rpc is not None else None,
        sources,
    )


def forget_secrets(environ: MutableMapping[str, str] | None = None) -> None:
    """Removes every secret variable, so that processes started from now on do not inherit them.

    What the system shows of the environment that this process was started with does not change;
    `invmm.ops.hardening` hides that from other users.
    """
    names = os.environ if environ is None else environ
    for name in SECRET_NAMES:
        names.pop(name, None)


class Variables:
    """Environment variables, each under any of several names.

    Parameters
    ----------
    environ : mapping
    allowed : bool
        False: nothing is found, and `hint` tells what would have been.
    """

    def __init__(self, environ: Mapping[str, str], allowed: bool = True) -> None:
        self._environ = environ
        self._allowed = allowed

    def find(self, names: Iterable[str], same: Callable[[str], str] = str.strip) -> tuple[str, str] | None:
        """Value and name of the first that is set; two that disagree are an error."""
        if not self._allowed:
            return None
        found = [(self._environ[name].strip(), name) for name in names if self._environ.get(name, "").strip()]
        for value, name in found[1:]:
            if same(value) != same(found[0][0]):
                raise ConfigError(f"{found[0][1]} and {name} are both set, and they differ")
        return found[0] if found else None

    def private_key(self) -> tuple[str, str] | None:
        """The text that should be a private key, and "environment NAME"."""
        found = self.find(PRIVATE_KEY_NAMES, lambda text: text.lower().removeprefix("0x"))
        return (found[0], f"environment {found[1]}") if found else None

    def credentials(self) -> tuple[ApiCredentials, str] | None:
        """The API credentials, and "environment NAME, NAME, NAME"; a part that is missing is an error."""
        kinds = (API_KEY_NAMES, API_SECRET_NAMES, API_PASSPHRASE_NAMES)
        found = [self.find(names) for names in kinds]
        present = [one for one in found if one is not None]
        if not present:
            return None
        names = ", ".join(name for _, name in present)
        if len(present) < len(kinds):
            missing = [names[0] for names, one in zip(kinds, found, strict=True) if one is None]
            raise ConfigError(f"API credentials: {names} set, {', '.join(missing)} missing")
        return ApiCredentials(*(value for value, _ in present)), f"environment {names}"

    def hint(self, names: Iterable[str]) -> str:
        """That a variable is set but was not looked at, or nothing."""
        unread = [name for name in names if not self._allowed and self._environ.get(name, "").strip()]
        return f" ({unread[0]} is set, but {ON_REQUEST})" if unread else ""


def _find_key(
    wallet: WalletSettings, variables: Variables, ask: Callable[[str], str], needs_key: bool
) -> tuple[str | bytes, str]:
    """The private key and where it came from."""
    found: list[tuple[str | bytes, str]] = []
    if wallet.keystore:
        found.append((read_key(wallet.keystore, ask), f"keystore {wallet.keystore}"))
    if wallet.keyring:
        text = from_keyring(wallet.keyring)
        if text is not None:
            found.append((text, f"OS keyring {'/'.join(keyring_place(wallet.keyring))}"))
    variable = variables.private_key()
    if variable is not None:
        found.append(variable)
    if not found:
        wanted = PRIVATE_KEY_NAMES if needs_key else (*ADDRESS_NAMES, *PRIVATE_KEY_NAMES)
        raise ConfigError(
            f"{'private key' if needs_key else 'address'}: none found; expected [wallet] keystore or "
            f"keyring, or the environment variable {wanted[0]}" + variables.hint(wanted)
        )
    first, where = found[0]
    for other, elsewhere in found[1:]:
        if _address_of(other, elsewhere) != _address_of(first, where):
            raise ConfigError(f"{where} and {elsewhere} hold different private keys")
    return first, where


def _address_of(private_key: str | bytes, where: str) -> str:
    try:
        return OrderSigner(private_key).address
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def _check_payer(address: str, signature_type: int, funder: str, sources: Mapping[str, str]) -> None:
    if signature_type == 0 and funder and funder != address:
        raise ConfigError(
            f"{sources['funder']}: with signature type 0 ({sources['signature type']}) the key's own account "
            f"pays; a wallet needs type 1, 2 or 3: [wallet] signature_type or {SIGNATURE_TYPE_NAMES[0]}"
        )
    if signature_type != 0 and not funder:
        raise ConfigError(
            f"signature type {signature_type} ({sources['signature type']}) needs the wallet that pays: "
            f"[wallet] funder or {FUNDER_NAMES[0]}"
        )


def _find_credentials(
    wallet: WalletSettings, variables: Variables, ask: Callable[[str], str], sources: dict[str, str]
) -> tuple[ApiCredentials | None, str]:
    """API credentials and the address that is known to own them ("" if that is not known)."""
    if wallet.credentials:
        credentials, address = read_credentials(wallet.credentials, ask)
        sources["API credentials"] = f"keystore {wallet.credentials}"
        return credentials, address
    if wallet.keyring:
        text = from_keyring(wallet.keyring, credentials=True)
        if text is not None:
            where = f"OS keyring {'/'.join(keyring_place(wallet.keyring))}"
            sources["API credentials"] = where
            return credentials_of(text, where), ""
    found = variables.credentials()
    if found is None:
        return None, ""
    sources["API credentials"] = found[1]
    return found[0], ""


def _find_address(
    wallet: WalletSettings, variables: Variables, credentials_address: str, sources: dict[str, str]
) -> str:
    """The account's address as far as it is stated in plain; "" if nowhere."""
    found: list[tuple[str, str]] = []
    if credentials_address:
        found.append((credentials_address, f"keystore {wallet.credentials}"))
    if wallet.keystore and (stated := address_in(wallet.keystore)):
        found.append((stated, f"keystore {wallet.keystore}"))
    variable = variables.find(ADDRESS_NAMES)
    if variable is not None:
        found.append((_address(*variable), f"environment {variable[1]}"))
    for address, where in found[1:]:
        if address != found[0][0]:
            raise ConfigError(f"{found[0][1]} and {where} name different accounts")
    if not found:
        return ""
    sources["address"] = found[0][1]
    return found[0][0]


def _find_payer(wallet: WalletSettings, variables: Variables, sources: dict[str, str]) -> tuple[str, int]:
    """Funder ("": the account itself) and signature type, from the settings or the environment."""
    funder = _address(wallet.funder, "[wallet] funder") if wallet.funder else ""
    if funder:
        sources["funder"] = "settings [wallet] funder"
    variable = variables.find(FUNDER_NAMES, str.lower)
    if variable is not None:
        other = _address(*variable)
        if funder and other != funder:
            raise ConfigError(f"[wallet] funder and {variable[1]} differ")
        funder = other
        sources.setdefault("funder", f"environment {variable[1]}")

    signature_type = wallet.signature_type
    if signature_type >= 0:
        sources["signature type"] = "settings [wallet] signature_type"
    variable = variables.find(SIGNATURE_TYPE_NAMES)
    if variable is not None:
        if variable[0] not in ("0", "1", "2", "3"):
            raise ConfigError(f"{variable[1]}: expected 0, 1, 2 or 3")
        if signature_type >= 0 and int(variable[0]) != signature_type:
            raise ConfigError(f"[wallet] signature_type and {variable[1]} differ")
        signature_type = int(variable[0])
        sources.setdefault("signature type", f"environment {variable[1]}")
    if signature_type < 0:
        sources["signature type"] = "not stated"
    return funder, max(signature_type, 0)


def _address(value: str, name: str) -> str:
    try:
        return checksum_address(value)
    except ValueError:
        raise ConfigError(
            f"{name}: expected an address, 0x and 40 hex digits with a right checksum"
        ) from None
