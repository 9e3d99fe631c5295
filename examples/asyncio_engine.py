"""The whole engine inside another asyncio program: it quotes a market, the program watches and stops it.

`TestVenue` stands for the venue. At the real one: `LIVE` as profile, `LiveClock()`, your own key and
credentials, and a market found by `invmm markets`.
"""

import asyncio

from invmm import Engine, OrderSigner, RemoteVenue, Settings
from invmm.testing import TestVenue


async def trade(test: TestVenue, settings: Settings) -> None:
    clock = test.clock()
    signer = OrderSigner(test.private_key)
    venue = RemoteVenue(test.profile, test.credentials, signer, clock, settings)
    engine = Engine(settings, venue=venue, clock=clock)
    market = engine.add_market(test.market())
    await engine.start()
    try:
        for _ in range(200):  # the program's own work; the engine runs between its awaits
            await asyncio.sleep(0.05)
            if market.step.registry.counts()["live"] >= 2:
                break
        for order in market.step.registry.orders_live():
            print("quoting", order["price_e4"], "state", order["state"])
        print("Up costs", market.up_mid())
    finally:
        clean = await engine.stop()  # pulls every quote, and asks the venue whether any is left
    print("clean", clean, "frames", market.step.stats()["frames"] > 0)


if __name__ == "__main__":
    tuned = Settings.parse("[strategy]\nnum_levels = 2\norder_size = 20.0\n")
    with TestVenue("btc-updown-5m", start_s=1_800_000_030, speed=2) as venue:
        asyncio.run(trade(venue, tuned))
