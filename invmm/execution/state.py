"""The folder that outlives the process: who trades from it, and the names of what lies in it.

    FOLDER/lock             locked while an engine runs: one engine per folder
    FOLDER/journal/         what was sent and heard (`invmm journal`)
    FOLDER/risk.json        limits used up today
    FOLDER/kill             the kill switch: absent, or its level and why
    FOLDER/beat             sign of life for the reaper
    FOLDER/reaper           the reaper's own

The lock is the kernel's (flock): it ends with the process, however that ends. An engine that trades for an
account holds the lock of that account's default folder as well, wherever its own folder is: one engine per
key.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self

from invmm.errors import ConfigError, InUseError


def default_folder(account: str) -> Path:
    """Where the state of an account (its address, or a name) lies unless the settings say otherwise."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "invmm" / account.lower()


class StateFolder:
    """A state folder, made if it does not exist (0700); a context manager that holds its lock.

    Parameters
    ----------
    path : Path
    account : str
        Address of the account that is traded for; "" for none.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place, StateFolder(Path(place) / "a") as state:
    ...     state.kill.name, state.is_locked_by_other()
    ('kill', False)
    """

    def __init__(self, path: Path, account: str = "") -> None:
        self.path = path
        self.account = account.lower()
        self.lock = path / "lock"
        self.journal = path / "journal"
        self.risk = path / "risk.json"
        self.kill = path / "kill"
        self.beat = path / "beat"
        self.reaper = path / "reaper"
        self._held: list[int] = []
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.journal.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigError(f"state folder {path}: cannot be made: {error}") from error

    def acquire(self) -> None:
        """Takes the locks.

        Raises
        ------
        InUseError
            Another process holds one; its id is named.
        ConfigError
            One cannot be taken at all.
        """
        if self._held:
            return
        locks = {self.lock: f"state folder {self.path}: expected it to be free, an engine runs from it"}
        if self.account:
            by_account = default_folder(self.account)
            by_account.mkdir(parents=True, exist_ok=True, mode=0o700)
            if by_account.resolve() != self.path.resolve():
                locks[by_account / "lock"] = (
                    f"account {self.account}: expected no engine to trade for it, one does elsewhere"
                )
        for path, taken in locks.items():
            try:
                self._held.append(_locked(path))
            except BlockingIOError:
                self.release()
                raise InUseError(f"{taken} (process {_holder(path)})") from None
            except OSError as error:
                self.release()
                raise ConfigError(f"{path}: cannot be locked: {error}") from error

    def release(self) -> None:
        """Gives the locks back."""
        for descriptor in self._held:
            os.ftruncate(descriptor, 0)
            os.close(descriptor)
        self._held.clear()

    def is_locked_by_other(self) -> bool:
        """Whether another holder has the lock now."""
        if self._held:
            return False
        try:
            self.acquire()
        except InUseError:
            return True
        self.release()
        return False

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _locked(path: Path) -> int:
    """The descriptor of a file that this process has locked and written its id to."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _holder(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip() or "unknown"
    except OSError:
        return "unknown"
