"""Closes the ways by which the system itself could show a process's secrets to others.

Called once by whatever holds a real private key, before the key is read.
"""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys
import threading
from dataclasses import dataclass
from typing import Final

PR_SET_DUMPABLE: Final = 4  # linux/prctl.h
PR_GET_DUMPABLE: Final = 3


@dataclass(frozen=True, slots=True)
class Hardening:
    """What holds from now on: `no_core_dumps`; `not_dumpable`, which is known on Linux only."""

    no_core_dumps: bool
    not_dumpable: bool


def harden() -> Hardening:
    """Turns off core dumps, other processes' view into this one, and tracebacks that show values.

    - RLIMIT_CORE is 0, for child processes too.
    - PR_SET_DUMPABLE is 0 (Linux): no debugger of the same user attaches, and `/proc/PID/environ` and `mem`
      belong to root. A child that replaces itself by another program sets its own.
    - The exception hooks are Python's own again: they print source lines and the message, never the values of
      local variables.

    Returns
    -------
    Hardening
        What the system did; nothing is raised where it refuses.
    """
    sys.excepthook = sys.__excepthook__
    threading.excepthook = threading.__excepthook__
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    no_core_dumps = resource.getrlimit(resource.RLIMIT_CORE)[0] == 0
    not_dumpable = False
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        zero = ctypes.c_ulong(0)
        prctl(PR_SET_DUMPABLE, zero, zero, zero, zero)
        not_dumpable = prctl(PR_GET_DUMPABLE, zero, zero, zero, zero) == 0
    return Hardening(no_core_dumps, not_dumpable)
