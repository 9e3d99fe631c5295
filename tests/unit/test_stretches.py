"""Going over batches in one call is what playing them one by one is."""

from __future__ import annotations

from functools import cache

import pytest

from invmm._ext.decode import MarketBooks
from invmm.replay.player import Player
from invmm.replay.tape import Tape
from invmm.settings import Settings
from invmm.sim.embedded import EmbeddedVenue
from invmm.sim.market import generate
from invmm.sim.matching import Overlay
from invmm.sim.stretches import CutTape


@cache
def market() -> Tape:
    return generate(5, window_s=90)


class _Slow(CutTape):
    """Goes over nothing."""

    def pass_over(self, books: MarketBooks, overlay: Overlay, batch: int, until_ns: int) -> tuple[int, int]:
        return batch, int(self.firsts[batch])


@pytest.mark.parametrize("policy", ["inventory_mm"])
def test_commands_are_those_of_a_venue_that_plays_every_batch(
    policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def played(is_checking: bool) -> tuple[str, int]:
        player = Player(Settings(), seed=2, policy=policy, is_checking=is_checking)
        result = player.play(market())
        return player.digest, result.ledger.cash_e10(0, result.winner)

    fast = played(False)
    monkeypatch.setattr(CutTape, "pass_over", _Slow.pass_over)
    assert fast == played(True)  # and in step with the engine, where the other one runs ahead


def test_without_own_orders_the_books_are_those_of_every_frame() -> None:
    tape = market()
    venue = EmbeddedVenue(tape)
    venue.advance(int(tape.rows["recv_ns"][-1]))
    plain = MarketBooks(tape.market.up_token_id, tape.market.down_token_id, tape.market.tick_e4)
    for frame in tape.frames():
        plain.apply_frame(frame, 0)
    assert isinstance(venue.books, MarketBooks)
    for side in (0, 1):
        assert venue.books.up.depth(side).tolist() == plain.up.depth(side).tolist()
