"""From the frame sent to the signed order written and received, over real sockets on loopback: ours and the
peers.

A timing server in a process of its own (on a core of its own where there is one to spare) sends price changes
at a fixed rate and stamps the arrival of each POST's last byte; each stack runs in another process and stamps
the return of its last write. Stacks run one after another in one go, so compare ratios; a stall counts for
every frame it delayed.

`python -m bench.tick_to_order [--stack ours|typical|best-python|all] [--tls|--plain] [--orders 1|6|15]
[--executor spin|park|both] [--sign-ahead N] [--busy-ms MS] [--gap-ms MS] [--frames N] [--peer-python PATH]
[--short] [--json FILE]`
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench import harness
from bench.stacks import STACKS, StackSettings
from bench.wire import ASKS, DISTANCE_CENTS, FIRST_ASK_CENTS, FIRST_CENTISHARES, TAGS

AHEAD = ", signed ahead"


@dataclass(frozen=True)
class Run:
    """One measured run: latencies in ns of every frame after the warm-up, and what was said about it."""

    entered_ns: npt.NDArray[np.int64]
    written_ns: npt.NDArray[np.int64]
    received_ns: npt.NDArray[np.int64]
    requests: int
    unanswered: int
    facts: dict[str, Any]
    stages_ns: dict[str, list[int]]


class SkippedError(Exception):
    """A stack that cannot run here; says why."""


def certificate(folder: Path) -> tuple[str, str, str]:
    """A throwaway authority and a certificate for localhost: files (authority, certificate, key).

    By the trustme package, else by the openssl command; SkippedError when there is neither.
    """
    names = [str(folder / name) for name in ("ca.pem", "cert.pem", "key.pem")]
    try:
        import trustme

        authority = trustme.CA()
        issued = authority.issue_cert("localhost", "127.0.0.1")
        authority.cert_pem.write_to_path(names[0])
        issued.private_key_pem.write_to_path(names[2])
        for blob in issued.cert_chain_pems:
            blob.write_to_path(names[1], append=True)
    except ImportError:
        if shutil.which("openssl") is None:
            raise SkippedError(
                "TLS needs the trustme package or the openssl command for a throwaway certificate"
            ) from None
        command = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ]
        command += [
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ]
        subprocess.run(
            [*command, "-keyout", names[2], "-out", names[1]], check=True, capture_output=True, timeout=30
        )
        shutil.copyfile(names[1], names[0])
    return names[0], names[1], names[2]


@dataclass(frozen=True)
class Places:
    """Which cores who runs on; empty: all of them. `server_spins` where the server has a core to itself."""

    server: tuple[int, ...] = ()
    server_spins: bool = False
    stack: tuple[int, ...] = ()
    executor: tuple[int, ...] = ()


def split_cores(name: str, executor: str) -> Places:
    """A core each for the server and for the stack, and one for our executor where it spins.

    With two cores the server shares the engine's then: a thread that spins has used up its time, so whatever
    it wakes on its own core would run before its write returns.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return Places()
    spins = name == "ours" and executor.removesuffix(AHEAD) != "park"
    if len(cores) == 2:
        first, last = (cores[0],), (cores[1],)
        return Places(first, False, first, last) if spins else Places(last, True, first, first)
    server, rest = (cores[-1],), tuple(cores[:-1])
    return Places(server, True, rest[:-1], rest[-1:]) if spins else Places(server, True, rest, rest)


def run(
    name: str, python: str, options: argparse.Namespace, executor: str, tls: tuple[str, str, str] | None
) -> Run:
    """One stack against a fresh server. SkippedError: a package is missing; RuntimeError: it failed."""
    places = split_cores(name, executor)
    plan = {
        "frames": options.frames,
        "warmup": options.warmup,
        "gap_ns": round(options.gap_ms * 1e6),
        "spin": places.server_spins,
        "cores": places.server,
        "certificate": tls[1] if tls else None,
        "key": tls[2] if tls else None,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "bench.timing_server", json.dumps(plan)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=harness.ROOT,
    ) as server:
        try:
            assert server.stdout is not None
            ports = json.loads(server.stdout.readline())
            settings = StackSettings(
                ports["feed_port"],
                ports["http_port"],
                tls is not None,
                tls[0] if tls else None,
                options.orders,
                executor.removesuffix(AHEAD),
                options.busy_ms,
                options.busy_in,
                options.switch_us / 1e6 if options.switch_us else None,
                options.rehearse_ms,
                options.sign_ahead if executor.endswith(AHEAD) else 0,
                places.stack,
                places.executor,
            )
            client = subprocess.run(
                [python, "-m", "bench.stacks", name, json.dumps(asdict(settings))],
                capture_output=True,
                text=True,
                cwd=harness.ROOT,
                check=False,
                timeout=120 + 2 * (options.frames + options.warmup) * options.gap_ms / 1e3,
            )
            if client.returncode != 0:
                raise RuntimeError(f"{name} failed:\n{client.stderr[-2000:]}")
            answer = json.loads(client.stdout.splitlines()[-1])
            if "missing" in answer:
                raise SkippedError(f"{name} with {python}: {answer['missing']}")
            seen = json.loads(server.stdout.readline())
        finally:
            if server.poll() is None and sys.exc_info()[0] is not None:
                server.terminate()
    sent = np.array(seen["sent_ns"], dtype=np.int64)
    by_price = (
        name == "ours"
    )  # its orders have the size of the settings, so the price tells which frame it was
    tags = (FIRST_ASK_CENTS, ASKS) if by_price else (FIRST_CENTISHARES, TAGS)
    arrived = [(cents + DISTANCE_CENTS if by_price else size, ns) for size, cents, ns in seen["received"]]
    received, lost = latencies(sent, arrived, options.warmup, *tags)
    entered, _ = latencies(sent, answer["entered"], options.warmup, *tags)
    written, _ = latencies(sent, answer["written"], options.warmup, *tags)
    facts = {**answer["facts"], "cores": asdict(places)}
    return Run(entered, written, received, len(seen["received"]), lost, facts, answer["stages_ns"])


