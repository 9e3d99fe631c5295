"""Signs of life between processes: a small file that one process writes and others look at.

    FOLDER/beat       of the engine: written by its timer, so that a wedged loop stops it
    FOLDER/reaper     of the reaper: `--live` wants to see one

A beat is a few stores into a shared mapping: no system call, nothing that can block. Whoever looks reads the
file afresh, since each start makes a new one. Each word is stored whole, but they are not stored together: a
reader may see the time of one beat and the count of the next.
"""

from __future__ import annotations

import enum
import mmap
import os
import struct
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from invmm.errors import ConfigError, DataError

MAGIC = b"INVMBEAT"
VERSION = 1
HEAD = struct.Struct("<8sII16sQQ48s32s")
SIZE = 4096
WORDS_AT = 128
STALE_NS = 500_000_000
"""A process whose last beat is older is looked for by its id; one that beats is there, whatever that says."""
STOP_NS = 15_000_000_000
"""How much longer the silence of an engine that stops may be: it waits for the venue by then."""


class State(enum.IntEnum):
    """What a process says about itself."""

    STARTING = 0
    RUNNING = 1
    STOPPING = 2
    ENDED = 3  # the venue confirmed that nothing is open
    ENDED_UNVERIFIED = 4


class Life(enum.IntEnum):
    """What one can tell about a process from its beat."""

    ABSENT = 0  # there is no beat: nothing ever ran here
    ALIVE = 1
    ENDED = 2  # by itself and verified
    SICK = 3  # it lives but does not reach the venue
    SILENT = 4  # no beat for too long; the process may wake up again
    GONE = 5  # the process, or the boot that it ran in, is over


@dataclass(frozen=True, slots=True)
class Beat:
    """One look at a beat. `beat_ns` is CLOCK_MONOTONIC of the boot `boot_id`."""

    pid: int
    started_ticks: int
    boot_id: bytes
    pid_namespace: int
    account: str
    venue: str
    sequence: int
    beat_ns: int
    state: State
    open_orders: int
    missed_heartbeats: int

    @property
    def is_of_this_boot(self) -> bool:
        """Whether `beat_ns` is a time of the machine as it runs now."""
        return self.boot_id == boot_id()

    def is_process_gone(self) -> bool:
        """True when the process is certainly over; False also when that cannot be seen from here."""
        if not self.is_of_this_boot:
            return True
        if self.pid_namespace != pid_namespace():
            return False
        try:
            return started_ticks(self.pid) != self.started_ticks
        except OSError:
            # Where the system hides other users' processes (proc(5), hidepid), not to see it says nothing.
            return Path("/proc/1/stat").exists()


class BeatWriter:
    """A process's own beat; one writer per file. A context manager that ends as not verified.

    Parameters
    ----------
    path : Path
        Replaced by a new file.
    account : str
        Address whose orders it is about.
    venue : str
        Name of the venue's profile.

    Raises
    ------
    ConfigError
        The file cannot be made, for instance for want of room.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, BeatWriter(Path(folder) / "beat") as beat:
    ...     beat.beat(5_000, open_orders=2)
    ...     seen = BeatReader(Path(folder) / "beat").read()
    >>> seen.beat_ns, seen.open_orders, seen.state.name
    (5000, 2, 'STARTING')
    """

    def __init__(self, path: Path, account: str = "", venue: str = "") -> None:
        self.path = path
        self._state = State.STARTING
        self._sequence = 0
        pid = os.getpid()
        head = HEAD.pack(
            MAGIC,
            VERSION,
            pid,
            boot_id(),
            started_ticks(pid),
            pid_namespace(),
            account.encode("ascii")[:48],
            venue.encode("ascii", "replace")[:32],
        )
        draft = path.with_name(f"{path.name}.{pid}")
        try:
            descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, SIZE)  # a full disk is an error here and no signal later
                os.pwrite(descriptor, head, 0)
                self._map = mmap.mmap(descriptor, SIZE)
                self._words = np.frombuffer(self._map, "<u8", 5, WORDS_AT)
                self.beat(time.monotonic_ns())
                os.rename(draft, path)  # nobody sees half of one
            finally:
                os.close(descriptor)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise ConfigError(f"{path}: the sign of life cannot be written: {error}") from error

    def beat(self, now_ns: int, open_orders: int = 0, missed_heartbeats: int = 0) -> None:
        """One sign of life; `now_ns` is CLOCK_MONOTONIC."""
        words = self._words
        words[2] = self._state
        words[3] = open_orders
        words[4] = missed_heartbeats
        words[1] = now_ns
        self._sequence += 1
        words[0] = self._sequence

    @property
    def state(self) -> State:
        """What is told; assign to tell."""
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._state = state
        self._words[2] = state

    def __enter__(self) -> BeatWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._state not in (State.ENDED, State.ENDED_UNVERIFIED):
            self.state = State.ENDED_UNVERIFIED


