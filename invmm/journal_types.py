"""What lies in the journal: kinds of records and their layouts, for whoever reads one.

A journal file is an array of records of 160 bytes (`JOURNAL_DTYPE`, little endian): a head of 32 and a
payload of 128 that its kind explains. The first record describes the file. `_ext/journal.pxd` has the same in
C; a test compares them.

| kind | stream | payload | link |
|---|---|---|---|
| FILE | both | `FILE_DTYPE`: whose, since when, which records | session |
| EVENT | inputs | `EVENT_DTYPE`: what the step was told | number of the order's command, or 0 |
| BYTES | both | 128 bytes of what the record before it announced; MORE: the next record goes on | offset |
| BUFFER | inputs | `EVENT_DTYPE`, BUFFER_END: frames since the last one, and their CRC-32C | bytes in all |
| VENUE | inputs | `EVENT_DTYPE`: mode of the venue (status), stop (reason), heartbeats missed (batch) | 0 |
| ACCOUNT | inputs | `ACCOUNT_DTYPE`: what the account-wide limits were told outside a step | 0 |
| COMMAND | both | `COMMAND_DTYPE`: as the engine pushes it; as the executor sends it | number |
| INTENT | intents | `COMMAND_DTYPE`: a signed order with its id, before its first byte leaves | number |
| RESULT | intents | `EVENT_DTYPE`: what the executor tells the engine | number |
| MARKET | inputs | `MARKET_DTYPE`, then its MarketInfo as JSON | number of its first order, less one |
| QUOTE | inputs | `QUOTE_DTYPE`: a token is quoted, or is not any more, and why | 0 |
| ENDED, REVIVED | inputs | `ORDER_DTYPE`: proven dead or filled; open after all | key |
| CHECKPOINT | inputs | `CHECKPOINT_DTYPE`: then as many ORDER records, all that may be alive | 0 |
| ORDER | inputs | `ORDER_DTYPE` | key |
| SESSION | inputs | none; then policy, seed and settings as JSON | session |
| NOTE | inputs | none; then a line for people | 0 |
| CLOSE | both | none: nothing follows in this session | session |

The number of a command, `link`, is ((market + 1) << 40) + its sequence: the form of an order's key, and like
that never given twice in one session. It joins what the two streams say about one command.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag, StrEnum

import numpy as np
import numpy.typing as npt

MAGIC = b"invmmjnl"
VERSION = 1
RECORD_BYTES = 160
PAYLOAD_BYTES = 128


class Stream(IntEnum):
    """Which of the two: what the engine was told and decided, what the executor sent and heard."""

    INPUTS = 1
    INTENTS = 2


class JournalKind(IntEnum):
    """What a record is; see the table above."""

    FILE = 1
    EVENT = 2
    BYTES = 3
    BUFFER = 4
    COMMAND = 5
    INTENT = 6
    RESULT = 7
    MARKET = 8
    QUOTE = 9
    ENDED = 10
    REVIVED = 11
    CHECKPOINT = 12
    ORDER = 13
    SESSION = 14
    NOTE = 15
    CLOSE = 16
    VENUE = 17
    ACCOUNT = 18


class JournalFlag(IntFlag):
    """Bits of a record's `flags`."""

    MORE = 1
    """The next record (BYTES) belongs to this one."""
    LOST = 2
    """Records before this one found no room."""


class EndReason(StrEnum):
    """Why reading ended."""

    CLOSED = "closed"
    """The session ended in order."""
    FULL = "full"
    """The file has no room for more; the next one goes on."""
    UNWRITTEN = "unwritten"
    """Room that was never written: the process is still at work, or died here."""
    CHECKSUM = "checksum"
    """A record that is not whole."""
    SEQUENCE = "sequence"
    """A whole record that does not belong here."""
    SHORT = "short"
    """The file ends within its records."""
    HEADER = "header"
    """It does not begin as a journal file does."""


