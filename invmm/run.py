"""`python -m invmm.run`: trade a market from frame to order, and report.

Without arguments a generated market is served by the embedded venue over real loopback sockets, seven times
as fast as a clock, and the engine trades it on paper. `--replay` takes recorded markets instead; `--speed
max` plays them in process on a virtual clock, where equal input and seed give equal commands, byte for byte.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from invmm.errors import ConfigError, DataError, InUseError, InvmmError
from invmm.ops.venue_options import add_venue_options
from invmm.ops.wallet_options import DiscreetParser, add_wallet_options
from invmm.replay.tape import Tape, find, load
from invmm.settings import POLICIES, Settings
from invmm.strategy.policies import resolved

EXIT_DONE, EXIT_FAILED_CHECK, EXIT_USAGE, EXIT_REFUSED, EXIT_NOT_CLEAN, EXIT_INTERRUPTED = 0, 1, 2, 3, 4, 130


def parser() -> argparse.ArgumentParser:
    """The command line, complete with help."""
    p = DiscreetParser(
        prog="python -m invmm.run",
        description="Trade Polymarket Up/Down markets, generated or recorded, on the embedded venue.",
        epilog="Exit codes: 0 done, 1 a check failed, 2 usage or configuration, 3 refused to trade, "
        "4 stopped but not verified clean, 130 interrupted and verified clean.",
    )
    p.add_argument(
        "--replay",
        nargs="*",
        metavar="PATH",
        help="recorded markets: files or folders, one after another (no PATH: the folder in INVMM_RECORDED)",
    )
    p.add_argument(
        "--speed",
        metavar="X",
        help="market seconds per second (default 7), or 'max': in process on a virtual clock, deterministic",
    )
    p.add_argument("--duration", type=float, metavar="S", help="stop each market after S market seconds")
    p.add_argument(
        "--seed",
        type=int,
        default=1,
        metavar="N",
        help="seed of the generated market and of order salts (default 1)",
    )
    p.add_argument(
        "--day",
        choices=("quiet", "trending", "jumping"),
        help="kind of generated market (default: drawn from the seed)",
    )
    p.add_argument(
        "--faults",
        type=int,
        metavar="SEED",
        help="the embedded venue fails in ways drawn from SEED: cut sockets, lost answers, restarts, silent "
        "data, failed settlements, refused heartbeats, …; told in the live view, counted in the report",
    )
    add_modes(p)
    p.add_argument(
        "--policy",
        metavar="NAME",
        help=f"one of {', '.join(POLICIES)} (default: that of the settings); model asks INVENTORY_MODEL",
    )
    p.add_argument("--config", metavar="FILE", help="TOML settings, or first-1000; unknown keys are errors")
    p.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="state folder: lock, journal, limits used up, kill switch (with --live the default is [state] "
        "folder or the account's own, else a temporary one)",
    )
    p.add_argument("--headless", action="store_true", help="no live view")
    p.add_argument(
        "--json",
        action="store_true",
        help="print the report as one JSON object, the last line of standard output",
    )
    p.add_argument(
        "--report", metavar="FILE", help="where to write the HTML report (default: reports/ in this folder)"
    )
    return p


def add_modes(p: argparse.ArgumentParser) -> None:
    """The ways to trade windows one after another."""
    group = p.add_argument_group("windows of a series, one after another")
    modes = group.add_mutually_exclusive_group()
    modes.add_argument(
        "--paper",
        action="store_true",
        help="the live feed of the venue, own orders matched here: no order leaves this process",
    )
    modes.add_argument(
        "--live",
        action="store_true",
        help="real orders; needs INVMM_LIVE as well, says what it would do, refuses with a list",
    )
    group.add_argument(
        "--series",
        metavar="NAME",
        help="for instance btc-updown-5m; without --paper or --live the embedded venue serves it "
        "(with them the default is [market] series)",
    )
    group.add_argument(
        "--windows", type=int, default=0, metavar="N", help="stop after N windows (default: go on)"
    )
    add_venue_options(p)
    add_wallet_options(p)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the main job; the exit code."""
    options = parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        settings, speed = _settings(options)
        if options.live:
            from invmm.live import run_live

            return run_live(options, settings)
        if options.paper or options.series is not None:
            return _run_windows(options, settings, speed)
        if speed is None:
            return _play_at_full_speed(options, settings)
        from invmm.session import run_session  # sockets and the child process are not needed at full speed

        return run_session(options, settings, speed, tapes(options))
    except InUseError as error:
        print(f"invmm: refused: {error}", file=sys.stderr)
        return EXIT_REFUSED
    except (ConfigError, DataError) as error:
        print(f"invmm: {error}", file=sys.stderr)
        return EXIT_USAGE
    except InvmmError as error:
        print(f"invmm: {error}", file=sys.stderr)
        return EXIT_FAILED_CHECK
    except KeyboardInterrupt:
        print("invmm: interrupted; no order was open, nothing to report", file=sys.stderr)
        return EXIT_INTERRUPTED


