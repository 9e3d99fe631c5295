"""`invmm record SERIES --out DIR`: the live market feed of each window as a file that `--replay` plays.

    DIR/markets.json             what is known of every window, its winner once there is one
    DIR/<slug>.jsonl             while it is being written: flushed every second, readable after a crash
    DIR/<slug>.jsonl.gz          when the window is over

One line per frame (`replay/tape.py`), `src` "live": every book in it is news, none a checkpoint, since the
venue tells trades by books. The first frame after a lost connection carries `"gap":true`: a replay forgets
its books there. A finished file is verified by playing it, in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from invmm._ext.sink import CallbackSink
from invmm.clock import NS, LiveClock
from invmm.errors import ConfigError, DataError, InvmmError
from invmm.feed.market import MarketFeed
from invmm.limits import feed_settings_of
from invmm.ops.venue_options import add_venue_options, chosen_profile
from invmm.replay.tape import MarketInfo, find, load
from invmm.settings import Settings
from invmm.types import MICRO, PRICE_ONE_E4
from invmm.venue.discovery import Discovery, Found, Series, Window

EXIT_DONE, EXIT_FAILED_CHECK, EXIT_INTERRUPTED = 0, 1, 130
LAST_WORD_S = 10  # after a window's end; engine time
RESOLUTION_S = 200
FLUSH_S = 1.0
TURN_S = 0.25


@dataclass
class Verdict:
    """What playing a recording found; `passed` when nothing was refused or contradicted the books."""

    slug: str
    frames: int
    gaps: int
    decode_failures: int
    best_checks: int
    best_mismatches: int
    mirror_checks: int
    mirror_mismatches: int
    hash_checks: int
    hash_mismatches: int
    digest: str

    @property
    def passed(self) -> bool:
        """A single unequal checksum is usual: the frame was not the last one of its timestamp."""
        wrong = self.decode_failures + self.best_mismatches + self.mirror_mismatches
        return bool(self.frames) and not wrong and self.hash_mismatches * 2 <= self.hash_checks


def verify(path: Path) -> Verdict:
    """Plays one recording with the default policy and says what the books went through."""
    from invmm.replay.player import Player
    from invmm.replay.tape import TapeFlag

    tape = load(path)
    player = Player(Settings(), seed=1)
    result = player.play(tape)
    books = result.books
    return Verdict(
        slug=tape.market.slug,
        frames=len(tape),
        gaps=int(((tape.rows["flags"] & int(TapeFlag.GAP)) != 0).sum()),
        decode_failures=sum(books["decode_failures"].values()),
        best_checks=books["best_checks"],
        best_mismatches=books["best_mismatches"],
        mirror_checks=books["mirror_checks"],
        mirror_mismatches=books["mirror_mismatches"],
        hash_checks=result.hash_checks,
        hash_mismatches=result.hash_mismatches,
        digest=player.digest,
    )


class WindowFile:
    """One window's frames on their way to disk. The callbacks run on the event loop.

    Parameters
    ----------
    path : Path
        `<slug>.jsonl`; must not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.frames = 0
        self.gaps = 0
        self.odd = 0  # frames that are no JSON: kept as text, a replay refuses them as the engine did
        self._gap = False
        self._stream: BinaryIO = path.open("xb")

    def on_frame(self, frame: bytes, now_ns: int, last: bool) -> None:
        """One message of the venue, as it came."""
        text = frame.strip()
        try:
            orjson.loads(text)
        except ValueError:
            self.odd += 1
            text = orjson.dumps(frame.decode("utf-8", "replace"))
        if b"\n" in text:  # blanks between tokens only: JSON has no other line breaks
            text = text.replace(b"\r", b" ").replace(b"\n", b" ")
        mark = b',"gap":true' if self._gap and self.frames else b""
        self.gaps += bool(mark)
        self._gap = False
        self.frames += 1
        seconds, micros = divmod(now_ns // 1000, MICRO)
        self._stream.write(b'{"recv":%d.%06d,"src":"live"%b,"frame":%b}\n' % (seconds, micros, mark, text))

    def on_disconnect(self, now_ns: int) -> None:
        """What is known ends here: the next frame is marked."""
        self._gap = True

    def flush(self) -> None:
        """Everything written so far survives a crash of this process."""
        self._stream.flush()

    def close(self) -> None:
        """No more frames."""
        self._stream.close()

    def compress(self) -> Path:
        """Replaces the closed file by its compressed form; the new path."""
        packed = self.path.with_name(self.path.name + ".gz")
        with self.path.open("rb") as plain, gzip.open(packed, "wb", compresslevel=6) as out:
            shutil.copyfileobj(plain, out, 1 << 20)
        self.path.unlink()
        return packed


class Catalogue:
    """`markets.json` of a folder; rows of earlier sessions stay."""

    def __init__(self, folder: Path, series: str) -> None:
        self.path = folder / "markets.json"
        self.rows: dict[str, dict[str, Any]] = {}
        self.series = series
        if self.path.exists():
            try:
                self.rows = {row["slug"]: row for row in json.loads(self.path.read_text())["markets"]}
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"{self.path}: expected a list of recorded markets, found {error!r}"
                ) from error

    def put(self, info: MarketInfo, **facts: Any) -> None:
        """Adds or updates a window and writes the file whole."""
        self.rows[info.slug] = self.rows.get(info.slug, {}) | {
            "slug": info.slug,
            "condition_id": info.condition_id,
            "token_up": info.up_token_id,
            "token_down": info.down_token_id,
            "start": info.start_s,
            "end": info.end_s,
            "tick": info.tick_e4 / PRICE_ONE_E4,
            "min_order_size": str(info.min_size_micro / MICRO),
            "fee_rate": info.fee_rate,
            "rebate_share": info.rebate_share,
            "exchange": info.exchange,
            **facts,
        }
        content = {"series": self.series, "origin": "RECORDED", "markets": list(self.rows.values())}
        new = self.path.with_name(".markets.json.new")
        new.write_text(json.dumps(content, indent=1) + "\n")
        new.replace(self.path)


