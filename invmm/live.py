"""`python -m invmm.run --live`: what it is about to do, everything that speaks against it, then the session.

Two things arm it, the flag and `INVMM_LIVE=yes-<series>` in the environment; what a flag alone could start by
mistake, the two cannot. Refused, with a number for each reason and exit code 3, is also what lacks one of the
stages that bound a loss: a reaper that watches over this state folder, the ceilings of the first armed day, a
kill switch that is not at its highest level. Nothing overrides a refusal.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from invmm.clock import LiveClock
from invmm.errors import ConfigError
from invmm.execution.kill import KillLevel
from invmm.execution.kill import read as read_kill
from invmm.execution.risk import arm, first_day_refusals
from invmm.execution.session_state import hold_folder, keep_journal
from invmm.execution.state import StateFolder, default_folder
from invmm.ops.hardening import harden
from invmm.ops.reaping import why_unwatched
from invmm.ops.venue_options import chosen_profile
from invmm.ops.wallet_options import identity_of, wallet_of
from invmm.settings import Settings
from invmm.settlement.opening import find_relayer_key, why_unrelayed
from invmm.settlement.till import MakeTill, account_till
from invmm.venue.identity import Identity
from invmm.venue.profile import Profile
from invmm.venue.series import Series

ARMING_NAME = "INVMM_LIVE"
EXIT_REFUSED = 3


@dataclass
class Plan:
    """What a live run would do (names and figures, no secrets), and why it is refused."""

    facts: dict[str, Any] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)
    series: Series | None = None
    profile: Profile | None = None
    identity: Identity | None = field(default=None, repr=False)
    state: StateFolder | None = None
    make_till: MakeTill | None = field(default=None, repr=False)


def arming_phrase(series: str) -> str:
    """What `INVMM_LIVE` has to say, so that a line kept in a shell profile does not arm every series."""
    return f"yes-{series}"


def plan(options: argparse.Namespace, settings: Settings, environ: Mapping[str, str]) -> Plan:
    """Looks at everything that a live run needs. Connects nowhere."""
    planned = Plan()
    refusals = planned.refusals
    planned.series = series = _told(refusals, lambda: Series.parse(options.series or settings.market.series))
    planned.facts["series"] = series.name if series else None
    planned.profile = _told(refusals, lambda: chosen_profile(options))
    planned.facts |= _of_profile(planned.profile)
    if series is not None:
        expected = arming_phrase(series.name)
        armed = environ.get(ARMING_NAME)
        if armed != expected:
            found = "it is not set" if armed is None else "it says something else"
            refusals.append(f"not armed: expected {ARMING_NAME}={expected} in the environment, {found}")
    chain_id = planned.profile.chain_id if planned.profile else 137
    planned.identity = _told(
        refusals, lambda: identity_of(options, settings.wallet, needs_credentials=True, chain_id=chain_id)
    )
    planned.facts |= _of_identity(planned.identity)
    risk = settings.risk
    planned.facts |= {
        "policy": settings.strategy.policy,
        "order_size_shares": settings.strategy.order_size,
        "max_order_shares": risk.max_order_shares,
        "max_cash_dollars_per_market": risk.max_cash_dollars,
        "max_cash_dollars_in_all": risk.max_total_dollars,
        "max_loss_dollars_per_market": risk.max_loss_market_dollars,
        "max_loss_dollars_per_day": risk.max_loss_day_dollars,
        "max_open_orders_per_market": risk.max_open_orders,
        "quotes_end_s_before_close": settings.engine.stop_before_end_ms / 1000,
    }
    if risk.max_order_shares < settings.strategy.order_size:
        refusals.append(
            f"[strategy] order_size: expected at most [risk] max_order_shares "
            f"({risk.max_order_shares:g}), found {settings.strategy.order_size:g}"
        )
    if planned.identity is not None and planned.profile is not None:
        who, where = planned.identity, planned.profile
        wallet = wallet_of(options, settings.wallet)
        key = _told(refusals, lambda: find_relayer_key(wallet, environ)) if who.signature_type else None
        if where.relayer_url and (missing := why_unrelayed(who, where, key)):
            refusals.append(missing)  # nobody would ever turn its pairs into dollars
        planned.make_till = _told(refusals, lambda: account_till(who, where, settings.settlement, key))
        way = "the venue's relayer" if who.signature_type else "transactions of the account"
        nobody = "nobody: the wallet has to settle by hand"
        planned.facts["pairs_are_settled_by"] = way if planned.make_till else nobody
    if planned.identity is not None:
        _plan_state(planned, options, settings, planned.identity.address)
    return planned


def _plan_state(planned: Plan, options: argparse.Namespace, settings: Settings, account: str) -> None:
    """What the state folder says: its reaper, its first day, its kill switch."""
    path = options.state or settings.state.folder or default_folder(account)
    planned.facts["state_folder"] = str(path)
    planned.state = state = _told(planned.refusals, lambda: StateFolder(Path(path), account))
    if state is None:
        return
    venue = "" if options.profile == "live" else f" --profile {options.profile} --port {options.port}"
    missing = why_unwatched(state, account, venue)
    planned.facts["reaper"] = missing or "watches"
    if missing:
        planned.refusals.append(missing)
    kill = read_kill(state.kill)
    planned.facts["kill_level"] = int(kill.level)
    if kill.level >= KillLevel.END:
        planned.refusals.append(
            f"the kill switch is at {kill}; to lift it: invmm kill --release --state {state.path}"
        )
    planned.refusals += _told(planned.refusals, lambda: first_day_refusals(settings, state)) or []


def run_live(options: argparse.Namespace, settings: Settings) -> int:
    """Says what it is about to do; refuses with every reason, or trades. The exit code."""
    harden()
    planned = plan(options, settings, os.environ)
    out = sys.stderr
    print("live trading, as it is about to begin:", file=out)
    for name, value in planned.facts.items():
        print(f"  {name.replace('_', ' ')}: {value}", file=out)
    if planned.refusals:
        print(f"refused, {len(planned.refusals)} reasons:", file=out)
        for number, refusal in enumerate(planned.refusals, 1):
            print(f"  {number}. {refusal}", file=out)
        if options.json:
            facts = planned.facts | {"mode": "live", "refusals": planned.refusals}
            sys.stdout.write(orjson.dumps(facts).decode() + "\n")
        return EXIT_REFUSED
    return _trade(options, settings, planned)


def _trade(options: argparse.Namespace, settings: Settings, planned: Plan) -> int:
    """The session itself, behind the lock."""
    from invmm.execution.remote import RemoteVenue
    from invmm.rolling_session import RollingSession, run_windows, session_options
    from invmm.venue.discovery import Discovery

    who, profile, series = planned.identity, planned.profile, planned.series
    assert who is not None
    assert who.signer is not None
    assert who.credentials is not None
    assert profile is not None
    assert series is not None
    assert planned.state is not None
    account, clock = who.address, LiveClock()
    with (
        hold_folder(planned.state.path, account) as folder,
        keep_journal(folder, settings, clock, account) as state,
    ):
        arm(folder)
        venue = RemoteVenue(
            profile, who.credentials, who.signer, clock, settings, journal=state.journal, armed=True
        )
        find = Discovery(profile).window_blocking
        make = planned.make_till
        session = RollingSession(
            **session_options(options, settings, series, venue, clock, find, state),
            open_till=None if make is None else lambda engine: make(engine, folder.path, clock),
            watch=lambda: why_unwatched(folder, account),
        )
        return run_windows(options, session, "live")


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
