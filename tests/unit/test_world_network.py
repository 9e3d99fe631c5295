"""Which answers a world may lose while all is well."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from invmm.sim.campaign.network import is_done

TAKEN = {"success": True, "errorMsg": "", "orderID": "0x01", "status": "live"}
REFUSED = {"success": False, "errorMsg": "invalid post-only order: order crosses book", "orderID": ""}


@pytest.mark.parametrize(
    ("told", "done"),
    [
        (TAKEN, True),
        ([TAKEN, TAKEN], True),
        ({"canceled": ["0x01"], "not_canceled": {}}, True),
        (REFUSED, False),
        ([TAKEN, REFUSED], False),
        ([REFUSED, TAKEN], False),
    ],
)
def test_an_answer_that_refuses_one_order_of_a_batch_refuses(told: Any, done: bool) -> None:
    assert is_done(web.json_response(told)) is done


def test_an_answer_that_is_none_has_done_nothing() -> None:
    assert not is_done(web.json_response(TAKEN, status=503))
