"""Markets of a sweep: generated ones by number, recorded ones by path, each with a key of what is in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from invmm.errors import ConfigError, DataError
from invmm.replay.tape import find

GENERATED: Final = "generated:"
DECIDING: Final = 1_000_000
"""Generated markets from this seed on are kept for the comparison that decides; nothing is tuned on them."""
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


def markets_of(texts: Sequence[str], first_seed: int = 1) -> tuple[Market, ...]:
    """The markets that `--markets` names: `generated:N`, and files and folders of recorded ones.

    Raises
    ------
    ConfigError
        None is named, one twice, a number is out of range, or generated markets are those that decide.
    DataError
        A path or the list of markets beside it is not there.
    """
    found: list[Market] = []
    for text in texts:
        if text.startswith(GENERATED):
            found += _generated(text, first_seed)
        else:
            found += [_recorded(path) for path in find([text])]
    if not found:
        raise ConfigError("--markets: expected generated:N, or files or folders of recorded markets")
    sources = [market.source for market in found]
    if twice := next((source for source in sources if sources.count(source) > 1), None):
        raise ConfigError(f"--markets: expected each market once, found {twice} more often")
    return tuple(found)


def _generated(text: str, first_seed: int) -> list[Market]:
    number = text.removeprefix(GENERATED)
    count = int(number) if number.isdecimal() else 0
    if count < 1:
        raise ConfigError(f"--markets: expected generated:N with N of at least 1, found {text!r}")
    if first_seed < 0 or first_seed + count > DECIDING:
        raise ConfigError(
            f"--markets: expected generated markets of seeds 0…{DECIDING - 1:,} (later ones are kept "
            f"to decide what was tuned on these), found {first_seed:,}…{first_seed + count - 1:,}"
        )
    sources = [f"{GENERATED}{seed}" for seed in range(first_seed, first_seed + count)]
    return [Market(source, source, source) for source in sources]


def _recorded(path: Path) -> Market:
    """A recorded market; its key covers its frames and what its list says of it."""
    slug = path.name.removesuffix(".gz").removesuffix(".jsonl")
    listing = next((one for folder in path.parents[:2] if (one := folder / "markets.json").is_file()), None)
    if listing is None:
        raise DataError(f"{path}: expected a markets.json beside it or one folder up, found none")
    try:
        told = json.loads(listing.read_text(encoding="utf-8"))
        rows = [row for row in told["markets"] if row["slug"] == slug]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{listing}: not a list of recorded markets: {error!r}") from error
    if not rows:
        raise DataError(f"{listing}: expected an entry with slug {slug!r}, found none")
    rest = {name: value for name, value in told.items() if name != "markets"}
    digest = hashlib.blake2b(json.dumps([rows[0], rest], sort_keys=True).encode(), digest_size=DIGEST_BYTES)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return Market(str(path), slug, digest.hexdigest())
