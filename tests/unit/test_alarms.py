"""Alarms reach a command and a webhook, and hold nothing up on the way."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from invmm.errors import ConfigError
from invmm.ops import alarms
from invmm.ops.alarms import AlarmHooks

WRITE = "import sys, pathlib; pathlib.Path(sys.argv[1]).open('ab').write(sys.stdin.buffer.read())"


class _Receiver(HTTPServer):
    def __init__(self) -> None:
        self.got: list[dict[str, object]] = []
        self.refuse = 0
        self.asked = 0
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, _Receiver)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.asked += 1
        if server.refuse:
            server.refuse -= 1
            self.send_response(500)
        else:
            server.got.append(json.loads(body) | {"path": self.path})
            self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[_Receiver]:
    server = _Receiver()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_alarm_reaches_the_command_and_the_webhook(tmp_path: Path, receiver: _Receiver) -> None:
    out = tmp_path / "alarms of today"
    hooks = AlarmHooks(
        f"{sys.executable} -c \"{WRITE}\" '{out}'",
        f"http://127.0.0.1:{receiver.server_port}/alarms?key=1",
        print,
    )
    hooks.raise_("foreign_order", "an open order is not ours")
    hooks.raise_("kill", "level 2", source="kill")
    hooks.close(30)
    told = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(each["kind"], each["text"], each["source"]) for each in told] == [
        ("foreign_order", "an open order is not ours", "engine"),
        ("kill", "level 2", "kill"),
    ]
    assert [(each["kind"], each["path"]) for each in receiver.got] == [
        ("foreign_order", "/alarms?key=1"),
        ("kill", "/alarms?key=1"),
    ]
    assert abs(told[0]["time_ns"] - time.time_ns()) < 3600e9
    assert (hooks.delivered, hooks.failed, hooks.dropped) == (4, 0, 0)


def test_a_delivery_that_fails_is_tried_again_and_then_said(
    receiver: _Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarms, "PAUSE_S", 0.01)
    said: list[str] = []
    hooks = AlarmHooks("", f"http://127.0.0.1:{receiver.server_port}/", said.append)
    receiver.refuse = 2
    hooks.raise_("stale", "first")
    while receiver.asked < 3:
        time.sleep(0.01)
    receiver.refuse = 3
    hooks.raise_("stale", "second")
    hooks.raise_("stale", "third")
    hooks.close(30)
    assert [each["text"] for each in receiver.got] == ["first", "third"]
    assert said == ["the alarm 'stale' did not get through to the webhook: HTTPException: answered 500"]
    assert (hooks.delivered, hooks.failed) == (2, 1)


def test_a_command_that_fails_or_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarms, "PAUSE_S", 0.01)
    said: list[str] = []
    for command in (f"{sys.executable} -c 'raise SystemExit(3)'", "/nowhere/at/all"):
        hooks = AlarmHooks(command, "", said.append)
        hooks.raise_("kill", "x")
        hooks.close(60)
        assert hooks.failed == 1
    assert "CalledProcessError" in said[0]
    assert "FileNotFoundError" in said[1]


def test_raising_never_blocks_and_counts_what_it_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    hooks = AlarmHooks(f"{sys.executable} -c 'import time; time.sleep(60)'", "", print, timeout_s=0.2)
    for number in range(1000):
        hooks.raise_("stale", str(number))
    assert hooks.dropped >= 1000 - alarms.QUEUE_MAX - 1
    hooks.close(0.01)


def test_without_hooks_there_is_no_thread() -> None:
    before = threading.active_count()
    hooks = AlarmHooks("", "", print)
    hooks.raise_("kill", "x")
    hooks.close()
    assert threading.active_count() == before


@pytest.mark.parametrize(
    "webhook", ["http://example.com/", "ftp://127.0.0.1/", "https:///x", "https://me@host/", "nonsense"]
)
def test_a_webhook_elsewhere_without_tls_is_refused(webhook: str) -> None:
    with pytest.raises(ConfigError, match=r"\[alarms\] webhook: expected https") as raised:
        AlarmHooks("", webhook, print)
    assert webhook not in str(raised.value)


def test_a_command_that_cannot_be_split_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\[alarms\] command"):
        AlarmHooks("say 'hello", "", print)