class BeatReader:
    """Looks at another process's beat."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Beat | None:
        """The beat as it is now; None when there is no file.

        Raises
        ------
        DataError
            The file cannot be read or is no beat.
        """
        try:
            with self.path.open("rb") as file:
                data = file.read(WORDS_AT + 40)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {error}") from error
        if len(data) < WORDS_AT + 40 or not data.startswith(MAGIC):
            raise DataError(
                f"{self.path}: expected a sign of life, found {len(data)} bytes of something else"
            )
        _, version, pid, boot, ticks, namespace, account, venue = HEAD.unpack_from(data)
        if version != VERSION:
            raise DataError(f"{self.path}: expected version {VERSION}, found {version}")
        sequence, beat_ns, state, open_orders, missed = struct.unpack_from("<5Q", data, WORDS_AT)
        if state not in State._value2member_map_:
            raise DataError(f"{self.path}: expected a state of 0 to {len(State) - 1}, found {state}")
        return Beat(
            pid,
            ticks,
            boot,
            namespace,
            account.rstrip(b"\0").decode("ascii", "replace"),
            venue.rstrip(b"\0").decode("ascii", "replace"),
            sequence,
            beat_ns,
            State(state),
            open_orders,
            missed,
        )


def life_of(beat: Beat | None, now_ns: int, silence_ns: int) -> tuple[Life, str]:
    """What a beat tells about its process, and that in words.

    Parameters
    ----------
    beat : Beat or None
    now_ns : int
        CLOCK_MONOTONIC.
    silence_ns : int
        Longest time between two beats of one that is alive.
    """
    if beat is None:
        return Life.ABSENT, "no engine has run from this folder"
    if beat.state is State.ENDED:
        return Life.ENDED, f"process {beat.pid} ended; the venue confirmed that nothing was open"
    if not beat.is_of_this_boot:
        return Life.GONE, f"process {beat.pid} ran before this machine started anew"
    age_ns = now_ns - beat.beat_ns
    said = f"process {beat.pid}, last sign of life {max(0, age_ns) / 1e9:.1f} s ago"
    if beat.state is State.ENDED_UNVERIFIED:
        return Life.GONE, f"{said}: it ended without proof that nothing is open"
    if age_ns > STALE_NS and beat.is_process_gone():
        return Life.GONE, f"{said}: it is gone"
    if age_ns > silence_ns + (STOP_NS if beat.state is State.STOPPING else 0):
        return Life.SILENT, f"{said}: it is silent"
    if beat.missed_heartbeats >= 2:
        return Life.SICK, f"{said}: it lives, but {beat.missed_heartbeats} heartbeats in a row failed"
    return Life.ALIVE, said


def boot_id() -> bytes:
    """16 bytes that name the boot of this machine (random(4), /proc/sys/kernel/random/boot_id)."""
    text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    return bytes.fromhex(text.strip().replace("-", ""))


def pid_namespace() -> int:
    """In which process ids of this process mean something (namespaces(7)); 0 when it cannot be told."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def started_ticks(pid: int) -> int:
    """When a process began, in clock ticks since boot (proc_pid_stat(5), field 22); OSError if there is none.

    Zombies count as none: they have ended and only wait for their parent.
    """
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    fields = text[text.rindex(")") + 2 :].split()  # the name before may hold anything
    if fields[0] in "ZXx":
        raise ProcessLookupError(f"process {pid} has ended")
    return int(fields[19])
