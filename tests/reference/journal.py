"""Reading a journal file, slowly and obviously: what `_ext/journal.read_bytes` must say."""

from __future__ import annotations

import struct

from invmm.journal_types import EndReason, JournalEnd

SIZE = 160


def crc32c(data: bytes) -> int:
    """Bit by bit, by the definition (reflected polynomial 0x82F63B78)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def header() -> bytes:
    """A payload for the first record of a file."""
    return b"invmmjnl" + struct.pack("<HBBIQqQ", SIZE, 1, 0, 1, 0, 5, 77).ljust(120, b"\0")


def read(data: bytes) -> tuple[bytes, JournalEnd]:
    """The whole records' bytes, and where and why they end."""
    first = data[:SIZE]
    if len(first) < SIZE or not is_whole(first):
        return b"", JournalEnd(EndReason.HEADER, 0, 0)
    _, kind, version, _, sequence = struct.unpack_from("<IHBBQ", first)
    if kind != 1 or version != 1 or first[32:40] != b"invmmjnl":
        return b"", JournalEnd(EndReason.HEADER, 0, 0)
    (room,) = struct.unpack_from("<Q", first, 32 + 16)
    found = b""
    count = 0
    while True:
        record = data[(count + 1) * SIZE : (count + 2) * SIZE]
        if len(record) < SIZE:
            reason = EndReason.FULL if count == room else EndReason.SHORT
        elif record == bytes(SIZE):
            reason = EndReason.UNWRITTEN
        elif not is_whole(record):
            reason = EndReason.CHECKSUM
        elif struct.unpack_from("<Q", record, 8)[0] != sequence + count or record[6] != 1:
            reason = EndReason.SEQUENCE
        else:
            found += record
            count += 1
            continue
        break
    if found and struct.unpack_from("<H", found, len(found) - SIZE + 4)[0] == 16:
        reason = EndReason.CLOSED
    return found, JournalEnd(reason, sequence + count - 1, (count + 1) * SIZE)


def is_whole(record: bytes) -> bool:
    """Whether its checksum is that of the rest."""
    return bool(struct.unpack_from("<I", record)[0] == crc32c(record[4:]))
