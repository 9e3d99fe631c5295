"""The component for other programs' loops: configuration, extraction, strategy and executor handle."""

import threading

import pytest

from invmm.execution.handle import NO_CLIENT, SUPERSEDED, ExecutorHandle
from invmm.strategy.commands import (
    CancelAll,
    CancelAllForToken,
    CancelOrders,
    ExecuteBatch,
    ExecuteTaker,
    PlaceLimit,
)
from invmm.strategy.extraction import (
    SharedOrderbooks,
    SharedOrderState,
    SharedPositionTracker,
    extract_solver_input,
)
from invmm.strategy.inventory_mm import InventoryMMConfig, InventoryMMStrategy
from invmm.strategy.profitability import check_profitability
from invmm.strategy.solver import quote_ladder, solve
from invmm.strategy.vocabulary import (
    InventorySnapshot,
    LimitOrder,
    OpenOrder,
    OrderbookSnapshot,
    OrderSnapshot,
    Quote,
    QuoteLadder,
    SolverConfig,
    SolverInput,
    TakerOrder,
)
from invmm.types import Outcome

CONFIG = InventoryMMConfig("111", "222", "0xc")
LIMIT = LimitOrder("111", 0.5, 10.0, post_only=True)
DEADLINE_S = 10.0


class Client:
    """A trading client in memory: orders rest until cancelled; `fail` names raising calls, `hold` blocks."""

    def __init__(self, fail=()):
        self.calls = []
        self.live = {}
        self.fail = set(fail)
        self.hold = threading.Event()
        self.hold.set()
        self.entered = threading.Event()

    def _call(self, name, *details):
        self.entered.set()
        assert self.hold.wait(DEADLINE_S)
        self.calls.append((name, *details))
        if name in self.fail:
            raise ConnectionError(f"{name} failed")

    def _place(self, name, token_id, price, size, order_type, post_only):
        self._call(name, token_id, price, size, order_type, post_only)
        order_id = f"order{len(self.calls)}"
        if order_type == "GTC":
            self.live[order_id] = token_id
        return order_id

    def buy(self, token_id, price, size, *, order_type, post_only):
        return self._place("buy", token_id, price, size, order_type, post_only)

    def sell(self, token_id, price, size, *, order_type, post_only):
        return self._place("sell", token_id, price, size, order_type, post_only)

    def cancel_orders(self, order_ids):
        self._call("cancel_orders", *order_ids)
        return [order_id for order_id in order_ids if self.live.pop(order_id, None)]


@pytest.fixture
def started():
    handles = []

    def start(client=None, **options):
        handle = ExecutorHandle(client, **options)
        handle.start()
        handles.append((handle, client))
        return handle

    yield start
    for handle, client in handles:
        if client is not None:
            client.hold.set()
        assert handle.shutdown(DEADLINE_S)


def result_of(handle, command):
    sequence = handle.send(command)
    assert sequence > 0
    assert handle.wait_result(sequence, DEADLINE_S)
    return next(result for result in handle.results() if result.sequence == sequence)


def busy_market(**fields):
    values = {
        "inventory": InventorySnapshot(50, 0.52, 50, 0.46),
        "up_orderbook": OrderbookSnapshot(best_ask=(0.55, 100.0), best_bid=(0.54, 100.0)),
        "down_orderbook": OrderbookSnapshot(best_ask=(0.46, 100.0), best_bid=(0.45, 100.0)),
        "up_token_id": "111",
        "down_token_id": "222",
    }
    return SolverInput(**(values | fields))


