"""Laws of the embedded venue under generated flow and generated orders."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from invmm.replay.queue_models import QueueModel, named
from invmm.sim.embedded import EmbeddedVenue
from invmm.sim.orders import Order
from invmm.sim.profile import VenueProfile
from invmm.types import COMMAND_DTYPE, EVENT_DTYPE, CommandKind, EventKind, OrderStatus, Outcome, Side
from tests.reference.frames import DOWN, UP, at, change, mirror, snapshot, tape, trade
from tests.reference.matching import PlainBooks, PlainQueue
from tests.reference.stage import PROFILE, SHARE, Stage, fills

MODELS = ["conservative", "proportional", "power:2", "power:0.5"]
QUIET = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@given(st.sampled_from(MODELS), st.integers(0, 10**12), st.integers(0, 10**12), st.floats(0, 1))
def test_every_queue_model_keeps_to_its_bounds(model: str, ahead: int, behind: int, share: float) -> None:
    queue: QueueModel = named(model)
    cancelled = min(ahead + behind, int(share * (ahead + behind)))
    left = queue.after_cancel(ahead, behind, cancelled)
    assert 0 <= left <= ahead
    assert left <= ahead + behind - cancelled
    # Nobody is kinder to us than cancellations from the front, and conservative is never ahead of another
    # model.
    assert left >= ahead - cancelled
    assert left <= named("conservative").after_cancel(ahead, behind, cancelled)


# ---- one level against an explicit line of shares ----

line_steps = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.integers(1, 30)),
        st.tuples(st.just("own"), st.integers(5, 20)),
        st.tuples(st.just("trade"), st.integers(1, 40)),
        st.tuples(st.just("cancel"), st.integers(1, 40)),
        st.tuples(st.just("pull"), st.integers(0, 5)),
    ),
    max_size=25,
)


@QUIET
@given(st.integers(1, 60), line_steps)
def test_a_level_behaves_like_a_line_of_shares(first: int, steps: list[tuple[str, int]]) -> None:
    """Against the twin: trades from the front, cancellations from the back, own orders in between."""
    twin = PlainQueue(first)
    batches: list[tuple[int, list[bytes]]] = []
    plan: list[tuple[int, str, int]] = []
    public = first
    for index, (what, count) in enumerate(steps, 1):
        ms = index * 1000
        if what == "join":
            public += count
            batches.append((ms, [change("BUY", "0.5", str(public), ms)]))
        elif what in ("trade", "cancel"):
            count = min(count, public - 1)  # the level stays, so nothing is swept
            if count <= 0:
                continue
            public -= count
            told = [trade(UP, "SELL", "0.5", str(count), ms)] if what == "trade" else []
            batches.append((ms, [*told, change("BUY", "0.5", str(public), ms)]))
        plan.append((ms, what, count))
    stage = Stage(batches, bids=[("0.5", str(first)), ("0.4", "500")])
    orders: dict[str, Order] = {}
    for ms, what, count in plan:
        stage.to(ms)
        if what == "join":
            twin.join_public(count)
        elif what == "trade":
            twin.trade(count)
        elif what == "cancel":
            twin.cancel_public(count)
        elif what == "own":
            name = f"own{len(orders)}"
            orders[name] = stage.bid(5000, count)
            twin.join(name, count)
        elif what == "pull" and orders:
            name = list(orders)[count % len(orders)]
            stage.core.cancel(orders[name].request.order_id)
            twin.leave(name)
        for name, order in orders.items():
            assert order.filled_micro == twin.filled[name] * SHARE
            assert stage.ahead(order) == twin.ahead(name)


# ---- whole markets ----

prices = st.integers(45, 55)
flow = st.lists(
    st.lists(
        st.one_of(
            st.tuples(st.just("level"), st.sampled_from(["BUY", "SELL"]), prices, st.integers(0, 60)),
            st.tuples(st.just("print"), st.sampled_from(["BUY", "SELL"]), prices, st.integers(1, 60)),
        ),
        min_size=1,
        max_size=4,
    ),
    max_size=12,
)
actions = st.lists(
    st.tuples(
        st.integers(0, 12_000),  # ms
        st.sampled_from(list(Outcome)),
        st.sampled_from(list(Side)),
        prices,
        st.integers(5, 40),
        st.booleans(),  # post-only
        st.integers(0, 3_000),  # ms until its cancel
    ),
    max_size=10,
)


def market(flow_: list[list[tuple[str, str, int, int]]], *, derived: bool) -> list[tuple[int, list[bytes]]]:
    """Batches a second apart whose books are never crossed: a level at or through the other side removes that
    side.
    """
    bids, asks = {49: 30, 48: 40}, {51: 30, 52: 40}
    batches = []
    for index, wanted in enumerate(flow_, 1):
        ms = index * 1000
        frames = []
        for what, side, price, size in wanted:
            text = f"0.{price}"
            if what == "print":
                frames.append(trade(DOWN if price % 2 else UP, side, text, str(size), ms))
                continue
            mine, other = (bids, asks) if side == "BUY" else (asks, bids)
            if size:
                for crossed in [p for p in other if (p <= price if side == "BUY" else p >= price)]:
                    del other[crossed]
                    frames.append(change("SELL" if side == "BUY" else "BUY", f"0.{crossed}", "0", ms))
                mine[price] = size
            else:
                mine.pop(price, None)
            frames.append(change(side, text, str(size), ms))
        batches.append((ms, frames))
    return batches


BIDS = [("0.49", "30"), ("0.48", "40")]
ASKS = [("0.51", "30"), ("0.52", "40")]


@QUIET
@given(flow, actions, st.sampled_from(MODELS), st.booleans())
def test_money_and_tokens_are_conserved_and_no_fill_is_beyond_reach(
    flow_: list[list[tuple[str, str, int, int]]],
    actions_: list[tuple[int, Outcome, Side, int, int, bool, int]],
    model: str,
    derived: bool,
) -> None:
    profile = VenueProfile(queue_model=model, failure_rate=0.2, retry_rate=0.2, record_truth=True)
    batches = market(flow_, derived=derived)
    stage = Stage(batches, derived=derived, profile=profile, tokens=(60, 60), bids=BIDS, asks=ASKS)
    orders = []
    steps = [(ms, 0, action) for action in actions_ for ms in [action[0]]]
    for ms, _, (_, token, side, price, shares, post_only, later) in sorted(steps, key=lambda step: step[0]):
        stage.to(ms)
        answer = stage.ask(token, side, price * 100, shares, post_only=post_only)
        if isinstance(answer, Order):
            orders.append(answer)
            stage.core.schedule(at(ms + later), lambda o=answer: stage.core.cancel(o.request.order_id))  # type: ignore[misc]
        stage.account.check()
    stage.to(40_000)
    stage.account.check()
    for order in stage.core.open_orders():  # takers that were held when their cancel came
        assert stage.core.cancel(order.request.order_id) == ""
    assert stage.core.open_orders() == []
    assert stage.core.overlay.levels == {}
    for order in orders:
        assert 0 <= order.filled_micro <= order.request.size_micro
        assert order.filled_micro == sum(
            leg.size_micro
            for made in order.trades
            for leg in made.legs
            if leg.order_id == order.request.order_id
        )
        assert all(ahead >= 0 for _, ahead in order.truth)
        for price, _ in fills(order):  # never worse than its limit
            limit = order.request.price_e4
            assert price <= limit if order.request.side == Side.BUY else price >= limit
        for made in order.trades:
            if made.taker_order_id != order.request.order_id and len(made.legs) == 1:
                assert made.time_ns == at(0) or any(batch.time_ns == made.time_ns for batch in stage.batches)
                assert reached(order, made.time_ns, stage)


@QUIET
@given(flow, actions, st.sampled_from(MODELS), st.booleans())
def test_naming_the_tokens_the_other_way_round_changes_nothing(
    flow_: list[list[tuple[str, str, int, int]]],
    actions_: list[tuple[int, Outcome, Side, int, int, bool, int]],
    model: str,
    derived: bool,
) -> None:
    """Bids and asks, Up and Down: every rule has its mirror image."""

    def swapped(frame: bytes) -> bytes:
        return (
            frame.replace(UP.encode(), b"?").replace(DOWN.encode(), UP.encode()).replace(b"?", DOWN.encode())
        )

    batches = market(flow_, derived=derived)
    mirrored = [(ms, [swapped(frame) for frame in frames]) for ms, frames in batches]
    profile = VenueProfile(queue_model=model, record_truth=True)
    told = []
    for turned, frames, bids, asks in (
        (False, batches, BIDS, ASKS),
        (True, mirrored, mirror(ASKS), mirror(BIDS)),
    ):
        stage = Stage(frames, derived=derived, profile=profile, tokens=(60, 60), bids=bids, asks=asks)
        orders = []
        for ms, token, side, price, shares, post_only, later in sorted(
            actions_, key=lambda action: action[0]
        ):
            stage.to(ms)
            answer = stage.ask(
                Outcome(1 - token) if turned else token, side, price * 100, shares, post_only=post_only
            )
            orders.append(answer)
            if isinstance(answer, Order):
                stage.core.schedule(
                    at(ms + later), lambda o=answer, s=stage: s.core.cancel(o.request.order_id)
                )  # type: ignore[misc]
        stage.to(40_000)
        told.append(
            [(o.state, fills(o), o.truth, o.filled_micro) if isinstance(o, Order) else o.text for o in orders]
        )
    assert told[0] == told[1]


def reached(order: Order, time_ns: int, stage: Stage) -> bool:
    """Plainly: something in that batch, or the book around it, came to the order's price."""
    books = PlainBooks(UP, DOWN)
    side, price = order.up_side, order.up_price_e4
    sign = 1 if side == Side.BUY else -1
    for batch in stage.batches:
        before = books.up.best_bid() if side == Side.BUY else books.up.best_ask()
        for row in range(batch.first, batch.last):
            books.apply_frame(stage.tape.frame(row), 0)
        if batch.time_ns != time_ns:
            continue
        after = books.up.best_bid() if side == Side.BUY else books.up.best_ask()
        opposite = books.up.best_ask() if side == Side.BUY else books.up.best_bid()
        if any((price - told.price_e4) * sign >= 0 for told in batch.prints):
            return True
        if opposite is not None and (price - opposite[0]) * sign >= 0:
            return True
        moved = before is not None and (after is None or (before[0] - after[0]) * sign > 0)
        past = after is None or (price - after[0]) * sign > 0
        return moved and past and batch.has_trade_evidence
    return False


