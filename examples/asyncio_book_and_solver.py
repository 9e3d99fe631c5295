"""Book and solver inside an asyncio bot that has its own WebSocket: frames in, wanted quotes out.

`TestVenue` stands for the venue; at the real one the socket is `LIVE.market_url`, the ids are your market's.
"""

import asyncio
import time

import aiohttp

from invmm import InventoryMMConfig, MarketBooks, extract_solver_input, solve
from invmm.testing import TestVenue

SOLVES = 5


async def quote(url: str, up: str, down: str, condition: str) -> None:
    books = MarketBooks(up, down)
    config = InventoryMMConfig(up, down, condition).with_num_levels(1).with_order_size(20.0)
    best, solves = None, 0
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        await socket.send_json({"assets_ids": [up, down], "type": "market"})
        async for frame in socket:
            books.apply_frame(frame.data.encode(), time.time_ns())
            now = (books.up.best_ask(), books.down.best_ask())
            if None in now or now == best:
                continue  # nothing that the solver looks at has moved
            best, solves = now, solves + 1
            output = solve(extract_solver_input(config, books=books))
            wanted = [f"{'Up' if o.token_id == up else 'Down'} {o.price:.2f}" for o in output.limit_orders]
            print("asks", [ask[0] / 1e4 for ask in now if ask], "bids wanted", wanted)
            if solves == SOLVES:
                return


if __name__ == "__main__":
    with TestVenue("btc-updown-5m", light=True, start_s=1_800_000_030, speed=20) as venue:
        market = venue.market()
        ids = (market.up_token_id, market.down_token_id, market.condition_id)
        asyncio.run(asyncio.wait_for(quote(venue.market_url, *ids), 30))
