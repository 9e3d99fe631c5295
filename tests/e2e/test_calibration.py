"""The calibration command, end to end: on recorded data where there is any, on small folders of its own
otherwise."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from invmm.errors import DataError
from invmm.replay.tape import MarketInfo, Tape, pack
from invmm.sim import calibration, contest, hardness, series
from invmm.sim.market import generate
from invmm.types import Outcome

RECORDED = os.environ.get("INVMM_RECORDED")
ROOM_ERRORS = 1.5  # standard errors of the difference by which a figure of twelve markets may be kinder


@pytest.fixture(scope="module")
def tape() -> Tape:
    return generate(1, window_s=120)


def save_as_recording(tape: Tape, folder: Path) -> None:
    """Writes a tape as the recordings are: the Down books after trades in `raw`, all frames in `replay`."""
    market = tape.market
    for name in ("raw", "replay"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    frames = [json.loads(frame) for frame in tape.frames()]
    prices = iter([f["price"] for f in frames[1:] if f["event_type"] == "last_trade_price"])
    with (folder / "raw" / f"{market.slug}.jsonl").open("w") as out:
        for message in frames[1:]:
            if message["event_type"] == "book" and message["asset_id"] == market.down_token_id:
                out.write(
                    json.dumps({"recv": 0.0, "tick": "0.01", "ltp": next(prices), "frame": message}) + "\n"
                )
    with (folder / "replay" / f"{market.slug}.jsonl").open("wb") as binary:
        for row, frame in zip(tape.rows, tape.frames(), strict=True):
            seconds = f"{int(row['recv_ns']) // 1000 / 1e6:.6f}".encode()
            binary.write(b'{"recv":' + seconds + b',"src":"der","frame":' + frame.strip() + b"}\n")
    listing = {
        "markets": [
            {
                "slug": market.slug,
                "condition_id": market.condition_id,
                "token_up": market.up_token_id,
                "token_down": market.down_token_id,
                "start": market.start_s,
                "end": market.end_s,
                "winner_inferred": "Up" if market.winner == Outcome.UP else "Down",
            }
        ]
    }
    (folder / "markets.json").write_text(json.dumps(listing))


def test_a_market_written_as_a_recording_measures_the_same_as_its_tape(tape: Tape, tmp_path: Path) -> None:
    save_as_recording(tape, tmp_path)
    measured = calibration.recorded_sample(tmp_path, policies=())
    recorded = measured.figures[0] | measured.figures[1]
    generated, plays = calibration.measure_seed(1, policies=(), make=lambda seed: tape)
    assert (measured.plays, plays) == ({}, {})
    assert recorded.keys() == generated.keys()
    assert {line.name for line in calibration.LINES} <= generated.keys()
    for name, value in generated.items():
        assert recorded[name] == pytest.approx(value, nan_ok=True), name


def test_command_prints_the_table_writes_json_and_replaces_only_the_marked_text(
    tape: Tape, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_as_recording(tape, tmp_path)
    page = tmp_path / "PAGE.md"
    page.write_text(f"before\n{calibration.BEGIN}\nold\n{calibration.END}\nafter\n")
    numbers = tmp_path / "numbers.json"
    options = ["--recorded", str(tmp_path), "--markets", "1", "--seed", "5", "--jobs", "1"]
    assert calibration.main([*options, "--json", str(numbers), "--write", str(page)]) == 0
    printed, progress = capsys.readouterr()
    assert "generated markets 1/1" in progress
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert printed.strip() in text
    for line in calibration.LINES:
        assert f"| {line.text} |" in printed
    stored = json.loads(numbers.read_text())
    assert len(stored["recorded"]["figures"]) == 2  # the books and the tape of one market
    assert stored["generated"]["figures"][0]["trades_per_s"] > 1
    for sample in stored.values():
        assert {policy: len(plays) for policy, plays in sample["plays"].items()} == {
            contest.ORIGINAL: 1,
            contest.MENDED: 1,
        }


def test_unusable_input_is_named_and_answered_with_exit_code_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibration.main(["--recorded", str(tmp_path)]) == 2
    assert "raw" in capsys.readouterr().err
    page = tmp_path / "PAGE.md"
    page.write_text("no markers")
    with pytest.raises(DataError, match="expected <!-- calibration -->"):
        calibration.write_between_markers(page, "text")


def test_a_kinder_figure_is_named() -> None:
    hard = [{"fills_per_minute": 10.0, "pair_cost": 0.99, "one_sided": 0.2}]
    soft = [{"fills_per_minute": 12.0, "pair_cost": 0.97, "one_sided": 0.3}]
    assert calibration.kinder(hard, soft) == ["fills_per_minute", "pair_cost"]
    assert calibration.kinder(soft, hard) == ["one_sided"]
    assert "**kinder**" in calibration.table(hard, soft)


BOOK = (
    '{{"market":"0xc","asset_id":"{token}","bids":{bids},"asks":{asks},"hash":"",'
    '"timestamp":"{at}","event_type":"book"}}'
)
TRADE = (
    '{{"market":"0xc","asset_id":"1","price":"{price}","size":"{size}","side":"{side}",'
    '"timestamp":"{at}","event_type":"last_trade_price"}}'
)


def small_tape(steps: list[tuple[int, str]]) -> Tape:
    """A tape of hand-made frames; times in seconds of a window of 300 s that starts at 1000 s and is won by
    Up."""
    market = MarketInfo("m", "0xc", "1", "2", 1000, 1300, winner=Outcome.UP)
    lines = [((1000 + at) * 10**9, (1000 + at) * 1000, 0, text.encode()) for at, text in steps]
    return pack(market, lines)


def book(at: int, bid: str, bid_size: int, ask: str) -> tuple[int, str]:
    bids = json.dumps([{"price": bid, "size": str(bid_size)}])
    asks = json.dumps([{"price": ask, "size": "1000"}])
    return at, BOOK.format(token="1", bids=bids, asks=asks, at=(1000 + at) * 1000)


def trade(at: int, price: str, size: int, side: str = "SELL") -> tuple[int, str]:
    return at, TRADE.format(price=price, size=size, side=side, at=(1000 + at) * 1000)


def up_fills(tape: Tape) -> list[tuple[int, int, int]]:
    """(price, shares, level) of the prober's Up fills."""
    return [
        (f.price_e4, f.size_micro // 10**6, f.level)
        for f in hardness.probe(tape).fills
        if f.outcome == Outcome.UP
    ]


def test_prober_waits_behind_the_queue_and_is_filled_by_what_trades_beyond_it() -> None:
    steps = [
        book(10, "0.5", 300, "0.51"),
        book(11, "0.5", 300, "0.51"),
        trade(12, "0.5", 300),
        book(13, "0.5", 60, "0.51"),
    ]
    assert up_fills(small_tape(steps)) == []
    assert up_fills(small_tape([*steps[:2], trade(12, "0.5", 340)])) == [(5000, 40, 0)]


def test_prober_is_filled_in_full_when_a_trade_goes_through_or_the_ask_arrives() -> None:
    start = [book(10, "0.5", 300, "0.51"), book(11, "0.5", 300, "0.51")]
    assert up_fills(small_tape([*start, trade(12, "0.49", 1)])) == [(5000, 100, 0), (4900, 1, 1)]
    assert up_fills(small_tape([*start, book(12, "0.48", 300, "0.49")])) == [(5000, 100, 0), (4900, 100, 1)]


def test_prober_markout_is_negative_when_the_price_falls_through_its_bid() -> None:
    steps = [
        book(10, "0.5", 300, "0.51"),
        book(11, "0.5", 300, "0.51"),
        trade(12, "0.49", 1),
        book(12, "0.4", 9, "0.42"),
    ]
    found = hardness.probe(small_tape([*steps, book(60, "0.3", 9, "0.32")]))
    # 100 shares each at 0.50, 0.49 and 0.48; the mid is 0.41 after one and five seconds, 0.41 still after
    # thirty.
    assert found.markout_c == {1: pytest.approx(-8), 5: pytest.approx(-8), 30: pytest.approx(-8)}
    assert found.one_sided == 1.0


def test_series_infers_the_trade_that_one_level_explains() -> None:
    def frame(at: int, bid: str, ask: str) -> tuple[int, str]:
        down_bids = json.dumps([{"price": "0.49", "size": ask}])
        down_asks = json.dumps([{"price": "0.5", "size": bid}])
        return at, BOOK.format(token="2", bids=down_bids, asks=down_asks, at=(1000 + at) * 1000)

    opening = (9, "[" + BOOK.format(token="2", bids="[]", asks="[]", at=1) + "]")
    steps = [
        opening,
        frame(10, "300", "70"),
        trade(10, "0.51", 30, "BUY"),
        frame(11, "300", "40"),
        trade(11, "0.51", 30, "BUY"),
    ]
    found = series.from_tape(small_tape(steps))
    assert found.trade_sign.tolist() == [0, 1]
    assert found.trade_size.tolist() == [0, pytest.approx(30)]
    assert (found.bid_e4.tolist(), found.ask_e4.tolist()) == ([5000, 5000], [5100, 5100])
    assert np.allclose(found.mid_at(np.array([10.5])), 50.5)


def test_a_passive_prober_is_picked_off_in_generated_markets() -> None:
    """A market in which a quoter cannot lose would be a defect; this one is made to lose on average."""
    found = [hardness.probe(generate(seed, window_s=180)) for seed in range(4)]
    assert all(one.markout_c[1] < 0 for one in found)
    assert sum(one.profit_per_share_c for one in found) < 0


def played(bought: float, unmatched: float, paid: float, mark: float = -2.0) -> contest.Played:
    """A market in which the engine placed 100 shares: `paid` dollars for a pair, markouts in cents."""
    pairs = (bought - unmatched) / 2
    marks = ((bought * mark / 100, bought),) * 3
    return contest.Played("m", bought, 100.0, unmatched, pairs, pairs * paid, -1.0, marks, 0)


def test_pooled_figures_weigh_markets_by_their_shares() -> None:
    found = contest.figures([played(10, 10, 0.5), played(30, 10, 0.9, -4.0)])
    assert found["fill_rate"] == pytest.approx(40 / 200)
    assert found["one_sided"] == pytest.approx(20 / 40)
    assert found["pair_cost"] == pytest.approx(0.9), "a market without pairs has no pair cost"
    assert found["markout_5"] == pytest.approx((10 * -2 + 30 * -4) / 40)
    assert found["profit_c"] == pytest.approx(-5)


def test_sampling_error_is_nothing_for_equal_markets_and_shrinks_with_their_number() -> None:
    assert contest.errors([played(10, 2, 0.9)] * 4)["fill_rate"] == pytest.approx(0)
    mixed = [played(10, 2, 0.9), played(50, 2, 0.9)]
    few, many = (contest.errors(mixed * count)["fill_rate"] for count in (2, 32))
    assert few == pytest.approx(0.2 / 2, rel=0.2), "the deviation of 0.1 and 0.5, over the root of four"
    assert many == pytest.approx(few / 4, rel=0.2)


def test_a_kinder_engine_figure_is_named_pooled_or_by_median() -> None:
    hard, soft = [played(20, 8, 0.97)] * 3, [played(30, 8, 0.98)] * 3
    kinder = {found.name for found in contest.compare(hard, soft) if found.is_kinder}
    assert kinder == {"fill_rate", "one_sided", "profit_c"}
    text = calibration.engine_table(hard, soft, judged=True)
    assert text.count("**kinder** (pooled)") == 3
    # Harder together, kinder in most markets: one market carries nearly all shares.
    mixed, some = [*soft, *soft, *soft, played(1000, 8, 0.9)], [played(40, 20, 0.99)] * 9
    (rate,) = [found for found in contest.compare(mixed, some) if found.name == "fill_rate"]
    assert rate.kinder_by < 0
    assert rate.is_kinder
    assert "**kinder** (median)" in calibration.engine_table(mixed, some, judged=True)
    assert "kinder" not in calibration.engine_table(hard, soft, judged=False)


@pytest.mark.slow
@pytest.mark.recorded
def test_generated_markets_are_no_kinder_to_the_engine_than_recorded_ones() -> None:
    """Pooled figures of the original policy, with the sampling error of so few markets as room: the command
    judges over more, and without room."""
    if RECORDED is None:
        pytest.skip("INVMM_RECORDED is not set")
    paths = sorted(calibration._below(Path(RECORDED), "replay").glob("*.jsonl.gz"))
    recorded = [contest.play(calibration.load(path)) for path in paths]
    generated = [contest.play(generate(seed)) for seed in range(2000, 2012)]
    for found in contest.compare(recorded, generated):
        assert found.kinder_by < ROOM_ERRORS, found
    assert sum(one.queue_ahead_of_truth for one in [*recorded, *generated]) == 0
    assert np.mean([one.bought > 0 for one in generated]) > 0.8, "nothing was bought: nothing was shown"
