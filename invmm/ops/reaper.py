"""`invmm reaper`: a second process that cancels everything when the engine gives no sign of life.

It holds API credentials only, reads no private key and needs no disk beyond its own sign of life: cancelling
is possible whatever has become of the engine. It acts when the engine's process is gone, when the engine is
silent, or when its heartbeats fail: cancel-all, a listing, again until two listings in a row are empty,
whatever the network does. For ten minutes more it lists what is open, since an order may arrive late.

An engine that is silent may wake up. So that it does not quote on, the kill switch of its folder is set to
level 2 first; a person releases it (`invmm kill --release`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from invmm.errors import ConfigError, DataError, InvmmError, VenueError
from invmm.execution import kill
from invmm.execution.beat import Beat, BeatReader, BeatWriter, Life, State, life_of
from invmm.execution.state import StateFolder, default_folder
from invmm.ops.alarms import AlarmHooks
from invmm.ops.cancel_all import Outcome, cancel_and_verify
from invmm.ops.hardening import harden
from invmm.ops.venue_options import add_account_options, chosen_profile, chosen_settings
from invmm.ops.wallet_options import DiscreetParser, password_of, wallet_of
from invmm.settings import Settings
from invmm.venue.client import VenueClient
from invmm.venue.identity import PRIVATE_KEY_NAMES, Identity, find_identity

EXIT_DONE: Final = 0
EXIT_NOT_VERIFIED: Final = 4
EXIT_INTERRUPTED: Final = 130
LOOK_S = 0.1
BEAT_S = 0.2
SILENCE_NS: Final = 5_000_000_000
"""Of a reaper: after that `--live` does not count on it."""
TIMEOUT_S = 3.0
ROUND_S = 2.0
SETTLE_S = 0.5
SICK_NS = 1_000_000_000
"""So long heartbeats must have failed twice in a row; that takes up to ten seconds itself."""
PAUSE_S = (0.5, 2.0)
REFUSED_PAUSE_S = (5.0, 15.0)
"""Between two rounds when the venue refuses the credentials: no repetition cures that, a person does."""
ALARM_AGAIN_S = 300.0
LIST_AGAIN_S, LIST_FOR_S = 5.0, 600.0
"""After the proof: orders that arrive late are looked for. None is signed to live longer than that."""
PROVE_S = 20.0
"""How often the credentials are proven; it keeps a connection warm, too."""
IN_DANGER: Final = (Life.GONE, Life.SILENT, Life.SICK)

Tell = Callable[..., object]


class Reaper:
    """Watches one state folder and cancels for one account.

    Parameters
    ----------
    client : VenueClient
        With credentials, without a signer.
    state : StateFolder
        Of the engine.
    silence_ns : int
        Longest time between two signs of life.
    tell : callable(event, text, **facts)
        Told what happens, in words and as data. The event "alarm" is for people.
    settle_s : float
        Time between the two empty listings.
    """

    def __init__(
        self, client: VenueClient, state: StateFolder, silence_ns: int, tell: Tell, settle_s: float = SETTLE_S
    ) -> None:
        self.life = Life.ABSENT
        self.why = ""
        self.is_verified = True
        """Nothing is to be cancelled, or it is proven that nothing is open."""
        self._client = client
        self._state = state
        self._silence_ns = silence_ns
        self._tell = tell
        self._settle_s = settle_s
        self._reader = BeatReader(state.beat)
        self._odd_ns: int | None = None  # since when the beat is odd: unreadable, or sick
        self._proven_s = self._listed_s = self._alarmed_s = -math.inf

    def look(self, now_ns: int) -> Life:
        """What has become of the engine; `now_ns` is CLOCK_MONOTONIC."""
        beat: Beat | None = None
        try:
            beat = self._reader.read()
            life, why = life_of(beat, now_ns, self._silence_ns)
        except DataError as error:
            life, why = Life.SILENT, str(error)
        # A heartbeat may fail, a file may be looked at while it is exchanged: only what lasts counts.
        if life is Life.SICK or (life is Life.SILENT and beat is None):
            self._odd_ns = now_ns if self._odd_ns is None else self._odd_ns
            if now_ns - self._odd_ns < (SICK_NS if life is Life.SICK else self._silence_ns):
                life = Life.ALIVE
        else:
            self._odd_ns = None
        if life is not self.life:
            self._tell("engine", f"engine: {why}", life=life.name.lower())
            if life in IN_DANGER and self.life not in IN_DANGER:
                self.is_verified = False
                self._tell("alarm", f"cancelling everything: {why}", life=life.name.lower())
            if life is Life.SILENT:
                # Not here: a dead disk, or a stopped engine that holds the file's lock, must not keep us.
                threading.Thread(target=self._latch, args=(why,), daemon=True).start()
        self.life, self.why = life, why
        return life

    def _latch(self, why: str) -> None:
        try:
            kill.latch(self._state.kill, kill.KillLevel.CANCEL_ALL, why, "reaper")
            self._tell("kill", "kill switch set to level 2: the engine does not quote on when it wakes up")
        except ConfigError as error:  # cancelling is what counts, and needs no disk
            self._tell("alarm", f"the kill switch could not be set: {error}")

    async def run(self, stop: asyncio.Event) -> None:
        """Watches until told to stop."""
        while not stop.is_set():
            life, now_s = self.look(time.monotonic_ns()), time.monotonic()
            if not self.is_verified:  # also when the engine has come back: what was begun is ended
                await until(stop, self.cancel(ROUND_S))
            elif life in IN_DANGER and now_s - self._listed_s >= LIST_AGAIN_S:
                self._listed_s = now_s
                if now_s - self._proven_s < LIST_FOR_S:
                    with contextlib.suppress(VenueError):  # told by who proves the credentials
                        await until(stop, self.prove())
            await _pause(stop, LOOK_S)

    async def cancel(self, timeout_s: float) -> Outcome:
        """One round: cancels and lists until two listings are empty or time is up; then a pause if it must
        be done again.
        """
        done = await cancel_and_verify(self._client, timeout_s=timeout_s, settle_s=self._settle_s)
        if done.cancelled:
            self._tell("cancelled", f"{len(done.cancelled)} orders cancelled", orders=done.cancelled)
        self.is_verified = done.is_verified
        if done.is_verified:
            self._proven_s = self._listed_s = time.monotonic()
            self._alarmed_s = -math.inf
            self._tell("verified", "verified: no open order")
            return done
        is_alarm = time.monotonic() - self._alarmed_s >= ALARM_AGAIN_S
        if is_alarm:
            self._alarmed_s = time.monotonic()
        text = f"NOT verified, trying on: {done.error}"
        self._tell("alarm" if is_alarm else "error", text, open=len(done.still_open))
        await asyncio.sleep(random.uniform(*(REFUSED_PAUSE_S if done.is_refused else PAUSE_S)))
        return done

    async def prove(self) -> bool:
        """Whether the venue lists open orders for these credentials; VenueError when it refuses them. Orders
        of an engine that is away are to be cancelled.
        """
        try:
            if await self._client.open_orders() and self.life in IN_DANGER:
                self.is_verified = False
        except VenueError as error:
            if error.status in (400, 401, 403):
                raise
            self._tell("error", f"open orders could not be listed: {error}")
            return False
        except InvmmError as error:
            self._tell("error", f"open orders could not be listed: {error}")
            return False
        return True


def why_unwatched(state: StateFolder, account: str) -> str:
    """Why `--live` may not count on a reaper for this folder and account; "" when one watches over them."""
    start = f"start one: invmm reaper --state {state.path}"
    try:
        beat = BeatReader(state.reaper).read()
    except DataError as error:
        return f"the reaper's sign of life cannot be read ({error}); {start}"
    if beat is None:
        return f"no reaper watches over {state.path}; {start}"
    life, why = life_of(beat, time.monotonic_ns(), SILENCE_NS)
    if life is not Life.ALIVE:
        return f"the reaper of {state.path} does not run ({why}); {start}"
    if beat.account.lower() != account.lower():
        return f"the reaper of {state.path} watches over {beat.account}, expected {account}; {start}"
    if beat.state is not State.RUNNING:
        return f"the reaper of {state.path} has not reached the venue yet, or was refused: see what it says"
    return ""


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
        await _pause(stop, BEAT_S)


async def _prove(reaper: Reaper, beat: BeatWriter, stop: asyncio.Event) -> None:
    is_first = True
    while not stop.is_set():
        try:
            proven = await until(stop, reaper.prove())
        except VenueError as error:
            if is_first:
                raise ConfigError(f"the venue refuses the API credentials: {error}") from None
            reaper._tell("alarm", f"the venue refuses the API credentials: {error}")
            proven = False
        if proven is not None:
            beat.state = State.RUNNING if proven else State.STARTING
            is_first = is_first and not proven
        await _pause(stop, PROVE_S if proven else random.uniform(*PAUSE_S))


async def until(stop: asyncio.Event, work: Any) -> Any:
    """The work's result; None when it was stopped first."""
    task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if task.done():
        return task.result()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return None


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


async def once(client: VenueClient, state: StateFolder, silence_ns: int, tell: Tell, timeout_s: float) -> int:
    """One look, and what follows from it; the exit code."""
    reaper = Reaper(client, state, silence_ns, tell)
    end = time.monotonic() + timeout_s
    life = reaper.look(time.monotonic_ns())
    while life is Life.ALIVE and reaper._odd_ns is not None:  # sick or unreadable: for how long?
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
