"""Rows of a sweep as a Parquet file: one row per trial, market and seed. `docs/sweep.md` has the columns."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from invmm.errors import ConfigError
from invmm.research.space import Axis, Value
from invmm.research.work import Outcome

SCHEMA: Final = 1
METADATA_KEY: Final = b"invmm.sweep"
KINDS: Final = {bool: "bool", int: "int64", float: "double", str: "string"}

FIGURES: Final = {
    "slug": "string",
    "origin": "string",
    "start_s": "int64",
    "winner": "string",
    "winner_inferred": "bool",
    "reconciled": "bool",
    "digest": "string",
    "profit_e10": "int64",
    "profit_dollars": "double",
    "pairs_dollars": "double",
    "orphans_dollars": "double",
    "fees_dollars": "double",
    "rebates_dollars": "double",
    "fills": "int64",
    "failed_fills": "int64",
    "unsettled_fills": "int64",
    "orders": "int64",
    "messages": "int64",
    "messages_per_fill": "double",
    "bought_shares": "double",
    "sold_shares": "double",
    "placed_shares": "double",
    "maker_shares": "double",
    "maker_share": "double",
    "traded_shares": "double",
    "own_share": "double",
    "pairs": "double",
    "pair_cost": "double",
    "pairs_at_or_above_one": "double",
    "pairs_at_or_above_one_dollars": "double",
    "final_imbalance_shares": "double",
    "one_sided_share": "double",
    "max_committed_dollars": "double",
    **{
        f"markout_{horizon}_{what}": kind
        for horizon in ("1s", "5s", "30s", "resolution")
        for what, kind in (("cents", "double"), ("shares", "double"), ("fills", "int64"))
    },
    "reasons": "counts",
}
"""Figures of a trial and the type of their columns; "counts" is a map from text to int64."""
OBJECTIVES: Final = tuple(name for name, kind in FIGURES.items() if kind in ("int64", "double"))


@dataclass(frozen=True, slots=True)
class Row:
    """One row: what was played, and what came of it."""

    trial: int
    point: Mapping[str, Value]
    market: str
    seed: int
    outcome: Outcome


def columns_of(axes: Sequence[Axis]) -> dict[str, str]:
    """Names and types of all columns, in order."""
    return {
        "trial": "int64",
        **{axis.name: KINDS[axis.kind] for axis in axes},
        "market": "string",
        "seed": "int64",
        "error": "string",
        **FIGURES,
    }


def write_table(path: Path, axes: Sequence[Axis], rows: Sequence[Row], metadata: Mapping[str, Any]) -> None:
    """Writes the file: whole, or not at all. Equal rows and metadata give equal bytes.

    Raises
    ------
    ConfigError
        pyarrow is not installed, or the file cannot be written.
    """
    pyarrow = pyarrow_module()
    types = {
        "bool": pyarrow.bool_(),
        "int64": pyarrow.int64(),
        "double": pyarrow.float64(),
        "string": pyarrow.string(),
        "counts": pyarrow.map_(pyarrow.string(), pyarrow.int64()),
    }
    columns = columns_of(axes)
    schema = pyarrow.schema(
        [(name, types[kind]) for name, kind in columns.items()],
        metadata={METADATA_KEY: json.dumps(metadata, sort_keys=True).encode()},
    )
    cells = [_cells(row) for row in rows]
    arrays = [
        pyarrow.array([_cell(row.get(name), kind) for row in cells], types[kind])
        for name, kind in columns.items()
    ]
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            pyarrow.parquet.write_table(
                pyarrow.Table.from_arrays(arrays, schema=schema), file, compression="zstd"
            )
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def pyarrow_module() -> Any:
    """pyarrow; ConfigError says how to get it."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(
            f"invmm sweep: needs the extra `research` (pip install 'invmm[research]'): {error}"
        ) from error
    return pyarrow


def _cells(row: Row) -> dict[str, Any]:
    return {
        **(row.outcome.figures or {}),
        **row.point,
        "trial": row.trial,
        "market": row.market,
        "seed": row.seed,
        "error": row.outcome.error or None,
    }


def _cell(value: Any, kind: str) -> Any:
    if kind == "counts" and value is not None:
        return sorted(value.items())
    return float(value) if kind == "double" and value is not None else value