class Recorder:
    """Records the windows of a series one after another, the next one beginning before the last one ends.

    Parameters
    ----------
    series : Series
    folder : Path
        Is made when it does not exist. A window whose file exists is not recorded again.
    market_url : str
    find : callable(window) -> Found
        Called on a thread.
    clock : LiveClock
    settings : Settings
        `[market]` and `[feed]` are used.
    windows : int
        So many, 0: without end.
    verified : bool
        Whether each finished file is played.
    say : callable
        Told what people should know.
    """

    def __init__(
        self,
        series: Series,
        folder: Path,
        market_url: str,
        find: Callable[[Window], Found],
        clock: LiveClock,
        settings: Settings | None = None,
        *,
        windows: int = 0,
        verified: bool = True,
        say: Callable[[str], object] = print,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.catalogue = Catalogue(folder, series.name)
        self.verdicts: list[Verdict] = []
        self.problems: list[str] = []
        self.settings = settings or Settings()
        self._series = series
        self._market_url = market_url
        self._find = find
        self._clock = clock
        self._limit = windows
        self._verified = verified
        self._say = say

    async def run(self, stopping: asyncio.Event) -> None:
        """Until told to stop, or until the last window that is wanted is on disk."""
        tasks: dict[Window, asyncio.Task[None]] = {}
        begun = 0
        while not stopping.is_set():
            now_s = self._clock.now_ns() / NS
            for window in self._series.windows(now_s, 2):
                due_s = window.start_s - self.settings.market.open_before_s
                wanted = not self._limit or begun < self._limit
                if window not in tasks and wanted and (not window.start_s or now_s >= due_s):
                    begun += 1
                    tasks[window] = asyncio.create_task(self._window(window, stopping))
            is_last = begun >= self._limit > 0 or self._series.single is not None
            if is_last and all(task.done() for task in tasks.values()):
                break
            await _sleep(stopping, max(0.01, self._clock.wall_s(int(TURN_S * NS))))
            for window in [
                w for w, task in tasks.items() if task.done() and w.end_s and w.end_s < now_s - 60
            ]:
                tasks.pop(window).result()
        for result in await asyncio.gather(*tasks.values(), return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _window(self, window: Window, stopping: asyncio.Event) -> None:
        name = window.slug or window.condition_id
        try:
            info = await self._listed(window, stopping)
            if info is None:
                return
            path = self.folder / f"{info.slug}.jsonl"
            if path.exists() or path.with_name(path.name + ".gz").exists():
                self._say(f"{info.slug}: not recorded, a file of it exists in {self.folder}")
                return
            self.catalogue.put(info)
            file = await self._record(info, path, stopping)
            packed = await asyncio.to_thread(file.compress)
            facts = {"frames": file.frames, "gaps": file.gaps, "unreadable": file.odd}
            self.catalogue.put(info, **facts, winner=await self._winner(info, stopping))
            self._say(f"{info.slug}: {file.frames} frames, {file.gaps} gaps, {packed}")
            if self._verified:
                await self._verify(packed)
        except (InvmmError, OSError) as error:
            self.problems.append(f"{name}: {error}")
            self._say(f"{name}: {error}")

    async def _listed(self, window: Window, stopping: asyncio.Event) -> MarketInfo | None:
        """The market once it is listed; one that does not take orders yet is recorded all the same."""
        name, said = window.slug or window.condition_id, ""
        while not stopping.is_set():
            now_s = self._clock.now_ns() / NS
            try:
                found = await asyncio.to_thread(self._find, window)
                if found.info is not None and not found.closed and now_s < found.window.end_s:
                    return found.info
                text = "; ".join(map(str, found.refusals)) or "it is over"
                if not all(refusal.passes for refusal in found.refusals):
                    self.problems.append(f"{name}: {text}")
                    return None
            except InvmmError as error:
                text = str(error)
            if text != said:
                self._say(f"{name}: {text}")
            said = text
            if window.end_s and now_s >= window.end_s:
                self.problems.append(f"{window.slug}: was not listed in time")
                return None
            pause_ns = int(self.settings.market.search_every_s * NS)
            await _sleep(stopping, max(0.05, self._clock.wall_s(pause_ns)))
        return None

    async def _record(self, info: MarketInfo, path: Path, stopping: asyncio.Event) -> WindowFile:
        file = WindowFile(path)
        feed = MarketFeed(
            self._market_url,
            (info.up_token_id, info.down_token_id),
            CallbackSink(file.on_frame, None, file.on_disconnect),
            self._clock,
            feed_settings_of(self.settings, self._clock.scale),
        )
        feed.start()
        try:
            while not stopping.is_set():
                now_s = self._clock.now_ns() / NS
                feed.patient = not info.start_s <= now_s < info.end_s
                if now_s >= info.end_s + LAST_WORD_S:
                    break
                wait_s = self._clock.wall_s(int((info.end_s + LAST_WORD_S - now_s) * NS))
                await _sleep(stopping, min(FLUSH_S, max(0.01, wait_s)))
                file.flush()
        finally:
            await feed.close()
            file.close()
        return file

    async def _winner(self, info: MarketInfo, stopping: asyncio.Event) -> str | None:
        """ "Up" or "Down" once the venue says so; None when that takes longer than usual, or on a stop."""
        window = Window(info.slug, info.start_s, info.end_s)
        while not stopping.is_set() and self._clock.now_ns() / NS < info.end_s + RESOLUTION_S:
            try:
                found = await asyncio.to_thread(self._find, window)
                if found.winner:
                    return "Up" if found.winner in ("Up", "Yes") else "Down"
            except InvmmError:
                pass  # it is asked again
            await _sleep(stopping, max(0.05, self._clock.wall_s(5 * NS)))
        return None

    async def _verify(self, path: Path) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "invmm.ops.record", "--verify", str(path), "--json"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        try:
            verdict = Verdict(**json.loads(out)["verdicts"][0])
        except (ValueError, KeyError, IndexError, TypeError):
            text = err.decode(errors="replace").strip().splitlines()
            self.problems.append(f"{path}: could not be played: {text[-1] if text else process.returncode}")
            return
        self.verdicts.append(verdict)
        self._say(words(verdict))
        if not verdict.passed:
            self.problems.append(words(verdict))


def words(verdict: Verdict) -> str:
    """A verdict in one line."""
    return (
        f"{verdict.slug}: {'verified' if verdict.passed else 'NOT VERIFIED'} by replay: "
        f"{verdict.frames} frames, "
        f"{verdict.decode_failures} decode failures, best {verdict.best_checks} ({verdict.best_mismatches} "
        f"unequal), mirror {verdict.mirror_checks} ({verdict.mirror_mismatches}), checksums "
        f"{verdict.hash_checks} ({verdict.hash_mismatches}), {verdict.gaps} gaps"
    )


async def _sleep(stopping: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return


def parser() -> argparse.ArgumentParser:
    """The command line, complete with help."""
    p = argparse.ArgumentParser(
        prog="invmm record",
        description="Record the live market feed of a series, window by window, in the format that "
        "`python -m invmm.run --replay` plays, and verify each file by playing it.",
        epilog="Exit codes: 0 done and verified, 1 a window was not recorded or not verified, 2 usage, "
        "130 interrupted (what there is is on disk).",
    )
    p.add_argument("series", nargs="?", metavar="SERIES", help="for instance btc-updown-5m, or one market")
    p.add_argument("--out", metavar="DIR", type=Path, help="folder of the recordings")
    p.add_argument(
        "--windows", type=int, default=0, metavar="N", help="stop after N windows (default: go on)"
    )
    p.add_argument("--duration", type=float, metavar="S", help="stop after S seconds")
    p.add_argument("--config", metavar="FILE", help="TOML settings; [market] and [feed] are used")
    p.add_argument("--no-verify", action="store_true", help="do not play what was recorded")
    p.add_argument(
        "--verify", nargs="+", metavar="PATH", help="record nothing: play these files or folders and report"
    )
    p.add_argument("--json", action="store_true", help="print one JSON object at the end")
    add_venue_options(p)
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code."""
    options = parser().parse_args(arguments)
    if options.verify:
        return _verify_only(options)
    if options.series is None or options.out is None:
        raise ConfigError("invmm record: expected SERIES and --out DIR, or --verify PATH")
    if options.windows < 0 or (options.duration is not None and not options.duration > 0):
        raise ConfigError("--windows, --duration: expected numbers above 0")
    profile = chosen_profile(options)
    recorder = Recorder(
        Series.parse(options.series),
        options.out,
        profile.market_url,
        Discovery(profile).window_blocking,
        LiveClock(),
        Settings.load(options.config) if options.config else Settings(),
        windows=options.windows,
        verified=not options.no_verify,
        say=lambda text: print(text, file=sys.stderr, flush=True),
    )
    interrupted = asyncio.run(_until_told(recorder, options.duration))
    if options.json:
        _print_json(recorder.verdicts, recorder.problems)
    if recorder.problems:
        return EXIT_FAILED_CHECK
    return EXIT_INTERRUPTED if interrupted else EXIT_DONE


async def _until_told(recorder: Recorder, duration_s: float | None) -> bool:
    """Records; whether it was interrupted."""
    stopping = asyncio.Event()
    told: list[float] = []
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if told:
            os._exit(EXIT_INTERRUPTED)
        told.append(time.monotonic())
        stopping.set()

    for kind in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(kind, stop)
    if duration_s is not None:
        loop.call_later(duration_s, stopping.set)
    await recorder.run(stopping)
    return bool(told)


def _verify_only(options: argparse.Namespace) -> int:
    verdicts = [verify(path) for path in find(options.verify)]
    if options.json:
        _print_json(verdicts, [words(verdict) for verdict in verdicts if not verdict.passed])
    else:
        for verdict in verdicts:
            print(words(verdict))
    return EXIT_DONE if all(verdict.passed for verdict in verdicts) else EXIT_FAILED_CHECK


def _print_json(verdicts: Sequence[Verdict], problems: Sequence[str]) -> None:
    print(json.dumps({"verdicts": [asdict(verdict) for verdict in verdicts], "problems": list(problems)}))


if __name__ == "__main__":
    sys.exit(main())