def _run_windows(options: argparse.Namespace, settings: Settings, speed: float | None) -> int:
    if options.replay is not None or options.day is not None:
        raise ConfigError("--replay, --day: expected without --series, --paper and --live")
    if options.windows < 0:
        raise ConfigError(f"--windows: expected 0 or more, found {options.windows}")
    if speed is None or (options.paper and options.speed is not None):
        raise ConfigError(f"--speed: expected a number, and none with --paper, found {options.speed}")
    from invmm import rolling_session

    if options.paper:
        return rolling_session.run_paper(options, settings)
    return rolling_session.run_embedded(options, settings, speed)


def _interrupt(_signal: int, _frame: Any) -> None:
    """SIGTERM means what Ctrl-C means."""
    raise KeyboardInterrupt


def _settings(options: argparse.Namespace) -> tuple[Settings, float | None]:
    settings = Settings.load(options.config) if options.config else Settings()
    if options.policy:
        settings = replace(settings, strategy=replace(settings.strategy, policy=options.policy))
    settings, _ = resolved(settings, is_command=True)
    if options.seed < 0:
        raise ConfigError(f"--seed: expected an integer of at least 0, found {options.seed}")
    if options.duration is not None and not (options.duration > 0 and math.isfinite(options.duration)):
        raise ConfigError(f"--duration: expected seconds above 0, found {options.duration:g}")
    if options.faults is not None:
        if options.faults < 0 or options.speed == "max" or options.paper or options.live:
            raise ConfigError(
                "--faults: expected an integer of at least 0 and the embedded venue over sockets, found "
                f"{options.faults} with --speed max, --paper, --live or below 0"
            )
        settings = replace(settings, executor=replace(settings.executor, heartbeat="on"))
    if options.speed == "max":
        return settings, None
    if options.speed is not None:
        try:
            speed = float(options.speed)
        except ValueError:
            raise ConfigError(f"--speed: expected a number or 'max', found {options.speed!r}") from None
        settings = replace(settings, sim=replace(settings.sim, speed=speed))
    return settings, settings.sim.speed


def tapes(options: argparse.Namespace) -> list[Tape]:
    """The markets to trade."""
    if options.replay is None:
        from invmm.sim.market import generate

        return [generate(options.seed, day=options.day)]
    paths = options.replay
    if not paths:
        folder = os.environ.get("INVMM_RECORDED")
        if not folder:
            raise ConfigError(
                "--replay: expected a file or folder of recorded markets, or INVMM_RECORDED set to one"
            )
        paths = sorted({p.parent for p in Path(folder).rglob("replay/*.jsonl*")})
        if not paths:
            raise ConfigError(
                f"INVMM_RECORDED: expected a folder with replay/*.jsonl.gz somewhere in it, got {folder}"
            )
    return [load(path) for path in find(paths)]


def _play_at_full_speed(options: argparse.Namespace, settings: Settings) -> int:
    from invmm.ops.progress import Progress
    from invmm.replay.player import Player

    markets = tapes(options)
    with Progress(len(markets), enabled=not options.headless and sys.stderr.isatty()) as progress:
        player = Player(settings, seed=options.seed, progress=progress.update)
        interrupted = False

        def stop(_signal: int, _frame: Any) -> None:
            nonlocal interrupted
            if interrupted:
                raise KeyboardInterrupt  # the second time: at once
            interrupted = True
            player.stop()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        for tape in markets:
            until = None
            if options.duration is not None and len(tape):
                until = int(tape.rows["recv_ns"][0]) + int(options.duration * 1e9)
            player.play(tape, until_ns=until)
            if interrupted:
                break
    from invmm.ops.results import finish

    complete = options.duration is None and not interrupted
    extra = {"clean": player.clean}
    code = finish(
        options,
        settings,
        player.results,
        digest=player.digest,
        commands=player.commands,
        extra=extra,
        complete=complete,
    )
    if not player.clean:
        return EXIT_NOT_CLEAN
    return EXIT_INTERRUPTED if interrupted and code == EXIT_DONE else code


if __name__ == "__main__":
    sys.exit(main())
