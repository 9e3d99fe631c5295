"""A bot that has a `ClobClient` already hands it to the strategy: the package signs and sends, invmm decides.

With `adapt(client, our_signer=True)` invmm signs and sends with the client's key and credentials instead; a
py-clob-client, whose own orders the venue refuses, needs that.
"""

from py_clob_client_v2.client import ClobClient
from py_clob_client_v2.clob_types import ApiCreds

from invmm import InventoryMMConfig, InventoryMMStrategy, OrderbookSnapshot, SolverInput, adapt
from invmm.testing import TestVenue


def seen(client: ClobClient, token_id: str) -> OrderbookSnapshot:
    book = client.get_order_book(token_id)  # the best level is the last one
    best = {
        side: (float(book[side][-1]["price"]), float(book[side][-1]["size"])) for side in ("bids", "asks")
    }
    return OrderbookSnapshot(best_ask=best["asks"], best_bid=best["bids"])


def trade(client: ClobClient, up: str, down: str, condition: str) -> None:
    config = InventoryMMConfig(up, down, condition).with_num_levels(1).with_order_size(20.0)
    strategy = InventoryMMStrategy(config, adapt(client))
    strategy.initialize()
    view = SolverInput(
        config=config.solver_config,
        up_orderbook=seen(client, up),
        down_orderbook=seen(client, down),
        up_token_id=up,
        down_token_id=down,
    )
    print("wanted", len(strategy.tick(view).limit_orders))
    strategy.executor.wait_result(1, timeout_s=20)  # the executor's thread calls the client meanwhile
    print("placed", strategy.executor.results()[0].placed, "open", len(client.get_open_orders()))
    print("ended", strategy.shutdown(), "open", len(client.get_open_orders()))


if __name__ == "__main__":
    with TestVenue("btc-updown-5m", light=True, start_s=1_800_000_030) as venue:
        key = venue.credentials
        creds = ApiCreds(key.api_key, key.secret, key.passphrase)
        bot = ClobClient(venue.url, 137, venue.private_key, creds)
        market = venue.market()
        trade(bot, market.up_token_id, market.down_token_id, market.condition_id)