@QUIET
@given(st.integers(1, 400), st.lists(st.integers(5, 60), min_size=1, max_size=5))
def test_volume_of_a_trade_is_used_once(volume: int, sizes: list[int]) -> None:
    stage = Stage([(100, [trade(UP, "SELL", "0.5", str(volume), 100)])], bids=[("0.5", "50"), ("0.4", "50")])
    orders = [stage.bid(5000, size) for size in sizes]
    stage.to(100)
    assert sum(order.filled_micro for order in orders) == min(sum(sizes), max(0, volume - 50)) * SHARE


# ---- the in-process face ----


def play(
    seed: int, flow_: list[list[tuple[str, str, int, int]]], plan: list[tuple[int, int, int, int]]
) -> list[bytes]:
    """All events of one run: orders at (ms, token, price, ms until the cancel)."""
    batches = [(0, [snapshot(BIDS, ASKS, 0)]), *market(flow_, derived=True)]
    venue = EmbeddedVenue(tape(batches), seed=seed, profile=VenueProfile(), books=PlainBooks(UP, DOWN))
    out = np.zeros(3, EVENT_DTYPE)
    moves = []
    for key, (ms, token, price, later) in enumerate(plan, 1):
        place = np.zeros(1, COMMAND_DTYPE)
        place[0]["kind"], place[0]["key"], place[0]["token"] = CommandKind.PLACE, key, token
        place[0]["price_e4"], place[0]["size_micro"], place[0]["batch"] = price * 100, 10 * SHARE, 2 * key
        cancel = place.copy()
        cancel[0]["kind"], cancel[0]["batch"] = CommandKind.CANCEL, 2 * key + 1
        moves += [(at(ms), place), (at(ms + later), cancel)]
    events = []

    def drain(now_ns: int) -> None:
        while written := venue.poll(now_ns, out):
            events.extend(out[row].tobytes() for row in range(written))

    drain(at(1))
    for now_ns, commands in sorted(moves, key=lambda move: move[0]):
        while (due := venue.next_ns()) is not None and due < now_ns:
            drain(due)
        assert venue.submit(commands, now_ns) == 1
        drain(now_ns)
    while (due := venue.next_ns()) is not None:
        drain(due)
    venue.check()
    return events


