"""From a frame to the bytes of a signed request, with and without transaction, gate and journal, in one run.

    python -m bench.bench_frame_to_signed [--turns N] [--json FILE]
    pytest bench/bench_frame_to_signed.py                                one pass, to keep it from rotting

Five processes play the same market (a recorded one where INVMM_RECORDED names a folder) in turns of fifty
buffers, in a new order each turn: none of the three, each of them alone, all as shipped. What leaves one out
is an edit of the sources, built into a copy (`bench/signed_rig.py`). Only buffers count after which all five
sent equally many orders; differences are taken buffer by buffer.

    placing      every order is gone before the next frame, which places all again
    replacing    orders rest, and are replaced where the policy wants others; four times as many may be alive
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness import ROOT, SHORT, Distribution, distribution, report, require_release
from bench.recorded import RECORDED_SLUG
from bench.signed_rig import BARE, SignedRig, tape_of
from tests.bugs.seeding import edited_copy

TURNS = 6 if SHORT else 80
BUFFERS = 50
WARM_TURNS = 1 if SHORT else 4
TURN_S = 120
ALL = "all three, as shipped"


@dataclass(frozen=True)
class Variant:
    """Which of the three a process has."""

    name: str
    without: tuple[str, ...]
    journal: bool


VARIANTS = (
    Variant("none of the three", ("transaction", "gate"), False),
    Variant("transaction alone", ("gate",), False),
    Variant("gate alone", ("transaction",), False),
    Variant("journal alone", ("transaction", "gate"), True),
    Variant(ALL, (), True),
)
JOBS = (("placing", 1, False), ("placing", 2, False), ("placing", 6, False), ("replacing", 6, True))


def recorded_path() -> str:
    """The recorded market that is played; empty where there is none."""
    folder = os.environ.get("INVMM_RECORDED", "")
    found = sorted(Path(folder).rglob(f"replay/{RECORDED_SLUG}.jsonl*")) if folder else []
    return str(found[0]) if found else ""


def copies(place: Path) -> dict[tuple[str, ...], Path]:
    """Folders to run in, by what the code there is without."""
    found: dict[tuple[str, ...], Path] = {(): ROOT}
    for without in {variant.without for variant in VARIANTS} - {()}:
        edits = [edit for name in without for edit in BARE[name]]
        folder = place / "-".join(without)
        folder.mkdir()
        found[without] = edited_copy(folder, edits)
        shutil.copytree(ROOT / "bench", folder / "bench")
    return found


class Player:
    """One process."""

    def __init__(self, folder: Path, job: dict[str, Any]) -> None:
        self.rows: list[tuple[int, int, int]] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.signed_rig"],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._tell(job)

    def _tell(self, what: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def play(self, buffers: int) -> None:
        """The next so many; returns when they are over."""
        self._tell(buffers)
        assert self.process.stdout is not None
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"bench.signed_rig ended with {self.process.wait(TURN_S)}")
        self.rows += [tuple(row) for row in json.loads(answer)]

    def close(self) -> None:
        """Ends the process."""
        self.process.communicate(timeout=TURN_S)


def measured(
    folders: dict[tuple[str, ...], Path], orders: int, rests: bool, turns: int
) -> tuple[list[Distribution], str]:
    """A row for each variant and for what the three add, and how many orders were in it on average."""
    job = {"tape": recorded_path(), "window_s": 300, "orders": orders, "rests": rests}
    rng, players = random.Random(1), []
    with ExitStack() as stack:
        for variant in VARIANTS:
            players.append(Player(folders[variant.without], job | {"journal": variant.journal}))
            stack.callback(players[-1].close)
        for turn in range(WARM_TURNS + turns):
            for player in rng.sample(players, len(players)):
                player.play(BUFFERS)
            if turn == WARM_TURNS - 1:
                for player in players:
                    player.rows.clear()
    return table(players)


def table(players: list[Player]) -> tuple[list[Distribution], str]:
    """What was played, buffer by buffer."""
    found = [{(number, legs): ns for number, ns, legs in player.rows} for player in players]
    same = sorted(set.intersection(*(set(one) for one in found)))
    columns = [np.array([one[key] for key in same], dtype=np.float64) for one in found]
    rows = [
        replace(
            distribution(variant.name, column),
            ratio=float(np.median(column) / np.median(columns[0])),
        )
        for variant, column in zip(VARIANTS, columns, strict=True)
    ]
    rows += [
        distribution(f"… adds, {variant.name}", column - columns[0])
        for variant, column in zip(VARIANTS[1:], columns[1:], strict=True)
    ]
    legs = np.mean([key[1] for key in same])
    return rows, f"{legs:.1f} orders in a request, {len(same)} buffers"


def test_a_frame_leads_to_signed_bytes() -> None:
    for _, orders, rests in JOBS:
        rig = SignedRig(tape_of("", 90), orders, rests)
        rows = rig.play(60)
        rig.close()
        assert rows
        assert all(ns > 0 and legs <= orders for _, ns, legs in rows)


def main() -> int:
    """Prints the tables; the exit code."""
    parser = argparse.ArgumentParser(description="What transaction, gate and journal add to an order.")
    parser.add_argument("--turns", type=int, default=TURNS, help=f"of {BUFFERS} buffers each")
    parser.add_argument("--json", metavar="FILE", help="also write the rows there")
    options = parser.parse_args()
    require_release()
    groups: dict[str, list[Distribution]] = {}
    notes = [f"market: {recorded_path() or 'generated'}"]
    with tempfile.TemporaryDirectory(prefix="invmm-bench-") as place:
        folders = copies(Path(place))
        for name, orders, rests in JOBS:
            rows, what = measured(folders, orders, rests, options.turns)
            groups[f"{name}, {what}"] = rows
            none, shipped = rows[0].p50 / 1e3, rows[len(VARIANTS) - 1].p50 / 1e3
            notes.append(
                f"{name}, {what}: p50 {none:.1f} → {shipped:.1f} µs, {shipped - none:+.1f} µs "
                f"(buffer by buffer {rows[-1].p50 / 1e3:+.1f} µs), ratio {shipped / none:.3f}"
            )
    report("Frame to signed request", groups, notes, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
