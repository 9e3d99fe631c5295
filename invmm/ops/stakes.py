"""What the commands about shares have in common: the account, its nodes, and what it holds where."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from invmm.errors import ConfigError, InvmmError
from invmm.ops.venue_options import (
    add_account_options,
    add_relayer_option,
    chosen_identity,
    chosen_profile,
    chosen_settings,
    with_relayer,
)
from invmm.ops.wallet_options import wallet_of
from invmm.settings import Settings
from invmm.settlement.calls import check_tokens
from invmm.settlement.holdings import ChainHoldings, version_of
from invmm.settlement.opening import find_relayer_key
from invmm.settlement.policy import Action, SettleReason, redeemed_micro
from invmm.settlement.rpc import RpcEndpoint, endpoints_of
from invmm.venue.discovery import Discovery
from invmm.venue.identity import Identity
from invmm.venue.profile import Profile
from invmm.venue.rest import Transport
from invmm.venue.series import Series
from invmm.venue.wallet_positions import ListedMarket, held_markets

if TYPE_CHECKING:
    from polymarket import BuilderApiKey, RelayerApiKey

CONTROL_PATH: Final = "/_control/truth"
"""What an embedded venue says of itself; the real one has no such page and is never asked for it."""


@dataclass(frozen=True)
class Account:
    """Whose shares, at which venue, asked of which nodes, and a wallet's key at the relayer."""

    profile: Profile
    settings: Settings
    identity: Identity
    nodes: tuple[RpcEndpoint, ...]
    relayer_key: BuilderApiKey | RelayerApiKey | None = field(default=None, repr=False)

    def holdings(self) -> ChainHoldings:
        """What the wallet that pays has on the chain."""
        return ChainHoldings(self.nodes, self.identity.funder, self.profile.chain_id)


@dataclass(frozen=True, slots=True)
class Stake:
    """A market in which something is held, by the chain's own word."""

    market: ListedMarket
    up_micro: int
    down_micro: int
    payouts: tuple[int, int] | None

    @property
    def pairs_micro(self) -> int:
        """Pairs that can be merged."""
        return min(self.up_micro, self.down_micro)

    @property
    def brings_micro(self) -> int:
        """Micro-dollars that the next action would bring."""
        if self.payouts is None:
            return self.pairs_micro
        return redeemed_micro(self.up_micro, self.down_micro, self.payouts)

    @property
    def action(self) -> Action:
        """What can be done now."""
        if not self.brings_micro:
            return Action.WAIT
        return Action.MERGE if self.payouts is None else Action.REDEEM

    @property
    def reason(self) -> SettleReason:
        """Why that can be done, or nothing."""
        if self.payouts is not None:
            return SettleReason.REDEEM_RESOLVED if self.brings_micro else SettleReason.LOST
        return SettleReason.PAIRS if self.pairs_micro else SettleReason.UNRESOLVED

    def told(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "market": self.market.condition_id,
            "slug": self.market.slug,
            "exchange": self.market.exchange,
            "up_token": self.market.up_token,
            "down_token": self.market.down_token,
            "up_micro": self.up_micro,
            "down_micro": self.down_micro,
            "pairs_micro": self.pairs_micro,
            "payouts": self.payouts,
            "action": str(self.action),
            "reason": str(self.reason),
            "brings_micro": self.brings_micro,
        }


@dataclass
class Stakes:
    """What was learnt; what was not stands in `problems`."""

    cash_micro: int | None = None
    stakes: list[Stake] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def add_settling_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of venue, relayer, wallet and settings, and `--state`."""
    parser.add_argument(
        "--state", type=Path, metavar="DIR", help="state folder (default: the account's own, as with --live)"
    )
    add_relayer_option(parser)
    add_account_options(parser)


def account_of(options: argparse.Namespace, *, needs_key: bool) -> Account:
    """The account that the options name; ConfigError for what is missing."""
    settings = chosen_settings(options)
    profile = with_relayer(chosen_profile(options), options.relayer_port)
    identity = chosen_identity(options, profile, needs_key=needs_key)
    if profile.loopback and not (identity.rpc_url or settings.settlement.rpc_urls):
        profile = replace(profile, rpc_url=asyncio.run(_chain_of(profile)))
    nodes = endpoints_of(settings.settlement, profile, identity.rpc_url)
    wallet = wallet_of(options, settings.wallet)
    key = find_relayer_key(wallet, os.environ) if identity.signature_type and identity.signer else None
    return Account(profile, settings, identity, nodes, key)


async def _chain_of(profile: Profile) -> str:
    """Where the chain of an embedded venue is, as that venue says; ConfigError for one without."""
    host = Transport(profile.rest_url)
    try:
        answer = await host.send("GET", CONTROL_PATH)
        told = json.loads(answer.body)
        url = str(told.get("chain", {}).get("url", ""))
    except (ValueError, AttributeError) as error:
        raise ConfigError(f"{profile.rest_url}: expected an embedded venue, found {error!r}") from None
    finally:
        await host.close()
    if not url:
        raise ConfigError(
            f"{profile.rest_url}: expected an embedded venue with a chain, found none; give the address of a "
            "node in [settlement] rpc_urls"
        )
    return url


async def read_stakes(account: Account, only: str | None = None) -> Stakes:
    """Everything that is held, or what is held in one market, named by slug or condition id."""
    found, holdings = Stakes(), account.holdings()
    try:
        found.cash_micro = await asyncio.to_thread(holdings.collateral_micro)
    except InvmmError as error:
        found.problems.append(f"collateral: {error}")
    try:
        markets = await held_markets(account.profile, account.identity.funder)
    except InvmmError as error:
        found.problems.append(f"positions: {error}")
        return found
    if only is not None:
        markets = [market for market in markets if only in (market.slug, market.condition_id)]
        try:
            markets = markets or [await named_market(account, only)]  # the index may not know it yet
        except InvmmError as error:
            found.problems.append(f"{only}: {error}")
    for market in markets:
        try:
            stake = await asyncio.to_thread(_stake, account, holdings, market)
        except InvmmError as error:
            found.problems.append(f"{market.slug or market.condition_id}: {error}")
            continue
        if stake.up_micro or stake.down_micro:
            found.stakes.append(stake)
    return found


async def named_market(account: Account, name: str) -> ListedMarket:
    """A market by slug or condition id, as the venue lists it; ConfigError for a series or no name."""
    series = Series.parse(name)
    if series.single is None:
        raise ConfigError(f"--market: expected one market, found the series {name!r}")
    async with Discovery(account.profile) as discovery:
        found = await discovery.window(series.single)
    info = found.info or found.require()  # one that is over is not tradable, and is settled all the same
    return ListedMarket(info.condition_id, info.slug, info.exchange, info.up_token_id, info.down_token_id)


def _stake(account: Account, holdings: ChainHoldings, market: ListedMarket) -> Stake:
    version, neg_risk = version_of(market.exchange)
    ids = (market.up_token, market.down_token)
    check_tokens(market.condition_id, version, *ids, account.profile.chain_id, neg_risk=neg_risk)
    up, down = (holdings.shares_micro(market.exchange, token) for token in ids)
    return Stake(market, up, down, holdings.payouts(market.exchange, market.condition_id, ids))
