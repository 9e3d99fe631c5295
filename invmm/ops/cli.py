"""`invmm COMMAND`: each command lives in a module of its own and is imported when it is asked for.

A command is a function `main(arguments) -> exit code`; it has its own `--help`, and `--json` where it prints
facts.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Final

from invmm.errors import ConfigError, DataError, InvmmError

COMMANDS: Final = {
    "markets": ("invmm.ops.markets", "list the windows of a series that are open and next"),
    "probe": ("invmm.ops.probe", "ask the venue what we assume about it, by tiny orders under a cap"),
    "record": ("invmm.ops.record", "record the live feed of a series, verified by replaying it"),
    "run": ("invmm.run", "trade: a generated market, recorded markets, the live feed on paper"),
    "keys": ("invmm.ops.keys", "private keys and API credentials: create, import, show"),
    "credentials": ("invmm.ops.credentials", "get API credentials from the venue and keep them encrypted"),
    "config": ("invmm.ops.config", "check, describe or begin a settings file"),
    "doctor": ("invmm.ops.doctor", "check keys, wallet, credentials, clock, markets, hosts and this machine"),
    "sweep": ("invmm.research.command", "try settings of a policy over markets and seeds; rows as Parquet"),
    "models": ("invmm.ops.models", "list the inventory models, with what each says about itself"),
    "approve": ("invmm.ops.approve", "rights that trading and settling need: show, give exactly, take back"),
    "status": ("invmm.ops.status", "open orders, positions, balances, trades"),
    "positions": ("invmm.ops.positions", "what the account holds on the chain, and what it would bring"),
    "merge": ("invmm.ops.merge", "pairs of Up and Down shares into dollars"),
    "redeem": ("invmm.ops.redeem", "shares of resolved markets into what they pay"),
    "split": ("invmm.ops.split", "dollars into pairs of one market"),
    "lane": ("invmm.ops.lane", "the account's own transactions: in flight, ended, halted; let it go on"),
    "journal": ("invmm.ops.journal", "print what was decided, sent and heard; is all of it there?"),
    "why": ("invmm.ops.why", "why an order was placed and what became of it; why a token was not quoted"),
    "reaper": ("invmm.ops.reaper", "cancel everything when the engine gives no sign of life"),
    "drill": ("invmm.ops.drill", "kill an engine with resting orders and see who ends them, how soon"),
    "kill": ("invmm.ops.kill", "stop trading: no new risk, cancel everything, end; or show the level"),
    "cancel-all": ("invmm.ops.cancel_all", "cancel every open order and verify it; no private key needed"),
}
"""Name to module and what it does."""

EXIT_FAILED_CHECK: Final = 1
EXIT_USAGE: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if given else EXIT_USAGE
    name, *rest = given
    if name in ("-V", "--version", "version"):
        from invmm import __version__, build_mode

        print(f"invmm {__version__} ({build_mode()} build)")
        return 0
    if name not in COMMANDS:
        print(f"invmm: expected one of {', '.join(COMMANDS)}, found {name!r}", file=sys.stderr)
        return EXIT_USAGE
    try:
        return int(importlib.import_module(COMMANDS[name][0]).main(rest))
    except InvmmError as error:
        print(f"invmm {name}: {error}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ConfigError | DataError) else EXIT_FAILED_CHECK
    except BrokenPipeError:  # `invmm … | head`
        sys.stderr.close()
        return 0


def usage() -> str:
    """What `invmm --help` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "usage: invmm COMMAND [ARGUMENTS]   (invmm COMMAND --help)\n\n" + "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
