"""The compiled policies: hand-computed decisions, one defect of the original after the other."""

import numpy as np
import pytest

from invmm._ext.solver import POLICY_INPUT_DTYPE, InventoryMMPolicy, Policy
from invmm.types import Reason

SHARE = 1_000_000
CANCEL, QUOTE, TAKE = 1, 2, 3
OPEN, PENDING_NEW, PENDING_CANCEL, UNKNOWN = 1, 2, 3, 4


def market(up_ask=5_500, down_ask=4_500, held=(50, 50), average=(0.52, 0.46), orders=(), **fields):
    """A view; books are mirrors of each other: the bid of one is a dollar less the other's ask."""
    view = np.zeros((), POLICY_INPUT_DTYPE)
    for token in (0, 1):
        view["position_micro"][token] = held[token] * SHARE
        view["cost_micro"][token] = round(held[token] * average[token] * SHARE)
    for token, (ask, other) in enumerate(((up_ask, down_ask), (down_ask, up_ask))):
        bid = -1 if other == -1 else 10_000 - other
        view["top"][token] = (bid, ask, 100 * SHARE, 100 * SHARE, False, False)
    view["tick_e4"], view["min_size_micro"], view["fee_rate_ppm"] = 100, 5 * SHARE, 70_000
    for index, (key, token, price, state) in enumerate(orders):
        view["orders"][index] = (key, 100 * SHARE, 100 * SHARE, price, token, 0, state, False)
    view["n_orders"] = len(orders)
    for name, value in fields.items():
        view[name] = value
    return view


def answer(view, **settings):
    """(cancelled keys, Up prices, Down prices, takes as (token, price, shares), reasons)."""
    actions, reasons, _ = InventoryMMPolicy(**settings).decide(view)
    prices = [
        [int(a["price_e4"]) for a in actions if a["kind"] == QUOTE and a["token"] == token]
        for token in (0, 1)
    ]
    takes = [
        (int(a["token"]), int(a["price_e4"]), int(a["size_micro"]) / SHARE)
        for a in actions
        if a["kind"] == TAKE
    ]
    return [int(a["key"]) for a in actions if a["kind"] == CANCEL], *prices, takes, reasons


def test_compatible_mode_gives_the_worked_values_of_the_original():
    view = market(orders=[(7, 0, 4_000, OPEN)])
    cancels, up, down, takes, _ = answer(view, compatible=True)
    assert (cancels, up, down, takes) == ([7], [5_300, 5_300, 5_200], [4_400, 4_300, 4_200], [])
    _, up, down, _, _ = answer(market(up_ask=6_000, down_ask=5_000), compatible=True)
    assert (up, down) == ([5_300] * 3, [4_600] * 3)
    view = market(up_ask=5_000, down_ask=5_100, held=(0, 0))
    _, up, down, _, _ = answer(view, compatible=True)
    assert (up, down) == ([4_800, 4_800, 4_600], [4_900, 4_900, 4_800])


def test_no_tick_is_lost_to_binary_fractions():
    # 0.50 - 0.01 is 0.49, of which the original makes 0.48; the cap 1 - 0.50 - 0.01 is 0.49 as well.
    view = market(up_ask=5_000, down_ask=5_000, held=(0, 0))
    view["top"]["bid_e4"] = 4_900
    _, up, down, _, _ = answer(view)
    assert up == down == [4_900, 4_800, 4_700]


def test_levels_that_meet_at_the_cap_are_one_order():
    # Cap of Up: 1 - 0.46 - 0.01 = 0.53. Levels 0.54, 0.53, 0.52 become 0.53, 0.52 and the third is dropped.
    _, up, _, _, _ = answer(market(up_ask=5_500, down_ask=4_600))
    assert up == [5_300, 5_200]


def test_both_sides_at_their_cap_are_lowered_instead_of_cancelled():
    # Holding 30 + 30 at .52 + .46, caps .53 and .47: both filled, the pair averages over .99. The gate of the
    # original would cancel everything, were it not for the tick that it loses.
    view = market(up_ask=6_000, down_ask=5_000, held=(30, 30), orders=[(7, 0, 5_200, OPEN)])
    view["top"]["bid_e4"] = (5_000, 4_000)
    cancels, up, down, _, _ = answer(view)
    assert (cancels, up, down) == ([], [], [4_600])  # .52 is kept: (15.6+52)/130 + (13.8+46)/130 = .98


def test_equal_holdings_give_way_alike_and_by_no_more_than_needed():
    # Caps .51 and .47 at a margin of .03: (15+51)/130 + (13.8+47)/130 = .9754 > .97, one tick less is .96.
    view = market(up_ask=6_000, down_ask=5_000, held=(30, 30), average=(0.50, 0.46))
    view["top"]["bid_e4"] = (5_000, 4_000)
    _, up, down, _, _ = answer(view, min_profit_margin=0.03)
    assert (up[0], down[0]) == (5_000, 4_600)


