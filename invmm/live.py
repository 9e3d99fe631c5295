"""`python -m invmm.run --live`: what it would do, and everything that speaks against it, numbered.

Two things arm it, the flag and `INVMM_LIVE=yes-<series>` in the environment; what a flag alone could start by
mistake, the two cannot. Arming is not enough: the stages that bound a loss have to be part of the program.
They are looked for where they belong, so this refuses until they exist, and nothing overrides it.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from invmm.errors import ConfigError
from invmm.ops.hardening import harden
from invmm.ops.venue_options import chosen_profile
from invmm.ops.wallet_options import identity_of
from invmm.settings import Settings
from invmm.venue.identity import Identity
from invmm.venue.profile import Profile
from invmm.venue.series import Series

ARMING_NAME = "INVMM_LIVE"
EXIT_REFUSED = 3

SAFEGUARDS = (
    ("invmm._ext.gate", "risk gate", "the last check of every order before the socket"),
    ("invmm._ext.journal", "journal", "every order's id on disk before its bytes leave"),
    ("invmm.execution.recovery", "recovery", "after a crash: which orders may be alive"),
    ("invmm.ops.reaper", "reaper", "a second process that cancels everything when this one dies"),
)
"""Module, what it is, what it is for. Live trading needs all of them."""


@dataclass(frozen=True)
class Plan:
    """What a live run would do (names and figures, no secrets), and why it is refused."""

    facts: dict[str, Any]
    refusals: list[str] = field(default_factory=list)


def arming_phrase(series: str) -> str:
    """What `INVMM_LIVE` has to say, so that a line kept in a shell profile does not arm every series."""
    return f"yes-{series}"


def plan(options: argparse.Namespace, settings: Settings, environ: Mapping[str, str]) -> Plan:
    """Looks at everything that a live run needs. Connects nowhere."""
    refusals: list[str] = []
    facts: dict[str, Any] = {}
    series = _told(refusals, lambda: Series.parse(options.series or settings.market.series))
    facts["series"] = series.name if series else None
    profile = _told(refusals, lambda: chosen_profile(options))
    facts |= _of_profile(profile)
    if series is not None:
        expected = arming_phrase(series.name)
        armed = environ.get(ARMING_NAME)
        if armed != expected:
            found = "it is not set" if armed is None else "it says something else"
            refusals.append(f"not armed: expected {ARMING_NAME}={expected} in the environment, {found}")
    identity = _told(refusals, lambda: identity_of(options, settings.wallet, needs_credentials=True))
    facts |= _of_identity(identity)
    facts |= {
        "policy": settings.strategy.policy,
        "order_size_shares": settings.strategy.order_size,
        "max_order_shares": settings.risk.max_order_shares,
        "max_cash_dollars_per_market": settings.risk.max_cash_dollars,
        "max_open_orders_per_market": settings.risk.max_open_orders,
        "quotes_end_s_before_close": settings.engine.stop_before_end_ms / 1000,
    }
    if settings.risk.max_order_shares < settings.strategy.order_size:
        refusals.append(
            f"[strategy] order_size: expected at most [risk] max_order_shares "
            f"({settings.risk.max_order_shares:g}), found {settings.strategy.order_size:g}"
        )
    refusals += [
        f"{name} ({what}) is not part of this version: expected module {module}, found none"
        for module, name, what in SAFEGUARDS
        if not _exists(module)
    ]
    return Plan(facts, refusals)


def run_live(options: argparse.Namespace, settings: Settings) -> int:
    """Says what it would do and why not; the exit code."""
    harden()
    planned = plan(options, settings, os.environ)
    if not planned.refusals:
        planned.refusals.append("the live session itself is not part of this version")
    out = sys.stderr
    print("live trading, as it would be:", file=out)
    for name, value in planned.facts.items():
        print(f"  {name.replace('_', ' ')}: {value}", file=out)
    print(f"refused, {len(planned.refusals)} reasons:", file=out)
    for number, refusal in enumerate(planned.refusals, 1):
        print(f"  {number}. {refusal}", file=out)
    if options.json:
        facts = planned.facts | {"mode": "live", "refusals": planned.refusals}
        sys.stdout.write(orjson.dumps(facts).decode() + "\n")
    return EXIT_REFUSED


def _told(refusals: list[str], ask: Any) -> Any:
    """The answer, or None with the reason among the refusals."""
    try:
        return ask()
    except ConfigError as error:
        refusals.append(str(error))
        return None


def _of_profile(profile: Profile | None) -> dict[str, Any]:
    if profile is None:
        return {"profile": None}
    return {
        "profile": profile.name,
        "orders_go_to": profile.rest_url,
        "market_feed": profile.market_url,
        "chain": profile.chain_id,
    }


def _of_identity(identity: Identity | None) -> dict[str, Any]:
    """Names and addresses only."""
    if identity is None:
        return {"account": None}
    return {
        "account": identity.address,
        "pays": identity.funder,
        "signature_type": identity.signature_type,
        "found_in": dict(identity.sources),
    }


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
