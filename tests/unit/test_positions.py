"""Ids of conditions and tokens against the venue's own, and against the contracts' definition done slowly."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from eth_abi.packed import encode_packed
from eth_utils import keccak

from invmm.venue.positions import (
    FIELD,
    condition_id,
    is_v2_id,
    position_ids_v1,
    position_ids_v2,
)
from invmm.venue.profile import CONTRACTS, POLYGON

USDC_E = CONTRACTS[POLYGON].bridged_collateral
# A market of the bitcoin 15-minute series (October 2026) and one of the second generation's first.
V1 = "0xcd5f9f505e0c0182746aa65963f72f01e7463259e5ea9f56672c0fe3a37f348a"
V1_UP = "25070934348813416902477876984955073880416401960631253331845590271167412497744"
V1_DOWN = "111614563957165270026378011809694313565736745512637881727398424401624030147043"
V2 = "0x017791f201d5a788e0039e511fc1900e5f000000000000000000000000000000"
V2_UP = "663574927012476832975694178961957910328055987427402067619466963999000625152"
V2_DOWN = "663574927012476832975694178961957910328055987427402067619466963999000625153"


def test_the_ids_of_a_real_market_come_out_of_its_condition() -> None:
    assert position_ids_v1(V1, USDC_E) == (V1_UP, V1_DOWN)


def test_the_new_collateral_gives_other_ids() -> None:
    assert position_ids_v1(V1, CONTRACTS[POLYGON].collateral) != (V1_UP, V1_DOWN)


def test_the_ids_of_a_real_second_generation_market_come_out_of_its_condition() -> None:
    assert position_ids_v2(V2) == (V2_UP, V2_DOWN)


def test_generations_are_told_apart_by_the_id_alone() -> None:
    assert [is_v2_id(token) for token in (V1_UP, V1_DOWN, V2_UP, V2_DOWN)] == [False, False, True, True]


def test_a_condition_id_hashes_oracle_question_and_number_of_outcomes() -> None:
    oracle, question = "0x6A9D222616C90FcA5754cd1333cFD9b7fb6a4F74", "0x" + "1f" * 32
    packed = encode_packed(["address", "bytes32", "uint256"], [oracle, bytes.fromhex(question[2:]), 2])
    assert condition_id(oracle, question) == "0x" + keccak(packed).hex()
    assert condition_id(oracle, question, 3) != condition_id(oracle, question)


@pytest.mark.parametrize("number", range(40))
def test_ids_follow_the_contracts_definition(number: int) -> None:
    condition = keccak(number.to_bytes(4, "big"))
    assert position_ids_v1("0x" + condition.hex(), USDC_E) == tuple(
        str(slow_position_id(condition, index_set)) for index_set in (1, 2)
    )


def slow_position_id(condition: bytes, index_set: int) -> int:
    """The contract's text, line by line: Euler's criterion instead of a root that is squared again."""
    seed = int.from_bytes(keccak(encode_packed(["bytes32", "uint256"], [condition, index_set])), "big")
    x = (seed + 1) % FIELD
    while pow(x**3 + 3, (FIELD - 1) // 2, FIELD) != 1:
        x = (x + 1) % FIELD
    root = pow(x**3 + 3, (FIELD + 1) // 4, FIELD)
    wants_odd = seed >= 1 << 255
    y = root if root % 2 == wants_odd else FIELD - root
    collection = x + (1 << 254) if y % 2 else x
    packed = encode_packed(["address", "bytes32"], [USDC_E, collection.to_bytes(32, "big")])
    return int.from_bytes(keccak(packed), "big")


@pytest.mark.parametrize("text", ["", "0x12", V1[2:], V1 + "00", "0x" + "zz" * 32])
def test_what_is_no_condition_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="condition id: expected 0x and 64"):
        position_ids_v1(text, USDC_E)
    with pytest.raises(ValueError, match="condition id: expected 0x and 64"):
        position_ids_v2(text)


def test_a_first_generation_condition_has_no_second_generation_ids() -> None:
    with pytest.raises(ValueError, match="reserved bits zero"):
        position_ids_v2(V1)


@pytest.mark.parametrize("token", [0, -1, 1 << 256])
def test_what_is_no_token_id_is_refused(token: int) -> None:
    with pytest.raises(ValueError, match="token id"):
        is_v2_id(token)


@pytest.mark.recorded
@pytest.mark.parametrize("name", ["rest_clob_market_v1.json", "rest_clob_market_v2.json"])
def test_recorded_market_listings_agree_with_their_condition(name: str) -> None:
    if "INVMM_RECORDED" not in os.environ:
        pytest.skip("INVMM_RECORDED is not set: no recordings")
    samples = Path(os.environ["INVMM_RECORDED"]).parent / "reference" / "samples"
    market = json.loads((samples / name).read_text())
    ids = {entry["o"]: entry["t"] for entry in market["t"]}
    computed = position_ids_v2(market["c"]) if market["v"] == "v2" else position_ids_v1(market["c"], USDC_E)
    assert (ids["Up"], ids["Down"]) == computed
