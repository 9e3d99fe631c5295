"""`invmm reaper`: a second process that cancels everything when the engine gives no sign of life.

It holds API credentials only, reads no private key and needs no disk beyond its own sign of life: cancelling
is possible whatever has become of the engine. It acts when the engine's process is gone, when the engine is
silent, or when its heartbeats fail (`reaping.py`).

An engine that is silent may wake up. So that it does not quote on, the kill switch of its folder is set to
level 2 first; a person releases it (`invmm kill --release`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from invmm.errors import ConfigError, VenueError
from invmm.execution.beat import BeatWriter, Life, State
from invmm.execution.state import StateFolder, default_folder
from invmm.ops.alarms import AlarmHooks
from invmm.ops.hardening import harden
from invmm.ops.reaping import (
    IN_DANGER,
    LOOK_S,
    PAUSE_S,
    SILENCE_NS,
    Reaper,
    Tell,
    pause,
    until,
    why_unwatched,
)
from invmm.ops.venue_options import add_account_options, chosen_profile, chosen_settings
from invmm.ops.wallet_options import DiscreetParser, password_of, wallet_of
from invmm.settings import Settings
from invmm.venue.client import VenueClient
from invmm.venue.identity import PRIVATE_KEY_NAMES, Identity, find_identity

__all__ = ["SILENCE_NS", "main", "why_unwatched"]

EXIT_DONE: Final = 0
EXIT_NOT_VERIFIED: Final = 4
EXIT_INTERRUPTED: Final = 130
BEAT_S = 0.2
TIMEOUT_S = 3.0
PROVE_S = 20.0
"""How often the credentials are proven; it keeps a connection warm, too."""


async def watch(client: VenueClient, account: str, state: StateFolder, silence_ns: int, tell: Tell) -> int:
    """Beats and watches until SIGTERM or SIGINT; the exit code."""
    stop, interrupted = asyncio.Event(), False

    def end(number: int) -> None:
        nonlocal interrupted
        if stop.is_set():
            os._exit(EXIT_NOT_VERIFIED)  # the second time: at once
        interrupted = number == signal.SIGINT
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, number)
    reaper = Reaper(client, state, silence_ns, tell)
    with BeatWriter(state.reaper, account, client.profile.name) as beat:
        own = [
            asyncio.create_task(_beat(beat, stop)),
            asyncio.create_task(_prove(reaper, beat, stop)),
            asyncio.create_task(reaper.run(stop)),
        ]
        tell("watching", f"watching over {state.path} for {account}", account=account, state=str(state.path))
        done, _ = await asyncio.wait(own, return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        await asyncio.gather(*own, return_exceptions=True)
        for task in done:
            task.result()  # nothing of it ends by itself but by an error
        beat.state = State.ENDED
    verified = reaper.is_verified
    tell(
        "stopped", "stopped" if verified else "stopped, NOT verified that nothing is open", verified=verified
    )
    if not verified:
        return EXIT_NOT_VERIFIED
    return EXIT_INTERRUPTED if interrupted else EXIT_DONE


async def _beat(beat: BeatWriter, stop: asyncio.Event) -> None:
    while not stop.is_set():
        beat.beat(time.monotonic_ns())
        await pause(stop, BEAT_S)


async def _prove(reaper: Reaper, beat: BeatWriter, stop: asyncio.Event) -> None:
    is_first = True
    while not stop.is_set():
        try:
            proven = await until(stop, reaper.prove())
        except VenueError as error:
            if is_first:
                raise ConfigError(f"the venue refuses the API credentials: {error}") from None
            reaper.tell("alarm", f"the venue refuses the API credentials: {error}")
            proven = False
        if proven is not None:
            beat.state = State.RUNNING if proven else State.STARTING
            is_first = is_first and not proven
        await pause(stop, PROVE_S if proven else random.uniform(*PAUSE_S))


async def once(client: VenueClient, state: StateFolder, silence_ns: int, tell: Tell, timeout_s: float) -> int:
    """One look, and what follows from it; the exit code."""
    reaper = Reaper(client, state, silence_ns, tell)
    end = time.monotonic() + timeout_s
    life = reaper.look(time.monotonic_ns())
    while life is Life.ALIVE and reaper.is_doubtful:  # sick or unreadable: for how long?
        await asyncio.sleep(LOOK_S)
        life = reaper.look(time.monotonic_ns())
    if life not in IN_DANGER:
        if life is Life.ABSENT:
            tell("engine", reaper.why, life="absent")
        return EXIT_DONE
    while not reaper.is_verified and time.monotonic() < end:
        await reaper.cancel(max(0.1, end - time.monotonic()))
    return EXIT_DONE if reaper.is_verified else EXIT_NOT_VERIFIED


def parser() -> argparse.ArgumentParser:
    """The command line, complete with help."""
    p = DiscreetParser(
        prog="invmm reaper",
        description="Watches over an engine from a second process and cancels everything when it is gone, "
        "silent, or does not reach the venue; verified by listing, again and again until nothing is open. "
        "API credentials suffice, and a private key is refused.",
        epilog="Exit codes: 0 stopped (or --once: nothing to do, or verified), 1 a failure, 2 usage or "
        "configuration, 4 stopped but not verified that nothing is open, 130 interrupted with nothing to do.",
    )
    p.add_argument(
        "--state",
        metavar="DIR",
        help="state folder of the engine (default: [state] folder, else the account's own)",
    )
    p.add_argument(
        "--silence",
        type=float,
        default=3.0,
        metavar="S",
        help="longest time between two signs of life, 1 to 60 seconds (default: %(default)g)",
    )
    p.add_argument("--once", action="store_true", help="look once, act if need be, and end")
    p.add_argument(
        "--timeout",
        type=float,
        default=30.0,
        metavar="S",
        help="with --once: keep trying so long (default: %(default)g)",
    )
    p.add_argument("--json", action="store_true", help="one JSON object per event and line")
    add_account_options(p)
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code."""
    options = parser().parse_args(arguments)
    harden()
    if not 1 <= options.silence <= 60:
        raise ConfigError(f"--silence: expected 1 to 60 seconds, found {options.silence:g}")
    settings, profile = chosen_settings(options), chosen_profile(options)
    who = keyless_identity(options, settings, profile.chain_id)
    folder = options.state or settings.state.folder
    state = StateFolder(Path(folder) if folder else default_folder(who.address))
    hooks = AlarmHooks(
        settings.alarms.command,
        settings.alarms.webhook,
        lambda text: tell("error", text),
        timeout_s=settings.alarms.timeout_s,
    )
    tell = teller(as_json=options.json, hooks=hooks)
    silence_ns = int(options.silence * 1e9)

    async def run() -> int:
        async with VenueClient(
            profile, None, who.credentials, address=who.address, timeout_s=TIMEOUT_S, read_attempts=1
        ) as client:
            if options.once:
                return await once(client, state, silence_ns, tell, options.timeout)
            return await watch(client, who.address, state, silence_ns, tell)

    try:
        return asyncio.run(run())
    finally:
        hooks.close()


