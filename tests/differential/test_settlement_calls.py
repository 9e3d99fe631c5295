"""Settlement calls, byte for byte: fixed vectors, and the official client for any amount and market."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polymarket._internal.actions.relayer import calls as official
from polymarket._internal.actions.relayer.approvals import _required_trading_approvals
from polymarket._internal.environment import PRODUCTION_CONFIG

from invmm.errors import DataError
from invmm.settlement.calls import UNLIMITED, Approval, Call, Route, Standard, check_tokens, route_of
from invmm.venue.profile import AMOY, CONTRACTS, POLYGON

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "golden_onchain.json").read_text())
CONTRACT = CONTRACTS[POLYGON]
V1 = "0xcd5f9f505e0c0182746aa65963f72f01e7463259e5ea9f56672c0fe3a37f348a"
V1_TOKENS = (
    "25070934348813416902477876984955073880416401960631253331845590271167412497744",
    "111614563957165270026378011809694313565736745512637881727398424401624030147043",
)
V2 = "0x017791f201d5a788e0039e511fc1900e5f000000000000000000000000000000"
V2_TOKENS = (
    "663574927012476832975694178961957910328055987427402067619466963999000625152",
    "663574927012476832975694178961957910328055987427402067619466963999000625153",
)
# A neg-risk market that everybody knows: the presidential election of 2024, first candidate.
NEG_RISK = "0xdd22472e552920b8438158ea7238bfadfa4f736aa4cee91a6b86c39ead110917"
NEG_RISK_TOKENS = (
    "21742633143463906290569050155826241533067272736897614950488156847949938836455",
    "48331043336612883890938759509493159234755048973500640148014422747788308965732",
)
PAIRS = 25_000_000


def approve(token: str, spender: str, standard: Standard = Standard.ERC20) -> Call:
    return Approval(standard, token, spender, "it").give(UNLIMITED)


MADE: dict[str, Call] = {
    "v1_split_25pUSD_on_CtfCollateralAdapter": route_of("v1", False).split(V1, PAIRS),
    "v1_merge_25_sets": route_of("v1", False).merge(V1, PAIRS),
    "v1_redeem": route_of("v1", False).redeem(V1, PAIRS, 0)[0],
    "v2_router_split": route_of("v2", False).split(V2, PAIRS),
    "v2_router_merge": route_of("v2", False).merge(V2, PAIRS),
    "v2_router_redeem_up": route_of("v2", False).redeem(V2, PAIRS, 0)[0],
    "approve_pusd_exchange_v2": approve(CONTRACT.collateral, CONTRACT.exchange_v2),
    "approve_pusd_exchange_v3": approve(CONTRACT.collateral, CONTRACT.exchange_v3),
    "ctf_set_approval_exchange_v2": approve(
        CONTRACT.conditional_tokens, CONTRACT.exchange_v2, Standard.ERC1155
    ),
    "pm_set_approval_exchange_v3": approve(CONTRACT.position_manager, CONTRACT.exchange_v3, Standard.ERC1155),
}

conditions = st.binary(min_size=32, max_size=32).map(lambda raw: "0x" + raw.hex())
short_conditions = st.binary(min_size=31, max_size=31).map(lambda raw: "0x" + raw.hex())
amounts = st.integers(1, UNLIMITED)
addresses = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())


def is_same(ours: Call, theirs: Any) -> bool:
    return (ours.to, "0x" + ours.data.hex(), ours.value) == (str(theirs.to), theirs.data, theirs.value)


@pytest.mark.parametrize("row", GOLDEN["calls"], ids=[row["name"] for row in GOLDEN["calls"]])
def test_every_fixed_vector_is_met(row: dict[str, Any]) -> None:
    call = MADE[row["name"]]
    assert (call.to, call.value, "0x" + call.data.hex()) == (row["to"], row["value"], row["data"])


@settings(max_examples=30)
@given(conditions, amounts, st.booleans())
def test_the_first_generation_calls_what_the_official_client_calls(
    condition: str, amount: int, neg_risk: bool
) -> None:
    config: Any = PRODUCTION_CONFIG
    route = route_of("v1", neg_risk)
    target = config.neg_risk_collateral_adapter if neg_risk else config.collateral_adapter
    money = config.collateral_token
    given_: dict[str, Any] = {"collateral": money, "condition_id": condition}
    assert is_same(
        route.split(condition, amount),
        official.ctf_split_position_call(target=target, amount=amount, **given_),
    )
    assert is_same(
        route.merge(condition, amount),
        official.ctf_merge_positions_call(target=target, amount=amount, **given_),
    )
    (redeem,) = route.redeem(condition, amount, 0)
    assert is_same(redeem, official.ctf_redeem_positions_call(ctf=target, **given_))


@settings(max_examples=30)
@given(short_conditions, amounts, amounts)
def test_the_second_generation_calls_what_the_official_client_calls(
    condition: str, amount: int, other: int
) -> None:
    config: Any = PRODUCTION_CONFIG
    route = route_of("v2", False)
    given_: dict[str, Any] = {"router": config.protocol_v2_router, "condition_id": condition}
    assert is_same(route.split(condition, amount), official.router_split_call(amount=amount, **given_))
    assert is_same(route.merge(condition, amount), official.router_merge_call(amount=amount, **given_))
    for call, outcome, size in zip(
        route.redeem(condition, amount, other), (0, 1), (amount, other), strict=True
    ):
        assert is_same(call, official.router_redeem_call(outcome_index=outcome, amount=size, **given_))


@settings(max_examples=30)
@given(short_conditions, amounts)
def test_a_condition_may_be_spelled_as_the_contracts_or_as_the_book_does(condition: str, amount: int) -> None:
    route = route_of("v2", False)
    assert route.merge(condition + "00", amount).data == route.merge(condition, amount).data


@settings(max_examples=30)
@given(addresses, addresses, addresses, st.integers(0, UNLIMITED))
def test_approvals_and_their_questions_are_the_official_clients(
    token: str, spender: str, owner: str, amount: int
) -> None:
    named: Any = {"token_address": token}
    money = Approval(Standard.ERC20, token, spender, "it")
    assert is_same(money.give(amount), official.erc20_approval_call(**named, spender=spender, amount=amount))
    assert is_same(
        money.question(owner), official.erc20_allowance_call(**named, owner=owner, spender=spender)
    )
    tokens = Approval(Standard.ERC1155, token, spender, "it")
    assert is_same(
        tokens.give(amount),
        official.erc1155_set_approval_for_all_call(**named, operator=spender, approved=bool(amount)),
    )
    assert is_same(
        tokens.question(owner),
        official.erc1155_is_approved_for_all_call(**named, owner=owner, operator=spender),
    )


def test_what_the_routes_need_is_among_what_the_official_client_asks_for() -> None:
    money, tokens = _required_trading_approvals(PRODUCTION_CONFIG)
    known = {(str(one.token_address), str(one.spender)) for one in money}
    known |= {(str(one.token_address), str(one.operator)) for one in tokens}
    for route in routes():
        assert {(one.token, one.spender) for one in route.approvals} <= known
        assert {one.standard for one in route.approvals} == set(Standard)


def routes() -> list[Route]:
    return [route_of("v1", False), route_of("v1", True), route_of("v2", False)]


def test_nothing_held_is_nothing_to_redeem() -> None:
    assert [route.redeem(V1 if "Adapter" in type(route).__name__ else V2, 0, 0) for route in routes()] == [
        (),
        (),
        (),
    ]


def test_the_losing_outcome_is_redeemed_by_a_call_of_its_own_in_the_second_generation() -> None:
    assert [call.what for call in route_of("v2", False).redeem(V2, 1, 2_500_000)] == [
        f"redeem 0.000001 Up of {V2}",
        f"redeem 2.5 Down of {V2}",
    ]


@pytest.mark.parametrize("amount", [0, -1])
def test_an_amount_of_nothing_is_refused(amount: int) -> None:
    for route, condition in zip(routes(), (V1, V1, V2), strict=True):
        for make in (route.split, route.merge):
            with pytest.raises(ValueError, match="expected more than 0"):
                make(condition, amount)


@pytest.mark.parametrize("condition", ["", "0x12", V1[:-2], "0x" + "zz" * 32, V1[2:]])
def test_a_condition_that_is_none_is_refused(condition: str) -> None:
    with pytest.raises(ValueError, match="condition id"):
        route_of("v1", False).merge(condition, 1)


@pytest.mark.parametrize("condition", ["", V1, V2[:-1] + "1", "0x" + "zz" * 31])
def test_a_condition_of_the_other_generation_is_refused(condition: str) -> None:
    with pytest.raises(ValueError, match="condition id"):
        route_of("v2", False).merge(condition, 1)


@pytest.mark.parametrize(("version", "chain"), [("", POLYGON), ("v3", POLYGON), ("v1", AMOY), ("v2", 1)])
def test_no_route_is_guessed(version: str, chain: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        route_of(version, False, chain)


def test_the_tokens_of_real_markets_are_what_their_conditions_say() -> None:
    check_tokens(V1, "v1", *V1_TOKENS)
    check_tokens(V2, "v2", *V2_TOKENS)
    check_tokens(NEG_RISK, "v1", *NEG_RISK_TOKENS, neg_risk=True)


@pytest.mark.parametrize(
    ("condition", "version", "tokens", "neg_risk"),
    [
        (V1, "v1", V1_TOKENS[::-1], False),  # Up and Down mixed up
        (V1, "v1", V1_TOKENS, True),
        (V1, "v1", V2_TOKENS, False),
        (V1, "v2", V1_TOKENS, False),  # the other generation
        (V2, "v1", V2_TOKENS, False),
        (V2, "v2", V2_TOKENS[::-1], False),
        (NEG_RISK, "v1", NEG_RISK_TOKENS, False),
        (NEG_RISK, "v1", (NEG_RISK_TOKENS[0], ""), True),
        (V1, "", V1_TOKENS, False),
    ],
)
def test_tokens_that_are_not_the_conditions_are_found_out(
    condition: str, version: str, tokens: tuple[str, str], neg_risk: bool
) -> None:
    with pytest.raises(DataError, match="condition"):
        check_tokens(condition, version, *tokens, neg_risk=neg_risk)
