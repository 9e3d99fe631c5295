"""Which venue a command talks to, `--profile live` (default) or `--profile loopback --port N`, and as whom.

Used by every command that asks the venue something, so that the choice is spelled and refused alike.
"""

from __future__ import annotations

import argparse
import dataclasses

from invmm.errors import ConfigError
from invmm.ops.wallet_options import add_wallet_options, identity_of
from invmm.settings import Settings
from invmm.venue.identity import Identity
from invmm.venue.profile import LIVE, Profile, loopback


def add_venue_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--profile` and `--port`; `chosen_profile` reads them."""
    group = parser.add_argument_group("venue")
    group.add_argument(
        "--profile",
        choices=("live", "loopback"),
        default="live",
        help="the venue itself, or an embedded one on this machine (default: %(default)s)",
    )
    group.add_argument(
        "--port", type=int, metavar="N", help="with --profile loopback: where the embedded venue listens"
    )


def chosen_profile(options: argparse.Namespace) -> Profile:
    """The profile that the options name; ConfigError for a port that is missing or not meant."""
    if options.profile == "live":
        if options.port is not None:
            raise ConfigError("--port: expected with --profile loopback only, found with live")
        return LIVE
    if options.port is None:
        raise ConfigError("--profile loopback: expected --port N of the embedded venue, found none")
    try:
        return loopback(options.port)
    except ValueError as error:
        raise ConfigError(f"--port: {error}") from None


def add_relayer_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--relayer-port`; `with_relayer` reads it."""
    parser.add_argument(
        "--relayer-port",
        type=int,
        metavar="N",
        help="with --profile loopback: where a relayer for wallets listens",
    )


def with_relayer(profile: Profile, port: int | None) -> Profile:
    """The profile with a relayer on this machine, if one is named; ConfigError for one that is not meant."""
    if port is None:
        return profile
    if not profile.loopback:
        raise ConfigError("--relayer-port: expected with --profile loopback only, found with live")
    return dataclasses.replace(profile, relayer_url=f"http://127.0.0.1:{port}")


def add_account_options(parser: argparse.ArgumentParser) -> None:
    """Adds the venue's options, those of `wallet_options` and `--config`."""
    add_venue_options(parser)
    add_wallet_options(parser)
    parser.add_argument("--config", metavar="FILE", help="TOML settings, for their [wallet] and [market]")


def chosen_settings(options: argparse.Namespace) -> Settings:
    """The settings that `--config` names, or the defaults."""
    return Settings.load(options.config) if options.config else Settings()


def chosen_identity(
    options: argparse.Namespace, profile: Profile, *, needs_key: bool = True, needs_credentials: bool = False
) -> Identity:
    """Who trades, by the options over the settings; ConfigError when something needed was not found."""
    return identity_of(
        options,
        chosen_settings(options).wallet,
        needs_key=needs_key,
        needs_credentials=needs_credentials,
        chain_id=profile.chain_id,
    )