@pytest.mark.parametrize(
    ("builder", "value", "read"),
    [
        ("with_num_levels", 2, lambda c: c.solver_config.num_levels),
        ("with_tick_size", 0.001, lambda c: c.solver_config.tick_size),
        ("with_base_offset", 0.02, lambda c: c.solver_config.base_offset),
        ("with_min_profit_margin", 0.02, lambda c: c.solver_config.min_profit_margin),
        ("with_max_imbalance", 0.5, lambda c: c.solver_config.max_imbalance),
        ("with_order_size", 20.0, lambda c: c.solver_config.order_size),
        ("with_spread_per_level", 2.0, lambda c: c.solver_config.spread_per_level),
        ("with_min_merge_size", 20.0, lambda c: c.merger_config.min_merge_size),
        ("with_max_merge_imbalance", 0.2, lambda c: c.merger_config.max_merge_imbalance),
        ("with_max_combined_cost", 0.98, lambda c: c.merger_config.max_combined_cost),
        ("with_update_interval_ms", 50, lambda c: c.update_interval_ms),
        ("with_min_size", 1.0, lambda c: c.min_size),
        ("with_fee_rate", 0.05, lambda c: c.fee_rate),
    ],
)
def test_every_builder_changes_its_number_in_a_copy(builder, value, read):
    before = read(CONFIG)
    changed = getattr(CONFIG, builder)(value)
    assert read(changed) == value != before == read(CONFIG)
    assert changed.up_token_id == "111"
    with pytest.raises(ValueError, match=builder.removeprefix("with_")):
        getattr(CONFIG, builder)(float("nan"))
    with pytest.raises(ValueError, match=builder.removeprefix("with_")):
        getattr(CONFIG, builder)(-1)


def test_the_two_tokens_must_be_named_and_different():
    for tokens in (("", "2"), ("1", "1")):
        with pytest.raises(ValueError, match="token_id"):
            InventoryMMConfig(*tokens, "0xc")


def test_defaults_come_from_the_config_alone():
    view = extract_solver_input(CONFIG.with_num_levels(2))
    assert view.config.num_levels == 2
    assert (view.up_token_id, view.down_token_id) == ("111", "222")
    assert solve(view).is_empty
    assert solve(view, compatible=True).is_empty


class Positions:
    def held_micro(self, outcome):
        return 60_000_000 if outcome == Outcome.UP else 0

    def average(self, outcome):
        return 0.5


class Orders:
    def orders_live(self):
        common = {"original_micro": 10_000_000, "remaining_micro": 4_000_000}
        return [
            {"key": 1, "token": 0, "side": 0, "price_e4": 5_300, "state": "live", **common},
            {"key": 2, "token": 1, "side": 0, "price_e4": 4_600, "state": "unknown", **common},
            {"key": 3, "token": 0, "side": 1, "price_e4": 6_000, "state": "live", **common},
        ]


class Levels:
    def __init__(self, bid, ask):
        self.best_bid = lambda: bid
        self.best_ask = lambda: ask


class Books:
    up = Levels((5_300, 7_000_000), (5_400, 1_000_000))
    down = Levels(None, (4_700, 7_000_000))


def test_live_objects_are_read_into_floats():
    assert isinstance(Positions(), SharedPositionTracker)
    assert isinstance(Orders(), SharedOrderState)
    assert isinstance(Books(), SharedOrderbooks)
    view = extract_solver_input(CONFIG, Positions(), Orders(), Books())
    assert view.inventory == InventorySnapshot(60.0, 0.5, 0.0, 0.0)
    assert view.orders.up_bids == (OpenOrder("1", 0.53, 10.0, 4.0),)
    assert view.orders.down_bids == (OpenOrder("2", 0.46, 10.0, 4.0, is_resting=False),)
    # Up's best bid is our order 1, Down's best ask its mirror; Up's ask .54 mirrors our Down bid .46.
    assert view.up_orderbook == OrderbookSnapshot((0.54, 1.0), (0.53, 7.0), True, True)
    assert view.down_orderbook == OrderbookSnapshot((0.47, 7.0), None, False, True)


def test_our_own_ledger_and_books_satisfy_the_protocols():
    book = pytest.importorskip("invmm._ext.book")
    ledger = pytest.importorskip("invmm.settlement.ledger")
    assert isinstance(ledger.Ledger(), SharedPositionTracker)
    books = type("Books", (), {"up": book.Book(), "down": book.Book()})()
    books.up.apply(1, 5_400, 1_000_000)
    view = extract_solver_input(CONFIG, ledger.Ledger(), None, books)
    assert view.up_orderbook.best_ask == (0.54, 1.0)
    assert view.down_orderbook.best_ask is None


def test_corrected_and_original_answers_differ_where_they_should():
    output = solve(busy_market())
    assert [(o.token_id, o.price) for o in output.limit_orders] == [
        ("111", 0.53),
        ("111", 0.52),
        ("222", 0.45),
        ("222", 0.44),
        ("222", 0.43),
    ]
    assert all(order.post_only for order in output.limit_orders)
    assert len(solve(busy_market(), compatible=True).limit_orders) == 6


