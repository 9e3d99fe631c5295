"""The checks of `invmm doctor` that concern this machine and the way from it to the venue."""

from __future__ import annotations

import asyncio
import os
import platform
import ssl
import statistics
import sys
import time
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import orjson

from invmm import build_mode
from invmm.errors import TransportError
from invmm.ops.checks import Line, Patient, failed, passed, skipped
from invmm.venue.rest import Transport

SAMPLES: Final = 8
SLOW_MS: Final = 250.0
"""A round trip beyond this leaves too little of a second for quoting."""
NEARER: Final = "run nearer to the venue: its servers are in AWS eu-west-2 (London)"
CPU_FILES: Final = {
    "isolated": "/sys/devices/system/cpu/isolated",
    "governor": "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
    "clock_source": "/sys/devices/system/clocksource/clocksource0/current_clocksource",
}


async def machine(patient: Patient) -> list[Line]:
    """The build that is loaded, and what this machine offers to the two hot threads.

    What only costs speed fails at the live venue only.
    """
    mode, cores = build_mode(), sorted(os.sched_getaffinity(0))
    detail = f"{mode} build, Python {platform.python_version()}"
    if mode == "release" or patient.profile.loopback:
        lines = [passed("build", detail, build=mode)]
    else:
        lines = [failed("build", detail, "install the release build: checks cost speed", build=mode)]
    told = {name: _text(path) or "not shown" for name, path in CPU_FILES.items()}
    told["cpu"] = _cpu_model()
    interval_us = round(sys.getswitchinterval() * 1e6)
    detail = ", ".join([f"{len(cores)} to run on", *(f"{name} {text}" for name, text in told.items())])
    facts = {"cores": cores, "switch_interval_us": interval_us, **told}
    if len(cores) >= 2 or patient.profile.loopback:
        return [*lines, passed("cores", detail, **facts)]
    return [*lines, failed("cores", detail, "allow two: the engine's and the executor's thread", **facts)]


async def latency(patient: Patient) -> list[Line]:
    """Round trips to each host of the profile: with connecting, and on the warm connection."""
    profile = patient.profile
    hosts = {"order book": profile.rest_url, "Gamma": profile.gamma_url, "data API": profile.data_url}
    sockets = {"market feed": profile.market_url, "user feed": profile.user_url, "prices": profile.price_url}
    lines = [await _round_trips(f"latency {name}", url) for name, url in hosts.items() if url]
    return lines + [await _connecting(f"latency {name}", url) for name, url in sockets.items() if url]


async def _round_trips(name: str, url: str) -> Line:
    transport, trips = Transport(url, timeout_s=5.0), []
    try:
        for _ in range(SAMPLES + 1):  # any answer will do, a 404 too
            trips.append((await transport.send("GET", "/time")).round_trip_ns / 1e6)
    except TransportError as error:
        return failed(name, str(error), f"check the network to {urlsplit(url).hostname}")
    finally:
        await transport.close()
    first, *warm = trips
    middle, worst, jitter = statistics.median(warm), max(warm), statistics.pstdev(warm)
    facts = {"round_trip_ms": _rounded(warm), "jitter_ms": round(jitter, 2), "connect_ms": round(first, 2)}
    detail = f"{middle:.1f} ms warm (worst {worst:.1f}, jitter {jitter:.1f}), {first:.1f} ms with connecting"
    return failed(name, detail, NEARER, **facts) if middle > SLOW_MS else passed(name, detail, **facts)


async def _connecting(name: str, url: str) -> Line:
    """TCP and TLS only: the feeds say nothing until they are subscribed."""
    parts, trips = urlsplit(url), []
    tls = ssl.create_default_context() if parts.scheme == "wss" else None
    try:
        for _ in range(3):
            start_ns = time.perf_counter_ns()
            async with asyncio.timeout(5.0):
                _, writer = await asyncio.open_connection(parts.hostname, parts.port or 443, ssl=tls)
            trips.append((time.perf_counter_ns() - start_ns) / 1e6)
            writer.transport.abort()
    except OSError as error:
        return failed(name, f"{type(error).__name__}: {error}", f"check the network to {parts.hostname}")
    return passed(name, f"connected in {statistics.median(trips):.1f} ms", connect_ms=_rounded(trips))


async def geoblock(patient: Patient) -> list[Line]:
    """Whether the venue takes orders from where this machine is."""
    if not patient.profile.web_url:
        return [skipped("geoblock", "the profile names no web host")]
    transport = Transport(patient.profile.web_url, timeout_s=5.0)
    try:
        answer = await transport.send("GET", "/api/geoblock")
    except TransportError as error:
        return [skipped("geoblock", f"could not be asked: {error}")]
    finally:
        await transport.close()
    try:
        told = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        told = None
    if not isinstance(told, dict) or not isinstance(told.get("blocked"), bool):
        return [skipped("geoblock", f"status {answer.status}, not the documented answer")]
    where = f"{told.get('country')}/{told.get('region')}"
    if told["blocked"]:
        fix = "orders from here are refused; run where the venue admits it"
        return [failed("geoblock", f"blocked in {where}", fix, where=where)]
    return [passed("geoblock", f"not blocked in {where}", where=where)]


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 2) for value in values]


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _cpu_model() -> str:
    for line in _text("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
