"""Secrets at rest: an encrypted file that only its owner may read, and the OS keyring.

The file is Web3 secret storage, version 3 (scrypt, AES-128-CTR, keccak MAC), as geth, eth-account and the
wallets write it. A private key is a file of its own; API credentials are another one of the same form, so
that a machine that may only cancel needs no private key.

No function here puts a secret into a message. What is decrypted passes through Python objects on its way to
the signer's native memory: they cannot be wiped, and live until the collector takes them.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import secrets
import stat
import sys
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from invmm._ext.eip712 import checksum_address, keccak256
from invmm.errors import ConfigError
from invmm.venue.auth import ApiCredentials, OrderSigner

PASSWORD_FILE_NAME: Final = "INVMM_KEYSTORE_PASSWORD_FILE"
STANDARD_WORK: Final = 1 << 18
"""scrypt's cost as geth's standard: 256 MiB and about a second."""

KIND: Final = "invmm_kind"
CREDENTIALS_KIND: Final = "api credentials"
KEYRING_SERVICE: Final = "invmm"
CREDENTIALS_ENTRY: Final = ":api-credentials"


# ---- the file ----------------------------------------------------------------------------------------------


def write_key(path: str | Path, private_key: bytes, password: str, *, work: int = STANDARD_WORK) -> str:
    """Writes a private key to a new keystore file; its address.

    Parameters
    ----------
    path : path
        Must not exist. It appears complete or not at all, with mode 0600.
    private_key : bytes
        32 bytes.
    password : str
        Not empty.
    work : int
        scrypt's n, a power of two.

    Raises
    ------
    ConfigError
        The file exists or cannot be written, or the password is empty.
    """
    address = OrderSigner(private_key).address
    _write(path, {"address": address[2:].lower()} | _sealed(private_key, password, work))
    return address


def write_credentials(
    path: str | Path, credentials: ApiCredentials, address: str, password: str, *, work: int = STANDARD_WORK
) -> None:
    """Writes API credentials and the address that they belong to; otherwise as `write_key`."""
    credentials.signer(address)  # refuses what the venue could not have issued
    content = {"address": checksum_address(address)[2:].lower(), KIND: CREDENTIALS_KIND}
    _write(path, content | _sealed(credentials_text(credentials).encode(), password, work))


def read_key(path: str | Path, password: Callable[[str], str]) -> bytes:
    """The 32 bytes of the private key of a keystore file; `password` is called with what to ask for.

    Raises
    ------
    ConfigError
        The file is readable by others, is not a keystore, or the password is wrong.
    """
    content = _load(path)
    if content.get(KIND) == CREDENTIALS_KIND:
        raise ConfigError(f"{path}: expected a keystore of a private key, found one of API credentials")
    key = _opened(path, content, password(f"Password of {path}: "))
    if len(key) != 32:
        raise ConfigError(f"{path}: expected a private key of 32 bytes, found {len(key)}")
    stated = content.get("address")
    if stated is not None and _address(path, content) != OrderSigner(key).address:
        raise ConfigError(f"{path}: the address that it states is not that of its key")
    return key


def read_credentials(path: str | Path, password: Callable[[str], str]) -> tuple[ApiCredentials, str]:
    """What `write_credentials` wrote: the API credentials and their address; errors as `read_key`."""
    content = _load(path)
    if content.get(KIND) != CREDENTIALS_KIND:
        raise ConfigError(f"{path}: expected a keystore of API credentials, found another one")
    text = _opened(path, content, password(f"Password of {path}: ")).decode("utf-8", "replace")
    return credentials_of(text, str(path)), _address(path, content)


def address_in(path: str | Path) -> str:
    """The address that a keystore file states in plain text; "" if it states none. Needs no password."""
    content = _load(path)
    return _address(path, content) if content.get("address") else ""


def _address(path: str | Path, content: Mapping[str, Any]) -> str:
    try:
        return checksum_address("0x" + str(content["address"]).removeprefix("0x").lower())
    except (KeyError, ValueError):
        raise ConfigError(f'{path}: expected an address in its "address"') from None


def _sealed(secret: bytes, password: str, work: int) -> dict[str, Any]:
    """The "crypto" of secret storage, version 3."""
    from Crypto.Cipher import AES

    if not password:
        raise ConfigError("password: expected at least one character")
    salt, iv = secrets.token_bytes(32), secrets.token_bytes(16)
    derived = hashlib.scrypt(
        password.encode(), salt=salt, n=work, r=8, p=1, maxmem=work * 1_024 * 2, dklen=32
    )
    hidden = AES.new(derived[:16], AES.MODE_CTR, nonce=b"", initial_value=iv).encrypt(secret)
    return {
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": {"iv": iv.hex()},
            "ciphertext": hidden.hex(),
            "kdf": "scrypt",
            "kdfparams": {"dklen": 32, "n": work, "r": 8, "p": 1, "salt": salt.hex()},
            "mac": keccak256(derived[16:] + hidden).hex(),
        },
        "id": str(uuid.uuid4()),
        "version": 3,
    }


def _opened(path: str | Path, content: dict[str, Any], password: str) -> bytes:
    from eth_keyfile.keyfile import decode_keyfile_json

    decode: Callable[[dict[str, Any], bytes], Any] = decode_keyfile_json  # type: ignore[assignment]
    try:
        return bytes(decode(content, password.encode()))
    except ValueError as error:
        if "MAC" not in str(error):
            raise ConfigError(f"{path}: cannot be decrypted: {type(error).__name__}") from None
    except Exception as error:  # a damaged file can fail anywhere in the package; its text is not ours
        raise ConfigError(f"{path}: not a keystore file, version 3: {type(error).__name__}") from None
    raise ConfigError(f"{path}: the password is wrong")


def _load(path: str | Path) -> dict[str, Any]:
    text = read_private(path)
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict) or content.get("version") != 3 or "crypto" not in content:
        raise ConfigError(f"{path}: expected a keystore file, version 3 (Web3 secret storage)")
    return content


def read_private(path: str | Path) -> bytes:
    """The content of a file that holds a secret.

    Raises
    ------
    ConfigError
        It cannot be read, belongs to somebody else, or others may read it. Pipes and descriptors
        (`/dev/fd/3`) are taken as they are.
    """
    try:
        with open(path, "rb") as file:
            facts = os.fstat(file.fileno())
            if stat.S_ISREG(facts.st_mode):
                if facts.st_mode & 0o077:
                    raise ConfigError(
                        f"{path}: others may read it (mode {stat.S_IMODE(facts.st_mode):04o}), expected "
                        f"0600: chmod 600 {path}"
                    )
                if facts.st_uid not in (os.geteuid(), 0):
                    raise ConfigError(f"{path}: belongs to another user")
            return file.read(1 << 20)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _write(path: str | Path, content: Mapping[str, Any]) -> None:
    """Writes a new file of mode 0600, whole or not at all; what exists is never replaced."""
    target = Path(path)
    passing = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                json.dump(content, file, indent=1)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(passing, target)
            except FileExistsError:
                raise ConfigError(f"{path}: exists already; it is not replaced") from None
        finally:
            os.unlink(passing)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None


# ---- passwords ---------------------------------------------------------------------------------------------


def password_source(
    environ: Mapping[str, str], file: str | Path | None = None, *, confirm: bool = False
) -> Callable[[str], str]:
    """Where passwords of keystore files come from: a file or descriptor, else the terminal.

    Parameters
    ----------
    environ : mapping
        Its `INVMM_KEYSTORE_PASSWORD_FILE` names a file where `file` is None.
    file : path, optional
        Its first line is the password. `/dev/fd/N` reads a descriptor.
    confirm : bool
        Ask twice at the terminal, as for a new password.

    Returns
    -------
    callable
        Takes the prompt, gives the password; ConfigError if there is none to be had.
    """
    named = str(file) if file is not None else environ.get(PASSWORD_FILE_NAME, "")
    known: list[str] = []

    def ask(prompt: str) -> str:
        if named:
            if not known:  # a pipe can be read once
                lines = read_private(named).decode("utf-8", "replace").splitlines()
                known.append(lines[0] if lines else "")
            if not known[0]:
                raise ConfigError(f"{named}: expected a password in its first line")
            return known[0]
        if not sys.stdin or not sys.stdin.isatty():
            raise ConfigError(
                f"{prompt.rstrip(': ')}: there is no terminal to ask at; give --password-file or set "
                f"{PASSWORD_FILE_NAME}"
            )
        given = getpass.getpass(prompt)
        if confirm and given != getpass.getpass("The same again: "):
            raise ConfigError("password: the two are not the same")
        return given

    return ask


# ---- the OS keyring ----------------------------------------------------------------------------------------


def keyring_place(name: str) -> tuple[str, str]:
    """Service and user of "SERVICE/NAME" or "NAME"."""
    service, slash, user = name.rpartition("/")
    if not user or (slash and not service):
        raise ConfigError("keyring: expected NAME or SERVICE/NAME")
    return service or KEYRING_SERVICE, user


def from_keyring(name: str, *, credentials: bool = False) -> str | None:
    """The text of an entry: a private key, or the API credentials that lie beside it; None if there is none.

    Raises
    ------
    ConfigError
        This machine has no keyring, or it is locked.
    """
    service, user = keyring_place(name)
    text: str | None = _keyring(
        lambda ring: ring.get_password(service, user + CREDENTIALS_ENTRY * credentials)
    )
    return text


def to_keyring(name: str, secret: str, *, credentials: bool = False) -> None:
    """Stores a new entry; one that exists is not replaced."""
    if from_keyring(name, credentials=credentials) is not None:
        raise ConfigError(f"OS keyring {'/'.join(keyring_place(name))}: exists already; it is not replaced")
    service, user = keyring_place(name)
    _keyring(lambda ring: ring.set_password(service, user + CREDENTIALS_ENTRY * credentials, secret))


def _keyring(use: Callable[[Any], Any]) -> Any:
    import keyring
    from keyring.errors import KeyringError, NoKeyringError

    try:
        return use(keyring)
    except NoKeyringError:
        raise ConfigError(
            "OS keyring: this machine has none; install a backend of the `keyring` package or use a "
            "keystore file"
        ) from None
    except KeyringError as error:
        raise ConfigError(f"OS keyring: {type(error).__name__}: is it locked?") from None


# ---- API credentials as text -------------------------------------------------------------------------------


def credentials_text(credentials: ApiCredentials) -> str:
    """API credentials as the venue writes them: a JSON object of apiKey, secret, passphrase."""
    return json.dumps(
        {
            "apiKey": credentials.api_key,
            "secret": credentials.secret,
            "passphrase": credentials.passphrase,
        }
    )


def credentials_of(text: str, where: str) -> ApiCredentials:
    """What `credentials_text` wrote or the venue answered; ConfigError names `where`, never the text."""
    try:
        content = json.loads(text)
        values = [content[name] for name in ("apiKey", "secret", "passphrase")]
        if not all(isinstance(value, str) and value for value in values):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise ConfigError(
            f"{where}: expected a JSON object with the texts apiKey, secret and passphrase"
        ) from None
    return ApiCredentials(*values)
