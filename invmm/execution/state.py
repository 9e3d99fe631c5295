"""The folder that outlives the process: who trades from it, and the names of what lies in it.

    FOLDER/lock             locked while an engine runs: one engine per folder, and one folder per key
    FOLDER/journal/         what was sent and heard (`invmm journal`)
    FOLDER/risk.json        limits used up today
    FOLDER/kill             the kill switch: absent, or its level and why
    FOLDER/beat             sign of life for the reaper
    FOLDER/reaper           the reaper's own

The lock is the kernel's (flock): it ends with the process, however that ends.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self

from invmm.errors import ConfigError


def default_folder(account: str) -> Path:
    """Where the state of an account (its address, or a name) lies unless the settings say otherwise."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "invmm" / account.lower()


class StateFolder:
    """A state folder, made if it does not exist (0700); a context manager that holds its lock.

    Parameters
    ----------
    path : Path

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place, StateFolder(Path(place) / "a") as state:
    ...     state.kill.name, state.is_locked_by_other()
    ('kill', False)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = path / "lock"
        self.journal = path / "journal"
        self.risk = path / "risk.json"
        self.kill = path / "kill"
        self.beat = path / "beat"
        self.reaper = path / "reaper"
        self._held: int | None = None
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.journal.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigError(f"state folder {path}: cannot be made: {error}") from error

    def acquire(self) -> None:
        """Takes the lock.

        Raises
        ------
        ConfigError
            Another process holds it; its id is named.
        """
        if self._held is not None:
            return
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 64, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise ConfigError(
                f"state folder {self.path}: expected it to be free, an engine runs from it (process {holder})"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._held = descriptor

    def release(self) -> None:
        """Gives the lock back."""
        if self._held is not None:
            os.ftruncate(self._held, 0)
            os.close(self._held)
            self._held = None

    def is_locked_by_other(self) -> bool:
        """Whether another holder has the lock now."""
        if self._held is not None:
            return False
        try:
            self.acquire()
        except ConfigError:
            return True
        self.release()
        return False

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
