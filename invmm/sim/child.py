"""Starts the embedded venue's server as a child process and stops it; from the parent's side it is an
address.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from invmm.errors import TransportError
from invmm.sim import spool
from invmm.sim.host import ChildCredentials, VenueHost

__all__ = ["ChildCredentials", "VenueChild"]


class VenueChild(VenueHost):
    """The server in a child process. `errors` is what the child wrote to standard error."""

    _process: subprocess.Popen[str] | None = None
    _folder: Path | None = None
    _reader: threading.Thread | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process is not None else None

    @property
    def returncode(self) -> int | None:
        """Exit code when it has ended by itself, None while it runs."""
        return self._process.poll() if self._process is not None else None

    def start(self, timeout_s: float = 60.0) -> None:
        """Starts the child and waits until it listens; TransportError with its standard error when it does
        not.
        """
        self._folder = Path(tempfile.mkdtemp(prefix="invmm-venue-"))
        folders = [spool.write(tape, self._folder / str(index)) for index, tape in enumerate(self._tapes)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "invmm.sim.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=spool.environment(),
            # A Ctrl-C in the terminal is the parent's to handle: it still has orders to cancel.
            start_new_session=True,
        )
        process = self._process
        self._reader = threading.Thread(
            target=self._read_errors, args=(process,), name="venue-stderr", daemon=True
        )
        self._reader.start()
        config = {"tapes": [str(folder) for folder in folders], **self._config()}
        assert process.stdin is not None
        assert process.stdout is not None
        killer = threading.Timer(timeout_s, process.kill)
        try:
            killer.start()
            process.stdin.write(json.dumps(config) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        except BaseException:  # interrupted: what has not begun has nothing to finish
            process.kill()
            raise
        finally:
            killer.cancel()
        if not line:
            self.stop()
            raise TransportError(f"the embedded venue did not start within {timeout_s} s:\n{self.errors}")
        told = json.loads(line)
        self.port, self.rpc_url = int(told["port"]), told["rpc_url"]
        shutil.rmtree(self._folder, ignore_errors=True)  # the child has read it

    def _read_errors(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with (
            process.stderr as stream
        ):  # closed here: a child of the child may hold its end longer
            for line in stream:
                self._errors.append(line)

    def stop(self, timeout_s: float = 5.0) -> int | None:
        """Ends the child: closes its standard input, then insists. Returns its exit code."""
        process, self._process = self._process, None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        if process is None:
            return None
        assert process.stdin is not None
        try:
            process.stdin.close()
            process.wait(timeout_s)
        except (OSError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()
        if self._reader is not None:
            self._reader.join(1.0)
        if process.stdout is not None:
            process.stdout.close()
        return process.returncode
