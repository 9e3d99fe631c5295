"""The strategy's solver alone: what is held and displayed in, quotes and cancels out. Pure."""

from invmm import (
    InventoryMMConfig,
    InventorySnapshot,
    Merger,
    OpenOrder,
    OrderbookSnapshot,
    OrderSnapshot,
    SolverInput,
    solve,
)

config = (
    InventoryMMConfig("1234", "5678", "0xc0")
    .with_num_levels(2)
    .with_order_size(50.0)
    .with_min_profit_margin(0.01)
)
view = SolverInput(
    config=config.solver_config,
    inventory=InventorySnapshot(up_size=120, up_avg_price=0.46, down_size=60, down_avg_price=0.50),
    up_orderbook=OrderbookSnapshot(best_ask=(0.49, 200.0), best_bid=(0.47, 150.0)),
    down_orderbook=OrderbookSnapshot(best_ask=(0.53, 150.0), best_bid=(0.51, 200.0)),
    orders=OrderSnapshot(up_bids=(OpenOrder("0xaa", 0.40, 50.0, 50.0),)),
    up_token_id=config.up_token_id,
    down_token_id=config.down_token_id,
)
output = solve(view)
for order in output.limit_orders:
    print("bid", order.token_id, order.price, order.size)
for order_id in output.cancellations:
    print("cancel", order_id)
for taker in output.taker_orders:
    print("take", taker.token_id, taker.price, taker.size)

decision = Merger(config.merger_config).check_merge(view.inventory)
print("merge", decision.pairs_to_merge if decision.should_merge else f"nothing: {decision.reason}")
