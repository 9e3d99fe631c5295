"""`invmm credentials`: gets the account's API credentials from the venue and keeps them encrypted.

They are created, or derived where they exist; the private key signs for that once. Nothing secret is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from invmm.errors import ConfigError
from invmm.ops.hardening import harden
from invmm.ops.keys import default_file
from invmm.ops.venue_options import add_account_options, chosen_identity, chosen_profile
from invmm.ops.wallet_options import DiscreetParser, not_a_key, password_of
from invmm.venue.auth import ApiCredentials
from invmm.venue.client import VenueClient
from invmm.venue.keystore import credentials_text, keyring_place, to_keyring, write_credentials


def parser() -> argparse.ArgumentParser:
    """The command line, complete with help."""
    p = DiscreetParser(
        prog="invmm credentials",
        description="Creates the account's API credentials at the venue, or derives those that exist, and "
        "keeps them encrypted. They suffice for invmm status and invmm cancel-all on any machine.",
        epilog="Exit codes: 0 done, 1 the venue refused or did not answer, 2 usage or configuration.",
    )
    place = p.add_mutually_exclusive_group()
    place.add_argument(
        "--out",
        metavar="FILE",
        type=not_a_key,
        help="the new file, mode 0600 (default: credentials.json in ~/.config/invmm); one that exists is not "
        "replaced",
    )
    place.add_argument(
        "--out-keyring", metavar="NAME", type=not_a_key, help="an entry of the OS keyring instead"
    )
    p.add_argument(
        "--nonce",
        type=int,
        default=0,
        metavar="N",
        help="which set of credentials; another one for orders that must survive a stopped heartbeat",
    )
    p.add_argument("--json", action="store_true", help="print one JSON object")
    add_account_options(p)
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code."""
    options = parser().parse_args(arguments)
    harden()
    profile = chosen_profile(options)
    path = Path(options.out or default_file("credentials"))
    if not options.out_keyring and path.exists():
        raise ConfigError(f"{path}: exists already; it is not replaced")
    who = chosen_identity(options, profile)

    async def run() -> ApiCredentials:
        async with VenueClient(profile, who.signer) as client:
            return await client.create_or_derive(options.nonce)

    found = asyncio.run(run())
    if options.out_keyring:
        to_keyring(options.out_keyring, credentials_text(found), credentials=True)
        kept = "OS keyring " + "/".join(keyring_place(options.out_keyring))
    else:
        password = password_of(options, confirm=True)(f"New password of {path}: ")
        write_credentials(path, found, who.address, password)
        kept = f"keystore {path}"
    if options.json:
        facts = {"address": who.address, "api_key": found.api_key, "kept_in": kept, "profile": profile.name}
        print(json.dumps(facts))
    else:
        print(f"{who.address}: API key {found.api_key}, kept in {kept}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