def latencies(
    sent_ns: npt.NDArray[np.int64],
    stamps: Sequence[Sequence[int]],
    warmup: int,
    first_tag: int = FIRST_CENTISHARES,
    tags: int = TAGS,
) -> tuple[Any, int]:
    """Latency in ns of each frame after the warm-up, and how many frames found no request at all.

    `stamps` are (tag, ns) of requests. A frame is answered by the first request that was caused by it or by a
    later frame: where a stack skips frames that a newer one has overtaken, the skipped ones wait for the
    newer one's order. Frame n has the tag `first_tag` + n modulo `tags`.
    """
    total = len(sent_ns)
    first = np.full(total, np.iinfo(np.int64).max, dtype=np.int64)
    for tag, ns in stamps:
        behind = int(np.searchsorted(sent_ns, ns)) - 1  # the newest frame that this request can have seen
        if behind < 0:
            continue
        number = behind - (behind - (tag - first_tag)) % tags
        if number >= 0:
            first[number] = min(first[number], ns)
    answered = np.minimum.accumulate(first[::-1])[::-1]
    known = answered[warmup:] != np.iinfo(np.int64).max
    return (answered[warmup:] - sent_ns[warmup:])[known], int(np.count_nonzero(~known))


def rows_of(title: str, runs: Sequence[Run], rows: dict[str, list[harness.Distribution]]) -> None:
    """Adds the rows of one bot, all its turns taken together."""
    requests, lost = sum(one.requests for one in runs), sum(one.unanswered for one in runs)
    note = f"{requests} requests" + (f", {lost} frames unanswered" if lost else "")
    ends = (
        ("order written", [one.written_ns for one in runs]),
        ("order received", [one.received_ns for one in runs]),
        ("the bot's code entered", [one.entered_ns for one in runs]),
    )
    for end, parts in ends:
        if sum(map(len, parts)):
            values = np.concatenate(parts)
            medians = [float(np.median(part)) for part in parts if len(part)]
            facts = {**runs[0].facts, "p50_of_turns": medians}
            text = f"p10 {np.percentile(values, 10):.0f}; {note}"
            rows.setdefault(f"frame sent → {end}", []).append(
                harness.distribution(title, values, text, **facts)
            )
    for stage in runs[0].stages_ns:
        samples = np.concatenate([one.stages_ns[stage] for one in runs])
        text = f"p10 {np.percentile(samples, 10):.0f}"
        rows.setdefault(f"stage: {stage}", []).append(harness.distribution(title, samples, text))


def cores_text(cores: dict[str, Any]) -> str:
    """Who ran where, as `Places` says."""
    named = [f"{who} {', '.join(map(str, cores[who])) or 'any'}" for who in ("server", "stack", "executor")]
    return "; ".join(named)


