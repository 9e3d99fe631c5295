"""The registry for other programs: the venue's own messages in, records out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invmm import OrderRecord, OrderRegistry, OrderState, Side
from invmm.errors import DataError, TransportError
from invmm.types import OrderStatus, OrderType

NS = 1_000_000_000
T0 = 1_700_000_000
TOKEN, OTHER = "111", "222"
MINE, FOREIGN = "0x" + "0a" * 32, "0x" + "ff" * 32
API_KEY = "00000000-0000-0000-0000-00000000aaaa"
ACCEPTED = {
    "success": True,
    "errorMsg": "",
    "orderID": MINE,
    "status": "live",
    "makingAmount": "",
    "takingAmount": "",
}


def registry(**changes: Any) -> OrderRegistry:
    made = OrderRegistry(api_key=API_KEY)
    about: dict[str, Any] = {
        "token_id": TOKEN,
        "side": Side.BUY,
        "price_e4": 4800,
        "size_micro": 20_000_000,
        "order_type": OrderType.GTD,
        "expiration_s": T0 + 184,
        "now_ns": T0 * NS,
    }
    made.register(MINE, **(about | changes))
    return made


def body(document: Any) -> bytes:
    return json.dumps(document).encode()


def trade(shares: str = "5", status: str = "MATCHED", trade_id: str = "t1", **changes: Any) -> dict[str, Any]:
    """Another's taker order meets ours."""
    return {
        "event_type": "trade",
        "id": trade_id,
        "asset_id": TOKEN,
        "side": "SELL",
        "size": shares,
        "price": "0.48",
        "status": status,
        "taker_order_id": FOREIGN,
        "trader_side": "MAKER",
        "timestamp": "1700000001000",
        "maker_orders": [
            {"order_id": MINE, "asset_id": TOKEN, "price": "0.48", "matched_amount": shares, "owner": API_KEY}
        ],
    } | changes


def order(**changes: Any) -> dict[str, Any]:
    return {
        "event_type": "order",
        "type": "PLACEMENT",
        "id": MINE,
        "asset_id": TOKEN,
        "side": "BUY",
        "price": "0.48",
        "original_size": "20",
        "size_matched": "0",
        "status": "LIVE",
        "timestamp": "1700000000500",
    } | changes


def state(of: OrderRegistry) -> OrderState:
    return of.record(MINE).state


def test_an_order_goes_from_prepared_over_live_and_partial_to_filled():
    made = registry()
    assert state(made) == OrderState.PREPARED
    made.sent(MINE, T0 * NS)
    assert state(made) == OrderState.SENT
    made.answered([MINE], 200, body([ACCEPTED]), (T0 + 1) * NS)
    assert state(made) == OrderState.LIVE
    made.heard(body(trade("5")), (T0 + 2) * NS)
    record = made.record(MINE)
    assert (record.state, record.filled_micro, record.is_alive) == (OrderState.PARTIAL, 5_000_000, True)
    assert made.position(TOKEN) == (0, 5_000_000)
    made.heard(body(trade("15", trade_id="t2")), (T0 + 3) * NS)
    assert state(made) == OrderState.FILLED
    made.heard(body([trade("5", "CONFIRMED"), trade("15", "FAILED", "t2")]), (T0 + 9) * NS)
    assert made.position(TOKEN) == (5_000_000, 5_000_000)
    assert [fill.status for fill in sorted(made.record(MINE).fills, key=lambda fill: fill.size_micro)] == [
        OrderStatus.TRADE_CONFIRMED,
        OrderStatus.TRADE_FAILED,
    ]
    assert made.alarms == ()


def test_the_answer_to_a_single_order_is_read_like_that_to_a_batch():
    made = registry()
    made.answered([MINE], 200, body(ACCEPTED), (T0 + 1) * NS)
    assert state(made) == OrderState.LIVE


