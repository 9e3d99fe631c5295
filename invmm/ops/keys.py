"""`invmm keys`: makes a private key, takes one over, shows whose it is. No command prints a secret.

Secrets come from a prompt without echo, from standard input or from the environment, never from an argument.
"""

from __future__ import annotations

import argparse
import dataclasses
import getpass
import json
import os
import secrets
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from invmm.errors import ConfigError
from invmm.ops.hardening import harden
from invmm.ops.wallet_options import DiscreetParser, add_wallet_options, not_a_key, password_of, wallet_of
from invmm.settings import Settings
from invmm.venue.auth import ApiCredentials, OrderSigner
from invmm.venue.identity import API_KEY_NAMES, PRIVATE_KEY_NAMES, Variables, find_identity
from invmm.venue.keystore import (
    address_in,
    credentials_of,
    credentials_text,
    keyring_place,
    to_keyring,
    write_credentials,
    write_key,
)

EXIT_DONE: Final = 0
DEFAULT_FILES: Final = {"key": "keystore.json", "credentials": "credentials.json"}


def default_file(kind: str) -> Path:
    """Where a key or API credentials are kept unless said otherwise: in the user's own settings folder."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "invmm" / DEFAULT_FILES[kind]


def parser() -> argparse.ArgumentParser:
    """The command line, complete with help."""
    p = DiscreetParser(
        prog="invmm keys",
        description="Keeps private keys and API credentials: encrypted in a file, or in the OS keyring.",
        epilog="Exit codes: 0 done, 2 usage or configuration. A keystore file is removed like any file; the "
        "key in it is then gone unless you kept another copy.",
    )
    commands = p.add_subparsers(dest="command", required=True, metavar="COMMAND")

    create = commands.add_parser(
        "create",
        help="make a new private key",
        description="Makes a new private key, keeps it encrypted, and prints its address.",
    )
    _add_place(create)

    take = commands.add_parser(
        "import",
        help="keep a private key, or API credentials, that exist already",
        description="Takes over a private key (64 hex digits, with or without 0x), or API credentials, and "
        "keeps them encrypted. What is imported is read without echo, from standard input or from the "
        "environment.",
    )
    _add_place(take)
    take.add_argument(
        "--api-credentials",
        action="store_true",
        help="import API credentials; on standard input as the venue answers them: a JSON object of apiKey, "
        "secret and passphrase",
    )
    take.add_argument(
        "--from",
        dest="source",
        choices=("prompt", "stdin", "environment"),
        default="prompt",
        help="where it is read (default: prompt); environment takes the names that `invmm keys show` tells",
    )
    take.add_argument(
        "--address",
        metavar="ADDRESS",
        type=not_a_key,
        help="the account that API credentials belong to (default: that of the keystore file)",
    )

    show = commands.add_parser(
        "show",
        help="whose key it is, and where it was found",
        description="Prints the account, who pays, and the name of each source that was used; never a value.",
    )
    add_wallet_options(show)
    show.add_argument("--config", metavar="FILE", help="TOML settings whose [wallet] is used")
    show.add_argument(
        "--check",
        action="store_true",
        help="decrypt everything, so that a wrong password or a damaged file is seen",
    )
    for command in (create, take, show):
        command.add_argument("--json", action="store_true", help="print the facts as one JSON object")
    return p


def _add_place(command: argparse.ArgumentParser) -> None:
    place = command.add_mutually_exclusive_group()
    place.add_argument(
        "--keystore",
        metavar="FILE",
        type=not_a_key,
        help=f"the new file, mode 0600 (default: {DEFAULT_FILES['key']} or {DEFAULT_FILES['credentials']} in "
        "~/.config/invmm); one that exists is not replaced",
    )
    place.add_argument(
        "--keyring",
        metavar="NAME",
        type=not_a_key,
        help="an entry of the OS keyring instead of a file: NAME or SERVICE/NAME",
    )
    command.add_argument(
        "--password-file",
        metavar="FILE",
        type=not_a_key,
        help="read the file's password from the first line of FILE (/dev/fd/N: a descriptor); else from the "
        "file that INVMM_KEYSTORE_PASSWORD_FILE names; else ask",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one of the commands; the exit code. ConfigError for what the user can put right."""
    options = parser().parse_args(arguments)
    harden()
    if options.command == "create":
        facts = _keep_key(options, secrets.token_bytes(32))
    elif options.command == "show":
        facts = _show(options)
    elif options.api_credentials:
        facts = _import_credentials(options)
    else:
        facts = _keep_key(options, _key_to_import(options.source))
    if options.json:
        print(json.dumps(facts))
    else:
        for name, value in facts.items():
            for line in _shown(value):
                print(f"{name.replace('_', ' ') + ':':<16} {line}")
    return EXIT_DONE


