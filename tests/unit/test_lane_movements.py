"""What a transaction moved is read from its logs: the venue's contracts only, the account's own side only."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi.abi import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from invmm.errors import DataError
from invmm.settlement.lane import Change
from invmm.settlement.movements import difference, movements_of
from invmm.venue.profile import CONTRACTS
from tests.unit.fake_chain import ACCOUNT, ADAPTER, DOWN, PAIRS, STRANGER, UP, hash_of, merge_logs

AT = CONTRACTS[137]
TRANSFER = hash_of(b"Transfer(address,address,uint256)")
SINGLE = hash_of(b"TransferSingle(address,address,address,uint256,uint256)")
BATCH = hash_of(b"TransferBatch(address,address,address,uint256[],uint256[])")
NUMBERS = st.integers(0, 2**256 - 1)
PEOPLE = st.sampled_from([ACCOUNT, STRANGER, ADAPTER])


def topic(address: str) -> str:
    return "0x" + address[2:].rjust(64, "0")


def log(emitter: str, event: str, people: list[str], data: bytes) -> dict[str, Any]:
    return {"address": emitter, "topics": [event, *map(topic, people)], "data": "0x" + data.hex()}


def moved(*logs: dict[str, Any]) -> dict[tuple[str, int], int]:
    return movements_of(logs, ACCOUNT, AT)


def test_a_merge_moves_both_tokens_out_and_collateral_in() -> None:
    assert moved(*merge_logs()) == {("collateral", 0): PAIRS, ("token", UP): -PAIRS, ("token", DOWN): -PAIRS}


def test_what_other_contracts_write_does_not_count() -> None:
    data = encode(["uint256"], [5])
    assert moved(log(STRANGER, TRANSFER, [STRANGER, ACCOUNT], data)) == {}
    assert moved(log(AT.bridged_collateral, TRANSFER, [STRANGER, ACCOUNT], data)) == {}


def test_what_comes_and_goes_within_a_transaction_is_nothing() -> None:
    data = encode(["uint256"], [5])
    there = log(AT.collateral, TRANSFER, [ACCOUNT, ADAPTER], data)
    back = log(AT.collateral, TRANSFER, [ADAPTER, ACCOUNT], data)
    itself = log(AT.collateral, TRANSFER, [ACCOUNT, ACCOUNT], data)
    assert moved(there, back, itself) == {}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(PEOPLE, PEOPLE, st.lists(st.tuples(st.integers(1, 3), NUMBERS), max_size=4))))
def test_single_and_batch_transfers_add_up_alike(
    transfers: list[tuple[str, str, list[tuple[int, int]]]],
) -> None:
    singles, batches, expected = [], [], dict[tuple[str, int], int]()
    for source, target, items in transfers:
        people = [STRANGER, source, target]
        ids, amounts = [token for token, _ in items], [amount for _, amount in items]
        batches.append(
            log(AT.position_manager, BATCH, people, encode(["uint256[]", "uint256[]"], [ids, amounts]))
        )
        for token, amount in items:
            singles.append(
                log(AT.position_manager, SINGLE, people, encode(["uint256", "uint256"], [token, amount]))
            )
            sign = (target == ACCOUNT) - (source == ACCOUNT)
            expected["token", token] = expected.get(("token", token), 0) + sign * amount
    wanted = {key: change for key, change in expected.items() if change}
    assert moved(*singles) == moved(*batches) == wanted


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"address": AT.collateral, "topics": None, "data": "0x"},
        {"address": AT.collateral, "topics": [TRANSFER], "data": "0x" + "00" * 32},
        {"address": AT.collateral, "topics": [TRANSFER, topic(ACCOUNT), topic(ACCOUNT)], "data": "0x00"},
        log(AT.conditional_tokens, SINGLE, [ACCOUNT] * 3, b"\0" * 32),
        log(AT.conditional_tokens, BATCH, [ACCOUNT] * 3, b"\0" * 31),
        log(AT.conditional_tokens, BATCH, [ACCOUNT] * 3, encode(["uint256"], [64])),
        log(AT.conditional_tokens, BATCH, [ACCOUNT] * 3, encode(["uint256"] * 3, [64, 64, 5])),
        log(AT.conditional_tokens, BATCH, [ACCOUNT] * 3, encode(["uint256"] * 2, [1, 2])),
    ],
)
def test_a_log_that_is_no_transfer_is_an_error_and_not_nothing(broken: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="encoded transfer"):
        moved(broken)


def test_a_difference_names_what_was_not_stated_and_what_did_not_come() -> None:
    stated = [Change("collateral", 0, 5), Change("collateral", 0, 2), Change("token", 9, -7)]
    assert difference({("collateral", 0): 7, ("token", 9): -7}, stated) == ""
    words = difference({("collateral", 0): 7, ("token", 8): 1}, stated)
    assert "token 8: expected a change of 0, found 1" in words
    assert "token 9: expected a change of -7, found 0" in words
    assert "collateral" not in words
    assert difference({}, [Change("token", 9, 0)]) == ""
