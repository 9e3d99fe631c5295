"""`invmm drill`: what happens, not how fast; its bounds are for people to measure."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from invmm.ops import drill
from invmm.ops.drill import BOUNDS_S, Drilled, main, table_of
from invmm.ops.drill_parts import Line

ROOT = Path(__file__).resolve().parents[2]
AGENTS = {
    "sigkill": {"reaper"},
    "sigstop": {"reaper"},
    "wedge": {"executor", "reaper"},  # both after three seconds
    "network": {"venue heartbeat", "reaper"},
}


def drilled(kind: str) -> list[dict[str, Any]]:
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-m", "invmm.ops.cli", "drill", "--kind", kind, "--json"],
        env={**environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    told = json.loads(done.stdout)
    assert told["ok"] is (done.returncode == 0)
    drills: list[dict[str, Any]] = told["drills"]
    return drills


def test_the_orders_of_a_killed_engine_are_ended_by_the_reaper() -> None:
    (one,) = drilled("sigkill")
    assert (one["kind"], one["left"]) == ("sigkill", 0)
    assert one["orders"] >= 2
    assert set(one["ended_by"]) - {"fill"} == {"reaper"}
    assert one["noticed_s"] is not None


@pytest.mark.slow
def test_every_drill_ends_with_nothing_alive_and_by_whom_it_should() -> None:
    drills = drilled("all")
    assert [one["kind"] for one in drills] == list(BOUNDS_S)
    for one in drills:
        assert one["left"] == 0, one
        assert set(one["ended_by"]) - {"fill"} <= AGENTS[one["kind"]], one
        assert one["placed_on_waking"] == 0, one


def test_a_bound_that_is_missed_or_an_order_that_lives_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ends(zero_s: float | None, left: int) -> tuple[int, str]:
        result = Drilled("sigkill", 6, 0.5, zero_s, 4.0, {"reaper": 6 - left}, left)

        async def run(*_: object) -> list[Drilled]:
            return [result]

        monkeypatch.setattr(drill.Drill, "run", run)
        return main(["--kind", "sigkill"]), capsys.readouterr().out

    assert ends(0.6, 0)[0] == 0
    code, said = ends(4.1, 0)
    assert (code, "MISSED" in said) == (1, True)
    code, said = ends(None, 2)
    assert (code, "2 ALIVE" in said) == (1, True)


def test_a_table_names_every_agent() -> None:
    table = table_of([Drilled("network", 5, None, 11.0, 17.0, {"venue heartbeat": 4, "fill": 1}, 0)])
    assert table.row_count == 1
    assert list(table.columns[5].cells) == ["4 by venue heartbeat, 1 by fill"]


def test_a_line_carries_both_ways_until_it_is_cut() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await reader.read()
        writer.close()

    async def play() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        line = Line(server.sockets[0].getsockname()[1])
        await line.open()
        reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
        writer.write(b"there\n")
        assert await reader.readline() == b"there\n"
        line.cut()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", line.port)
        writer.close()
        server.close()
        await server.wait_closed()

    asyncio.run(play())
