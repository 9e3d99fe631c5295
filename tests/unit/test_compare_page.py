"""The comparison page: whole HTML, every figure of its JSON, and nothing that a JSON could break it with."""

from __future__ import annotations

import copy
import itertools
import json
import math
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from invmm.errors import DataError
from invmm.replay.compare_page import main, page, write_page
from invmm.replay.compare_report import MARKOUTS, figures
from invmm.replay.statistics import mean_of

BREAK = "\u200b"
VOID = {"meta", "wbr", "br", "link", "img", "input", "hr"}


class Reader(HTMLParser):
    """Holds every tag to its end, and keeps the texts."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice in {tag}: {attrs}"
        self.tags.append((tag, dict(attrs)))
        if tag == "wbr":
            self.texts.append(BREAK)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "title"):
            self.texts.append(data)


def render(report: dict[str, Any]) -> str:
    """The page of a report; no figure in it is a word of Python."""
    text = page(report)
    assert not re.search(r"\b(nan|inf|NaN|Infinity|None)\b", text)
    return text


def read(report: dict[str, Any]) -> Reader:
    """The page of a report, parsed; every tag is closed."""
    reader = Reader()
    reader.feed(render(report))
    reader.close()
    assert not reader.open
    return reader


def words(reader: Reader) -> str:
    return " ".join(" ".join(reader.texts).replace(f" {BREAK} ", "").split())


def estimate(mean: float, half: float, **rest: Any) -> dict[str, Any]:
    return {"mean": mean, "low": mean - half, "high": mean + half, **rest}


def series() -> dict[str, Any]:
    times = [float(second) for second in range(4)]
    return {
        "t_s": times,
        "up_bid": [0.5, 0.51, None, 0.5],
        "up_ask": [0.51, 0.52, 0.52, 0.51],
        "own_up_bid": [0.49, None, 0.5, 0.5],
        "own_up_ask": [0.53] * 4,
        "up_shares": [0.0, 10.0, 10.0, 30.0],
        "down_shares": [0.0, 0.0, 10.0, 10.0],
        **{name: [0.0, 0.1, -0.2, 0.3] for name in ("pairs", "orphans", "fees", "rebates", "profit")},
        "fills": [
            {"t_s": 1.5, "token": "Up", "side": "BUY", "price": 0.49, "shares": 10.0, "taker": False},
            {"t_s": 2.5, "token": "Down", "side": "BUY", "price": 0.47, "shares": 10.0, "taker": False},
        ],
    }


def report() -> dict[str, Any]:
    """A small comparison in the form of `docs/comparison.md`, with as many different figures as possible."""
    counted = {
        "fills": 31.4,
        "orders": 88.2,
        "messages": 386.2,
        "messages_per_fill": 12.3,
        "maker_share": 0.934,
        "one_sided_share": 0.317,
        "pairs": 412.6,
        "pair_cost": 0.9913,
        "pairs_at_or_above_one": 17.8,
        "pairs_at_or_above_one_share": 0.043,
        "pairs_at_or_above_one_dollars": -0.27,
        "final_imbalance_shares": 43.9,
        "own_share": 0.061,
        "own_share_most": 0.119,
        "own_share_flagged": 3,
        "pairs_dollars": 3.59,
        "orphans_dollars": -2.31,
        "fees_dollars": -0.05,
        "rebates_dollars": 0.69,
        "max_committed_dollars": 4991.0,
        "failed_fills": 13,
        "unreconciled": 6,
        "reasons": {"unprofitable": 1234, "stale": 5},
    }
    markouts = {
        "1s": estimate(-0.41, 0.05, n=901),
        "5s": estimate(-0.32, 0.06, n=902),
        "30s": estimate(-0.23, 0.07, n=903),
        "resolution": estimate(0.14, 0.08, n=904),
    }
    pairs = {
        "profit": estimate(1.23, 0.5, n=40),
        "difference": estimate(2.46, 0.75, n=40, detectable=1.07, verdict="better"),
        "figures": counted,
        "markouts": markouts,
        "text": "pairs:min_edge=0.0041",
    }
    base = copy.deepcopy(pairs)
    base["profit"] = estimate(-1.23, 0.5, n=40)
    base["difference"] = estimate(0.0, 0.0, n=40, detectable=0.0, verdict="not shown")
    base["text"] = "inventory_mm"
    base["figures"]["unreconciled"] = 0
    nothing = dict.fromkeys(("mean", "low", "high", "detectable")) | {"n": 0}
    idle = {
        "profit": estimate(0, 0, n=40),
        "difference": estimate(1.24, 1.6, n=40, detectable=2.29, verdict="not shown"),
        "figures": {**dict.fromkeys(counted), "fills": 0.0, "reasons": {}},
        "markouts": dict.fromkeys(markouts, nothing),
        "text": "do_nothing",
    }
    other = {"pairs": {"profit": estimate(7.65, 0.1), "difference": estimate(8.76, 0.1, verdict="better")}}
    opening = {"time": "2026-11-21T21:00", "commit": "f00d", "tuned": "cafe", "trials": 44, "markets": 9}
    names = ("do_nothing", "inventory_mm", "pairs")
    one = estimate(5.67, 0.3, verdict="better")
    return {
        "comparison": 1,
        "base": "inventory_mm",
        "source": {"kind": "generated", "part": "deciding", "words": "40 generated markets"},
        "policies": {"do_nothing": idle, "inventory_mm": base, "pairs": pairs},
        "against": {name: {other: one for other in names if other != name} for name in names},
        "caveats": ["Our own impact is not in it."],
        "conditions": {"queue_model": "conservative", "latency_ms": 50.0},
        "common": {"order_size": 101.0},
        "bootstrap": {"block": 8, "draws": 4000, "seed": 9},
        "commit": "657814a0123456789",
        "dirty": True,
        "generator": "fingerprint77",
        "made": "2026-11-21T22:00",
        "rules": "Markets of April 2026 under the rules of today",
        "inferred_winners": ["btc-updown-5m-7"],
        "tuning": {"trials": 43, "markets": "20 markets", "commit": "beef", "digest": "d1ce", "chosen": {}},
        "openings": [{**opening, "policies": ["pairs"]}],
        "variants": [{"name": "latency 150 ms", "n": 21, "policies": other}],
        "toxicity": {
            "levels": [0, 1],
            "n": 22,
            "policies": {
                "pairs": {"profit": [3.21, -4.32], "zero_at": 0.43, "zero_words": ""},
                "inventory_mm": {"profit": [-1.0, -2.0], "zero_at": None, "zero_words": "no profit at any"},
            },
        },
        "markets": [
            {
                "market": "generated:1",
                "winner": "Up",
                "winner_inferred": False,
                "profit": {"do_nothing": 0.0, "inventory_mm": 1.0, "pairs": 2.0},
                "own_share": {"do_nothing": None, "inventory_mm": 0.04, "pairs": 0.07},
            }
        ],
        "samples": [{"market": "generated:1", "policies": {"pairs": series()}}],
    }


def test_tags_are_balanced_and_nothing_comes_from_elsewhere() -> None:
    reader = read(report())
    names = {name for name, _ in reader.tags}
    assert {"html", "title", "table", "svg", "details"} <= names
    assert not names & {"script", "img", "link", "iframe", "object", "foreignobject"}
    for _, attributes in reader.tags:
        assert not {"src", "href", "style"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)


def test_a_policy_is_judged_in_a_sentence() -> None:
    said = words(read(report()))
    assert "pairs is better than inventory_mm by 2.46 $ per market on these markets" in said
    assert "do_nothing is not shown to be better or worse than inventory_mm: difference +1.24 $" in said
    assert "below 2.29 $ a true difference is likely to be missed" in said
    assert "inventory_mm is what the others are measured against: −1.23 $ per market" in said


FIGURES = (
    "+1.23|+0.73 to +1.73|+2.46|+1.71 to +3.21|1.07|40|31.4|88.2|13|12.3|93.4 %|31.7 %|412.6|0.9913|17.8|"
    "4.3 %|−0.27|43.9|6.1 % ⚑|11.9 % ⚑|3 ⚑|+3.59|−2.31|−0.05|+0.69|4,991|unprofitable 1,234|6 trials|"
    "+5.67|−0.41|−0.32|−0.23|+0.14|−0.46 to −0.36|901|902|903|904|latency 150 ms|21|▲ +7.65|Δ +8.76|"
    "+3.21|−4.32|0.43|no profit at any|22 markets|657814a0123456789 with changes|fingerprint77|"
    "btc-updown-5m-7|April 2026|43 trials|d1ce|beef|f00d|44|cafe|40 generated markets|"
    "pairs:min_edge=0.0041|latency_ms 50|order_size 101|draws 4000|Our own impact is not in it."
)


def test_every_figure_is_in_the_page() -> None:
    said = words(read(report()))
    found = [
        each for each in FIGURES.split("|") if re.search(rf"(?<![\w.]){re.escape(each)}(?!\w|\.\d)", said)
    ]
    assert found == FIGURES.split("|")


def test_the_report_of_these_tests_has_the_fields_of_a_real_one() -> None:
    pairs = report()["policies"]["pairs"]
    assert pairs["figures"].keys() == figures([]).keys()
    assert pairs["markouts"].keys() == set(MARKOUTS)
    estimate_fields = set(mean_of([1.0, 2.0]).words())
    assert pairs["difference"].keys() == estimate_fields | {"verdict"}


def test_markets_that_decide_nothing_are_named_so() -> None:
    told = report()
    assert "decides nothing" not in words(read(told))
    told["source"]["part"] = "tuning"
    assert "decides nothing" in words(read(told))
    told["source"] = {"kind": "recorded", "part": "held back", "words": "9 recorded markets"}
    assert "never a claim of profit" in words(read(told))


def test_a_market_with_an_inferred_winner_or_too_much_of_our_own_volume_is_marked() -> None:
    told = report()
    assert "generated:1 Up 0.00 +1.00 4.0 % +2.00 7.0 % ⚑" in words(read(told))
    told["markets"][0]["winner_inferred"] = True
    assert "generated:1 Up inferred 0.00" in words(read(told))


def test_names_cannot_become_html() -> None:
    hostile = "<script>alert('1')</script>\"&pairs"
    text = json.dumps(report())
    for name in (
        "pairs",
        "40 generated markets",
        "generated:1",
        "latency 150 ms",
        "657814a0123456789",
        "abc",
        "Up",
    ):
        text = text.replace(json.dumps(name), json.dumps(hostile))
    reader = read(json.loads(text))
    assert "script" not in {name for name, _ in reader.tags}
    assert hostile in words(reader)


@pytest.mark.parametrize("part", [name for name in report() if name != "policies"])
def test_a_part_may_be_missing_or_null_or_of_another_kind(part: str) -> None:
    told = report()
    for value in (None, [], {}, "text", 7, [None], [7]):
        told[part] = value
        render(told)
    del told[part]
    read(told)


def broken(value: Any, first: int, count: Iterator[int], by: Any) -> Any:
    """A copy in which every twelfth value from the one of number `first` on is `by`."""
    if next(count) % 12 == first:
        return by
    if isinstance(value, dict):
        return {name: broken(each, first, count, by) for name, each in value.items()}
    return [broken(each, first, count, by) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "by",
    [None, math.nan, -math.inf, 1e308, 10**400, 5e-324, "text", True],
    ids=["none", "nan", "infinite", "large", "huge", "tiny", "text", "truth"],
)
def test_any_value_may_be_none_or_not_a_figure(by: Any) -> None:
    for first in range(12):
        count = itertools.count()
        told = report()
        policies = {name: broken(row, first, count, by) for name, row in told.pop("policies").items()}
        render(
            {"policies": policies, **{name: broken(each, first, count, by) for name, each in told.items()}}
        )


def test_one_policy_that_never_filled_is_a_page() -> None:
    nothing = {"profit": estimate(0, 0, n=3), "difference": {}, "figures": {"fills": 0}, "markouts": {}}
    assert "0.0" in words(read({"base": "do_nothing", "policies": {"do_nothing": nothing}}))


def test_a_report_without_policies_is_refused() -> None:
    for told in ({}, {"policies": {}}, {"policies": None}, {"policies": 4}):
        with pytest.raises(DataError, match="policies"):
            page(told)


def test_the_same_report_gives_the_same_page(tmp_path: Path) -> None:
    write_page(report(), tmp_path / "a.html")
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps(report()))
    assert main([str(kept), str(tmp_path / "b.html")]) == 0
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.html", "b.html", "kept.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", "7", '{"policies": []}'])
def test_a_file_that_is_no_report_is_named(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text(text)
    assert main([str(kept), str(tmp_path / "out.html")]) == 2
    assert "kept.json" in capsys.readouterr().err
    assert not (tmp_path / "out.html").exists()
    assert main([str(tmp_path / "none.json"), str(tmp_path / "out.html")]) == 2
