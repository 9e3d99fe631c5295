"""Where the venue is and what it is made of: hosts, contracts, signing domains and limits, per chain.

Everything here is data of the venue as published in October 2026; nothing else in the package spells an
address or a host. A `Profile` is either live or loopback, never a mixture: the constructor refuses hosts of
the other kind.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from invmm.venue.limits import Limits as Limits

POLYGON: Final = 137
AMOY: Final = 80002

DOMAIN_NAME: Final = "Polymarket CTF Exchange"
DOMAIN_TYPE: Final = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
ORDER_TYPE: Final = (
    "Order(uint256 salt,address maker,address signer,uint256 tokenId,uint256 makerAmount,uint256 takerAmount,"
    "uint8 side,uint8 signatureType,uint256 timestamp,bytes32 metadata,bytes32 builder)"
)
"""The signed struct of both live generations; the dead first one had other fields."""

AUTH_DOMAIN_NAME: Final = "ClobAuthDomain"
AUTH_DOMAIN_VERSION: Final = "1"
AUTH_DOMAIN_TYPE: Final = "EIP712Domain(string name,string version,uint256 chainId)"
AUTH_TYPE: Final = "ClobAuth(address address,string timestamp,uint256 nonce,string message)"
AUTH_MESSAGE: Final = "This message attests that I control the given wallet"

WALLET_DOMAIN_NAME: Final = "DepositWallet"
WALLET_DOMAIN_VERSION: Final = "1"
WALLET_TYPE_PREFIX: Final = (
    "TypedDataSign(Order contents,string name,string version,uint256 chainId,"
    "address verifyingContract,bytes32 salt)"
)
"""ERC-7739 wrapper of an order that a deposit wallet signs; `ORDER_TYPE` follows it in the type string."""


class ExchangeName(StrEnum):
    """The exchanges that take orders. The value is the word that callers use."""

    V2 = "v2"
    V2_NEG_RISK = "v2-neg-risk"
    V3 = "v3"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One exchange contract and the domain under which its orders are signed."""

    name: ExchangeName
    domain_version: str
    contract: str


@dataclass(frozen=True, slots=True)
class Contracts:
    """Addresses on one chain that trading and settlement touch; empty where the chain has none."""

    exchange_v2: str
    exchange_v2_neg_risk: str
    exchange_v3: str
    collateral: str = ""
    bridged_collateral: str = ""
    wrapped_collateral: str = ""
    conditional_tokens: str = ""
    collateral_onramp: str = ""
    collateral_offramp: str = ""
    collateral_adapter: str = ""
    collateral_adapter_neg_risk: str = ""
    position_manager: str = ""
    router: str = ""
    deposit_wallet_factory: str = ""
    deposit_wallet_implementation: str = ""
    deposit_wallet_beacon: str = ""
    proxy_factory: str = ""
    safe_factory: str = ""
    safe_multisend: str = ""
    relay_hub: str = ""


CONTRACTS: Final = MappingProxyType(
    {
        POLYGON: Contracts(
            exchange_v2="0xE111180000d2663C0091e4f400237545B87B996B",
            exchange_v2_neg_risk="0xe2222d279d744050d28e00520010520000310F59",
            exchange_v3="0xe3333700cA9d93003F00f0F71f8515005F6c00Aa",
            collateral="0xC011a7E12a19f7B1f670d46F03B03f3342E82DFB",
            bridged_collateral="0x2791Bca1f2de4661ED88A30C99A7a9449Aa84174",
            wrapped_collateral="0x3A3BD7bb9528E159577F7C2e685CC81A765002E2",
            conditional_tokens="0x4D97DCd97eC945f40cF65F87097ACe5EA0476045",
            collateral_onramp="0x93070a847efEf7F70739046A929D47a521F5B8ee",
            collateral_offramp="0x2957922Eb93258b93368531d39fAcCA3B4dC5854",
            collateral_adapter="0xAdA100Db00Ca00073811820692005400218FcE1f",
            collateral_adapter_neg_risk="0xadA2005600Dec949baf300f4C6120000bDB6eAab",
            position_manager="0x006F54F7f9A22e0000CC2AB60031000000ae9fEF",
            router="0x12121212006e4CD160D18e3f00711DA5c3372600",
            deposit_wallet_factory="0x00000000000Fb5C9ADea0298D729A0CB3823Cc07",
            deposit_wallet_implementation="0x58CA52ebe0DadfdF531Cde7062e76746de4Db1eB",
            deposit_wallet_beacon="0x7A18EDfe055488A3128f01F563e5B479D92ffc3a",
            proxy_factory="0xaB45c5A4B0c941a2F231C04C3f49182e1A254052",
            safe_factory="0xaacFeEa03eb1561C4e67d661e40682Bd20E3541b",
            safe_multisend="0xA238CBeb142c10Ef7Ad8442C6D1f9E89e07e7761",
            relay_hub="0xD216153c06E857cD7f72665E0aF1d7D82172F494",
        ),
        # Contracts of the test chain are published, a public host for it is not.
        AMOY: Contracts(
            exchange_v2="0xE111180000d2663C0091e4f400237545B87B996B",
            exchange_v2_neg_risk="0xe2222d279d744050d28e00520010520000310F59",
            exchange_v3="0x9fE6e61422AdB6F610d8597F9684b16912D50C3D",
            conditional_tokens="0x69308FB512518e39F9b16112fA8d994F4e2Bf8bB",
        ),
    }
)