def test_bids_of_unknown_fate_are_avoided_and_left_alone():
    stuck = OrderSnapshot(down_bids=(OpenOrder("y", 0.48, 100.0, 100.0, is_resting=False),))
    output = solve(busy_market(orders=stuck))
    assert output.cancellations == ()
    assert output.up_reason.name == "SELF_CROSS"
    assert solve(busy_market(orders=stuck), compatible=True).cancellations == ()


def test_numbers_that_are_none_are_refused_with_their_name():
    for compatible in (False, True):
        with pytest.raises(ValueError, match="up_size"):
            solve(busy_market(inventory=InventorySnapshot(up_size=float("nan"))), compatible)
        with pytest.raises(ValueError, match="best_ask price"):
            solve(busy_market(up_orderbook=OrderbookSnapshot(best_ask=(float("inf"), 1.0))), compatible)
        bids = tuple(OpenOrder(str(n), 0.1, 5.0, 5.0) for n in range(65))
        with pytest.raises(ValueError, match="orders"):
            solve(busy_market(orders=OrderSnapshot(up_bids=bids)), compatible)
    with pytest.raises(ValueError, match="up_size"):
        solve(busy_market(inventory=InventorySnapshot(up_size=-1.0)))


def test_the_ladder_does_not_depend_on_what_rests():
    orders = OrderSnapshot(up_bids=(OpenOrder("x", 0.53, 100.0, 100.0),))
    ladder = quote_ladder(busy_market(orders=orders))
    assert ladder == quote_ladder(busy_market())
    assert [quote.price for quote in ladder.up] == [0.53, 0.52]
    assert [quote.level for quote in ladder.up] == [0, 2]


def test_worst_case_counts_every_level_and_needs_both_tokens():
    ladder = QuoteLadder((Quote(0.5, 100.0), Quote(0.4, 100.0)), (Quote(0.48, 100.0),))
    # Up: held 100 at .50, then (50+50)/200 = .50 and (50+50+40)/300.
    result = check_profitability(InventorySnapshot(100.0, 0.50, 0.0, 0.0), ladder, 0.02)
    assert result.best_case == pytest.approx(0.98)
    assert result.worst_case == pytest.approx(140 / 300 + 0.48)
    assert result.is_profitable
    assert not check_profitability(InventorySnapshot(), QuoteLadder(up=ladder.up), 0.02).is_profitable


def test_strategy_trades_through_its_client_and_cancels_on_shutdown():
    client = Client()
    strategy = InventoryMMStrategy(CONFIG, client)
    with pytest.raises(RuntimeError, match="initialize"):
        strategy.tick(busy_market())
    strategy.initialize()
    strategy.initialize()
    output = strategy.tick(busy_market())
    assert strategy.executor.wait_result(1, DEADLINE_S)
    assert len(client.live) == len(output.limit_orders) == 5
    assert strategy.merge_decision.should_merge
    assert client.calls[0] == ("buy", "111", 0.53, 100.0, "GTC", True)
    assert strategy.shutdown(DEADLINE_S)
    assert client.live == {}
    assert not strategy.executor.is_running


def test_strategy_asks_for_one_taker_order_until_it_has_its_answer():
    client = Client()
    client.hold.clear()
    strategy = InventoryMMStrategy(CONFIG, client)
    strategy.initialize()
    short = busy_market(
        inventory=InventorySnapshot(60, 0.50, 20, 0.46),
        down_orderbook=OrderbookSnapshot(best_ask=(0.40, 100.0), best_bid=(0.39, 100.0)),
        up_orderbook=OrderbookSnapshot(best_ask=(0.61, 100.0), best_bid=(0.60, 100.0)),
    )
    assert [order.size for order in strategy.tick(short).taker_orders] == [40.0]
    assert client.entered.wait(DEADLINE_S)
    assert strategy.tick(short).taker_orders == ()
    assert strategy.tick(short).taker_orders == ()
    client.hold.set()
    assert strategy.executor.wait_result(1, DEADLINE_S)
    assert len(strategy.tick(short).taker_orders) == 1
    assert strategy.shutdown(DEADLINE_S)


def test_without_a_client_every_command_is_an_error(started):
    handle = started()
    for command in (PlaceLimit(LIMIT), CancelAll(), ExecuteBatch(("x",), (LIMIT,))):
        result = result_of(handle, command)
        assert result.errors == (NO_CLIENT,)
        assert (result.cancelled, result.placed, result.taken) == (0, 0, 0)


