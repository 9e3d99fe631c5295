"""The checks of `invmm doctor` that concern the account and the venue, one function each.

A check gives lines: passed, failed with the fix, or skipped with the reason why it could not be made. None
changes anything: no key is created, no order sent, no approval given.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from invmm.errors import ConfigError, InvmmError, TransportError, VenueError
from invmm.settings import SettlementSettings
from invmm.types import MICRO, PRICE_ONE_E4
from invmm.venue.client import VenueClient
from invmm.venue.discovery import Discovery
from invmm.venue.edges import WALLET_KINDS, Edges
from invmm.venue.identity import Identity
from invmm.venue.profile import Profile
from invmm.venue.series import Series

PASS, FAIL, SKIP = "pass", "fail", "skip"
BOOK_VERSION: Final = 2
MAX_OFFSET_MS: Final = 1_000.0
RECORDED_TIME_MS: Final = 86_400_000.0
"""An embedded venue that is so far from our clock plays recorded or scaled time."""


@dataclass(frozen=True, slots=True)
class Line:
    """One result. `facts` are the figures behind `detail`, for programs."""

    name: str
    status: str
    detail: str
    fix: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def passed(name: str, detail: str, **facts: Any) -> Line:
    """All is well."""
    return Line(name, PASS, detail, "", facts)


def failed(name: str, detail: str, fix: str, **facts: Any) -> Line:
    """Something must be done before trading: `fix`."""
    return Line(name, FAIL, detail, fix, facts)


def skipped(name: str, why: str, **facts: Any) -> Line:
    """It could not be checked."""
    return Line(name, SKIP, why, "", facts)


@dataclass
class Patient:
    """What is examined. The checks fill in `identity`, and `unreachable` when the venue is silent."""

    profile: Profile
    find_identity: Callable[[], Identity]
    client: VenueClient
    series: str
    identity: Identity | None = None
    unreachable: str = ""
    settlement: SettlementSettings = field(default_factory=SettlementSettings)


async def keys(patient: Patient) -> list[Line]:
    """The private key can be read, and whose it is."""
    try:
        who = patient.find_identity()
    except ConfigError as error:
        fix = "invmm keys create, or invmm keys import; then --keystore FILE, or --env for variables"
        return [failed("keys", str(error), fix)]
    patient.identity, client = who, patient.client
    client.signer, client.credentials, client.address = who.signer, who.credentials, who.address
    client.signature_type = who.signature_type
    sources = ", ".join(f"{what}: {where}" for what, where in who.sources.items())
    return [passed("keys", f"{who.address} ({sources})", address=who.address, sources=dict(who.sources))]


async def wallet(patient: Patient) -> list[Line]:
    """The wallet that pays is of the type that orders are signed for, and is on the chain."""
    who = patient.identity
    if who is None:
        return [skipped("wallet", "no key: whose wallet is unknown")]
    with Edges(patient.profile) as edges:
        try:
            wallets = await asyncio.wrap_future(edges.wallets(who.address))
        except InvmmError as error:
            return [skipped("wallet", str(error))]
        found = wallets.signature_type(who.funder)
        facts = {"funder": who.funder, "signature_type": who.signature_type, "wallet_type": found}
        if found is None:
            fix = f"set the funder to a wallet of this account, as its deposit wallet {wallets.deposit}"
            return [failed("wallet", f"{who.funder} is no wallet of {who.address}", fix, **facts)]
        if found != who.signature_type:
            detail = f"{who.funder} signs with type {found}, configured is {who.signature_type}"
            return [
                failed("wallet", detail, f"use --signature-type {found} ({WALLET_KINDS[found]})", **facts)
            ]
        line = passed("wallet", f"{who.funder}, type {found} ({WALLET_KINDS[found]})", **facts)
        if found == 0:  # the venue has refused them for new accounts since May 2026; old ones may go on
            return [line, passed("deployed", "an account needs no contract; new ones need a deposit wallet")]
        try:
            deployed = await asyncio.wrap_future(edges.is_deployed(who.funder, found))
        except InvmmError as error:
            return [line, skipped("deployed", f"the relayer did not say: {error}")]
    if deployed:
        return [line, passed("deployed", "the wallet's contract is on the chain")]
    fix = "make one trade by hand on the web site, or call invmm.venue.edges.Edges.deploy_wallet"
    return [line, failed("deployed", "the wallet's contract is not on the chain", fix)]


async def venue(patient: Patient) -> list[Line]:
    """The venue answers, and speaks the version whose orders we sign."""
    host = patient.profile.rest_url
    try:
        found = await patient.client.version()
    except TransportError as error:
        patient.unreachable = f"{host} could not be reached"
        return [failed("venue", str(error), f"check the network, and that {host} is the venue")]
    if found != BOOK_VERSION:
        fix = "do not trade: the venue changed how orders are signed; look for a newer invmm"
        return [failed("venue", f"expected order book version {BOOK_VERSION}, found {found}", fix)]
    detail = f"{host} speaks version {found}: orders are signed under domain 2 or 3, by market"
    return [passed("venue", detail, version=found)]


async def clock(patient: Patient) -> list[Line]:
    """Our clock and the venue's agree: headers, dates of orders and ages of books rest on it."""
    found = await patient.client.clock_offset()
    facts = {"offset_ms": round(found.offset_ms, 1), "error_ms": round(found.error_ms, 1)}
    if patient.profile.loopback and abs(found.offset_ms) > RECORDED_TIME_MS:
        return [skipped("clock", "the embedded venue plays recorded or scaled time", **facts)]
    detail = f"the venue is {found.offset_ms:+.0f} ms ahead, give or take {found.error_ms:.0f} ms"
    if abs(found.offset_ms) - found.error_ms > MAX_OFFSET_MS:
        return [failed("clock", detail, "synchronise this machine's clock (chronyc makestep)", **facts)]
    return [passed("clock", detail, **facts)]


