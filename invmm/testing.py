"""A venue to test bots against: Polymarket's REST, WebSockets and discovery on a port of this machine.

In a test:

    with invmm.testing.TestVenue("btc-updown-5m") as venue:
        bot = Bot(host=venue.url, key=venue.private_key)

or as a command, for bots that are not written in Python: `python -m invmm.testing --series btc-updown-5m`
prints one JSON line with what a bot needs and runs until it is stopped. What is modelled, and what is not, is
in `docs/testing.md`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from invmm.clock import LiveClock
from invmm.errors import ConfigError, InvmmError, TransportError
from invmm.replay.tape import MarketInfo
from invmm.sim.access import AccessRules
from invmm.sim.child import VenueChild
from invmm.sim.host import ChildCredentials, VenueHost
from invmm.sim.profile import VenueProfile
from invmm.sim.thread import VenueThread
from invmm.sim.windows import Series
from invmm.types import Outcome
from invmm.venue.auth import ApiCredentials, OrderSigner
from invmm.venue.profile import Profile, loopback

__all__ = ["AccessRules", "Series", "TestVenue", "VenueProfile"]

SECOND = 1_000_000_000


class TestVenue:
    """A venue with one funded account, in a child process or in this one; a context manager.

    Parameters
    ----------
    *series : str or Series
        Rolling markets, `btc-updown-5m` by default. A name stands for a `Series` with its defaults.
    speed : float
        Seconds of the venue per second, 0.001 to 1000. At 1 the venue's time is the machine's time.
    start_s : int, optional
        The venue's first moment in unix seconds; now by default.
    seed : int
        Markets, the account's key and all randomness of the venue follow from it.
    light : bool
        Markets of a few frames per window instead of calibrated ones, for names given as text.
    profile : VenueProfile, optional
        Latencies, delays, settlement, limits.
    private_key : str, optional
        The account's signing key (hex); by default one that follows from the seed. Never a real key.
    checked : bool
        False: headers and signatures are not looked at.
    access : AccessRules, optional
        More accounts, wallets, bans, tolerance of timestamps. By default any key may log in.
    port : int
        Port on 127.0.0.1; a free one by default.
    remember : int
        Orders and trades of so many ended markets are kept.
    in_process : bool
        True: in a thread of this process instead of a child process. Everything else is the same.
    chain : bool
        True: matches are settled on a chain (id 137, JSON-RPC at `rpc_url`) on which the account has what it
        has at the venue, approvals and gas money included, and merges and redeems by itself. Costs the
        venue some seconds at its start.

    Raises
    ------
    TransportError
        The venue did not start, or is gone.
    ConfigError
        A series or profile that makes no sense.
    """

    __test__ = False  # it is nobody's test case

    def __init__(
        self,
        *series: str | Series,
        speed: float = 1.0,
        start_s: int | None = None,
        seed: int = 1,
        light: bool = False,
        profile: VenueProfile | None = None,
        private_key: str | None = None,
        checked: bool = True,
        access: AccessRules | None = None,
        port: int = 0,
        remember: int = 16,
        in_process: bool = False,
        chain: bool = False,
    ) -> None:
        tape = "light" if light else "full"
        self.series = [
            one if isinstance(one, Series) else Series(one, tape=tape) for one in series or ("btc-updown-5m",)
        ]
        for one in self.series:
            one.length_s  # noqa: B018 - a slug that says no length is refused here, not in the child
        if private_key is None:
            private_key = "0x" + hashlib.sha256(f"invmm.testing {seed}".encode()).hexdigest()
        self.private_key = private_key
        try:
            self.address: str = OrderSigner(private_key).address
        except ValueError:
            raise ConfigError("private_key: expected 32 bytes in hex, got something else") from None
        key = ChildCredentials.fresh(self.address)
        self.credentials = ApiCredentials(key.api_key, key.secret, key.passphrase)
        self.speed = speed
        host = VenueThread if in_process else VenueChild
        self.child: VenueHost = host(
            (),
            credentials=key if checked else None,
            access=access,
            profile=profile,
            seed=seed,
            series=self.series,
            speed=speed,
            start_ns=None if start_s is None else start_s * SECOND,
            remember=remember,
            port=port,
            chain=chain,
        )

    def __enter__(self) -> TestVenue:
        self.child.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.child.stop()

    def start(self) -> None:
        """Starts it, for those who cannot use `with`."""
        self.__enter__()

    def stop(self) -> None:
        """Stops it."""
        self.child.stop()

    # ---- where it is ----

    @property
    def port(self) -> int:
        """Port on 127.0.0.1."""
        return self.child.port

    @property
    def url(self) -> str:
        """REST of the CLOB, of Gamma and of the data API: `http://127.0.0.1:<port>`."""
        return self.child.base_url

    @property
    def market_url(self) -> str:
        """Market WebSocket."""
        return self.child.market_url

    @property
    def user_url(self) -> str:
        """User WebSocket."""
        return self.child.user_url

    @property
    def rpc_url(self) -> str:
        """JSON-RPC of the venue's chain; empty: it has none."""
        return self.child.rpc_url

    @property
    def profile(self) -> Profile:
        """The loopback profile of `invmm.venue.profile` for this port and chain."""
        return replace(loopback(self.port), rpc_url=self.rpc_url)

    # ---- time and markets ----

    def clock(self) -> LiveClock:
        """The venue's clock as this process can read it; made anew after `advance`."""
        told = self.child.control("clock")
        return LiveClock(told["speed"], int(told["tape_ns"]), int(told["monotonic_ns"]))

    def now_s(self) -> float:
        """The venue's time, unix seconds."""
        return float(self.child.control("clock")["now_ns"]) / SECOND

    def advance(self, seconds: float) -> float:
        """Jumps ahead; what lies between happens at once. Returns the venue's time, unix seconds."""
        return float(self.child.control("clock", {"advance_s": seconds})["now_ns"]) / SECOND

    def add_series(self, series: str | Series) -> None:
        """One more rolling series."""
        given = Series(series) if isinstance(series, str) else series
        self.child.control("series", {name: getattr(given, name) for name in given.__dataclass_fields__})
        self.series.append(given)

    def listed(self) -> list[dict[str, Any]]:
        """Every market that discovery shows, by start: ids, times, `version`, `is_ready` (the CLOB knows it),
        `is_closed`, `is_resolved`, `winner`.
        """
        markets: list[dict[str, Any]] = self.child.control("markets")["markets"]
        return markets

    def market(self, ahead: int = 0, *, series: str | None = None, timeout_s: float = 30.0) -> MarketInfo:
        """The running window of a series, or the one `ahead` of it, once the CLOB knows it.

        TransportError when that does not happen within `timeout_s` real seconds.
        """
        name = series or self.series[0].slug
        given = next(one for one in self.series if one.slug == name)
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            told = self.child.control("markets")
            begins = given.length_s * ahead + told["now_ns"] // SECOND
            for one in told["markets"]:
                if one["series"] == name and one["is_ready"] and one["start_s"] <= begins < one["end_s"]:
                    return _info(one)
            time.sleep(0.02)
        raise TransportError(
            f"{name}: expected window {ahead} to open within {timeout_s} s; {self.child.errors}"
        )

    # ---- behind the curtain ----

    def truth(self) -> dict[str, Any]:
        """What the venue knows: balances, orders with their true state, trades, per market and in all."""
        return self.child.truth()

    def fault(self, kind: str, **figures: Any) -> dict[str, Any]:
        """Does or arms a fault, see the table of `invmm.sim.control`."""
        return self.child.fault(kind, **figures)

    def clear(self, kind: str | None = None) -> None:
        """Disarms one kind of fault, or all."""
        self.child.fault("clear", of=kind)

    def mode(self, mode: str, **figures: Any) -> dict[str, Any]:
        """Sets the venue's mode: RUNNING, RESTARTING, POST_ONLY, CANCEL_ONLY or HALTED."""
        return self.child.control("mode", {"mode": mode, **figures})

    def restart(self, **figures: Any) -> dict[str, Any]:
        """An engine restart: RESTARTING, then POST_ONLY, then RUNNING (`restart_s` 90, `post_only_s` 120,
        `wipe` false).
        """
        return self.child.control("mode", {"mode": "RESTART", **figures})

    def balance(self, **figures: Any) -> dict[str, Any]:
        """Sets `collateral_micro`, and `allowances` by spender in micro-dollars; of another `account` than
        the venue's own when its address is given.
        """
        return self.child.control("balance", figures)

    def facts(self) -> dict[str, Any]:
        """What a bot needs, as plain data: the line that the command prints."""
        return {
            "url": self.url,
            "market_url": self.market_url,
            "user_url": self.user_url,
            "rpc_url": self.rpc_url,
            "chain_id": self.profile.chain_id,
            "private_key": self.private_key,
            "address": self.address,
            "api_key": self.credentials.api_key,
            "api_secret": self.credentials.secret,
            "api_passphrase": self.credentials.passphrase,
            "series": [one.slug for one in self.series],
            "speed": self.speed,
            "pid": self.child.pid,
        }


