"""What a drill is made of: a line that can be cut, and child processes that are watched and killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from typing import Any

from invmm.sim import spool


class Line:
    """Forwards connections to a port of this machine until it is cut."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self._to = port
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Listens on a free port of loopback."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Resets every connection; new ones are refused from now on."""
        if self._server is not None:
            self._server.close()
        for end in list(self._ends):
            end.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self._ends |= ends
        await asyncio.gather(_pipe(reader, far_writer), _pipe(far_reader, writer))
        self._ends -= ends
        for end in ends:
            end.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        writer.write_eof()


class Process:
    """A child process whose lines are kept with the time at which they came (CLOCK_MONOTONIC, seconds)."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self.child = child
        self.lines: list[tuple[float, str]] = []
        self._reading = asyncio.get_running_loop().create_task(self._read())

    @classmethod
    async def start(cls, *command: str, **environ: str) -> Process:
        """Starts a Python program; secrets go by `environ` or standard input, never by `command`."""
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            env={**spool.environment(), **environ},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=1 << 20,
        )
        return cls(child)

    async def _read(self) -> None:
        assert self.child.stdout is not None
        async for line in self.child.stdout:
            self.lines.append((time.monotonic(), line.decode(errors="replace").rstrip()))

    def tell(self, line: str) -> None:
        """One line to its standard input."""
        assert self.child.stdin is not None
        self.child.stdin.write(line.encode() + b"\n")

    def kill(self, number: int) -> None:
        """Sends a signal, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self.child.send_signal(number)

    async def end(self, number: int) -> None:
        """Sends a signal and waits; kills it when it does not heed."""
        self.kill(number)
        self.kill(signal.SIGCONT)
        try:
            await asyncio.wait_for(self.child.wait(), 10.0)
        except TimeoutError:
            self.kill(signal.SIGKILL)
            await self.child.wait()
        await self._reading

    def events(self, name: str) -> list[tuple[float, dict[str, Any]]]:
        """What a `--json` command has told."""
        told = [(at, json.loads(line)) for at, line in self.lines if line.startswith("{")]
        return [(at, one) for at, one in told if one.get("event") == name]