def keyless_identity(options: argparse.Namespace, settings: Settings, chain_id: int) -> Identity:
    """Address and API credentials, by the options over the settings.

    ConfigError where a private key is at hand: what is not in this process cannot be taken from it.
    """
    if options.keystore:
        raise ConfigError("--keystore: the reaper reads no private key; give --credentials FILE")
    present = [name for name in PRIVATE_KEY_NAMES if os.environ.get(name, "").strip()]
    if present:
        raise ConfigError(
            f"{present[0]} is set: the reaper runs without a private key; start it with API credentials only"
        )
    return find_identity(
        wallet_of(options, settings.wallet),
        os.environ,
        chain_id=chain_id,
        password=password_of(options),
        needs_key=False,
        needs_credentials=True,
        keyless=True,
    )


def teller(*, as_json: bool, hooks: AlarmHooks) -> Tell:
    """Prints events, as lines or as JSON; alarms go to the hooks, too."""

    def tell(event: str, text: str, **facts: Any) -> None:
        if event == "alarm":
            hooks.raise_("reaper", text, "reaper")
        if as_json:
            print(json.dumps({"event": event, "time": time.time(), "text": text, **facts}), flush=True)
        else:
            stamp = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime())
            mark = "ALARM: " if event == "alarm" else ""
            print(f"{stamp} {mark}{text}", file=sys.stderr if event == "alarm" else sys.stdout, flush=True)

    return tell


if __name__ == "__main__":
    sys.exit(main())
