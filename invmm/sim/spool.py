"""Tapes on their way to a child process: one folder per tape, read back exactly."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np

from invmm.errors import DataError
from invmm.replay.tape import TAPE_DTYPE, MarketInfo, Tape
from invmm.types import Outcome

PATH = ("seed", "path_start_ms", "path_step_ms")  # of the price that settles it


def write(tape: Tape, folder: Path) -> Path:
    """Writes a tape's market, question, price path, index and frames into a new folder and returns it."""
    folder.mkdir(parents=True)
    market = asdict(tape.market)
    market["winner"] = None if tape.market.winner is None else tape.market.winner.name
    market["question_id"] = tape.meta.get("question_id", "")
    market["path"] = {name: tape.meta[name] for name in PATH if name in tape.meta}
    if "path_price" in tape.meta:
        np.save(folder / "path.npy", tape.meta["path_price"])
    (folder / "market.json").write_text(json.dumps(market))
    np.save(folder / "rows.npy", tape.rows)
    (folder / "frames").write_bytes(tape.data)
    return folder


def read(folder: Path) -> Tape:
    """The tape of a folder written by `write`; DataError when it is none."""
    try:
        market = json.loads((folder / "market.json").read_text())
        winner, question, path = market.pop("winner"), market.pop("question_id"), market.pop("path")
        if path:
            path["path_price"] = np.load(folder / "path.npy", allow_pickle=False)
        rows = np.load(folder / "rows.npy", allow_pickle=False)
        data = (folder / "frames").read_bytes()
        info = MarketInfo(**market, winner=None if winner is None else Outcome[winner])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{folder}: expected a spooled tape, found {error!r}") from error
    if rows.dtype != TAPE_DTYPE:
        raise DataError(f"{folder}: expected rows of {TAPE_DTYPE}, found {rows.dtype}")
    return Tape(info, data, rows, path | ({"question_id": question} if question else {}))


def environment() -> dict[str, str]:
    """The environment for a child process that imports this very package, wherever it was found."""
    paths = [str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
