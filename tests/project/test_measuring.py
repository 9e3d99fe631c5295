"""What the benchmarks measure on, and how they reckon, is itself held to account."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bench import harness, peers, recorded
from bench.tick_to_order import latencies
from bench.wire import (
    ASKS,
    DOWN,
    FIRST_ASK_CENTS,
    FIRST_CENTISHARES,
    TAGS,
    UP,
    Market,
    answer_to,
    first_order,
    sent_frame,
)
from invmm._ext.decode import MarketBooks


def stamp(number: int, ns: int) -> tuple[int, int]:
    return FIRST_CENTISHARES + number % TAGS, ns


def test_a_frame_is_answered_by_its_own_request() -> None:
    found, lost = latencies(np.array([1000, 2000, 3000]), [stamp(0, 1100), stamp(1, 2200), stamp(2, 3300)], 0)
    assert (found.tolist(), lost) == ([100, 200, 300], 0)


def test_a_frame_that_was_overtaken_waits_for_the_newer_ones_request() -> None:
    found, lost = latencies(np.array([1000, 2000, 3000]), [stamp(2, 3300)], 0)
    assert (found.tolist(), lost) == ([2300, 1300, 300], 0)


def test_a_stall_counts_for_every_frame_it_delayed() -> None:
    sent = np.array([1000, 2000, 3000, 4000])
    found, _ = latencies(sent, [stamp(n, 9000 + n) for n in range(4)], 0)
    assert found.tolist() == [8000, 7001, 6002, 5003]


def test_frames_without_any_request_are_told_apart() -> None:
    found, lost = latencies(np.array([1000, 2000, 3000]), [stamp(0, 1100)], 0)
    assert (found.tolist(), lost) == ([100], 2)


def test_numbers_that_come_round_again_find_the_newest_frame() -> None:
    sent = np.arange(1, TAGS + 3) * 1000
    last = len(sent) - 1
    found, lost = latencies(sent, [stamp(n, int(sent[n]) + 50) for n in range(len(sent))], 0)
    assert (found[last], lost) == (50, 0)
    assert set(found.tolist()) == {50}


def test_warm_up_frames_are_left_out() -> None:
    found, _ = latencies(np.array([1000, 2000]), [stamp(0, 1900), stamp(1, 2010)], 1)
    assert found.tolist() == [10]


def test_a_price_tells_frames_apart_that_are_near() -> None:
    sent = np.arange(1, 100) * 1000
    stamps = [(FIRST_ASK_CENTS + n % ASKS, int(sent[n]) + 2500) for n in range(len(sent))]
    found, lost = latencies(sent, stamps, 0, FIRST_ASK_CENTS, ASKS)
    assert (set(found.tolist()), lost) == ({2500}, 0)


def test_a_sent_frame_carries_its_number_to_the_request() -> None:
    market = Market()
    for number in (0, 30, 8_999, 9_000):
        changes = json.loads(sent_frame(market, number)[4:])["price_changes"]
        price, size = changes[2]["price"], changes[2]["size"]
        assert (changes[0]["size"], changes[1]["size"]) == ("0", "0")
        taker = round(float(size) * 1e6)
        order = {"makerAmount": str(round(taker * float(price))), "takerAmount": str(taker)}
        body = json.dumps([{"order": order}]).encode()
        assert first_order(body) == (market.tag(number), market.ask_cents(number))
        assert round(100 * float(changes[0]["price"])) == market.ask_cents(number - 1)
    assert first_order(b"[]") is None


def test_the_server_answers_every_order_of_a_batch() -> None:
    answer = answer_to("POST /orders HTTP/1.1", b'[{"takerAmount":"1"},{"takerAmount":"2"}]')
    legs = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert [leg["status"] for leg in legs] == ["live", "live"]


@pytest.fixture(scope="module")
def frames() -> recorded.Frames:
    return recorded.generated(200)


def test_generated_books_mirror_each_other_and_tell_their_true_best(frames: recorded.Frames) -> None:
    pytest.importorskip("sortedcontainers")
    for shape in (1, 2, 10):
        peer = peers.SortedDictPeer(frames.up_token_id, frames.down_token_id)
        peer.apply(frames.opening)
        tokens = {frames.up_token_id: 0, frames.down_token_id: 1}
        for frame in frames.changes[shape]:
            peer.apply(frame)
            last = json.loads(frame)["price_changes"][-1]
            bid, ask = peer.bests()[tokens[last["asset_id"]]]
            told = [
                None if last[key] == empty else round(float(last[key]) * 1e4)
                for key, empty in (("best_bid", "0"), ("best_ask", "1"))
            ]
            assert [bid, ask] == told
            if shape != 1:
                (up_bid, up_ask), (down_bid, down_ask) = peer.bests()
                assert (up_bid, up_ask) == (_mirror(down_ask), _mirror(down_bid))


def _mirror(price_e4: int | None) -> int | None:
    return None if price_e4 is None else 10_000 - price_e4


def test_generated_frames_are_the_same_every_time(frames: recorded.Frames) -> None:
    assert recorded.generated(200) == frames


def test_a_peer_with_a_wrong_book_is_refused_before_it_is_timed(frames: recorded.Frames) -> None:
    pytest.importorskip("sortedcontainers")

    class Deaf(peers.SortedDictPeer):
        name = "deaf"

        def apply(self, frame: bytes) -> object:
            return super().apply(frame) if frame == frames.opening else None

    pair = [kind(frames.up_token_id, frames.down_token_id) for kind in (peers.SortedDictPeer, Deaf)]
    with pytest.raises(peers.UnequalError, match="deaf"):
        peers.verify_equal(pair, [frames.opening, *frames.changes[2]])


def test_the_timing_server_and_a_book_agree_on_the_market() -> None:
    market = Market()
    peer, books = peers.OrjsonPeer(UP, DOWN), MarketBooks(UP, DOWN)
    peer.apply(market.opening())
    assert books.apply_frame(market.opening(), 1) > 0
    for number in range(2 * ASKS):
        frame = sent_frame(market, number)[4:]
        peer.apply(frame)
        assert books.apply_frame(frame, 2 + number) == 4
        ask = 100 * market.ask_cents(number)
        assert peer.bests() == ((4800, ask), (10_000 - ask, 5200))
        assert peer.up[1].sizes[ask / 1e4] == pytest.approx(market.tag(number) / 100)
        assert books.up.best_ask() == (ask, market.tag(number) * 10_000)
        assert books.down.best_bid() == (10_000 - ask, market.tag(number) * 10_000)
    assert books.stats["best_mismatches"] == 0


def test_percentiles_of_known_samples() -> None:
    row = harness.distribution("x", np.arange(1, 1002))
    assert (row.samples, row.p50, row.p99, row.max) == (1001, 501.0, 991.0, 1001.0)
    with pytest.raises(ValueError, match="at least one sample"):
        harness.distribution("x", [])


def test_a_build_other_than_release_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INVMM_BENCH_ANY_BUILD", raising=False)
    monkeypatch.setattr(harness, "build_mode", lambda: "checked")
    with pytest.raises(harness.WrongBuildError, match="checked"):
        harness.require_release()
    monkeypatch.setattr(harness, "build_mode", lambda: "release")
    assert harness.require_release() == "release"
