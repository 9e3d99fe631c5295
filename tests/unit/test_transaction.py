"""Replacing quotes as a merge: every row of the table, the order of messages, and how a transaction ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from invmm._ext.merge import merge
from invmm._ext.standing import StandingPolicy
from invmm._ext.step import MarketStep
from invmm._ext.words import SharedWords
from invmm.limits import step_limits
from invmm.types import (
    CommandArray,
    CommandKind,
    EventFlag,
    EventKind,
    Mode,
    OrderStatus,
    Outcome,
    Reason,
    SettlementFact,
    Side,
    VenueMode,
)
from tests.reference import wire
from tests.unit.test_step import START_S, Desk, kinds

UP, DOWN, BUY, SELL = 0, 1, Side.BUY, Side.SELL
SHARE = 1_000_000
PLACE, CANCEL = CommandKind.PLACE, CommandKind.CANCEL
BIDS, ASKS = {4700: 300, 4800: 200, 4900: 100}, {5100: 100, 5200: 200, 5300: 300}
Quote = tuple[int, int, int, int]


def bid(token: int, price_e4: int, shares: float = 100) -> Quote:
    return token, BUY, price_e4, round(shares * SHARE)


class Replacing(Desk):
    """One market whose quotes are said by the test."""

    def __init__(self, text: str = "", words: SharedWords | None = None) -> None:
        super().__init__(text + "\n[strategy]\nupdate_interval_ms = 1\n")
        self.policy = StandingPolicy()
        engine = self.engine
        old = self.market.step
        self.market.step = MarketStep(
            old.books,
            self.policy,
            step_limits(engine.settings, self.market.info),
            end_ms=old.end_ms,
            words=words,
        )

    def want(self, at_ms: float, *quotes: Quote) -> CommandArray:
        """A new target, decided on at once."""
        self.policy.want(quotes)
        return self.event(EventKind.TIMER, at_ms)

    def said(self, command: Any, status: OrderStatus, at_ms: float, **fields: Any) -> CommandArray:
        """Evidence alone, without the end of its buffer."""
        about = {name: command[name] for name in ("key", "token", "side", "price_e4", "size_micro", "batch")}
        kind = fields.pop("kind", EventKind.ORDER_RESULT)
        return self.event(kind, at_ms, status=status, **{**about, **fields})

    @property
    def replaced(self) -> dict[str, Any]:
        result: dict[str, Any] = self.market.step.stats()["transaction"]
        return result

    def alive(self) -> dict[int, tuple[int, int]]:
        """Unfilled shares and count of own orders by price, of those whose end is not asked for."""
        found: dict[int, tuple[int, int]] = {}
        for order in self.live():
            if not order["cancel_sent"]:
                shares, count = found.get(order["price_e4"], (0, 0))
                found[order["price_e4"]] = shares + order["remaining_micro"] // SHARE, count + 1
        return found


def quoting(
    text: str = "", *quotes: Quote, words: SharedWords | None = None
) -> tuple[Replacing, CommandArray]:
    """A market in which these quotes rest since 10 ms."""
    desk = Replacing(text, words)
    desk.open()
    placed = desk.want(100, *(quotes or (bid(UP, 4800), bid(DOWN, 4700))))
    assert kinds(placed) == [PLACE] * len(quotes or (1, 1))
    desk.accept(placed, 110)
    assert (desk.replaced["committed"], desk.replaced["open"]) == (1, False)
    return desk, placed


# ---- the table of one slot ---------------------------------------------------------------------------------

HUNDRED = 100 * SHARE


@pytest.mark.parametrize(
    ("base", "now", "fields", "result"),
    [
        ("live", "live", {}, "keep"),
        ("live", "live", {"remaining_micro": HUNDRED - SHARE // 2}, "keep"),
        ("live", "live", {"remaining_micro": 60 * SHARE}, "child"),
        ("live", "live", {"remaining_micro": 97 * SHARE}, "keep"),
        ("live", "live", {"remaining_micro": 150 * SHARE}, "keep"),
        ("live", "live", {"remaining_micro": 150 * SHARE, "within_limits": False}, "replace"),
        ("live", "live", {"same_price": False}, "replace"),
        ("live", "live", {"wanted_micro": 0}, "cancel"),
        ("live", "live", {"expiring": True}, "refresh"),
        ("live", "live", {"remaining_micro": 40 * SHARE, "filled_since_micro": 60 * SHARE}, "conflict"),
        ("live", "live", {"remaining_micro": HUNDRED, "filled_since_micro": SHARE // 2}, "keep"),
        ("live", "filled", {}, "conflict"),
        ("live", "filled", {"wanted_micro": 0}, "conflict"),
        ("live", "gone", {}, "place"),
        ("live", "gone", {"running": False}, "conflict"),
        ("live", "gone", {"wanted_micro": 0}, "nothing"),
        ("live", "gone", {"filled_since_micro": 30 * SHARE}, "conflict"),
        ("live", "pending", {"same_price": False}, "nothing"),
        ("pending", "pending", {"same_price": False}, "nothing"),
        ("pending", "gone", {}, "place"),
        ("none", "none", {}, "place"),
        ("none", "none", {"wanted_micro": 0}, "nothing"),
        ("none", "none", {"running": False}, "conflict"),
        ("none", "recovered", {}, "manage"),
        ("none", "foreign", {}, "halt"),
    ],
)
def test_an_order_then_now_and_wanted_give(base: str, now: str, fields: dict[str, Any], result: str) -> None:
    about = {"remaining_micro": HUNDRED, "wanted_micro": HUNDRED, "min_size_micro": 5 * SHARE, **fields}
    assert merge(base=base, now=now, **about) == result


# ---- what one target leads to ------------------------------------------------------------------------------


def test_an_unchanged_target_sends_nothing_and_opens_no_transaction() -> None:
    desk, placed = quoting()
    for at in range(200, 2_000, 100):
        assert not len(desk.want(at, bid(DOWN, 4700), bid(UP, 4800)))
    assert desk.replaced["begun"] == 1
    assert [order["key"] for order in desk.live()] == placed["key"].tolist()


def test_a_larger_size_at_the_same_price_adds_a_child_for_the_difference() -> None:
    desk, placed = quoting()
    child = desk.want(200, bid(UP, 4800, 140), bid(DOWN, 4700))
    assert kinds(child) == [PLACE]
    assert (child["price_e4"][0], child["size_micro"][0]) == (4800, 40 * SHARE)
    desk.accept(child, 210)
    assert desk.alive() == {4800: (140, 2), 4700: (100, 1)}
    assert not len(desk.want(300, bid(UP, 4800, 140), bid(DOWN, 4700)))
    assert desk.replaced["children"] == 1
    assert placed["key"][0] in [order["key"] for order in desk.live()]


def test_a_half_filled_order_keeps_its_place_and_gets_the_rest_as_a_child() -> None:
    desk, placed = quoting()
    desk.fill(placed[0], 40.005, 150)
    child = desk.want(200, bid(UP, 4800), bid(DOWN, 4700))
    assert not len(child), "the decision after the fill has done it already"
    assert [(o["price_e4"], o["original_micro"]) for o in desk.live() if o["token"] == UP] == [
        (4800, 100 * SHARE),
        (4800, 40 * SHARE),
    ]


def test_a_smaller_size_is_kept_within_the_limits() -> None:
    desk, _ = quoting()
    assert not len(desk.want(200, bid(UP, 4800, 50), bid(DOWN, 4700)))


def test_a_target_that_wants_nothing_cancels_and_commits_when_the_end_is_proven() -> None:
    desk, placed = quoting()
    cancels = desk.want(200)
    assert kinds(cancels) == [CANCEL] * 2
    assert desk.replaced["committed"] == 1
    for command in placed:
        desk.answer(command, OrderStatus.CANCELED, 210)
    assert (desk.replaced["begun"], desk.replaced["committed"]) == (2, 2)


# ---- the order of messages ---------------------------------------------------------------------------------


def test_what_fits_together_is_placed_acknowledged_then_cancelled() -> None:
    desk, placed = quoting()
    fresh = desk.want(200, bid(UP, 4900), bid(DOWN, 4700))
    assert kinds(fresh) == [PLACE]
    assert desk.replaced["phase"] == "resolve"
    old = desk.said(fresh[0], OrderStatus.LIVE, 210)
    assert kinds(old) == [CANCEL]
    assert old["key"][0] == placed["key"][0]
    assert desk.replaced["committed"] == 1, "the end of the old order is not proven"
    desk.said(placed[0], OrderStatus.CANCELED, 220)
    assert (desk.replaced["committed"], desk.replaced["placed_first"]) == (2, 1)


@pytest.mark.parametrize(
    "text",
    [
        "[risk]\nmax_cash_dollars = 100\n",
        "[risk]\nmax_direction_shares = 150\n",
        "[risk]\nmax_open_orders = 2\n",
        "[risk]\nmax_gross_shares = 250\n",
    ],
    ids=["cash", "direction", "orders", "gross"],
)  # fmt: skip
def test_what_does_not_fit_together_is_cancelled_proven_dead_then_placed(text: str) -> None:
    desk, placed = quoting(text)
    cancels = desk.want(200, bid(UP, 4900), bid(DOWN, 4700))
    assert kinds(cancels) == [CANCEL]
    assert cancels["key"][0] == placed["key"][0]
    assert not len(desk.event(EventKind.TIMER, 250)), "nothing before the proof"
    fresh = desk.said(placed[0], OrderStatus.CANCELED, 260)
    if "cash" in text or "direction" in text:
        assert not len(fresh), "what it had filled is not told by the answer"
        fresh = desk.said(placed[0], OrderStatus.CANCELED, 262, kind=EventKind.USER_EVENT)
    assert kinds(fresh) == [PLACE]
    assert fresh["price_e4"][0] == 4900
    desk.said(fresh[0], OrderStatus.LIVE, 270)
    assert (desk.replaced["committed"], desk.replaced["cancelled_first"]) == (2, 1)


def test_no_proof_no_placement() -> None:
    desk, placed = quoting("[risk]\nmax_cash_dollars = 100\n")
    desk.want(200, bid(UP, 4900), bid(DOWN, 4700))
    for at, status in [
        (210, OrderStatus.NOT_CANCELED),
        (220, OrderStatus.UNKNOWN),
        (230, OrderStatus.NOT_FOUND),
    ]:
        assert PLACE not in kinds(desk.answer(placed[0], status, at))
    assert placed["key"][0] in [order["key"] for order in desk.live()]


def test_a_bid_that_an_old_bid_of_the_other_token_would_match_waits_for_its_end() -> None:
    desk, placed = quoting("", bid(UP, 4800), bid(DOWN, 4900))
    desk.frame(wire.snapshot({5000: 100}, {5300: 100}, START_S * 1000 + 190), 190)
    # Up moves to 0.52, Down at 0.49 is in the way and wanted lower.
    first = desk.want(200, bid(UP, 5200), bid(DOWN, 4600))
    assert (CANCEL, placed["key"][1]) in list(zip(kinds(first), first["key"].tolist(), strict=True))
    assert 5200 not in first["price_e4"][first["kind"] == PLACE]
    then = desk.said(placed[1], OrderStatus.CANCELED, 210)
    assert {(int(c["token"]), int(c["price_e4"])) for c in then if c["kind"] == PLACE} == {
        (UP, 5200),
        (DOWN, 4600),
    }


def test_an_order_that_the_market_has_passed_is_cancelled_first() -> None:
    desk, placed = quoting()
    moved = desk.frame(wire.snapshot({4500: 100}, {4700: 100}, START_S * 1000 + 190), 190)
    assert not len(moved), "the target has not changed"
    cancels = desk.want(200, bid(UP, 4400), bid(DOWN, 4700))
    assert kinds(cancels) == [CANCEL]
    assert kinds(desk.said(placed[0], OrderStatus.CANCELED, 210)) == [PLACE]


def test_of_two_changes_the_one_that_lowers_the_imbalance_goes_first() -> None:
    for heavy, light in [(UP, DOWN), (DOWN, UP)]:
        desk, placed = quoting("", bid(heavy, 4800))
        desk.policy.want([])
        desk.fill(placed[0], 100, 150)
        assert desk.want(200, bid(UP, 4500), bid(DOWN, 4500))["token"].tolist() == [light, heavy]


def test_a_guard_cancels_everything_and_places_nothing() -> None:
    desk, _ = quoting()
    desk.want(200, bid(UP, 4900), bid(DOWN, 4700))
    stop = desk.event(EventKind.MODE, 205, status=Mode.STOPPED)
    assert set(kinds(stop)) == {CANCEL}
    assert not desk.replaced["open"]


def test_expiring_orders_are_refreshed_place_first() -> None:
    desk, placed = quoting("[engine]\nbook_max_age_ms = 600000\n")
    fresh = desk.want(105_200, bid(UP, 4800), bid(DOWN, 4700))
    assert kinds(fresh) == [PLACE] * 2
    ends = [desk.said(command, OrderStatus.LIVE, 105_210) for command in fresh]
    assert [int(c["key"][0]) for c in ends] == placed["key"].tolist()
    assert desk.replaced["refreshed"] == 2


# ---- how it ends -------------------------------------------------------------------------------------------


def test_a_refused_placement_takes_back_what_was_added_and_leaves_the_old() -> None:
    desk, placed = quoting()
    fresh = desk.want(200, bid(UP, 4900), bid(DOWN, 4600))
    assert not len(desk.said(fresh[0], OrderStatus.REJECTED, 210, reason=Reason.VENUE_POST_ONLY))
    back = desk.said(fresh[1], OrderStatus.LIVE, 220)
    assert [(CommandKind(int(c["kind"])), int(c["key"]), int(c["reason"])) for c in back] == [
        (CANCEL, int(fresh["key"][1]), Reason.COMPENSATED)
    ]
    assert desk.replaced["reverted"] == 0
    desk.said(fresh[1], OrderStatus.CANCELED, 230)
    assert desk.replaced["reverted"] == 1
    assert [order["key"] for order in desk.live()] == placed["key"].tolist()


def test_reverts_are_followed_by_a_growing_pause() -> None:
    desk, _ = quoting()
    at, pauses = 200, []
    for _ in range(4):
        fresh = desk.want(at, bid(UP, 4900), bid(DOWN, 4700))
        refused = at
        while not len(fresh):
            at += 10
            fresh = desk.event(EventKind.TIMER, at)
        pauses.append(at - refused)
        desk.said(fresh[0], OrderStatus.REFUSED, at, reason=Reason.THROTTLED)
    assert pauses == [0, 50, 100, 200]
    assert desk.replaced["reverted"] == 4


def test_an_unanswered_placement_is_given_up_and_its_transaction_reverts_on_proof() -> None:
    desk, placed = quoting()
    fresh = desk.want(200, bid(UP, 4900), bid(DOWN, 4700))
    desk.said(fresh[0], OrderStatus.UNKNOWN, 1_700)
    assert desk.replaced["open"]
    given_up = desk.event(EventKind.TIMER, 2_250)
    assert [int(c["key"]) for c in given_up if c["kind"] == CANCEL] == [int(fresh["key"][0])]
    assert (desk.replaced["open"], desk.replaced["reverted"]) == (False, 0)
    desk.said(fresh[0], OrderStatus.CANCELED, 2_300)
    assert desk.replaced["reverted"] == 1
    assert placed["key"][0] in [order["key"] for order in desk.live()]


def test_a_newer_target_waits_for_the_open_one_and_the_newest_wins() -> None:
    desk, _ = quoting()
    fresh = desk.want(200, bid(UP, 4900), bid(DOWN, 4700))
    assert not len(desk.want(210, bid(UP, 4850), bid(DOWN, 4700)))
    assert not len(desk.want(220, bid(UP, 4750), bid(DOWN, 4700)))
    commands = desk.answer(fresh[0], OrderStatus.LIVE, 230)
    assert kinds(commands) == [CANCEL, PLACE], "the old order ends, then the newest target begins"
    assert commands["price_e4"][1] == 4750
    assert desk.replaced["waited"] >= 2


def test_a_newer_target_that_does_not_want_what_waits_drops_it() -> None:
    desk, placed = quoting("[risk]\nmax_cash_dollars = 100\n")
    desk.want(200, bid(UP, 4900), bid(DOWN, 4700))
    assert not len(desk.want(220, bid(DOWN, 4700)))
    assert not len(desk.answer(placed[0], OrderStatus.CANCELED, 230))
    assert desk.replaced["superseded"] == 1


def test_a_fill_before_the_old_orders_end_is_a_conflict_and_is_solved_again() -> None:
    desk, placed = quoting("[risk]\nmax_cash_dollars = 100\n")
    desk.want(200, bid(UP, 4900), bid(DOWN, 4700))
    desk.event(
        EventKind.USER_EVENT, 210, status=OrderStatus.TRADE_MATCHED, trade=7, size_micro=30 * SHARE,
        key=placed["key"][0], token=UP, side=BUY, price_e4=4800,
    )  # fmt: skip
    assert not len(desk.said(placed[0], OrderStatus.CANCELED, 220))
    assert desk.replaced["conflicts"] == 1


@pytest.mark.parametrize("what", ["tick", "mode", "disconnect", "deadline"])
def test_what_waits_does_not_survive_a_change_of(what: str) -> None:
    desk, placed = quoting("[risk]\nmax_cash_dollars = 100\n")
    desk.want(200, bid(UP, 4900), bid(DOWN, 4700))
    if what == "tick":
        desk.frame(wire.tick_change(wire.UP, "0.01", "0.001", START_S * 1000 + 210), 210, last=False)
    elif what == "mode":
        desk.event(EventKind.MODE, 210, status=Mode.PAUSED)
    elif what == "disconnect":
        desk.event(EventKind.BUFFER_END, 210, flags=EventFlag.DISCONNECTED)
    at = 220 if what != "deadline" else 500
    assert PLACE not in kinds(desk.said(placed[0], OrderStatus.CANCELED, at))


# ---- what the venue takes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [VenueMode.RESTARTING, VenueMode.HALTED])
def test_a_venue_that_takes_no_orders_gets_cancels_and_the_newest_target_later(mode: VenueMode) -> None:
    words = SharedWords(1)
    desk, placed = quoting("", words=words)
    words.venue_mode = mode
    cancels = desk.want(200, bid(UP, 4900), bid(DOWN, 4700))
    assert kinds(cancels) == [CANCEL]
    desk.said(placed[0], OrderStatus.CANCELED, 210)
    assert not len(desk.want(400, bid(UP, 4600), bid(DOWN, 4700)))
    words.venue_mode = VenueMode.RUNNING
    assert desk.event(EventKind.TIMER, 450)["price_e4"].tolist() == [4600]


def test_while_the_venue_takes_cancels_only_one_order_a_second_finds_out_whether_it_takes_more() -> None:
    words = SharedWords(1)
    desk = Replacing("", words)
    desk.open()
    words.venue_mode = VenueMode.CANCEL_ONLY
    placed = []
    for at in range(1_000, 3_000, 50):
        for command in desk.want(at, bid(UP, 4800)):
            placed.append(at)
            desk.said(command, OrderStatus.REFUSED, at, reason=Reason.VENUE_MODE)
    assert 2 <= len(placed) <= 3


@pytest.mark.parametrize("mode", [VenueMode.RUNNING, VenueMode.HALTED])
def test_cancels_without_proof_are_repeated_ever_less_often_while_the_venue_takes_none(
    mode: VenueMode,
) -> None:
    words = SharedWords(1)
    desk, _ = quoting("[engine]\nbook_max_age_ms = 600000\n", words=words)
    words.venue_mode = mode
    desk.want(1_000)
    repeats = [at for at in range(1_050, 30_000, 50) if len(desk.event(EventKind.TIMER, at))]
    gaps = np.diff([1_000, *repeats]).tolist()
    assert gaps[:4] == ([1_000] * 4 if mode == VenueMode.RUNNING else [1_000, 1_000, 2_000, 4_000])
    assert max(gaps) <= 8_000


def test_known_funds_and_shares_promised_to_a_merge_bind() -> None:
    desk, placed = quoting()
    step = desk.market.step
    desk.policy.want([bid(DOWN, 4700)])
    desk.fill(placed[0], 100, 150, status=OrderStatus.TRADE_CONFIRMED)
    step.set_funds(10_000_000)
    assert PLACE not in kinds(desk.want(200, bid(DOWN, 4700), bid(UP, 4500)))
    assert step.stats()["reasons"][Reason.CASH] == 1
    step.set_funds(None)
    settle_pairs(desk, 250, reserved=60, gone=0)
    offered = desk.want(300, bid(DOWN, 4700), (UP, SELL, 5300, 50 * SHARE))
    assert PLACE not in kinds(offered)
    assert kinds(settle_pairs(desk, 350, reserved=0, gone=0)) == [PLACE]


def settle_pairs(desk: Replacing, at_ms: float, *, reserved: int, gone: int) -> CommandArray:
    """Tells of so many pairs that are promised, and so many that have left."""
    fields = {"size_micro": reserved * SHARE, "filled_micro": gone * SHARE, "trade": 7}
    return desk.event(EventKind.SETTLEMENT, at_ms, status=SettlementFact.PAIRS, **fields)


def test_merged_pairs_leave_the_position_and_their_dollars_are_free_again() -> None:
    desk, placed = quoting()
    step, ledger = desk.market.step, desk.market.ledger
    for number in range(2):
        desk.fill(placed[number], 100, 150 + number, number + 1, status=OrderStatus.TRADE_CONFIRMED)
    registry, spent = step.registry, int(str(step.exposure()["spent_e10"]))
    cost, cash = registry.cost(), ledger.cash_micro()
    assert registry.position() == (HUNDRED, HUNDRED)
    for _ in range(2):  # told twice, it counts once
        settle_pairs(desk, 200, reserved=0, gone=60)
        assert registry.position() == registry.confirmed() == (40 * SHARE, 40 * SHARE)
    assert registry.cost() == pytest.approx([0.4 * c for c in cost])
    assert step.exposure()["spent_e10"] == spent - 60 * SHARE * 10_000
    assert (ledger.merged_micro, ledger.cash_micro()) == (60 * SHARE, cash + 60 * SHARE)
    settle_pairs(desk, 300, reserved=0, gone=-40)  # a split brings pairs for a dollar each
    assert registry.position() == (140 * SHARE, 140 * SHARE)
    assert sum(registry.cost()) == pytest.approx(sum(cost) + 40, rel=0.1)
    assert step.exposure()["spent_e10"] == spent + 40 * SHARE * 10_000
    assert [ledger.held_micro(outcome) for outcome in Outcome] == [140 * SHARE, 140 * SHARE]
    assert step.settled_outcome is None


def test_a_sick_heartbeat_lets_nothing_be_placed() -> None:
    words = SharedWords(1)
    desk, _ = quoting("", words=words)
    words.missed_heartbeats = 1
    assert PLACE not in kinds(desk.want(200, bid(UP, 4900), bid(DOWN, 4700)))
    assert desk.market.step.stats()["reasons"][Reason.HEARTBEAT] >= 1
