"""The options with which every command that needs an identity is told where the key and credentials are."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import NoReturn

from invmm.settings import PRIVATE_KEY, WalletSettings
from invmm.venue.identity import Identity, find_identity
from invmm.venue.keystore import PASSWORD_FILE_NAME, password_source


def add_wallet_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--keystore`, `--credentials`, `--keyring`, `--env`, `--password-file`, `--signature-type` and
    `--funder`; each overrides its `[wallet]` setting.
    """
    group = parser.add_argument_group("who trades")
    place = not_a_key
    add = group.add_argument
    add("--keystore", metavar="FILE", type=place, help="encrypted keystore file of the private key")
    add("--credentials", metavar="FILE", type=place, help="encrypted file of the API credentials")
    add("--keyring", metavar="NAME", type=place, help="entry of the OS keyring: NAME or SERVICE/NAME")
    add(
        "--env",
        action="store_true",
        help="read what is missing from environment variables: POLYMARKET_PRIVATE_KEY, POLYMARKET_FUNDER, "
        "POLYMARKET_SIGNATURE_TYPE, CLOB_API_KEY, CLOB_SECRET, CLOB_PASS_PHRASE and their other names",
    )
    add(
        "--password-file",
        metavar="FILE",
        type=place,
        help=f"read the password from this file's first line (/dev/fd/N: from a descriptor); else from the "
        f"file that {PASSWORD_FILE_NAME} names; else ask",
    )
    add(
        "--signature-type",
        type=int,
        choices=(0, 1, 2, 3),
        help="0: the key's account pays, 1: proxy wallet, 2: Safe, 3: deposit wallet",
    )
    add("--funder", metavar="ADDRESS", type=place, help="the wallet that pays, for types 1 to 3")


def not_a_key(text: str) -> str:
    """An argument as it is, unless it looks like a private key: other programs see what is typed here."""
    if PRIVATE_KEY.search(text):
        raise argparse.ArgumentTypeError(
            "this looks like a private key; never give one as an argument (see `invmm keys import`), and "
            "change this one: it is in your shell's history"
        )
    return text


class DiscreetParser(argparse.ArgumentParser):
    """Does not repeat an argument that looks like a private key in its messages."""

    def error(self, message: str) -> NoReturn:
        """As argparse: usage and message to standard error, exit code 2."""
        super().error(PRIVATE_KEY.sub("(64 hex digits)", message))


def wallet_of(options: argparse.Namespace, wallet: WalletSettings | None = None) -> WalletSettings:
    """The `[wallet]` settings with what the options override."""
    given = {
        "keystore": options.keystore,
        "credentials": options.credentials,
        "keyring": options.keyring,
        "environment": True if options.env else None,
        "signature_type": options.signature_type,
        "funder": options.funder,
    }
    return dataclasses.replace(
        wallet or WalletSettings(), **{name: value for name, value in given.items() if value is not None}
    )


def password_of(
    options: argparse.Namespace, environ: Mapping[str, str] | None = None, *, confirm: bool = False
) -> Callable[[str], str]:
    """Where passwords come from, by `--password-file`."""
    return password_source(os.environ if environ is None else environ, options.password_file, confirm=confirm)


def identity_of(
    options: argparse.Namespace,
    wallet: WalletSettings | None = None,
    *,
    needs_key: bool = True,
    needs_credentials: bool = False,
    chain_id: int = 137,
) -> Identity:
    """`find_identity` with the options over the settings and this process's environment."""
    return find_identity(
        wallet_of(options, wallet),
        os.environ,
        chain_id=chain_id,
        password=password_of(options),
        needs_key=needs_key,
        needs_credentials=needs_credentials,
    )
