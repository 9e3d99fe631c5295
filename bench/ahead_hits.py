"""How often an order that was signed ahead is the one that the policy asks for next.

    INVMM_RECORDED=DIR python -m bench.ahead_hits [--markets N] [--policy NAME] [--sign-us US] [--json FILE]

Plays recorded markets (generated ones without INVMM_RECORDED) through the engine, and hands each placement
to `SignedAhead` at the time of its decision, as the executor does. Between two decisions as many orders are
signed as fit in at `--sign-us` each. What is counted is exact; how fast it is, `bench_sign` says.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from invmm._ext.ahead import SignedAhead
from invmm._ext.sign import OrderSigner
from invmm._ext.template import OrderTemplate
from invmm.replay import player
from invmm.replay.tape import Tape, find, load
from invmm.settings import Settings
from invmm.sim.embedded import EmbeddedVenue
from invmm.sim.market import generate
from invmm.types import CommandKind, OrderType

LIMITS = (16, 32, 64)


class ListeningVenue(EmbeddedVenue):
    """The embedded venue, which also keeps what it was asked."""

    heard: ClassVar[list[npt.NDArray[np.void]]] = []

    def submit(self, commands: npt.NDArray[np.void], now_ns: int) -> int:
        self.heard.append(commands.copy())
        return super().submit(commands, now_ns)


def placements(tapes: list[Tape], policy: str | None) -> npt.NDArray[np.void]:
    """The placements that the engine decides on over these markets, in order."""
    ListeningVenue.heard = []
    played = player.Player(Settings(), seed=1, policy=policy)
    with_listener, player.EmbeddedVenue = player.EmbeddedVenue, ListeningVenue  # type: ignore[misc]
    try:
        for tape in tapes:
            played.play(tape)
    finally:
        player.EmbeddedVenue = with_listener  # type: ignore[misc]
    commands = np.concatenate(ListeningVenue.heard)
    return commands[commands["kind"] == CommandKind.PLACE]


def hits(orders: npt.NDArray[np.void], limit: int, max_age_ms: int, sign_ns: int) -> dict[str, Any]:
    """Shares of quotes and takes that found an order ready, and how many were signed for it."""
    signer = OrderSigner("0x" + "11" * 32)
    markets = int(orders["market"].max()) + 1
    templates = [OrderTemplate(signer, str(1 + place)) for place in range(2 * markets)]
    ahead = SignedAhead(limit, max_age_ms, 1)
    asked, found = {"quotes": 0, "takes": 0}, {"quotes": 0, "takes": 0}
    free_ns = int(orders["decided_ns"][0])  # when the signer is free again
    changes = np.flatnonzero(np.diff(orders["decided_ns"])) + 1
    for group in np.split(orders, changes):
        now_ns = int(group["decided_ns"][0])
        step_ns = max_age_ms * 1_000_000 // 8
        while free_ns < now_ns:  # what there is to do, then a look now and then
            did = ahead.fill(templates, free_ns // 1_000_000)
            free_ns = min(free_ns + (sign_ns if did else step_ns), now_ns)
        now_ms = now_ns // 1_000_000
        for i in range(len(group)):
            place = 2 * int(group["market"][i]) + int(group["token"][i])
            command = group[i : i + 1].view("u1")
            kind = "takes" if group["order_type"][i] >= OrderType.FOK else "quotes"
            asked[kind] += 1
            found[kind] += ahead.take(place, templates[place], command, now_ms) is not None
            ahead.note(place, command, now_ms)
        free_ns = now_ns + sign_ns * len(group)
    share = {kind: found[kind] / max(asked[kind], 1) for kind in asked}
    return {"limit": limit, "asked": asked, "share": share, "signed": ahead.counts()["signed"]}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.ahead_hits", description=__doc__.split("\n\n")[0])
    parser.add_argument("--markets", type=int, default=18, help="at most so many")
    parser.add_argument("--policy", help="as in the settings")
    parser.add_argument("--sign-us", type=int, default=40, help="what one signature takes")
    parser.add_argument("--max-age-ms", type=int, default=Settings().executor.sign_ahead_age_ms)
    parser.add_argument("--json", metavar="FILE", help="also write the figures there")
    options = parser.parse_args(arguments)
    recorded = os.environ.get("INVMM_RECORDED")
    if recorded:
        paths = find(sorted(Path(recorded).glob("*/replay")) or [Path(recorded)])[: options.markets]
        tapes = sorted((load(path) for path in paths), key=lambda tape: tape.market.start_s)
    else:
        tapes = [generate(seed, day="busy") for seed in range(min(options.markets, 4))]
    source = "recorded" if recorded else "generated"
    orders = placements(tapes, options.policy)
    print(f"# Orders signed ahead: {len(tapes)} {source} markets, {len(orders)} placements, ", end="")
    print(f"at most {options.max_age_ms} ms old\n")
    print("| held at most | quotes served | takes served | signed per order sent |\n|---:|---:|---:|---:|")
    rows = [hits(orders, limit, options.max_age_ms, options.sign_us * 1000) for limit in LIMITS]
    for row in rows:
        share = row["share"]
        signed = row["signed"] / len(orders)
        print(f"| {row['limit']} | {share['quotes']:.1%} | {share['takes']:.1%} | {signed:.1f} |")
    if options.json:
        Path(options.json).write_text(
            json.dumps({"command": sys.argv, "source": source, "rows": rows}) + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
