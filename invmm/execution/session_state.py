"""What a session holds while it runs: the state folder with its lock, the journals, what was left in them.

    --live                    the folder of the account (`state.default_folder`), [state] folder or --state
    on an embedded venue,     a temporary folder, or --state: no real order was ever named in its journal, and
    on paper                  nothing that was alive outlives the process

Both kinds are never mixed in one folder: a journal without an account is one of the second kind.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from invmm.clock import LiveClock
from invmm.errors import ConfigError
from invmm.execution.journal import SessionJournal, settings_digest
from invmm.execution.left import Left, hand_on, read_left
from invmm.execution.state import StateFolder
from invmm.settings import Settings

NOBODY = "0x" + "00" * 20
"""Account in the journals of sessions without one: on an embedded venue, on paper."""


@dataclass(frozen=True)
class SessionState:
    """Of a running session. `left` is what earlier ones left; None where nothing can be left."""

    folder: StateFolder
    journal: SessionJournal
    left: Left | None


@contextmanager
def hold_folder(path: Path | None, account: str = NOBODY) -> Iterator[StateFolder]:
    """A locked state folder; a temporary one for None.

    Raises
    ------
    InUseError
        Another engine runs from it, or with this account.
    ConfigError
        It cannot be made.
    """
    with ExitStack() as stack:
        if path is None:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="invmm-state-")))
        yield stack.enter_context(StateFolder(path, "" if account == NOBODY else account))


@contextmanager
def keep_journal(
    folder: StateFolder, settings: Settings, clock: LiveClock, account: str = NOBODY
) -> Iterator[SessionState]:
    """Reads what is left in a held folder and opens this session's journals in it.

    Parameters
    ----------
    folder : StateFolder
    settings : Settings
    clock : LiveClock
        The engine's.
    account : str
        Whose orders these are; NOBODY: of a venue that ends with this process.

    Raises
    ------
    ConfigError
        The journal in it is another account's, or no file of it can be made.
    """
    left = read_left(folder.journal)
    if left.account and left.account != account.lower():
        raise ConfigError(
            f"state folder {folder.path}: expected the journal of {_name(account)}, "
            f"found one of {_name(left.account)}"
        )
    digest = settings_digest(settings)
    with SessionJournal(folder.journal, settings.state, clock, account=account, digest=digest) as journal:
        if account == NOBODY:
            for order in list(journal.inherited):
                journal.ended(order.order_id)  # with the venue that held it
        else:
            hand_on(left, journal, clock.now_ns())
        yield SessionState(folder, journal, None if account == NOBODY else left)


def _name(account: str) -> str:
    return "a session without an account" if account == NOBODY else account
