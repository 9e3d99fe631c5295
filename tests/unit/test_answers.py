"""What each answer of the venue proves."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invmm.execution import answers
from invmm.execution.answers import Asked
from invmm.types import OrderStatus, OrderType, Reason, Side

A, B, C = ("0x" + digit * 64 for digit in "abc")


def leg(order_id: str = A, **changes: object) -> dict[str, object]:
    answer = {
        "success": True,
        "errorMsg": "",
        "orderID": order_id,
        "status": "live",
        "makingAmount": "",
        "takingAmount": "",
    }
    return answer | changes


def statuses(code: int, document: object, *order_ids: str) -> list[OrderStatus]:
    asked = [Asked(order_id, size_micro=100_000_000) for order_id in order_ids or (A,)]
    return [verdict.status for verdict in answers.placed(code, orjson.dumps(document), asked)]


@pytest.mark.parametrize(
    ("word", "status"),
    [("live", OrderStatus.LIVE), ("matched", OrderStatus.MATCHED), ("delayed", OrderStatus.DELAYED)],
)
def test_an_accepted_leg_has_success_id_and_a_known_status(word: str, status: OrderStatus):
    assert statuses(200, [leg(status=word)]) == [status]


@pytest.mark.parametrize(
    "changes",
    [
        {"success": False},
        {"success": "true"},
        {"success": 1},
        {"orderID": ""},
        {"orderID": None},
        {"status": "resting"},
        {"status": ""},
        {"status": None},
        {"errorMsg": "something new"},
        {"errorMsg": None},
        {"errorMsg": "order 0x… is invalid. Duplicated."},
        {"errorMsg": "could not insert order"},
        {"status": "unmatched"},
        {"orderID": C},
    ],
)
def test_anything_short_of_that_is_unknown(changes: dict[str, object]):
    assert statuses(200, [leg(**changes)]) == [OrderStatus.UNKNOWN]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("invalid post-only order: order crosses book", Reason.VENUE_POST_ONLY),
        (
            "not enough balance / allowance: the balance is not enough -> balance: 1, order amount: 2",
            Reason.VENUE_BALANCE,
        ),
        ("the market is not yet ready to process new orders", Reason.VENUE_NOT_READY),
        (f"order {A} is invalid. Size (1) lower than the minimum: 5", Reason.BELOW_MIN_SIZE),
        (f"order {A} is invalid. Price (0.505) breaks minimum tick size rule: 0.01", Reason.VENUE_REJECTED),
        ("order couldn't be fully filled. FOK orders are fully filled or killed.", Reason.VENUE_REJECTED),
        (
            "no orders found to match with FAK order. FAK orders are partially filled or killed",
            Reason.VENUE_REJECTED,
        ),
        ("invalid expiration", Reason.VENUE_REJECTED),
    ],
)
@pytest.mark.parametrize("success", [True, False])
def test_a_documented_refusal_rejects_its_leg(text: str, reason: Reason, success: bool):
    refused = leg(orderID="", errorMsg=text, success=success, status="")
    (verdict,) = answers.placed(200, orjson.dumps([refused]), [Asked(A)])
    assert (verdict.status, verdict.reason) == (OrderStatus.REJECTED, reason)
    (verdict,) = answers.placed(400, orjson.dumps({"error": text}), [Asked(A)])
    assert (verdict.status, verdict.reason) == (OrderStatus.REJECTED, reason)


def test_legs_are_matched_by_id_whatever_their_order():
    answer = [leg(C, status="delayed"), leg(A), leg(B, status="matched")]
    assert statuses(200, answer, A, B, C) == [OrderStatus.LIVE, OrderStatus.MATCHED, OrderStatus.DELAYED]


def test_a_leg_without_id_is_matched_by_its_place():
    refused = leg("", errorMsg="order crosses book")
    assert statuses(200, [leg(A), refused, leg(C)], A, B, C) == [
        OrderStatus.LIVE,
        OrderStatus.REJECTED,
        OrderStatus.LIVE,
    ]


def test_places_mean_nothing_when_answers_are_missing():
    refused = leg("", errorMsg="order crosses book")
    assert statuses(200, [refused, leg(C)], A, B, C) == [
        OrderStatus.UNKNOWN,
        OrderStatus.UNKNOWN,
        OrderStatus.LIVE,
    ]


def test_two_answers_about_one_leg_prove_nothing():
    refused = leg(A, errorMsg="order crosses book")
    assert statuses(200, [leg(A), refused], A, B) == [OrderStatus.UNKNOWN, OrderStatus.UNKNOWN]


def test_an_order_held_for_the_taker_delay_is_pending():
    assert statuses(400, {"error": "order match delayed due to market conditions"}) == [OrderStatus.DELAYED]


@pytest.mark.parametrize("code", [0, 201, 301, 401, 403, 408, 425, 429, 500, 502, 503])
def test_other_http_statuses_prove_nothing(code: int):
    assert statuses(code, {"error": "order crosses book"}) == [OrderStatus.UNKNOWN]
    assert statuses(code, [leg()]) == [OrderStatus.UNKNOWN]


def test_a_refusal_of_several_concerns_the_order_it_names():
    text = f"order {B} is invalid. Price (0.505) breaks minimum tick size rule: 0.01"
    assert statuses(400, {"error": text}, A, B) == [OrderStatus.UNKNOWN, OrderStatus.REJECTED]
    assert statuses(400, {"error": "not enough balance / allowance"}, A, B) == [OrderStatus.UNKNOWN] * 2


def test_a_refusal_of_the_request_concerns_all_legs():
    assert (
        statuses(400, {"error": "Too many orders in payload: 16, max allowed: 15"}, A, B)
        == [OrderStatus.REJECTED] * 2
    )


def test_an_unmatched_order_that_may_not_rest_is_over():
    for order_type, status in ((OrderType.FOK, OrderStatus.REJECTED), (OrderType.GTC, OrderStatus.UNKNOWN)):
        asked = [Asked(A, order_type=order_type)]
        assert answers.placed(200, orjson.dumps([leg(status="unmatched")]), asked)[0].status == status


@pytest.mark.parametrize(
    ("side", "making", "taking", "filled"),
    [
        (Side.BUY, "1.45", "5", 5_000_000),
        (Side.SELL, "5", "1.45", 5_000_000),
        (Side.BUY, "", "", 0),
        (Side.BUY, "0", "0", 0),
        (Side.BUY, "1450000", "5000000", 5_000_000),
        (Side.BUY, "", "0.000001", 1),
        (Side.BUY, "", "NaN", 0),
        (Side.BUY, "", "-5", 0),
        (Side.BUY, "", "1e99", 0),
        (Side.BUY, "", "five", 0),
        (Side.BUY, "", 5, 0),
    ],
)
def test_what_was_filled_on_entry(side: Side, making: object, taking: object, filled: int):
    answer = [leg(status="matched", makingAmount=making, takingAmount=taking)]
    (verdict,) = answers.placed(200, orjson.dumps(answer), [Asked(A, side, size_micro=100_000_000)])
    assert verdict.status == OrderStatus.MATCHED
    assert verdict.filled_micro == filled


def test_only_a_listed_id_is_dead():
    body = orjson.dumps(
        {"canceled": [A.upper().replace("0X", "0x"), C], "not_canceled": {B: "Order already matched", C: "?"}}
    )
    verdicts = answers.canceled(200, body, [A, B, C])
    assert [v.status for v in verdicts] == [
        OrderStatus.CANCELED,
        OrderStatus.NOT_CANCELED,
        OrderStatus.NOT_CANCELED,
    ]


@pytest.mark.parametrize(
    ("code", "body"),
    [
        (500, b'{"canceled":["%s"]}' % A.encode()),
        (200, b"<html></html>"),
        (200, b'["%s"]' % A.encode()),
        (200, b'{"canceled":"%s"}' % A.encode()),
        (200, b'{"canceled":["%s"],"not_canceled":[]}' % A.encode()),
        (0, b""),
    ],
)
def test_an_unreadable_answer_to_a_cancel_proves_nothing(code: int, body: bytes):
    assert [v.status for v in answers.canceled(code, body, [A])] == [OrderStatus.NOT_CANCELED]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from([A, B]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "success",
                    "errorMsg",
                    "orderID",
                    "status",
                    "error",
                    "canceled",
                    "not_canceled",
                    "takingAmount",
                ]
            )
            | st.text(),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(st.sampled_from([0, 200, 400, 404, 500]), JSON | st.binary(max_size=50))
def test_every_answer_gives_one_verdict_per_leg_and_accepts_nothing_by_chance(code: int, document: object):
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    verdicts = answers.placed(code, body, [Asked(A), Asked(B)])
    assert len(verdicts) == 2
    for verdict, order_id in zip(verdicts, (A, B), strict=True):
        if verdict.status in (OrderStatus.LIVE, OrderStatus.MATCHED):
            assert isinstance(document, list)
            assert any(
                isinstance(x, dict)
                and x.get("orderID") == order_id
                and x.get("success") is True
                and not x.get("errorMsg")
                for x in document
            )
    assert len(answers.canceled(code, body, [A, B])) == 2


@pytest.mark.recorded
def test_every_error_seen_in_the_wild_ends_in_a_defined_state():
    folder = os.environ.get("INVMM_RECORDED")
    if not folder:
        pytest.skip("INVMM_RECORDED is not set")
    file = Path(folder).parent / "reference/samples/rest_errors.json"
    if not file.exists():
        pytest.skip("the recordings have no samples beside them")
    for sample in orjson.loads(file.read_bytes()):
        code, body = sample["status"], sample["body"]
        data = body.encode() if isinstance(body, str) else orjson.dumps(body)
        (verdict,) = answers.placed(code, data, [Asked(A)])
        assert answers.canceled(code, data, [A])[0].status == OrderStatus.NOT_CANCELED
        if code == 400 and "heartbeat_id" not in body:
            assert verdict.status == OrderStatus.REJECTED, sample
        else:
            assert verdict.status == OrderStatus.UNKNOWN, sample
            expected = {
                403: Reason.GEOBLOCKED,
                425: Reason.VENUE_MODE,
                429: Reason.THROTTLED,
                503: Reason.VENUE_MODE,
            }
            assert verdict.reason == expected.get(code, Reason.TRANSPORT), sample
