"""Markets of a sweep: generated ones by number, recorded ones by path, each with a key of what is in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from invmm.errors import ConfigError, DataError
from invmm.replay.compare_markets import FRESH_SEED, recorded
from invmm.replay.tape import find, listed

GENERATED: Final = "generated:"
DIGEST_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Market:
    """One market: `source` as `replay.trial.tape_of` takes it, `name` for people, `key` of its content."""

    source: str
    name: str
    key: str

    @property
    def is_generated(self) -> bool:
        """Whether it is made, not read."""
        return self.source.startswith(GENERATED)


def markets_of(texts: Sequence[str], first_seed: int = 1) -> tuple[tuple[Market, ...], int]:
    """The markets that `--markets` names, and how many of the folders named are held back.

    `generated:N` are N generated ones. A file is a recorded market. Of a folder those are taken that a
    comparison tunes on (`invmm.replay.compare_markets.recorded`), all of it if it has one only.

    Raises
    ------
    ConfigError
        None is named, one twice, a number is out of range, or generated markets are those that decide.
    DataError
        A path or the list of markets beside it is not there.
    """
    found: list[Market] = []
    held_back = 0
    for text in texts:
        if text.startswith(GENERATED):
            found += _generated(text, first_seed)
            continue
        paths = find([text])
        sources = recorded([text], held_back=False).sources if len(paths) > 1 else [str(paths[0])]
        held_back += len(paths) - len(sources)
        found += [_recorded(Path(source)) for source in sources]
    if not found:
        raise ConfigError("--markets: expected generated:N, or files or folders of recorded markets")
    sources = [market.source for market in found]
    if twice := next((source for source in sources if sources.count(source) > 1), None):
        raise ConfigError(f"--markets: expected each market once, found {twice} more often")
    return tuple(found), held_back


def _generated(text: str, first_seed: int) -> list[Market]:
    number = text.removeprefix(GENERATED)
    count = int(number) if number.isdecimal() else 0
    if count < 1:
        raise ConfigError(f"--markets: expected generated:N with N of at least 1, found {text!r}")
    if first_seed < 0 or first_seed + count > FRESH_SEED:
        raise ConfigError(
            f"--markets: expected generated markets of seeds 0…{FRESH_SEED - 1:,} (later ones are kept "
            f"to decide what was tuned on these), found {first_seed:,}…{first_seed + count - 1:,}"
        )
    sources = [f"{GENERATED}{seed}" for seed in range(first_seed, first_seed + count)]
    return [Market(source, source, source) for source in sources]


def _recorded(path: Path) -> Market:
    """A recorded market; its key covers its frames and what its list says of it."""
    row, listing = listed(path)
    rest = {name: value for name, value in listing.items() if name != "markets"}
    digest = hashlib.blake2b(json.dumps([row, rest], sort_keys=True).encode(), digest_size=DIGEST_BYTES)
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    return Market(str(path), row["slug"], digest.hexdigest())
