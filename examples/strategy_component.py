"""The strategy as a component of another bot, which brings its own client and says what it sees."""

import threading

from invmm import InventoryMMConfig, InventoryMMStrategy, OrderbookSnapshot, SolverInput


class PrintingClient:
    """Stands for the client that a bot has already; its calls may block, the strategy does not."""

    def __init__(self) -> None:
        self.open: dict[str, float] = {}
        self.said: list[str] = []  # it is called on another thread, whose lines would mix with ours
        self.called = threading.Event()

    def buy(self, token_id: str, price: float, size: float, *, order_type: str, post_only: bool) -> str:
        order_id = f"0x{len(self.open):02x}"
        self.open[order_id] = price
        self.said.append(f"buy {token_id} {size} at {price} {order_type}")
        self.called.set()
        return order_id

    def sell(self, token_id: str, price: float, size: float, *, order_type: str, post_only: bool) -> str:
        raise NotImplementedError("the strategy only buys: pairs are merged, not sold")

    def cancel_orders(self, order_ids: list[str], /) -> list[str]:
        gone = [order_id for order_id in order_ids if self.open.pop(order_id, None) is not None]
        self.said.append(f"cancelled {len(gone)}")
        return gone


client = PrintingClient()
config = InventoryMMConfig("1234", "5678", "0xc0").with_num_levels(1).with_order_size(20.0)
strategy = InventoryMMStrategy(config, client)
strategy.initialize()
output = strategy.tick(
    SolverInput(
        config=config.solver_config,
        up_orderbook=OrderbookSnapshot(best_ask=(0.49, 200.0), best_bid=(0.47, 150.0)),
        down_orderbook=OrderbookSnapshot(best_ask=(0.53, 150.0), best_bid=(0.51, 200.0)),
        up_token_id=config.up_token_id,
        down_token_id=config.down_token_id,
    )
)
print("asked for", len(output.limit_orders), "bids")
client.called.wait(5)
print("ended", strategy.shutdown(), "open", len(client.open))
print(*client.said, sep="\n")
