"""Opens the lane of whoever trades: transactions of the account itself, or a relayer for its wallet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from invmm.clock import Clock
from invmm.errors import ConfigError
from invmm.settings import SettlementSettings, WalletSettings
from invmm.settlement.chain import ChainLane
from invmm.settlement.envelopes import RelayedWallet
from invmm.settlement.lane_journal import LaneJournal
from invmm.settlement.nodes import Endpoint
from invmm.settlement.relay import Relay
from invmm.settlement.relayer import RelayerLane
from invmm.settlement.sightings import ChainView
from invmm.venue.identity import (
    BUILDER_KEY_NAMES,
    BUILDER_PASSPHRASE_NAMES,
    BUILDER_SECRET_NAMES,
    RELAYER_ADDRESS_NAMES,
    RELAYER_KEY_NAMES,
    Identity,
    Variables,
)
from invmm.venue.profile import Profile

if TYPE_CHECKING:
    from polymarket import BuilderApiKey, RelayerApiKey

LANE_FILE: Final = "lane"
RELAYED_FILE: Final = "relayed"
"""Journals in a state folder, by kind of lane: each reads its own only."""


def open_lane(
    who: Identity,
    profile: Profile,
    endpoints: Sequence[Endpoint],
    folder: Path,
    *,
    settings: SettlementSettings,
    clock: Clock,
    relayer_key: BuilderApiKey | RelayerApiKey | None = None,
) -> ChainLane | RelayerLane:
    """The lane of an identity.

    Parameters
    ----------
    who : Identity
        With its key. Signature type 0 sends its own transactions; 1 to 3 need a relayer.
    profile : Profile
        For the relayer's address and the chain.
    endpoints : sequence of Endpoint
    folder : Path
        State folder, for the lane's journal.
    settings : SettlementSettings
    clock : Clock
    relayer_key : BuilderApiKey or RelayerApiKey, optional
        See `find_relayer_key`.

    Raises
    ------
    ConfigError
        No key, or for a wallet no relayer's address or key; or the journal is another account's.
    InUseError
        Another lane uses the journal.
    DataError
        The journal is damaged.
    """
    if who.signer is None:
        raise ConfigError("settling: expected a private key, found none")
    if who.signature_type == 0:
        return ChainLane(
            endpoints,
            who.signer,
            LaneJournal(folder / LANE_FILE),
            settings=settings,
            clock=clock,
            chain_id=profile.chain_id,
        )
    if missing := why_unrelayed(who, profile, relayer_key):
        raise ConfigError(f"settling: {missing}")
    assert relayer_key is not None
    wallet = RelayedWallet(who.signer)
    chain = ChainView(endpoints, settings, chain_id=profile.chain_id, relay_hub=profile.contracts.relay_hub)
    relay = Relay(profile.relayer_url, relayer_key)
    try:
        journal = LaneJournal(folder / RELAYED_FILE)
        try:
            return RelayerLane(relay, chain, wallet, journal, settings=settings)
        except BaseException:
            journal.close()
            raise
    except BaseException:
        relay.close()
        raise


def why_unrelayed(who: Identity, profile: Profile, relayer_key: BuilderApiKey | RelayerApiKey | None) -> str:
    """What a wallet lacks to have its calls executed by a relayer; "" for nothing, and for an account that
    needs none.
    """
    if who.signature_type == 0:
        return ""
    if relayer_key is None:
        return (
            f"wallet {who.funder} needs the relayer's API key, found none; expected "
            f"{BUILDER_KEY_NAMES[0]}, {BUILDER_SECRET_NAMES[0]} and {BUILDER_PASSPHRASE_NAMES[0]}, or "
            f"{RELAYER_KEY_NAMES[0]} and {RELAYER_ADDRESS_NAMES[0]}, in the environment, and --env or "
            "[wallet] environment = true"
        )
    if not profile.relayer_url:
        return f"wallet {who.funder} needs a relayer, found none at the venue {profile.name}"
    return ""


def find_relayer_key(
    wallet: WalletSettings, environ: Mapping[str, str]
) -> BuilderApiKey | RelayerApiKey | None:
    """The relayer's API key from environment variables, if the settings let them be read.

    A builder's key needs all of its three parts, a relayer's its address: ConfigError if some are missing.
    """
    variables = Variables(environ, wallet.environment)
    names = (BUILDER_KEY_NAMES, BUILDER_SECRET_NAMES, BUILDER_PASSPHRASE_NAMES)
    builder = [variables.find(one) for one in names]
    relayer = [variables.find(one) for one in (RELAYER_KEY_NAMES, RELAYER_ADDRESS_NAMES)]
    for kind, parts in (("builder", builder), ("relayer", relayer)):
        if any(parts) and not all(parts):
            raise ConfigError(
                f"{kind} API key: expected all of its parts in the environment, some are missing"
            )
    if not all(builder) and not all(relayer):
        return None
    try:
        from polymarket import BuilderApiKey, RelayerApiKey
        from polymarket.errors import UserInputError
    except ImportError as error:
        raise ConfigError(f"relayer: expected the package polymarket-client, got {error}") from None
    if all(builder):
        key, secret, passphrase = (part[0] for part in builder if part)
        return BuilderApiKey(key=key, secret=secret, passphrase=passphrase)
    key, address = (part[0] for part in relayer if part)
    try:
        return RelayerApiKey(key=key, address=address)
    except UserInputError:
        raise ConfigError(f"{RELAYER_ADDRESS_NAMES[0]}: expected an address") from None
