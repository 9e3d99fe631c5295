"""The bytes of orders that were just sent."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from invmm.execution import answers
from invmm.execution.answers import Asked
from invmm.execution.resend import AGE_MAX_NS, REQUESTS_MAX, SentBytes
from invmm.types import COMMAND_DTYPE, OrderStatus, Reason

ID = "0x" + "ab" * 32


def legs(*keys: int) -> np.ndarray:
    rows = np.zeros(len(keys), COMMAND_DTYPE)
    rows["key"] = keys
    return rows


def order(key: int) -> bytes:
    return b'{"order":{"salt":%d},"owner":"me"}' % key


def body(*keys: int) -> bytes:
    return b"[" + b",".join(order(key) for key in keys) + b"]"


def test_one_order_of_a_batch_is_found_byte_for_byte():
    sent = SentBytes()
    sent.keep(legs(1), body(1), 0)
    sent.keep(legs(2, 3, 4), body(2, 3, 4), 0)
    for key in (1, 2, 3, 4):
        leg, data = sent.find(key, 10)
        assert int(leg["key"][0]) == key
        assert data == body(key)
    leg, data = sent.find(5, 10)
    assert (len(leg), data) == (0, b"")


def test_two_seconds_are_the_end():
    sent = SentBytes()
    sent.keep(legs(1), body(1), 100)
    assert sent.find(1, 100 + AGE_MAX_NS)[1] == body(1)
    assert sent.find(1, 101 + AGE_MAX_NS)[1] == b""


def test_what_is_kept_is_bounded():
    sent = SentBytes()
    for key in range(REQUESTS_MAX + 5):
        sent.keep(legs(key), body(key), 0)
    assert sent.find(4, 0)[1] == b""
    assert sent.find(5, 0)[1] == body(5)


def test_a_body_that_does_not_fit_its_legs_is_not_sent():
    sent = SentBytes()
    sent.keep(legs(1, 2), body(1), 0)
    assert sent.find(1, 0)[1] == b""


def leg_answer(status: str, error: str = "", order_id: str = ID) -> bytes:
    return orjson.dumps([{"success": True, "errorMsg": error, "orderID": order_id, "status": status}])


@pytest.mark.parametrize(
    ("code", "data", "status", "reason"),
    [
        (200, leg_answer("live"), OrderStatus.LIVE, Reason.NONE),
        (200, leg_answer("matched"), OrderStatus.MATCHED, Reason.NONE),
        (
            400,
            orjson.dumps({"error": f"order {ID} is invalid. Duplicated."}),
            OrderStatus.UNKNOWN,
            Reason.IN_FLIGHT,
        ),
        (200, leg_answer("", "Duplicated.", ""), OrderStatus.UNKNOWN, Reason.IN_FLIGHT),
        (
            400,
            orjson.dumps({"error": "not enough balance / allowance"}),
            OrderStatus.COPY_REFUSED,
            Reason.VENUE_BALANCE,
        ),
        (
            200,
            leg_answer("", "invalid post-only order: order crosses book", ""),
            OrderStatus.COPY_REFUSED,
            Reason.VENUE_POST_ONLY,
        ),
        (425, b"service not ready", OrderStatus.UNKNOWN, Reason.VENUE_MODE),
        (0, b"", OrderStatus.UNKNOWN, Reason.TRANSPORT),
    ],
)
def test_a_copy_that_is_refused_proves_nothing_about_the_original(
    code: int, data: bytes, status: OrderStatus, reason: Reason
):
    verdict = answers.resent(code, data, Asked(ID))
    assert (verdict.status, verdict.reason) == (status, reason)
