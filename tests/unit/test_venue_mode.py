"""What the venue takes, from its answers."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invmm.execution.throttle import SECOND_NS
from invmm.execution.venue_mode import VenueModes, told_mode
from invmm.types import VenueMode

DISABLED = orjson.dumps({"error": "Trading is currently disabled. Check polymarket.com for updates"})
CANCEL_ONLY = orjson.dumps(
    {"error": "Trading is currently cancel-only. New orders are not accepted, but cancels are allowed."}
)
POST_ONLY = orjson.dumps(
    {
        "error": "post-only mode: only post-only orders and cancels are allowed",
        "code": "post_only_mode",
        "retry_after_seconds": 79,
    }
)
LISTED = orjson.dumps({"canceled": [], "not_canceled": {}})
NOW = 1_000 * SECOND_NS


class Talk:
    """Modes, and a clock that a test moves by seconds."""

    def __init__(self) -> None:
        self.modes = VenueModes()
        self.now_ns = NOW

    def hear(self, code: int, body: bytes = b"", cancel: bool = False, retry: str = "") -> VenueMode:
        headers = {"retry-after": retry} if retry else {}
        return self.modes.answered(cancel, code, body, headers, self.now_ns, self.now_ns)

    def wait(self, seconds: float) -> VenueMode:
        self.now_ns += int(seconds * SECOND_NS)
        return self.modes.tick(self.now_ns)

    def due(self, cancels_wait: bool = False) -> bool:
        return self.modes.is_due(self.now_ns, cancels_wait)

    def ask(self) -> None:
        self.modes.asked(self.now_ns)


@pytest.mark.parametrize(
    ("code", "body", "mode"),
    [
        (425, b"service not ready", VenueMode.RESTARTING),
        (425, b"", VenueMode.RESTARTING),
        (503, DISABLED, VenueMode.HALTED),
        (503, CANCEL_ONLY, VenueMode.CANCEL_ONLY),
        (503, POST_ONLY, VenueMode.POST_ONLY),
        (503, b'{"error":"Post-only mode: \xe2\x80\xa6"}', VenueMode.POST_ONLY),
        (503, b"<html>Service Unavailable</html>", None),
        (503, b'{"error":"no backend"}', None),
        (503, b'{"error":7,"code":8}', None),
        (500, CANCEL_ONLY, None),
        (400, POST_ONLY, None),
        (200, b"[]", None),
        (0, b"", None),
    ],
)
def test_a_mode_is_what_the_venue_says(code: int, body: bytes, mode: VenueMode | None):
    assert told_mode(code, body) is mode


def test_a_restart_ends_with_the_first_cancel_that_is_answered_and_post_only_with_its_time():
    talk = Talk()
    assert talk.hear(425) is VenueMode.RESTARTING
    assert talk.modes.is_deaf
    talk.wait(1)
    talk.ask()
    assert talk.hear(425, cancel=True) is VenueMode.RESTARTING
    talk.wait(2)
    assert talk.hear(200, LISTED, cancel=True) is VenueMode.POST_ONLY
    assert talk.wait(119) is VenueMode.POST_ONLY
    assert talk.wait(1) is VenueMode.RUNNING


def test_questions_come_at_one_two_four_seconds_and_at_thirty_at_most():
    talk, waits = Talk(), []
    talk.hear(425)
    for _ in range(8):
        waited = 0.0
        while not talk.due():
            talk.wait(0.25)
            waited += 0.25
        waits.append(waited)
        talk.ask()
        talk.hear(425, cancel=True)
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]


def test_the_venue_may_ask_for_more_patience_but_cancels_are_not_kept_for_long():
    talk = Talk()
    talk.hear(503, DISABLED, retry="60")
    talk.wait(4)
    assert not talk.due()
    assert talk.due(cancels_wait=True)
    talk.ask()
    talk.wait(3.9)
    assert not talk.due(cancels_wait=True), "also when the question is not answered"


def test_patience_of_nothing_is_no_reason_to_hammer():
    talk = Talk()
    talk.hear(425, retry="0")
    assert not talk.due()
    talk.wait(0.25)
    assert talk.due()


def test_post_only_lasts_as_long_as_the_venue_says():
    talk = Talk()
    assert talk.hear(503, POST_ONLY) is VenueMode.POST_ONLY
    assert talk.wait(78) is VenueMode.POST_ONLY
    assert talk.wait(1) is VenueMode.RUNNING
    assert talk.hear(503, POST_ONLY, retry="5") is VenueMode.POST_ONLY
    assert talk.wait(5) is VenueMode.RUNNING


def test_a_halt_ends_by_way_of_a_cancel_and_a_trial():
    talk = Talk()
    assert talk.hear(503, DISABLED) is VenueMode.HALTED
    assert talk.hear(200, LISTED, cancel=True) is VenueMode.CANCEL_ONLY
    talk.wait(1)
    assert talk.due()
    talk.ask()
    assert talk.hear(503, CANCEL_ONLY) is VenueMode.CANCEL_ONLY
    assert not talk.due()
    talk.wait(2)
    assert talk.due()
    assert talk.hear(200, b"[]") is VenueMode.RUNNING


def test_cancels_that_work_prove_nothing_about_placements():
    talk = Talk()
    talk.hear(503, CANCEL_ONLY)
    assert talk.hear(200, LISTED, cancel=True) is VenueMode.CANCEL_ONLY
    talk.hear(503, POST_ONLY)
    assert talk.hear(200, b"[]") is VenueMode.POST_ONLY


def test_an_answer_older_than_the_mode_says_nothing():
    talk = Talk()
    asked_ns = talk.now_ns - 1
    talk.hear(425)
    assert talk.modes.answered(True, 200, LISTED, {}, asked_ns, talk.now_ns + 1) is VenueMode.RESTARTING


def test_two_requests_in_flight_do_not_hide_a_restart():
    talk = Talk()
    asked_ns = talk.now_ns
    talk.wait(0.1)
    talk.hear(200, b"[]")
    assert talk.modes.answered(False, 425, b"", {}, asked_ns, talk.now_ns) is VenueMode.RESTARTING


@given(
    st.lists(
        st.tuples(
            st.booleans(),
            st.sampled_from([0, 200, 400, 401, 404, 425, 429, 500, 503]),
            st.sampled_from([b"", b"[]", LISTED, DISABLED, CANCEL_ONLY, POST_ONLY, b"<html>"]),
            st.sampled_from(["", "0", "1", "79", "soon"]),
            st.floats(0, 40),
        ),
        max_size=40,
    )
)
def test_whatever_happened_a_venue_that_works_again_is_found_out(
    history: list[tuple[bool, int, bytes, str, float]],
):
    talk = Talk()
    for cancel, code, body, retry, wait in history:
        talk.hear(code, body, cancel, retry)
        talk.wait(wait)
    for _ in range(400):
        if talk.modes.mode is VenueMode.RUNNING:
            return
        if talk.due(cancels_wait=True):
            talk.ask()
            cancel = talk.modes.is_deaf
            talk.hear(200, LISTED if cancel else b"[]", cancel)
        talk.wait(1)
    raise AssertionError(f"still {talk.modes.mode!r}")
