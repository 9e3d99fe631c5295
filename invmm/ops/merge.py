"""`invmm merge`: see `ops/settling.py`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from invmm.ops.settling import run
from invmm.settlement.policy import Action


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code."""
    return run(Action.MERGE, arguments)


if __name__ == "__main__":
    sys.exit(main())
