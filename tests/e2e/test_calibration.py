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
from invmm.sim import calibration, hardness, series
from invmm.sim.market import generate
from invmm.types import Outcome

RECORDED = os.environ.get("INVMM_RECORDED")


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
    (recorded,) = calibration.recorded_figures(tmp_path)
    (generated,) = calibration.generated_figures(1, make=lambda seed: tape)
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
    options = ["--recorded", str(tmp_path), "--markets", "1", "--seed", "5"]
    assert calibration.main([*options, "--json", str(numbers), "--write", str(page)]) == 0
    printed = capsys.readouterr().out
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert printed.strip() in text
    for line in calibration.LINES:
        assert f"| {line.text} |" in printed
    stored = json.loads(numbers.read_text())
    assert len(stored["recorded"]) == len(stored["generated"]) == 1
    assert stored["generated"][0]["trades_per_s"] > 1


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


@pytest.mark.recorded
def test_generated_markets_are_no_kinder_than_recorded_ones() -> None:
    """Over the medians of a few markets, with the sampling error of so few as room: the command judges over
    more."""
    if RECORDED is None:
        pytest.skip("INVMM_RECORDED is not set")
    names = ("fills_per_minute", "markout_1", "markout_5")
    folder = calibration._below(Path(RECORDED), "replay")
    paths = sorted(folder.glob("*.jsonl.gz"))[:3]
    recorded = [calibration.measure_hardness(hardness.probe(calibration.load(path))) for path in paths]
    generated = [calibration.measure_hardness(hardness.probe(generate(seed))) for seed in range(6)]

    def middle(figures: list[dict[str, float]], name: str) -> float:
        return float(np.median([one[name] for one in figures]))

    for name in names:
        room = 0.25 * abs(middle(recorded, name))
        assert middle(generated, name) <= middle(recorded, name) + room, name
