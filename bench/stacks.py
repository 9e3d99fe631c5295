"""What is timed from tick to order: the `Stack` protocol, its settings, and the child process that runs one.

`python -m bench.stacks NAME SETTINGS` (SETTINGS is JSON) connects to the timing server, trades until the
server closes the feed and prints one JSON line. The interpreter may be another one than the server's, so
nothing of invmm is imported here.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

STACKS = {
    "ours": "bench.stack_ours:OurStack",
    "best-python": "bench.stack_best_python:BestPythonStack",
    "typical": "bench.stack_typical:TypicalStack",
}


class MissingError(Exception):
    """A package that the stack stands on is not installed; says which."""


@dataclass(frozen=True)
class StackSettings:
    """Where the server is and what to do on a tick.

    `orders` BUY orders per frame, thirty cents below the best ask of Up and on the levels below that; peers
    give each the size that the frame gave the best ask. `busy_ms`: the engine's thread works for so long at a
    time, without a pause, `busy_in` "c" (the GIL is held) or "python" (it is let go when somebody asks long
    enough). `switch_s`: the interpreter's switch interval, None for what the stack sets itself.
    `rehearse_ms` and `sign_ahead`: as in `[executor]` of our settings.
    """

    feed_port: int
    http_port: int
    tls: bool
    ca_file: str | None
    orders: int = 1
    executor: str = "spin"
    busy_ms: float = 0.0
    busy_in: str = "c"
    switch_s: float | None = None
    rehearse_ms: int = 5
    sign_ahead: int = 0
    cores: tuple[int, ...] = ()
    executor_cores: tuple[int, ...] = ()  # of the thread that sends, where a stack has one


@dataclass
class StackResult:
    """What the stack itself saw, as `(tag, CLOCK_MONOTONIC ns)`.

    `entered`: its code was handed the frame. `written`: the request's last write had returned.
    """

    entered: list[tuple[int, int]] = field(default_factory=list)
    written: list[tuple[int, int]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    stages_ns: dict[str, list[int]] = field(default_factory=dict)


class Stack(Protocol):
    """A whole bot: feed, book, decision, signing, request. `run` returns when the feed is closed."""

    def __init__(self, settings: StackSettings) -> None: ...

    def run(self) -> StackResult: ...


def load(name: str) -> type[Any]:
    """The class of a stack; MissingError when one of its packages is not installed."""
    module, _, kind = STACKS[name].partition(":")
    try:
        return getattr(import_module(module), kind)  # type: ignore[no-any-return]
    except ImportError as error:
        raise MissingError(str(error)) from error


def main() -> int:
    name, text = sys.argv[1:3]
    given = json.loads(text)
    given |= {name: tuple(given.get(name, ())) for name in ("cores", "executor_cores")}
    settings = StackSettings(**given)
    if settings.cores:
        os.sched_setaffinity(0, settings.cores)
    try:
        stack = load(name)(settings)
        if settings.switch_s is not None:
            sys.setswitchinterval(settings.switch_s)
        gc.collect()
        gc.freeze()
        result: StackResult = stack.run()
    except MissingError as error:
        print(json.dumps({"missing": str(error)}), flush=True)
        return 0
    result.facts["python"] = sys.version.split()[0]
    answer = {
        "entered": result.entered,
        "written": result.written,
        "facts": result.facts,
        "stages_ns": result.stages_ns,
    }
    print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
