"""Damaged journal files through the compiled reader and its plain-Python twin: same records, same end.

`python -m tests.differential.fuzz_journal --seconds 600 --seed 1` runs a long campaign. Every file is handed
over in a buffer of exactly its size, so that a build with `-fsanitize=address` sees one byte read beyond it.
"""

from __future__ import annotations

import argparse
import random
import time

from invmm._ext import journal as kernel
from invmm.journal_types import PAYLOAD_BYTES, RECORD_BYTES, JournalKind
from tests.reference import journal as twin


def sound_file(rng: random.Random) -> bytearray:
    """A journal file with some records, closed or not, and some room."""
    lines = rng.randrange(12)
    memory = bytearray((1 + lines * 3 + rng.randrange(1, 6)) * RECORD_BYTES)
    journal = kernel.Journal()
    journal.offer(memory, twin.header(), rng.randrange(2**62))
    for _ in range(lines):
        journal.append(rng.choice([15, 15, 15, 4, 16]), rng.randbytes(rng.choice([0, 5, PAYLOAD_BYTES, 300])))
    if rng.random() < 0.3:
        journal.append(JournalKind.CLOSE)
    return memory


def damaged(rng: random.Random, data: bytearray) -> bytes:
    """The file after what a crash, a disk or a person may do to it."""
    for _ in range(rng.randrange(4)):
        way, at = rng.randrange(6), rng.randrange(len(data) + 1)
        if way == 0:
            del data[at:]
        elif way == 1 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif way == 2:
            size = rng.randrange(400)
            data[at : at + size] = rng.randbytes(min(size, len(data) - at))
        elif way == 3:
            page = at // 4096 * 4096
            data[page : page + 4096] = bytes(len(data[page : page + 4096]))
        elif way == 4:
            one, other = (rng.randrange(len(data) // RECORD_BYTES + 1) * RECORD_BYTES for _ in range(2))
            data[one : one + RECORD_BYTES] = data[other : other + RECORD_BYTES]
        elif way == 5:
            data += rng.randbytes(rng.randrange(200))
        if not data:
            break
    return bytes(data)


def look(data: bytes) -> int:
    """Holds reader and twin against each other; how many records there were."""
    records, end = kernel.read_bytes(data)
    expected, its_end = twin.read(data)
    assert records.tobytes() == expected, f"{data!r}: other records than the twin"
    assert end == its_end, f"{data!r}: {end}, twin {its_end}"
    header = kernel.header_of(data)
    first = int(header[0]["sequence"]) if header is not None else 1
    sound = kernel.whole(data, first)
    assert sound[: len(records)].all(), f"{data!r}: what was read is not whole"
    rows = [data[(i + 1) * RECORD_BYTES : (i + 2) * RECORD_BYTES] for i in range(len(sound))]
    wanted = [
        twin.is_whole(row) and row[6] == 1 and row[8:16] == (first + i).to_bytes(8, "little")
        for i, row in enumerate(rows)
    ]
    assert sound.tolist() == wanted, f"{data!r}: {sound.tolist()}, twin {wanted}"
    return len(records)


def campaign(seed: int, seconds: float, count: int | None = None) -> dict[str, int]:
    """Runs until time or count is over; how many files and records were read, and how many were torn."""
    rng = random.Random(seed)
    done = {"files": 0, "records": 0, "torn": 0}
    stop = time.monotonic() + seconds
    while time.monotonic() < stop and (count is None or done["files"] < count):
        data = damaged(rng, sound_file(rng))
        done["files"] += 1
        done["records"] += look(data)
        done["torn"] += kernel.read_bytes(data)[1].is_torn
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(campaign(arguments.seed, arguments.seconds))


if __name__ == "__main__":
    main()
