"""The command line of a comparison."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from invmm.replay.compare_markets import FRESH_SEED, LEDGER
from invmm.replay.entrants import BASE, ENTRANTS


def parser() -> argparse.ArgumentParser:
    """The command line, complete with help."""
    p = argparse.ArgumentParser(
        prog="python -m invmm.replay.compare",
        description="Play policies on the same markets under the same conditions, and say which earns more.",
        epilog="Exit codes: 0 done, 1 a trial failed, 2 usage or configuration, 130 interrupted (with "
        "--resume the same command goes on).",
    )
    p.add_argument(
        "--policies",
        default=",".join(ENTRANTS),
        metavar="LIST",
        help="separated by commas, each with parameters of its own if wanted: pairs:min_edge=0.003,glft "
        f"(default: {','.join(ENTRANTS)}; do_nothing, join_touch and the base always take part)",
    )
    p.add_argument(
        "--base", default=BASE, metavar="NAME", help=f"what the others are held against (default {BASE})"
    )
    markets = p.add_argument_group("markets").add_mutually_exclusive_group(required=True)
    markets.add_argument(
        "--data", nargs="+", metavar="PATH", help="recorded markets: files or folders; the first half by time"
    )
    markets.add_argument("--generated", type=int, metavar="N", help="so many generated markets")
    p.add_argument(
        "--first-seed",
        type=int,
        metavar="S",
        help=f"of the generated markets (default {FRESH_SEED}: they decide; 0 with --tune: tuned on)",
    )
    p.add_argument(
        "--open-held-back",
        action="store_true",
        help="play the half of the recorded markets that is held back: from a clean checkout, written down",
    )
    p.add_argument("--openings", type=Path, default=LEDGER, metavar="FILE", help=f"where (default {LEDGER})")
    p.add_argument("--config", metavar="FILE", help="TOML settings that every policy gets")
    p.add_argument(
        "--tune",
        type=int,
        metavar="TRIALS",
        help="do not compare: try so many points of each policy's space on the tuning part, write --tuned",
    )
    p.add_argument("--tuned", type=Path, metavar="FILE", help="parameters that --tune has chosen")
    p.add_argument(
        "--variants",
        choices=("headline", "all"),
        default="headline",
        help="all: other queue, latencies, failing settlements, sizes, rebates and toxicities as well",
    )
    p.add_argument(
        "--variant-markets", type=int, metavar="N", help="variants play the first N markets (default: all)"
    )
    p.add_argument(
        "--toxicity-markets",
        type=int,
        default=60,
        metavar="N",
        help="the share of informed flow is varied on the first N generated markets (default 60; 0: not)",
    )
    p.add_argument(
        "--samples", type=int, default=2, metavar="N", help="markets with plots (default the first 2)"
    )
    p.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (default: one per core)"
    )
    p.add_argument("--resume", type=Path, metavar="FILE", help="keeps finished trials, goes on with them")
    p.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON")
    p.add_argument("--html", type=Path, metavar="FILE", help="write the report as a page")
    p.add_argument(
        "--write", type=Path, metavar="FILE", help="write the tables between the marks of a Markdown file"
    )
    p.add_argument("--quiet", action="store_true", help="no progress bar and no tables")
    return p