plans = st.lists(
    st.tuples(st.integers(2, 12_000), st.integers(0, 1), prices, st.integers(1, 3_000)), max_size=8
)


@QUIET
@given(st.integers(0, 3), flow, plans)
def test_same_seed_and_calls_give_the_same_bytes(
    seed: int, flow_: list[list[tuple[str, str, int, int]]], plan: list[tuple[int, int, int, int]]
) -> None:
    assert play(seed, flow_, plan) == play(seed, flow_, plan)


@QUIET
@given(flow, plans)
def test_every_order_is_answered_and_a_cancel_never_hides_a_fill(
    flow_: list[list[tuple[str, str, int, int]]], plan: list[tuple[int, int, int, int]]
) -> None:
    events = np.frombuffer(b"".join(play(1, flow_, plan)), EVENT_DTYPE)
    times = events["time_ns"]
    assert np.all(np.diff(times) >= 0)
    results = events[events["kind"] == EventKind.ORDER_RESULT]
    told = events[events["kind"] == EventKind.USER_EVENT]
    assert results["sequence"].tolist() == list(range(1, len(results) + 1))
    for key in range(1, len(plan) + 1):
        mine = results[results["key"] == key]
        placed = mine[mine["batch"] == 2 * key]["status"].tolist()
        assert placed[0] == OrderStatus.SENT
        assert placed[1] in (OrderStatus.LIVE, OrderStatus.MATCHED, OrderStatus.REJECTED)
        assert len(placed) == 2
        cancel = mine[mine["batch"] == 2 * key + 1]
        assert len(cancel) == 1
        matched = told[(told["key"] == key) & (told["status"] == OrderStatus.TRADE_MATCHED)]
        filled = int(matched["size_micro"].sum())
        assert filled <= 10 * SHARE
        if cancel[0]["status"] == OrderStatus.CANCELED:
            assert filled == cancel[0]["filled_micro"] < 10 * SHARE


def test_json_of_test_frames_is_valid() -> None:
    for frame in (snapshot(BIDS, ASKS, 1), change("BUY", "0.49", "1", 1), trade(UP, "BUY", "0.5", "1", 1)):
        json.loads(frame)


def test_profile_of_the_stage_has_no_chance_in_it() -> None:
    assert PROFILE.settlement_jitter_ns == PROFILE.retry_rate == 0