def _shown(value: Any) -> list[str]:
    """The lines of one fact for people."""
    if isinstance(value, dict):
        return [f"{name}: {found}" for name, found in value.items()]
    if isinstance(value, list):
        return [", ".join(_shown(entry)) for entry in value]
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    return [str(value)]


def _keep_key(options: argparse.Namespace, private_key: bytes) -> dict[str, Any]:
    """Stores a key where the options say."""
    if options.keyring:
        address = OrderSigner(private_key).address
        to_keyring(options.keyring, "0x" + private_key.hex())
        return {"address": address, "kept_in": "OS keyring " + "/".join(keyring_place(options.keyring))}
    path = options.keystore or default_file("key")
    password = password_of(options, confirm=True)(f"New password of {path}: ")
    return {"address": write_key(path, private_key, password), "kept_in": f"keystore {path}"}


def _key_to_import(source: str) -> bytes:
    if source == "environment":
        found = Variables(os.environ).private_key()
        if found is None:
            raise ConfigError(f"private key: none of {', '.join(PRIVATE_KEY_NAMES)} is set")
        text, where = found
    elif source == "stdin":
        text, where = sys.stdin.readline(), "standard input"
    else:
        text, where = _prompt("Private key (not shown): "), "prompt"
    text = text.strip()
    try:
        OrderSigner(text)  # its checks, its words
        return bytes.fromhex(text.lower().removeprefix("0x"))
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def _prompt(what: str) -> str:
    if not sys.stdin or not sys.stdin.isatty():
        raise ConfigError("there is no terminal to ask at; give --from stdin or --from environment")
    return getpass.getpass(what)


def _import_credentials(options: argparse.Namespace) -> dict[str, Any]:
    credentials = _credentials_to_import(options.source)
    if options.keyring:
        _check(credentials, options.address or "0x" + "0" * 40)
        to_keyring(options.keyring, credentials_text(credentials), credentials=True)
        place = "OS keyring " + "/".join(keyring_place(options.keyring))
        return {"api_key": credentials.api_key, "kept_in": place}
    path = options.keystore or default_file("credentials")
    address = options.address
    if not address and default_file("key").exists():
        address = address_in(default_file("key"))
    if not address:
        raise ConfigError("--address: expected the account that the API credentials belong to")
    _check(credentials, address)
    password = password_of(options, confirm=True)(f"New password of {path}: ")
    write_credentials(path, credentials, address, password)
    return {"address": address, "api_key": credentials.api_key, "kept_in": f"keystore {path}"}


def _check(credentials: ApiCredentials, address: str) -> None:
    try:
        credentials.signer(address)
    except ValueError as error:
        raise ConfigError(f"API credentials: {error}") from None


def _credentials_to_import(source: str) -> ApiCredentials:
    if source == "environment":
        found = Variables(os.environ).credentials()
        if found is None:
            raise ConfigError(f"API credentials: none of {', '.join(API_KEY_NAMES)} is set")
        return found[0]
    if source == "stdin":
        return credentials_of(sys.stdin.read(), "standard input")
    return ApiCredentials(*(_prompt(f"{what} (not shown): ") for what in ("API key", "Secret", "Passphrase")))


def _show(options: argparse.Namespace) -> dict[str, Any]:
    settings = Settings.load(options.config) if options.config else Settings()
    wallet = wallet_of(options, settings.wallet)
    if not (wallet.keystore or wallet.keyring or wallet.environment or wallet.credentials):
        wallet = dataclasses.replace(wallet, keystore=str(default_file("key")))
    files = [path for path in (wallet.keystore, wallet.credentials) if path]
    found = find_identity(
        wallet if options.check else dataclasses.replace(wallet, credentials=""),
        os.environ,
        password=password_of(options),
        needs_key=options.check,
    )
    facts: dict[str, Any] = {
        "address": found.address,
        "funder": found.funder,
        "signature_type": found.signature_type,
        "sources": dict(found.sources),
        "files": [
            {"path": path, "mode": f"{stat.S_IMODE(os.stat(path).st_mode):04o}", "address": address_in(path)}
            for path in files
        ],
        "decrypted": options.check,
    }
    if found.signer is not None:
        facts["memory_locked"] = found.signer.locked
        found.signer.close()
    return facts
