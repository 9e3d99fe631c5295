"""Orders from price and size to the bytes of a request: build, sign, sign ahead, headers, assembly.

    python -m bench.bench_sign [--json FILE]     ours beside the venue's own clients, in one run
    pytest bench/bench_sign.py                   the same pieces by pytest-benchmark

A batch is what one request carries: 1, 6 or 15 orders. Build + sign ends with the body's JSON. *online part*
is what is left to do when a command comes, measured by the executor's own stamps from the ring's pop to the
finished request: gate, rules, signature (unless it was signed ahead), JSON, L2 headers, SENT.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bench import order_peers as peers
from bench.harness import SHORT, Case, Distribution, compare, distribution, report, require_release
from bench.order_peers import ACCOUNT, KEY, OWNER, PASSPHRASE, SECRET, TOKEN, WALLET
from invmm._ext.ahead import SignedAhead
from invmm._ext.l2 import L2Signer
from invmm._ext.ring import CommandRing, ResultRing
from invmm._ext.template import OrderTemplate
from invmm._ext.words import SharedWords
from invmm.clock import LiveClock
from invmm.execution.intake import Intake
from invmm.types import COMMAND_DTYPE, EVENT_DTYPE, CommandFlag, CommandKind
from invmm.venue.auth import ApiCredentials, OrderSigner, l2_headers

NOW_MS = 1_790_767_298_635
BATCHES = (1, 6, 15)
BY_CALLER = -2


def template_of(kind: int = 0) -> OrderTemplate:
    return OrderTemplate(OrderSigner(KEY, kind, WALLET if kind else None), TOKEN, "v2", OWNER)


def build_batch(count: int, kind: int = 0) -> Callable[[], bytes]:
    """Signs `count` commands and joins them to the body of one request."""
    template = template_of(kind)
    records = np.zeros(count, COMMAND_DTYPE)
    records["kind"] = CommandKind.PLACE
    records["price_e4"] = 4800
    records["size_micro"] = 100_000_000
    records["salt"] = np.arange(1, count + 1, dtype="u8") << 40
    views = [records[i : i + 1].view("u1") for i in range(count)]

    def run() -> bytes:
        return b"[" + b",".join([template.build(view, NOW_MS)[1] for view in views]) + b"]"

    return run


def sign_headers(count: int, portable: bool = False) -> Callable[[], bytes]:
    body = build_batch(count)()
    signer = L2Signer(OWNER, SECRET, PASSPHRASE, ACCOUNT, portable=portable)
    return lambda: signer.headers("POST", "/orders", body, 1_790_767_298)


class Desk:
    """The executor's compiled part alone: commands in, requests out, nobody to send them to."""

    def __init__(self, kind: int, is_ahead: bool) -> None:
        self.ring, self.results = CommandRing(64), ResultRing(256)
        signer = L2Signer(OWNER, SECRET, PASSPHRASE, ACCOUNT)
        self.intake = Intake(
            self.ring, self.results, SharedWords(), signer, "clob.polymarket.com", LiveClock()
        )
        self.intake.set_template(0, 0, template_of(kind))
        self.ahead = SignedAhead(16, 60_000, 1) if is_ahead else None
        self.intake.orders.ahead = self.ahead
        self.out = np.zeros(256, EVENT_DTYPE)
        self.keys = 0

    def place(self, count: int) -> int:
        """One batch at `count` neighbouring prices; ns from the pop to the finished request."""
        legs = np.zeros(count, COMMAND_DTYPE)
        legs["kind"], legs["size_micro"], legs["batch"] = CommandKind.PLACE, 100_000_000, 1
        legs["price_e4"] = 4800 - 100 * np.arange(count)
        legs["key"] = legs["salt"] = self.keys + 1 + np.arange(count)
        legs["flags"][-1] = CommandFlag.LAST
        self.keys += count
        self.ring.push_many(legs)
        self.intake.take(0, 0, -1, BY_CALLER, BY_CALLER)
        self.results.pop_into(self.out)
        return self.intake.ready_ns - self.intake.popped_ns

    def rest(self) -> None:
        """Time to sign ahead, until all is signed."""
        while self.ahead is not None and len(self.ahead.held()) < 16:
            self.intake.take(0, 1_000_000, -1, BY_CALLER, BY_CALLER)