def test_a_documented_refusal_ends_an_order_as_rejected():
    made = registry()
    made.answered(
        [MINE],
        400,
        body({"error": f"order {MINE} is invalid. Price (0.485) breaks minimum tick size rule: 0.01"}),
        2,
    )
    assert state(made) == OrderState.REJECTED
    assert made.alive() == []


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0, b""),
        (425, b"service not ready"),
        (429, b"{}"),
        (500, b'{"error":"could not insert order"}'),
        (403, b"<html>blocked</html>"),
        (401, b'{"error":"Unauthorized/Invalid api key"}'),
        (200, b"[{"),
        (200, body([ACCEPTED | {"orderID": ""}])),
        (200, body([ACCEPTED | {"status": "new word"}])),
    ],
)
def test_whatever_is_no_proof_leaves_an_order_unknown_and_alive(code: int, text: bytes):
    made = registry()
    made.sent(MINE, T0 * NS)
    made.answered([MINE], code, text, (T0 + 2) * NS)
    assert state(made) == OrderState.UNKNOWN
    assert [record.order_id for record in made.alive()] == [MINE]


def test_duplicated_means_that_an_earlier_copy_landed():
    made = registry()
    made.sent(MINE, T0 * NS)
    made.answered([MINE], 0, b"", (T0 + 1) * NS)
    made.sent(MINE, (T0 + 1) * NS)
    made.answered([MINE], 400, body({"error": f"order {MINE} is invalid. Duplicated."}), (T0 + 2) * NS)
    assert state(made) == OrderState.UNKNOWN
    made.queried(MINE, order(), asked_ns=(T0 + 3) * NS)
    assert state(made) == OrderState.LIVE


def test_only_a_cancel_that_lists_the_id_ends_an_order():
    made = registry()
    made.answered([MINE], 200, body([ACCEPTED]), (T0 + 1) * NS)
    made.cancelling([MINE])
    assert made.record(MINE).cancel_sent
    made.cancel_answered(
        [MINE],
        200,
        body({"canceled": [], "not_canceled": {MINE: "already canceled or matched"}}),
        (T0 + 2) * NS,
    )
    assert state(made) == OrderState.LIVE
    assert not made.record(MINE).cancel_sent
    made.cancel_answered(
        [MINE], 200, body({"canceled": [MINE.upper().replace("0X", "0x")], "not_canceled": {}}), (T0 + 3) * NS
    )
    assert state(made) == OrderState.DEAD
    made.heard(body(trade("5")), (T0 + 4) * NS)
    assert made.record(MINE).filled_micro == 5_000_000, "a late fill of a dead order counts"


def test_not_found_is_no_proof_before_the_fence_and_with_clean_lists_after_it():
    made = registry()
    made.answered([MINE], 0, b"", (T0 + 1) * NS)
    fence_ns = made.record(MINE).fence_ns
    assert fence_ns == (T0 + 184 - 60 + 1 + 5) * NS
    made.queried(MINE, None, asked_ns=fence_ns - 1, is_clean=True)
    assert state(made) == OrderState.UNKNOWN
    made.queried(MINE, None, asked_ns=fence_ns)
    assert state(made) == OrderState.UNKNOWN
    made.queried(MINE, None, asked_ns=fence_ns, is_clean=True)
    assert state(made) == OrderState.DEAD


def test_a_death_that_a_later_query_contradicts_is_an_alarm_and_counts_as_alive():
    made = registry()
    made.heard(body(order(type="CANCELLATION", status="CANCELED")), (T0 + 2) * NS)
    assert state(made) == OrderState.DEAD
    made.queried(MINE, order(), asked_ns=(T0 + 3) * NS)
    assert state(made) == OrderState.UNKNOWN
    assert made.alarms == ("token 111: 1 revived",)


def test_a_fill_that_comes_before_its_order_is_registered_is_applied_then():
    made = OrderRegistry(api_key=API_KEY)
    made.heard(body(trade("5")), T0 * NS)
    made.register(MINE, token_id=TOKEN, side=Side.BUY, price_e4=4800, size_micro=20_000_000, now_ns=T0 * NS)
    assert made.record(MINE).filled_micro == 5_000_000
    assert made.alarms == ()


