"""Whatever the venue sends: each leg gets one verdict, nothing raises, and death needs proof."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from invmm.execution import answers
from invmm.execution.answers import Asked
from invmm.types import OrderStatus, Side

IDS = ["0x" + digit * 64 for digit in "abcdef"]
ASKED = [Asked(order_id, Side.BUY, 0, 50_000_000) for order_id in IDS]
TEXTS = st.sampled_from(
    [
        "",
        "Duplicated.",
        f"order {IDS[0]} is invalid. Duplicated.",
        "order_version_mismatch",
        "invalid expiration",
        "not enough balance / allowance",
        "Order already matched",
        "order match delayed due to market conditions",
        "could not insert order",
        "Trading is currently cancel-only. New orders are not accepted, but cancels are allowed.",
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | TEXTS
    | st.sampled_from([*IDS, "live", "matched", "delayed", "unmatched", "1E+999999999", "-1", "5.0", "NaN"])
)
LEG = st.dictionaries(
    st.sampled_from(["success", "errorMsg", "orderID", "status", "takingAmount", "makingAmount", "error"]),
    SCALARS,
)
GOOD_LEG = st.fixed_dictionaries(
    {
        "success": st.just(True),
        "errorMsg": TEXTS,
        "orderID": st.sampled_from(["", *IDS]),
        "status": st.sampled_from(["live", "matched", "delayed", "unmatched", ""]),
        "takingAmount": st.sampled_from(["", "5", "1E+999999999", "9" * 40, "-5", "1e-7", "Infinity"]),
    }
)
CANCELS = st.fixed_dictionaries(
    {},
    optional={
        "canceled": st.lists(SCALARS) | SCALARS,
        "not_canceled": st.dictionaries(st.sampled_from(IDS) | st.text(max_size=5), SCALARS) | SCALARS,
    },
)
DOCUMENTS = st.recursive(
    SCALARS | LEG | CANCELS | st.lists(LEG | GOOD_LEG | SCALARS, max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
BODIES = (
    st.binary(max_size=200) | DOCUMENTS.map(orjson.dumps) | st.lists(GOOD_LEG, max_size=8).map(orjson.dumps)
)
CODES = st.integers(0, 999) | st.sampled_from([0, 200, 201, 301, 400, 401, 403, 404, 425, 429, 500, 503])


@given(CODES, BODIES, st.integers(0, 200))
def test_every_leg_gets_one_verdict(code: int, body: bytes, cut: int):
    for data in (body, body[:cut]):
        verdicts = answers.placed(code, data, ASKED)
        assert len(verdicts) == len(ASKED)
        for verdict in verdicts:
            assert 0 <= verdict.filled_micro <= 50_000_000
            if verdict.status not in (OrderStatus.UNKNOWN, OrderStatus.DELAYED):
                assert code in (200, 400, 404), "only a well-formed answer is evidence"
        cancels = answers.canceled(code, data, IDS)
        assert len(cancels) == len(IDS)
        assert code == 200 or all(verdict.status == OrderStatus.NOT_CANCELED for verdict in cancels)
        assert answers.resent(code, data, ASKED[0]).status != OrderStatus.REJECTED


@given(st.lists(GOOD_LEG, max_size=8))
def test_a_leg_lives_or_dies_by_an_answer_about_itself(legs: list[dict[str, object]]):
    verdicts = answers.placed(200, orjson.dumps(legs), ASKED)
    named = [leg["orderID"] for leg in legs]
    for asked, verdict in zip(ASKED, verdicts, strict=True):
        if verdict.status in (OrderStatus.LIVE, OrderStatus.MATCHED):
            assert named.count(asked.order_id) == 1
        if verdict.status == OrderStatus.REJECTED and asked.order_id not in named:
            assert len(legs) == len(ASKED), "by place only where no leg is missing"


@given(CODES, BODIES)
def test_what_is_shown_of_an_answer_is_short_and_printable(code: int, body: bytes):
    text = answers.error_text(body)
    assert len(text) <= 160
    assert text.isprintable()
    answers.why_unknown(code, body)