def exchange(name: str, chain_id: int = POLYGON) -> Exchange:
    """The contract and signing domain of an exchange.

    Parameters
    ----------
    name
        "v2", "v2-neg-risk" or "v3".
    chain_id
        137 (Polygon) or 80002 (Amoy).

    Raises
    ------
    ValueError
        An exchange or chain that is not known: there is nothing to fall back to that would be safe.
    """
    contracts = CONTRACTS.get(chain_id)
    if contracts is None:
        raise ValueError(f"chain id: expected one of {sorted(CONTRACTS)}, found {chain_id!r}")
    if name == ExchangeName.V2:
        return Exchange(ExchangeName.V2, "2", contracts.exchange_v2)
    if name == ExchangeName.V2_NEG_RISK:
        return Exchange(ExchangeName.V2_NEG_RISK, "2", contracts.exchange_v2_neg_risk)
    if name == ExchangeName.V3:
        return Exchange(ExchangeName.V3, "3", contracts.exchange_v3)
    raise ValueError(f"exchange: expected one of {[str(one) for one in ExchangeName]}, found {name!r}")


def exchange_of_market(version: str, neg_risk: bool) -> ExchangeName:
    """The exchange of a market from the venue's own market data.

    Parameters
    ----------
    version
        The market's `version` (`v` in the CLOB's short form): "v1" is signed under domain version "2", "v2"
        under "3".
    neg_risk
        The market's neg-risk flag.

    Raises
    ------
    ValueError
        A version that is missing or unknown: such a market is not tradable.
    """
    if version == "v1":
        return ExchangeName.V2_NEG_RISK if neg_risk else ExchangeName.V2
    if version == "v2":
        return ExchangeName.V3
    raise ValueError(f"market version: expected 'v1' or 'v2', found {version!r}; the market is not tradable")


def is_local(url: str) -> bool:
    """Whether a URL names this machine."""
    return urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class Profile:
    """One venue to talk to. `loopback` profiles reach this machine only, live ones never do."""

    name: str
    loopback: bool
    rest_url: str
    market_url: str
    user_url: str
    gamma_url: str = ""
    data_url: str = ""
    relayer_url: str = ""
    price_url: str = ""  # PolyBolt
    rtds_url: str = ""  # its predecessor
    rpc_url: str = ""
    web_url: str = ""
    chain_id: int = POLYGON
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.chain_id not in CONTRACTS:
            raise ValueError(
                f"profile {self.name}: expected a chain of {sorted(CONTRACTS)}, found {self.chain_id}"
            )
        for url in (
            self.rest_url,
            self.market_url,
            self.user_url,
            self.gamma_url,
            self.data_url,
            self.relayer_url,
            self.price_url,
            self.rtds_url,
            self.rpc_url,
            self.web_url,
        ):
            if not url:
                continue
            parts = urlsplit(url)
            if is_local(url) is not self.loopback:
                kind = "a loopback" if self.loopback else "a public"
                raise ValueError(f"profile {self.name}: expected {kind} host, found {url}")
            if not self.loopback and parts.scheme not in ("https", "wss"):
                raise ValueError(f"profile {self.name}: expected https or wss, found {url}")

    @property
    def contracts(self) -> Contracts:
        """Addresses on this profile's chain; loopback signs for the same contracts as live."""
        return CONTRACTS[self.chain_id]


LIVE: Final = Profile(
    name="live",
    loopback=False,
    rest_url="https://clob.polymarket.com",
    market_url="wss://ws-subscriptions-clob.polymarket.com/ws/market",
    user_url="wss://ws-subscriptions-clob.polymarket.com/ws/user",
    gamma_url="https://gamma-api.polymarket.com",
    data_url="https://data-api.polymarket.com",
    relayer_url="https://relayer-v2.polymarket.com",
    price_url="wss://ws-live-v2.polymarket.com/ws",
    rtds_url="wss://ws-live-data.polymarket.com",
    rpc_url="https://polygon.drpc.org",
    web_url="https://polymarket.com",
)


def loopback(port: int, *, tls: bool = False) -> Profile:
    """The profile of an embedded venue on `port` of this machine, same paths as the live hosts."""
    if not 0 < port < 65536:
        raise ValueError(f"port: expected 1 to 65535, found {port}")
    http, socket = ("https", "wss") if tls else ("http", "ws")
    root = f"127.0.0.1:{port}"
    return Profile(
        name="loopback",
        loopback=True,
        rest_url=f"{http}://{root}",
        market_url=f"{socket}://{root}/ws/market",
        user_url=f"{socket}://{root}/ws/user",
        price_url=f"{socket}://{root}/ws/price",
        rtds_url=f"{socket}://{root}/ws/rtds",
        gamma_url=f"{http}://{root}",
        data_url=f"{http}://{root}",
        web_url=f"{http}://{root}",
    )