def test_side_and_price_of_a_fill_are_our_own_whatever_the_taker_did():
    made = registry()
    # A taker who buys the other token meets our bid: a mint, with prices that sum to a dollar.
    made.heard(body(trade("5", asset_id=OTHER, side="BUY", price="0.52")), (T0 + 1) * NS)
    assert made.record(MINE).fills[0].price_e4 == 4800
    assert made.position(TOKEN) == (0, 5_000_000)
    assert made.position(OTHER) == (0, 0)


def test_an_order_that_is_missing_from_the_open_orders_is_named_unless_it_is_young():
    made = registry()
    made.answered([MINE], 200, body([ACCEPTED]), (T0 + 1) * NS)
    assert made.listed_orders([], (T0 + 9) * NS) == []
    assert made.listed_orders([], (T0 + 11) * NS) == [MINE]
    assert state(made) == OrderState.LIVE, "absence alone proves nothing"
    assert made.listed_orders([order()], (T0 + 11) * NS) == []


def test_one_row_that_cannot_be_read_rejects_the_whole_listing():
    made = registry()
    with pytest.raises(TransportError, match="cannot be read"):
        made.listed_trades([trade("5"), trade("x", trade_id="t2")], T0 * NS)
    assert made.record(MINE).fills == ()
    with pytest.raises(TransportError, match="order id"):
        made.listed_orders([order(), order(id="0x12")], T0 * NS)


def test_an_order_that_was_never_registered_is_an_alarm_when_it_is_listed():
    made = registry()
    made.listed_orders([order(id=FOREIGN)], T0 * NS)
    assert made.alarms == (f"order {FOREIGN} is not registered",)


def test_what_was_never_registered_has_no_record():
    with pytest.raises(DataError, match="expected a registered one"):
        OrderRegistry().record(MINE)
    with pytest.raises(ValueError, match="is registered"):
        registry().register(MINE, token_id=TOKEN, side=Side.BUY, price_e4=1, size_micro=1, now_ns=0)


HEARD = [
    lambda to: to.answered([MINE], 200, body([ACCEPTED]), (T0 + 1) * NS),
    lambda to: to.answered([MINE], 0, b"", (T0 + 2) * NS),
    lambda to: to.heard(body(order()), (T0 + 1) * NS),
    lambda to: to.heard(body(order(type="UPDATE", status="MATCHED", size_matched="5")), (T0 + 3) * NS),
    lambda to: to.heard(body(trade("5")), (T0 + 3) * NS),
    lambda to: to.heard(body(trade("5", "MINED")), (T0 + 5) * NS),
    lambda to: to.heard(body(trade("5", "CONFIRMED")), (T0 + 7) * NS),
    lambda to: to.listed_trades([trade("2", "TRADE_STATUS_FAILED", "t2", event_type=None)], (T0 + 9) * NS),
    lambda to: to.cancel_answered([MINE], 200, body({"canceled": [MINE]}), (T0 + 6) * NS),
    lambda to: to.heard(
        body(order(type="CANCELLATION", status="CANCELED", size_matched="20")), (T0 + 6) * NS
    ),
    lambda to: to.queried(MINE, None, asked_ns=(T0 + 4) * NS),
]


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_real_messages_give_one_record_in_any_order_and_number(data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(range(len(HEARD))), unique=True))
    again = data.draw(st.lists(st.sampled_from(chosen), max_size=4)) if chosen else []

    def after(numbers: list[int]) -> tuple[OrderRecord, tuple[int, int], tuple[str, ...]]:
        made = registry()
        for number in numbers:
            HEARD[number](made)
        return made.record(MINE), made.position(TOKEN), made.alarms

    assert after(data.draw(st.permutations(chosen + again))) == after(chosen)
