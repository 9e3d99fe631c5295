"""`polymarket-client` finds a rolling market of the embedded venue by its slug, trades it, hears of it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from polymarket import PublicClient, SecureClient

from invmm.testing import Series, TestVenue
from invmm.venue.official import official_environment

START_S = 1_790_000_100  # on the five-minute grid


@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_it_finds_the_market_that_it_trades(generation: str) -> None:
    series = Series("btc-updown-5m", tape="light", generation=generation)
    with TestVenue(series, start_s=START_S, seed=3) as venue:
        environment = official_environment(venue.profile)
        slug = f"btc-updown-5m-{START_S}"
        with PublicClient(environment=environment) as public:
            market = public.get_market(slug=slug)
            event = public.get_event(slug=slug)
            listed = public.list_markets(condition_ids=[market.condition_id]).first_page().items
            rolling = public.list_events(series_ids=[series.number], closed=False).first_page().items
        assert market.version == generation
        assert [one.condition_id for one in event.markets] == [market.condition_id]
        assert [one.id for one in listed] == [market.id]
        assert slug in [one.slug for one in rolling]
        assert (market.outcomes.yes.label, market.outcomes.no.label) == ("Up", "Down")
        up = market.outcomes.yes.token_id if generation == "v1" else market.outcomes.yes.position_id
        with SecureClient.create(
            private_key=venue.private_key, wallet=venue.address, environment=environment
        ) as bot:
            assert bot.get_trading_approvals_state().is_fully_approved
            order = bot.place_limit_order(asset_id=up, price="0.01", size=200, side="BUY")
            assert (order.ok, order.status) == (True, "live")
            assert bot.get_order(order_id=order.order_id).condition_id == market.condition_id
            assert bot.get_order_book(asset_id=up).tick_size == Decimal("0.01")
            assert list(bot.cancel_all().canceled) == [order.order_id]