def online_part(count: int, rounds: int) -> list[Distribution]:
    """Signed when asked for and signed ahead, in turns; 20 µs of other work between two requests."""
    desks = {(kind, ahead): Desk(kind, ahead) for kind in (0, 3) for ahead in (False, True)}
    taken = {which: [desk.place(count)] for which, desk in desks.items()}
    for _ in range(rounds):
        for which, desk in desks.items():
            desk.rest()
            taken[which].append(desk.place(count))
    rows = []
    for (kind, ahead), ns in taken.items():
        served = desks[kind, ahead].intake.orders.ahead
        note = "" if served is None else f"{served.counts()['used']} of {desks[kind, ahead].keys} were ready"
        name = f"type {kind}, {'signed ahead' if ahead else 'signed when asked'}"
        rows.append(distribution(name, ns[rounds // 10 :], note))
    base = rows[0].p50
    return [Distribution(**{**vars(row), "ratio": row.p50 / base}) for row in rows]


@pytest.mark.parametrize("count", BATCHES)
@pytest.mark.parametrize("kind", [0, 3])
def test_build_and_sign(benchmark: Any, count: int, kind: int) -> None:
    benchmark.group = f"build + sign {count}"
    assert benchmark(build_batch(count, kind)).startswith(b"[{")


@pytest.mark.parametrize("count", BATCHES)
@pytest.mark.parametrize("peer", [peers.client_v2, peers.client_v1, peers.polymarket_client])
def test_other_clients(benchmark: Any, count: int, peer: Callable[[int], Callable[[], bytes]]) -> None:
    benchmark.group = f"build + sign {count}"
    assert benchmark.pedantic(peer(count), rounds=20).startswith(b"[{")


@pytest.mark.parametrize("count", BATCHES)
@pytest.mark.parametrize("portable", [False, True])
def test_request_headers(benchmark: Any, count: int, portable: bool) -> None:
    benchmark.group = f"headers {count}"
    assert b"POLY_SIGNATURE" in benchmark(sign_headers(count, portable))


@pytest.mark.parametrize("count", BATCHES)
@pytest.mark.parametrize("is_ahead", [False, True])
def test_online_part(benchmark: Any, count: int, is_ahead: bool) -> None:
    benchmark.group = f"online part {count}"
    desk = Desk(0, is_ahead)
    desk.place(count)
    assert benchmark.pedantic(desk.place, setup=desk.rest, args=(count,), rounds=50) > 0


Maker = tuple[str, Callable[[], Callable[[], object]]]


def cases(makers: Sequence[Maker], notes: list[str]) -> list[Case]:
    """The contenders that are installed; the others are noted."""
    out = []
    for name, make in makers:
        try:
            run = make()
        except pytest.skip.Exception as reason:
            notes.append(str(reason))
            continue
        except (ImportError, AttributeError, TypeError) as reason:  # a peer of another version
            notes.append(f"{name}: {reason}")
            continue
        out.append(Case(name, lambda _, run=run: run(), (None,)))  # type: ignore[misc]
    return out


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.bench_sign", description="Orders to request bytes."
    )
    parser.add_argument("--json", metavar="FILE", help="also write the rows there")
    parser.add_argument("--seconds", type=float, default=None, help="of each group")
    options = parser.parse_args(arguments)
    require_release()
    notes: list[str] = []
    groups: dict[str, list[Distribution]] = {}
    credentials = ApiCredentials(OWNER, SECRET, PASSPHRASE)
    for count in BATCHES:
        makers: list[Maker] = [
            ("invmm", partial(build_batch, count)),
            ("invmm, deposit wallet (type 3)", partial(build_batch, count, 3)),
            ("py-clob-client-v2", partial(peers.client_v2, count)),
            ("py-clob-client-v2, type 3", partial(peers.client_v2, count, 3)),
            ("polymarket-client", partial(peers.polymarket_client, count)),
            ("py-clob-client (dead generation)", partial(peers.client_v1, count)),
        ]
        groups[f"build + sign, {count} order(s)"] = compare(cases(makers, notes), options.seconds, turns=31)
    for count in BATCHES:
        groups[f"online part, {count} order(s)"] = online_part(count, 50 if SHORT else 1_000)
    for count in BATCHES:
        body = build_batch(count)()
        makers = [
            ("invmm: header lines", partial(sign_headers, count)),
            ("invmm without SHA instructions", partial(sign_headers, count, True)),
            ("polymarket-client, signature alone", partial(peers.polymarket_client_hmac, body)),
            ("py-clob-client-v2", partial(peers.client_v2_headers, body)),
            ("py-clob-client", partial(peers.client_v1_headers, body)),
        ]
        groups[f"L2 headers, {count} order(s)"] = compare(cases(makers, notes), options.seconds, turns=31)
    body = build_batch(1)()
    headers = l2_headers(credentials, ACCOUNT, "POST", "/orders", body, int(time.time()))
    makers = [
        ("invmm: cancel of one order, ring to request", cancel_request),
        ("httpx Client.build_request", partial(peers.httpx_request, body, headers)),
        ("requests Session.prepare_request", partial(peers.requests_request, body, headers)),
    ]
    groups["request assembly (ours signs its headers as well)"] = compare(
        cases(makers, notes), options.seconds, turns=31
    )
    report("Orders to request bytes", groups, dict.fromkeys(notes), options.json)
    return 0


def cancel_request() -> Callable[[], bytes]:
    """Pushes a cancel by id, takes it off the ring as a whole request: head, HMAC, body."""
    desk = Desk(0, False)
    leg: npt.NDArray[np.void] = np.zeros(1, COMMAND_DTYPE)
    leg["kind"], leg["key"], leg["flags"], leg["order_id"] = (
        CommandKind.CANCEL,
        1,
        CommandFlag.LAST,
        b"\7" * 32,
    )

    def run() -> bytes:
        desk.ring.try_push(leg)
        desk.intake.take(0, 0, -1, BY_CALLER, BY_CALLER)
        return desk.intake.request()

    return run


if __name__ == "__main__":
    sys.exit(main())
