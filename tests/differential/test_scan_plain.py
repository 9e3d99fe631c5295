"""The scanners without SSE2, which machines other than x86-64 use, read every frame as the usual ones do."""

from __future__ import annotations

import ctypes
import os
import platform
import random
import shlex
import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.differential.fuzz_decode import DOWN, UP, exact, mutate, recorded_frames, synthetic

ROOT = Path(__file__).parents[2]
ROOM = 200_000
Scanner = Callable[[bytes], list[int]]


def compiler() -> str:
    words = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    if shutil.which(words[0]) is None:
        pytest.skip(f"no C compiler {words[0]}")
    return words[0]


def build(folder: Path, *macros: str) -> ctypes.CDLL:
    out = folder / f"scan{''.join(macros)}.so"
    source = ROOT / "tests" / "differential" / "scan_harness.c"
    flags = ["-O2", "-Wall", "-Werror", "-Wno-unused-function", "-fwrapv", "-shared", "-fPIC"]
    command = [compiler(), *flags, *macros, f"-I{ROOT / 'invmm' / '_ext'}", str(source), "-o", str(out)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    library = ctypes.CDLL(str(out))
    library.scan_numbers.restype = ctypes.c_long
    return library


def scanner(library: ctypes.CDLL) -> Scanner:
    numbers = (ctypes.c_int64 * ROOM)()
    up, down = UP.encode(), DOWN.encode()

    def scan(frame: bytes) -> list[int]:
        count = library.scan_numbers(up, down, frame, ctypes.c_long(len(frame)), numbers, ctypes.c_long(ROOM))
        assert count > 0, frame
        return numbers[:count]

    return scan


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> tuple[ctypes.CDLL, ctypes.CDLL]:
    folder = tmp_path_factory.mktemp("scan")
    return build(folder), build(folder, "-DINVMM_PLAIN")


def test_the_usual_scanners_use_sse2_where_there_is_one(libraries: tuple[ctypes.CDLL, ctypes.CDLL]) -> None:
    usual, plain = libraries
    assert plain.scan_uses_sse2() == 0
    assert usual.scan_uses_sse2() == (platform.machine() in ("x86_64", "AMD64"))


def test_mutated_frames_mean_the_same_with_and_without_wide_registers(
    libraries: tuple[ctypes.CDLL, ctypes.CDLL],
) -> None:
    wide, plain = (scanner(library) for library in libraries)
    rng = random.Random(20260416)
    seeds = recorded_frames()
    ways = [0, 0, 0]
    for _ in range(8_000):
        if seeds and rng.random() < 0.3:
            frame = rng.choice(seeds)
        else:
            frame = exact(rng) if rng.random() < 0.6 else synthetic(rng)
        frame = mutate(rng, frame)
        found = wide(frame)
        assert found == plain(frame), frame
        ways[found[0]] += 1
    assert min(ways) > 500  # refused, by the template, by the general scanner


def test_every_byte_value_at_every_place_of_a_frame_means_the_same(
    libraries: tuple[ctypes.CDLL, ctypes.CDLL],
) -> None:
    wide, plain = (scanner(library) for library in libraries)
    rng = random.Random(1)
    frame = bytearray(exact(rng))
    while frame.count(b"asset_id") != 2:
        frame = bytearray(exact(rng))
    for place, kept in enumerate(frame):
        for value in range(0, 256, 1 if place % 7 == 0 else 11):
            frame[place] = value
            assert wide(bytes(frame)) == plain(bytes(frame)), bytes(frame)
        frame[place] = kept
