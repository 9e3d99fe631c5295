"""Who takes part in a comparison, from text."""

from __future__ import annotations

import pytest

from invmm.errors import ConfigError
from invmm.replay.entrants import ENTRANTS, entrant, entrants
from invmm.settings import Settings


def test_the_original_and_its_mended_form_are_two_policies_of_the_engine() -> None:
    assert entrant("inventory_mm").policy == "inventory_mm_compatible"
    assert entrant("inventory_mm:fixed").policy == "inventory_mm"


def test_the_yardsticks_always_take_part() -> None:
    assert [each.name for each in entrants("pairs,do_nothing")] == ["join_touch", "pairs", "do_nothing"]


def test_every_entrant_of_the_list_is_understood() -> None:
    assert [each.name for each in entrants(",".join(ENTRANTS))] == list(ENTRANTS)


def test_parameters_go_to_the_policys_own_table_the_strategy_or_the_model() -> None:
    found = entrants(
        "pairs:min_edge=0.004,max_lead_shares=200,num_levels=2,simple:BASE_SPREAD=0.02", always=()
    )
    assert [each.name for each in found] == ["pairs", "simple"]
    pairs, simple = (each.settings(Settings()) for each in found)
    assert (pairs.pairs.min_edge, pairs.pairs.max_lead_shares, pairs.strategy.num_levels) == (0.004, 200.0, 2)
    assert simple.model.params == {"INVENTORY_MODEL": "SimpleModel", "BASE_SPREAD": 0.02}


def test_a_variant_may_have_parameters() -> None:
    mended = entrant("inventory_mm:fixed,base_offset=0.02")
    assert (mended.policy, mended.settings(Settings()).strategy.base_offset) == ("inventory_mm", 0.02)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nobody", "expected one of do_nothing, join_touch"),
        ("pairs:min_edge=9", r"\[pairs\] min_edge: expected 0.0001…0.5"),
        ("pairs:edge=0.1", "expected the name of a setting"),
        ("pairs:min_edge", "expected one of"),
        ("pairs:num_levels=two", "num_levels: expected int, found 'two'"),
        ("simple:API_SECRET=1", "secrets are not kept"),
        ("pairs:wallet.keystore", "expected one of"),
        ("model", "INVENTORY_MODEL"),
    ],
)
def test_what_is_not_understood_is_said_with_what_is_possible(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        entrant(text).settings(Settings())


def test_a_policy_twice_is_an_error() -> None:
    with pytest.raises(ConfigError, match="twice"):
        entrants("pairs,pairs")
