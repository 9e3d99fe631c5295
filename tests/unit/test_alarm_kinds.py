"""Every kind of alarm is raised by a test that says which one it expects."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from invmm.clock import LiveClock
from invmm.execution.journal import SessionJournal
from invmm.execution.remote import RemoteVenue
from invmm.permission import AlarmKind, Permission
from invmm.rolling_session import RollingSession
from invmm.settings import Settings, StateSettings
from invmm.testing import Series, TestVenue
from invmm.venue.auth import OrderSigner
from invmm.venue.discovery import Discovery
from invmm.venue.series import Series as WindowSeries

TESTS = Path(__file__).resolve().parents[1]
RAISED = set(
    re.findall(
        r"kinds\[AlarmKind\.([A-Z_]+)\] [=>]",
        "".join(path.read_text() for path in TESTS.rglob("test_*.py")),
    )
)


@pytest.mark.parametrize("kind", AlarmKind, ids=lambda kind: kind.value)
def test_each_kind_of_alarm_is_raised_by_some_test(kind: AlarmKind) -> None:
    assert kind.name in RAISED


def test_a_journal_that_has_failed_is_an_alarm_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    permission = Permission(lambda mode: None, print)
    with SessionJournal(tmp_path, StateSettings(), LiveClock(), background=False) as journal:
        monkeypatch.setattr(SessionJournal, "failed", property(lambda self: "it cannot be written: full"))
        journal.tick([], (), permission)
        journal.tick([], (), permission)
    assert permission.kinds[AlarmKind.JOURNAL] == 1


def test_a_live_session_without_a_reaper_is_an_alarm() -> None:
    heard: list[str] = []

    async def play() -> None:
        with TestVenue(Series("btc-updown-1m", tape="light"), in_process=True) as venue:
            clock = venue.clock()
            remote = RemoteVenue(
                venue.profile, venue.credentials, OrderSigner(venue.private_key), clock, Settings()
            )
            find = Discovery(venue.profile).window_blocking
            minute = WindowSeries("btc-updown-1m", "btc", 60)
            session = RollingSession(
                Settings(),
                minute,
                remote,
                clock,
                find,
                headless=True,
                duration_s=1,
                watch=lambda: "none runs",
            )
            session.engine.permission.on_alarm = lambda text, _: heard.append(text)
            await session.run()
            assert session.engine.permission.kinds[AlarmKind.REAPER] == 1

    asyncio.run(play())
    assert "no reaper watches over this session: none runs" in heard