def _info(told: dict[str, Any]) -> MarketInfo:
    names = MarketInfo.__dataclass_fields__
    info = MarketInfo(**{name: value for name, value in told.items() if name in names and name != "winner"})
    return replace(info, winner=None if told["winner"] is None else Outcome[told["winner"]])


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m invmm.testing",
        description="Polymarket's REST, WebSockets and discovery on a port of this machine, for testing "
        "bots. Prints one JSON line (hosts, a funded account's test key and credentials), then runs on.",
        epilog="Exit codes: 0 stopped, 1 the venue failed, 2 usage or configuration.",
    )
    p.add_argument("--series", nargs="+", default=["btc-updown-5m"], metavar="SLUG", help="rolling markets")
    p.add_argument("--generation", choices=("v1", "v2"), default="v1", help="version of the markets")
    p.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")
    p.add_argument("--speed", type=float, default=1.0, metavar="X", help="venue seconds per second")
    p.add_argument("--start", type=int, metavar="UNIX_S", help="the venue's first moment (default: now)")
    p.add_argument("--seed", type=int, default=1, metavar="N", help="seed of markets, key and randomness")
    p.add_argument("--light", action="store_true", help="a few frames per window, not calibrated markets")
    p.add_argument("--chain", action="store_true", help="settle matches on a chain, told as rpc_url")
    p.add_argument("--unchecked", action="store_true", help="look at no headers and no signatures")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code."""
    options = parser().parse_args(argv)
    tape = "light" if options.light else "full"
    try:
        venue = TestVenue(
            *(Series(slug, generation=options.generation, tape=tape) for slug in options.series),
            speed=options.speed,
            start_s=options.start,
            seed=options.seed,
            checked=not options.unchecked,
            port=options.port,
            chain=options.chain,
        )
    except InvmmError as error:
        print(f"invmm.testing: {error}", file=sys.stderr)
        return 2
    stops = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    try:
        with venue:
            print(json.dumps(venue.facts()), flush=True)
            while signal.sigtimedwait(stops, 0.5) is None:
                if venue.child.returncode is not None:
                    print(f"invmm.testing: the venue ended:\n{venue.child.errors}", file=sys.stderr)
                    return 1
    except InvmmError as error:
        print(f"invmm.testing: {error}", file=sys.stderr)
        return 1
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, stops)
    return 0


if __name__ == "__main__":
    sys.exit(main())