def test_heavy_side_gives_way_first():
    # 60 Up at .52 against 20 Down at .46; caps .53 and .47, base of the imbalance is one ladder: 40/300.
    view = market(up_ask=6_000, down_ask=5_000, held=(60, 20))
    view["top"]["bid_e4"] = (5_000, 4_000)
    view["top"]["ask_micro"] = 0
    _, up, down, _, _ = answer(view)
    assert down[0] == 4_700
    # Down averages (9.2+47)/120 = .468334 rounded up; Up may average .521666: (.521666*160 - 31.2)/100 = .522
    assert up[0] == 5_200


def test_one_share_against_none_stops_nothing():
    _, up, down, _, reasons = answer(market(held=(1, 0)))
    assert up
    assert down
    assert reasons == (0, 0)
    _, up, _, _, reasons = answer(market(held=(1, 0)), compatible=True)
    assert up == []
    assert reasons[0] == Reason.IMBALANCE


def test_the_heavy_side_stops_at_its_limit_of_shares():
    # Limit with the defaults: .8 * max(held, 3 * 100) = 240 net shares.
    view = market(held=(239, 0), average=(0.40, 0.0))
    assert answer(view)[4][0] == Reason.NONE
    view = market(held=(240, 0), average=(0.40, 0.0), orders=[(7, 0, 5_300, OPEN)])
    cancels, up, down, _, reasons = answer(view)
    assert (cancels, up, reasons) == ([7], [], (Reason.IMBALANCE, 0))
    assert down


def test_taker_buys_no_more_than_the_imbalance_and_pays_its_fee():
    # 60 against 20 is 40 short. Down at .40 costs .40 + .07*.24 = .4168, then (9.2 + 40*.4168)/60 = .4312.
    view = market(up_ask=6_100, down_ask=4_000, held=(60, 20), average=(0.50, 0.46))
    assert answer(view)[3] == [(1, 4_000, 40.0)]
    # At an Up average of .56 the fee decides: .56 + .42 = .98 without it, .56 + .4312 = .9912 with it.
    view = market(up_ask=6_100, down_ask=4_000, held=(60, 20), average=(0.56, 0.46))
    assert answer(view)[3] == []
    view["fee_rate_ppm"] = 0
    assert answer(view)[3] == [(1, 4_000, 40.0)]


def test_one_taker_order_is_in_flight_at_most():
    view = market(up_ask=6_100, down_ask=4_000, held=(60, 20), average=(0.50, 0.46), n_orders=1)
    view["orders"][0] = (9, 40 * SHARE, 40 * SHARE, 4_000, 1, 0, PENDING_NEW, True)
    cancels, _, _, takes, _ = answer(view)
    assert (cancels, takes) == ([], [])


def test_taker_leaves_our_own_ask_and_small_orders_alone():
    view = market(up_ask=6_100, down_ask=4_000, held=(60, 20), average=(0.50, 0.46))
    view["top"]["ask_is_ours"][1] = True
    assert answer(view)[3] == []
    view = market(up_ask=6_100, down_ask=4_000, held=(60, 20), average=(0.50, 0.46))
    view["top"]["ask_micro"][1] = 4 * SHARE
    assert answer(view)[3] == []


def test_bids_stay_below_both_displayed_asks():
    # No offset: the first level would stand on the ask itself.
    _, up, down, _, _ = answer(
        market(up_ask=5_000, down_ask=5_100, held=(100, 100), average=(0.3, 0.3)), base_offset=0.0
    )
    assert (up[0], down[0]) == (4_900, 5_000)
    # Down's bid has moved to .52 already: an Up bid of .48 or more would take.
    view = market(up_ask=5_500, down_ask=4_600, held=(0, 0))
    view["top"]["bid_e4"][1] = 5_200
    assert answer(view)[1][0] == 4_700


@pytest.mark.parametrize("state", [OPEN, PENDING_NEW, PENDING_CANCEL, UNKNOWN])
def test_no_bid_meets_a_possibly_live_bid_for_the_other_token(state):
    # Down at .48 completes a dollar with Up at .52 and above.
    view = market(orders=[(7, 1, 4_800, state)])
    cancels, up, _, _, _ = answer(view)
    assert up == []
    assert cancels == ([7] if state in (OPEN, PENDING_NEW) else [])
    assert answer(view)[4][0] == Reason.SELF_CROSS


