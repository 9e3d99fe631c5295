"""Cost per frame as the number of tokens grows from 2 to 2 000: books of all tokens live, frames arrive in
random order.

The number of distinct frames is the same at every size, so that what grows is the books alone. Target: flat
within a quarter. `python -m bench.bench_scaling [--json FILE]`.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable
from typing import Any

import pytest

from bench import harness, peers, recorded

TOKENS = (2, 20, 200, 2_000)
FRAMES = 4_000


def case(kind: type[Any], tokens: int, frames: int = FRAMES) -> harness.Case:
    """All books of so many tokens behind one operation; a frame comes with the `apply` of its market."""
    arrivals: list[tuple[Callable[[bytes], object], bytes]] = []
    for up, down, opening, own in recorded.many_markets(tokens // 2, frames):
        peer = kind(up, down)
        peer.apply(opening)
        apply = _refusing_nothing(peer) if kind is peers.OursPeer else peer.apply
        arrivals += [(apply, frame) for frame in own]
    random.Random(tokens).shuffle(arrivals)
    return harness.Case(f"{kind.name}, {tokens} tokens", lambda arrival: arrival[0](arrival[1]), arrivals)


def _refusing_nothing(peer: peers.OursPeer) -> Callable[[bytes], object]:
    apply_frame = peer.books.apply_frame
    return lambda frame: apply_frame(frame, 0)


@pytest.mark.parametrize("tokens", TOKENS)
def test_frame_among_many_tokens(benchmark: Any, tokens: int) -> None:
    benchmark.group = "tokens"
    frames = 1_000 if harness.SHORT else FRAMES
    chosen = case(peers.OursPeer, tokens, frames)
    benchmark.extra_info["frames_per_round"] = len(chosen.items)

    def one_pass() -> None:
        for arrival in chosen.items:
            chosen.operation(arrival)

    benchmark(one_pass)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.bench_scaling", description=__doc__)
    parser.add_argument("--seconds", type=float, help="measuring time per group")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args(arguments)
    harness.require_release()
    groups: dict[str, list[harness.Distribution]] = {}
    notes: list[str] = []
    for kind in (peers.OursPeer, peers.MsgspecPeer):
        try:
            cases = [case(kind, tokens, 1_000 if harness.SHORT else FRAMES) for tokens in TOKENS]
        except ImportError as error:
            notes.append(f"{kind.name}: {error}")
            continue
        groups[kind.name] = harness.compare(cases, options.seconds)
    harness.report("Cost per frame as tokens grow", groups, notes, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