def test_a_batch_runs_cancels_then_takers_then_limits(started):
    client = Client()
    client.live["old"] = "111"
    result = result_of(
        started(client), ExecuteBatch(("old", "gone"), (LIMIT,), (TakerOrder("222", 0.4, 5.0),))
    )
    assert [call[0] for call in client.calls] == ["cancel_orders", "buy", "buy"]
    assert client.calls[1:] == [
        ("buy", "222", 0.4, 5.0, "FOK", False),
        ("buy", "111", 0.5, 10.0, "GTC", True),
    ]
    assert (result.cancelled, result.taken, result.placed) == (1, 1, 1)
    assert result.order_ids == ("order2", "order3")
    assert result.is_ok


def test_a_failing_call_is_told_and_the_rest_goes_on(started):
    client = Client(fail={"cancel_orders"})
    result = result_of(started(client), ExecuteBatch(("x",), (LIMIT,)))
    assert (result.cancelled, result.placed) == (0, 1)
    assert "ConnectionError: cancel_orders failed" in result.errors[0]


def test_cancels_by_token_and_of_everything_reach_what_was_placed(started):
    client = Client()
    handle = started(client)
    for token_id in ("111", "222", "222"):
        assert result_of(handle, PlaceLimit(LimitOrder(token_id, 0.5, 10.0))).placed == 1
    assert result_of(handle, CancelAllForToken("222")).cancelled == 2
    assert set(client.live.values()) == {"111"}
    assert result_of(handle, CancelAll()).cancelled == 1
    assert result_of(handle, ExecuteTaker(TakerOrder("111", 0.5, 5.0))).taken == 1
    assert result_of(handle, CancelAll()).cancelled == 0


def test_the_clients_own_cancel_all_is_preferred(started):
    client = Client()
    client.cancel_all = lambda: ["a", "b"]
    assert result_of(started(client), CancelAll()).cancelled == 2


def test_the_newest_batch_replaces_a_waiting_one_and_keeps_its_cancels(started):
    client = Client()
    handle = started(client)
    client.hold.clear()
    handle.send(PlaceLimit(LIMIT))
    assert client.entered.wait(DEADLINE_S)
    stale = handle.send(ExecuteBatch(("x",), (LIMIT,)))
    newest = handle.send(ExecuteBatch(("y",), (LimitOrder("222", 0.3, 7.0),)))
    client.hold.set()
    assert handle.wait_result(newest, DEADLINE_S)
    results = {result.sequence: result for result in handle.results()}
    assert results[stale].errors == (SUPERSEDED,)
    assert [call[:3] for call in client.calls[1:]] == [("cancel_orders", "y", "x"), ("buy", "222", 0.3)]


def test_a_full_queue_refuses_orders_and_takes_cancels(started):
    client = Client()
    handle = started(client, capacity=2)
    client.hold.clear()
    handle.send(PlaceLimit(LIMIT))
    assert client.entered.wait(DEADLINE_S)
    assert handle.send(PlaceLimit(LIMIT))
    assert handle.send(PlaceLimit(LIMIT))
    assert handle.send(PlaceLimit(LIMIT)) == 0
    assert handle.send(CancelOrders(("x",)))


def test_shutdown_places_nothing_that_still_waits_but_cancels():
    client = Client()
    handle = ExecutorHandle(client)
    handle.start()
    client.hold.clear()
    handle.send(PlaceLimit(LIMIT))
    assert client.entered.wait(DEADLINE_S)
    waiting = handle.send(ExecuteBatch(("x",), (LIMIT,)))
    assert not handle.shutdown(timeout_s=0.0)
    assert handle.send(CancelAll()) == 0
    client.hold.set()
    assert handle.shutdown(DEADLINE_S)
    result = next(result for result in handle.results() if result.sequence == waiting)
    assert result.placed == 0
    assert "shutting down" in result.errors[0]
    assert [call[0] for call in client.calls] == ["buy", "cancel_orders"]


def test_records_and_inputs_translate_both_ways():
    with pytest.raises(ValueError, match="num_levels"):
        SolverConfig(num_levels=32)
    with pytest.raises(ValueError, match="num_levels"):
        SolverConfig(num_levels=1.5)
    assert solve(busy_market()).to_mapping()["limit_orders"][0] == {
        "token": "111",
        "price": 0.53,
        "size": 100.0,
    }