def test_an_own_offer_is_not_bought_back():
    view = market(n_orders=1)
    view["orders"][0] = (9, 100 * SHARE, 100 * SHARE, 5_250, 0, 1, UNKNOWN, False)
    assert answer(view)[1] == [5_200]


def test_a_live_order_serves_one_slot_and_its_double_is_cancelled():
    view = market(orders=[(7, 0, 5_300, OPEN), (8, 0, 5_300, PENDING_NEW)])
    cancels, up, _, _, _ = answer(view)
    assert (cancels, up) == ([8], [5_200])


def test_an_order_of_unknown_fate_serves_no_quote_and_is_not_cancelled():
    for state in (PENDING_CANCEL, UNKNOWN):
        cancels, up, _, _, _ = answer(market(orders=[(7, 0, 5_300, state)]))
        assert (cancels, up) == ([], [5_300, 5_200])


def test_a_partly_filled_order_is_kept_within_one_percent():
    view = market(orders=[(7, 0, 5_300, OPEN)])
    view["orders"]["remaining_micro"][0] = 99_000_001
    assert answer(view)[:2] == ([], [5_200])
    view["orders"]["remaining_micro"][0] = 99_000_000
    assert answer(view)[:2] == ([7], [5_300, 5_200])


@pytest.mark.parametrize(
    ("view", "settings", "reason"),
    [
        (market(up_ask=-1), {}, Reason.NO_ASK),
        (market(), {"num_levels": 0}, Reason.NOT_WANTED),
        (market(), {"order_size": 4.0}, Reason.BELOW_MIN_SIZE),
        (market(up_ask=200, down_ask=9_900, held=(0, 0)), {"base_offset": 0.02}, Reason.BELOW_MIN_PRICE),
        (market(average=(0.01, 0.99)), {}, Reason.UNPROFITABLE),
        (market(up_ask=100, down_ask=-1, held=(0, 0)), {"base_offset": 0.0}, Reason.POST_ONLY),
        (market(held=(300, 0)), {}, Reason.IMBALANCE),
    ],
)
def test_every_missing_quote_has_its_reason(view, settings, reason):
    _, up, _, _, reasons = answer(view, **settings)
    assert up == []
    assert reasons[0] == reason


def test_fine_ticks_are_followed():
    for tick in (10, 25, 50):
        view = market(up_ask=5_150, down_ask=4_900, held=(0, 0), tick_e4=tick)
        _, up, down, _, _ = answer(view)
        assert (up[0], down[0]) == (5_000, 4_750)  # caps: 1 - .49 - .01; 1 - .515 - .01 = .475


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"tick_e4": 0}, "tick_e4"),
        ({"tick_e4": 300}, "tick_e4"),
        ({"position_micro": (-1, 0)}, "position_micro"),
        ({"position_micro": (10**12 + 1, 0)}, "position_micro"),
        ({"cost_micro": (0, 3 * 10**12)}, "position_micro"),
        ({"up_ask": 10_000}, "top"),
        ({"n_orders": 65}, "n_orders"),
        ({"fee_rate_ppm": -1}, "fee_rate_ppm"),
    ],
)
@pytest.mark.parametrize("compatible", [False, True])
def test_a_view_out_of_range_is_refused(fields, words, compatible):
    with pytest.raises(ValueError, match=words):
        InventoryMMPolicy(compatible=compatible).decide(market(**fields))


@pytest.mark.parametrize(
    "settings",
    [
        {"num_levels": 32},
        {"num_levels": -1},
        {"base_offset": float("nan")},
        {"order_size": 0.0},
        {"order_size": float("inf")},
        {"max_imbalance": 1.1},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        InventoryMMPolicy(**settings)


def test_the_base_policy_wants_nothing():
    actions, reasons, imbalance = Policy().decide(market())
    assert len(actions) == 0
    assert reasons == (Reason.NOT_WANTED, Reason.NOT_WANTED)
    assert imbalance == 0.0


def test_a_view_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="POLICY_INPUT_DTYPE"):
        Policy().decide(np.zeros(3))


def test_the_most_crowded_decision_fits_its_actions():
    view = market(up_ask=9_000, down_ask=9_000, average=(0.01, 0.01))
    view["top"]["bid_e4"] = 100
    view["n_orders"] = 64
    for index in range(64):
        view["orders"][index] = (index, SHARE, SHARE, 100, index % 2, 0, OPEN, False)
    for compatible in (False, True):
        policy = InventoryMMPolicy(31, 0.55, 0.0, 1.0, 5.0, 1.0, compatible=compatible)
        actions, _, _ = policy.decide(view)
        assert np.count_nonzero(actions["kind"] == CANCEL) == 64
        assert np.count_nonzero(actions["kind"] == QUOTE) == 62