@dataclass(frozen=True, slots=True)
class JournalEnd:
    """Where and why reading ended.

    `sequence` is that of the last record that counts, or of the one before the file's first; `offset` is the
    byte at which the next would be.
    """

    reason: EndReason
    sequence: int
    offset: int

    @property
    def is_torn(self) -> bool:
        """Whether something was lost: neither a regular end nor room that was never used."""
        return self.reason in (EndReason.CHECKSUM, EndReason.SEQUENCE, EndReason.SHORT, EndReason.HEADER)


Records = npt.NDArray[np.void]

JOURNAL_DTYPE = np.dtype(
    [
        ("crc", "<u4"),
        ("kind", "<u2"),
        ("version", "u1"),
        ("flags", "u1"),
        ("sequence", "<u8"),
        ("time_ns", "<i8"),
        ("link", "<u8"),
        ("payload", "V128"),
    ]
)

FILE_DTYPE = np.dtype(
    [
        ("magic", "S8"),
        ("record_bytes", "<u2"),
        ("stream", "u1"),
        ("padding", "u1"),
        ("number", "<u4"),
        ("records", "<u8"),
        ("started_ns", "<i8"),
        ("session", "<u8"),
        ("account", "V20"),
        ("pid", "<u4"),
        ("digest", "V32"),
        ("boot", "V16"),
        ("unused", "V16"),
    ]
)
"""Payload of FILE. `number` counts files of the stream in the folder, `records` is how many follow this one,
`digest` is SHA-256 of the settings, `boot` the system's boot id."""

MARKET_DTYPE = np.dtype(
    [
        ("condition_id", "V32"),
        ("up_token_id", "V32"),
        ("down_token_id", "V32"),
        ("market", "<u4"),
        ("serial", "<u4"),
        ("end_ms", "<i8"),
        ("tick_e4", "<i4"),
        ("padding", "<u4"),
        ("min_size_micro", "<i8"),
    ]
)
"""Payload of MARKET. Token ids are big-endian numbers; `serial`: markets that had this number before."""

QUOTE_DTYPE = np.dtype(
    [
        ("market", "<u4"),
        ("token", "u1"),
        ("reason", "u1"),
        ("previous", "u1"),
        ("live", "u1"),
        ("version", "<u8"),
        ("bid_e4", "<i4", 2),
        ("ask_e4", "<i4", 2),
        ("bid_micro", "<i8", 2),
        ("ask_micro", "<i8", 2),
        ("position_micro", "<i8", 2),
        ("committed_e10", "<i8"),
        ("age_ns", "<i8", 2),
        ("venue_ms", "<i8"),
        ("ms_to_end", "<i8"),
        ("unused", "<i8"),
    ]
)
"""Payload of QUOTE. `reason` 0: quoted, else the Reason why not; `previous` is what held until now (255: the
start), `live` own orders of the market that may be alive. Best levels, positions (micro-shares) and age of
the data (ns, -1: none) of Up and Down; `committed_e10` is cash spent and bid for."""

ORDER_DTYPE = np.dtype(
    [
        ("key", "<u8"),
        ("order_id", "V32"),
        ("token_id", "V32"),
        ("market", "<u4"),
        ("token", "u1"),
        ("side", "u1"),
        ("order_type", "u1"),
        ("state", "u1"),
        ("price_e4", "<i4"),
        ("said", "<u2"),
        ("reason", "u1"),
        ("level", "u1"),
        ("size_micro", "<i8"),
        ("filled_micro", "<i8"),
        ("expiration_s", "<i8"),
        ("sent_ns", "<i8"),
        ("seen_ns", "<i8"),
    ]
)
"""Payload of ORDER, ENDED and REVIVED; `state` and `said` as in `_ext/evidence.pxd`."""

ACCOUNT_DTYPE = np.dtype([("call", "S16"), ("first", "<i8"), ("second", "<i8"), ("unused", "V96")])
"""Payload of ACCOUNT: a method of `_ext/account.Account` and its arguments."""

CHECKPOINT_DTYPE = np.dtype([("orders", "<u4"), ("unused", "V124")])
"""Payload of CHECKPOINT: how many ORDER records follow. The MARKET records of its orders come before it."""