async def credentials(patient: Patient) -> list[Line]:
    """The API credentials are the account's and in force; with a key they are derived for this run."""
    client, who = patient.client, patient.identity
    if who is None:
        return [skipped("credentials", "no key: whose credentials is unknown")]
    where = who.sources.get("API credentials", "")
    if client.credentials is None:
        try:
            client.credentials, where = await client.derive_api_key(), "derived for this run, not kept"
        except VenueError as error:
            fix = "create them: invmm credentials"
            return [failed("credentials", str(error), fix)]
    try:
        known = await client.api_keys()
    except VenueError as error:
        client.credentials = None
        fix = "get the account's own (invmm credentials), and check the clock"
        return [failed("credentials", f"{where}: {error}", fix)]
    if client.credentials.api_key not in known:
        return [failed("credentials", f"{where}: not one of the account's {len(known)}", "invmm credentials")]
    line = passed("credentials", f"in force ({where})", keys=len(known))
    try:
        closed = await client.closed_only()
    except InvmmError as error:
        return [line, skipped("account", f"closed-only status: {error}")]
    if closed:
        return [line, failed("account", "in closed-only mode: it may only sell", "ask the venue's support")]
    return [line, passed("account", "may open positions")]


async def funds(patient: Patient) -> list[Line]:
    """There is collateral, and the exchanges may take it."""
    client, who = patient.client, patient.identity
    if who is None or client.credentials is None:
        return [
            skipped("balance", "no credentials in force"),
            skipped("allowances", "no credentials in force"),
        ]
    found = await client.balance_allowance()
    balance = int(found["balance"])
    if balance:
        lines = [passed("balance", f"{balance / MICRO:.6f} dollars", balance_micro=balance)]
    else:
        fix = f"send pUSD to {who.funder}, then have the venue look: VenueClient.update_balance_allowance"
        lines = [failed("balance", "no collateral", fix, balance_micro=balance)]
    contracts = patient.profile.contracts
    needed = {
        "exchange V2": contracts.exchange_v2,
        "neg-risk exchange V2": contracts.exchange_v2_neg_risk,
        "exchange V3": contracts.exchange_v3,
    }
    given = {spender.lower(): int(amount) for spender, amount in found["allowances"].items()}
    least = max(balance, 1)
    missing = [name for name, spender in needed.items() if given.get(spender.lower(), 0) < least]
    if missing:
        fix = "invmm approve shows what is missing; with --yes it gives exactly that"
        detail = f"less than the balance for {', '.join(missing)}"
        return [*lines, failed("allowances", detail, fix, missing=missing)]
    return [*lines, passed("allowances", f"cover the balance for {', '.join(needed)}")]


async def rate_limits(patient: Patient) -> list[Line]:
    """Which tier of rate limits the venue grants."""
    if patient.client.credentials is None:
        return [skipped("rate limits", "no credentials in force")]
    try:
        found = await patient.client.rate_limit_tier()
    except VenueError as error:
        return [skipped("rate limits", f"the venue does not tell: {error}")]
    shown = {key: value for key, value in found.items() if isinstance(value, str | int | float)}
    return [passed("rate limits", ", ".join(f"{key} {value}" for key, value in shown.items()), **shown)]


async def markets(patient: Patient) -> list[Line]:
    """The series' present windows are listed, consistent, and of a generation whose orders we can sign."""
    series = Series.parse(patient.series)
    offset_s = (await patient.client.clock_offset(1)).offset_ms / 1e3
    async with Discovery(patient.profile) as discovery:
        found = await discovery.find(series, time.time() + offset_s, 2)
    lines: list[Line] = []
    for each in found:
        name = f"market {each.window.slug or each.window.condition_id}"
        if not each.tradable or each.info is None:
            reasons = "; ".join(str(refusal) for refusal in each.refusals)
            if lines and all(refusal.passes for refusal in each.refusals):
                lines.append(skipped(name, f"not open yet: {reasons}"))
            else:
                lines.append(failed(name, reasons, "wait for the window, or choose another --series"))
            continue
        told = await patient.client.market(each.info.condition_id)
        tick = told.tick_e4 / PRICE_ONE_E4
        detail = (
            f"tick {tick:g}, at least {told.min_size_micro / MICRO:g} shares, signed for {told.exchange}, "
            f"taker fee rate {told.fees.rate:g}"
        )
        facts = {"condition_id": told.condition_id, "tick_e4": told.tick_e4, "exchange": str(told.exchange)}
        lines.append(passed(name, detail, **facts))
    return lines
