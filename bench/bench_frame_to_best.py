"""Frame in, both books kept, best levels out: ours and every peer side by side.

`python -m bench.bench_frame_to_best [--seconds S] [--json FILE]` prints the tables; `pytest bench/` runs the
same cases.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import pytest

from bench import harness, peers, recorded

SHAPES = ("1 change", "2 changes", "10 changes", "book of one token")


def shape_frames(source: recorded.Frames, shape: str) -> list[bytes]:
    """The frames of one of SHAPES."""
    return source.books if shape == SHAPES[3] else source.changes[int(shape.split()[0])]


def cases(source: recorded.Frames, shape: str, notes: list[str]) -> list[harness.Case]:
    """One case per available peer, proven equal on the frames it will be timed on; ours first."""
    contenders, missing = peers.available(source.up_token_id, source.down_token_id)
    notes += [note for note in missing if note not in notes]
    chosen = shape_frames(source, shape)
    verified = peers.verify_equal(contenders, [source.opening, *chosen[:1000]])
    out = [harness.Case(peer.name, peer.apply, chosen, f"equal on {verified} frames") for peer in contenders]
    ours = contenders[0]
    if isinstance(ours, peers.OursPeer):
        apply_frame = ours.books.apply_frame
        out.insert(1, harness.Case("invmm, apply_frame alone", lambda frame: apply_frame(frame, 0), chosen))
    return out


def inside_c(source: recorded.Frames) -> list[harness.Distribution]:
    """Ours looped in C, per frame: what the compiled step pays."""
    from invmm._ext.decode import MarketBooks, _bench_apply

    rows = []
    for shape in SHAPES:
        frames = shape_frames(source, shape)
        books = MarketBooks(source.up_token_id, source.down_token_id)
        books.apply_frame(source.opening, 0)
        rounds = max(1, 4_000 // len(frames))
        samples = []
        for _ in range(5 if harness.SHORT else 201):
            begin = time.perf_counter_ns()
            _bench_apply(books, frames, rounds)
            samples.append((time.perf_counter_ns() - begin) / (rounds * len(frames)))
        note = f"means of {rounds * len(frames)} frames, least {min(samples):.1f}"
        rows.append(harness.distribution(shape, samples, note))
    return rows


@pytest.fixture(scope="module")
def source() -> recorded.Frames:
    return recorded.frames(200 if harness.SHORT else 2_000)


@pytest.mark.parametrize("peer", peers.PEERS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("shape", SHAPES)
def test_frame_to_best(benchmark: Any, source: recorded.Frames, shape: str, peer: type[Any]) -> None:
    benchmark.group = shape
    contenders, missing = peers.available(
        source.up_token_id, source.down_token_id, [peer, peers.SortedDictPeer]
    )
    if len(contenders) < 2:
        pytest.skip(missing[0])
    chosen = shape_frames(source, shape)
    peers.verify_equal(contenders, [source.opening, *chosen[:200]])
    apply = contenders[0].apply

    def one_pass() -> None:
        for frame in chosen:
            apply(frame)

    benchmark.extra_info["frames_per_round"] = len(chosen)
    benchmark(one_pass)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.bench_frame_to_best", description=__doc__)
    parser.add_argument("--seconds", type=float, help="measuring time per shape, shared by all peers")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args(arguments)
    harness.require_release()
    source = recorded.frames(200 if harness.SHORT else 2_000)
    notes: list[str] = []
    groups = {
        f"{shape}, {source.source}": harness.compare(cases(source, shape, notes), options.seconds)
        for shape in SHAPES
    }
    groups["the same inside C, without best levels as Python objects"] = inside_c(source)
    try:
        ns = peers.hftbacktest_update_ns(_updates(source))
        groups["book update only"] = [
            harness.Distribution(
                "hftbacktest ROIVectorMarketDepth", 1, ns, ns, ns, ns, note="derived, see bench/peers.py"
            )
        ]
    except ImportError as error:
        notes.append(f"hftbacktest: {error}")
    harness.report("Frame to both books to best", groups, notes, options.json)
    return 0


def _updates(source: recorded.Frames) -> list[tuple[int, int, int]]:
    """The Up token's levels of the one-entry frames as (side, price_e4, size_micro), enough to time."""
    import json

    rows = []
    for frame in source.changes[1]:
        for entry in json.loads(frame)["price_changes"]:
            if entry["asset_id"] == source.up_token_id:
                rows.append(
                    (
                        int(entry["side"] == "SELL"),
                        round(float(entry["price"]) * 1e4),
                        round(float(entry["size"]) * 1e6),
                    )
                )
    return rows * (1 + 100_000 // max(1, len(rows)))


if __name__ == "__main__":
    sys.exit(main())