def with_ratios(rows: list[harness.Distribution]) -> list[harness.Distribution]:
    """The rows with `ratio` of their p50 to the first row's."""
    base = rows[0].p50
    return [harness.Distribution(**{**vars(row), "ratio": row.p50 / base}) for row in rows]


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(prog="python -m bench.tick_to_order", description=__doc__.split("\n\n")[0])
    out.add_argument("--stack", choices=[*STACKS, "all"], default="all")
    link = out.add_mutually_exclusive_group()
    link.add_argument(
        "--tls", dest="tls", action="store_true", default=True, help="orders over TLS (default)"
    )
    link.add_argument("--plain", dest="tls", action="store_false", help="orders without TLS")
    out.add_argument(
        "--orders", type=int, default=1, choices=range(1, 16), metavar="1..15", help="orders per frame"
    )
    out.add_argument(
        "--executor", choices=["spin", "park", "both"], default="both", help="how ours waits for commands"
    )
    out.add_argument(
        "--busy-ms", type=float, default=0.0, help="ours: Python work holding the GIL after each frame"
    )
    out.add_argument(
        "--gap-ms",
        type=float,
        default=25.0,
        help="between frames; 25 leaves caches as cold as real ones and 15 orders a frame below 600 a second",
    )
    out.add_argument(
        "--busy-in", choices=["c", "python"], default="c", help="ours: whether that work can be interrupted"
    )
    out.add_argument(
        "--sign-ahead",
        type=int,
        default=64,
        help="ours: the setting of that name, in rows of their own beside those without; 0: no such rows",
    )
    out.add_argument("--rehearse-ms", type=int, default=5, help="ours: the setting of that name; 0: never")
    out.add_argument(
        "--switch-us", type=float, default=0.0, help="switch interval of the interpreter, all stacks"
    )
    out.add_argument("--frames", type=int, default=250, help="counted frames of each turn")
    out.add_argument("--turns", type=int, default=4, help="how often each bot runs, one after another")
    out.add_argument("--warmup", type=int, default=50, help="frames before the counted ones")
    out.add_argument("--peer-python", default=sys.executable, help="interpreter of the peer stacks")
    out.add_argument(
        "--short", action="store_true", help="a few frames: proves that the bench works, no figures"
    )
    out.add_argument("--json", metavar="FILE")
    return out


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.short:
        os.environ["INVMM_BENCH_SHORT"] = "1"
        harness.SHORT = True
        options.frames, options.warmup, options.turns = min(options.frames, 40), min(options.warmup, 5), 1
    harness.require_release()
    names = list(STACKS) if options.stack == "all" else [options.stack]
    rows: dict[str, list[harness.Distribution]] = {}
    notes: list[str] = []
    failed = False
    with tempfile.TemporaryDirectory(prefix="invmm-bench-") as folder:
        try:
            tls = certificate(Path(folder)) if options.tls else None
        except SkippedError as reason:
            notes.append(f"TLS: {reason}; orders go in the clear")
            tls = None
        bots = [
            (name, executor)
            for name in names
            for executor in _executors(name, options.executor, options.sign_ahead)
        ]
        done: dict[tuple[str, str], list[Run]] = {}
        left = list(bots)
        for turn in range(options.turns):  # in turns, so that a slow moment of the machine meets everyone
            for bot in list(left):
                name, executor = bot
                begin = time.monotonic()
                title = _title(name, executor, options)
                try:
                    python = sys.executable if name == "ours" else options.peer_python
                    done.setdefault(bot, []).append(run(name, python, options, executor, tls))
                except SkippedError as reason:
                    notes.append(str(reason))
                    failed |= options.stack == name
                    left.remove(bot)
                except (RuntimeError, subprocess.TimeoutExpired, ValueError) as error:
                    # A peer's package that is missing deeper down is a skip like any other; ours must run.
                    is_missing = name != "ours" and "ModuleNotFoundError" in str(error)
                    notes.append(f"{title} {'skipped' if is_missing else 'FAILED'}: {str(error)[-300:]}")
                    failed |= not is_missing or options.stack == name
                    left.remove(bot)
                print(f"turn {turn + 1}, {title}: {time.monotonic() - begin:.1f} s", file=sys.stderr)
        for bot in bots:
            if done.get(bot):
                rows_of(_title(*bot, options), done[bot], rows)
                notes.append(f"cores of {_title(*bot, options)}: {cores_text(done[bot][0].facts['cores'])}")
    groups = {
        f"{name} ({_link(tls)}, gap {options.gap_ms:g} ms)": with_ratios(group)
        for name, group in rows.items()
    }
    harness.report("Tick to order", groups, notes, options.json)
    return int(failed or not rows)


def _executors(name: str, wanted: str, sign_ahead: int) -> list[str]:
    if name != "ours":
        return ["inline" if name == "best-python" else "pool"]
    return [
        wait + ahead
        for wait in (["spin", "park"] if wanted == "both" else [wanted])
        for ahead in (("", AHEAD) if sign_ahead else ("",))
    ]


def _title(name: str, executor: str, options: argparse.Namespace) -> str:
    orders = f"{options.orders} order{'s' if options.orders > 1 else ''}"
    busy = f", engine busy {options.busy_ms:g} ms" if name == "ours" and options.busy_ms else ""
    return f"{name}, {executor}, {orders}{busy}"


def _link(tls: tuple[str, str, str] | None) -> str:
    return "TLS" if tls else "plain"


if __name__ == "__main__":
    sys.exit(main())
