"""The sweep's machinery without markets: workers, searches, rows that are kept, what failing jobs do."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invmm.errors import ConfigError, DataError, InUseError
from invmm.research.kept import KeptRows
from invmm.research.processes import ProcessCrew
from invmm.research.search import OptunaSearch
from invmm.research.spread import HereCrew, spread
from invmm.research.work import Job
from tests.unit import sweep_plays as plays


def rows_of(result):
    return [(row.trial, dict(row.point), row.market, row.seed, row.outcome) for row in result.rows]


def optuna(trials=12, sampler="tpe", seed=5, batch=4):
    plan = plays.a_plan(("strategy.order_size=5:60", "conditions.latency_ms=0,50"))
    return {"plan": plan, "search": OptunaSearch(plan.axes, trials, sampler, seed, batch)}


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=30, unique=True),
    st.integers(1, 5),
    st.lists(st.integers(0, 7), min_size=1),
)
def test_each_job_is_played_once_whatever_the_order_in_which_workers_are_done(places, size, choices):
    jobs = [Job(trial, {}, f"m-{market}", 1) for market, trial in places]
    crew = plays.ShuffledCrew(plays.a_task(), size, itertools.cycle(choices))
    assert sorted(job.address for job, _ in spread(jobs, crew)) == sorted(job.address for job in jobs)
    for given_ in crew.given.values():  # a worker comes back to a market only when all others are begun
        markets = [market for market, _ in itertools.groupby(job.market for job in given_)]
        begun_anew = len(markets) - len(set(markets))
        assert begun_anew == 0 or size > 1


def test_a_lone_worker_leaves_no_market_before_it_is_done():
    jobs = [Job(trial, {}, market, 1) for trial in range(4) for market in ("m-1", "m-2", "m-3")]
    played = [job.market for job, _ in spread(jobs, HereCrew(plays.a_task()))]
    assert [market for market, _ in itertools.groupby(played)] == ["m-1", "m-2", "m-3"]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_what_optuna_suggests_does_not_depend_on_who_is_faster(tmp_path, sampler):
    results = []
    for number, choices in enumerate(((0,), (3, 1, 2), (1, 0, 5))):
        crew = plays.ShuffledCrew(plays.a_task(), 1 + number, itertools.cycle(choices))
        (folder := tmp_path / str(number)).mkdir()
        results.append(rows_of(plays.swept(folder, crew, **optuna(sampler=sampler))))
    assert results[0] == results[1] == results[2]
    (tmp_path / "other").mkdir()
    assert rows_of(plays.swept(tmp_path / "other", **optuna(sampler=sampler, seed=6))) != results[0]


def test_optuna_finds_what_is_best_and_so_does_ranking(tmp_path):
    result = plays.swept(tmp_path, **optuna(trials=40))
    best = result.ranked()[0]
    assert best.point["strategy.order_size"] == pytest.approx(17.3, abs=2.0)
    assert best.point["conditions.latency_ms"] == 0
    assert len(result.trials) == 40
    assert result.ranked(is_minimized=True)[-1] == best


def test_a_batch_is_asked_for_whole_and_the_last_one_is_what_is_left():
    search = optuna(trials=10, batch=4)["search"]
    sizes = []
    while batch := search.batch():
        sizes.append(len(batch))
        search.tell([None] + [1.0] * (len(batch) - 1))  # a failed one is told as such
    assert sizes == [4, 4, 2]


def test_the_value_of_a_trial_is_a_mean_and_its_error_is_between_markets(tmp_path):
    plan = plays.a_plan(("strategy.order_size=20", "conditions.latency_ms=0"))
    (one,) = plays.swept(tmp_path, plan=plan).trials
    # By hand: -(20 - 17.3)² = -7.29; markets add 1, 2, 3, seeds 1/3 and 2/3.
    assert one.value == pytest.approx(-7.29 + 2 + 0.5)
    assert one.error == pytest.approx(1 / 3**0.5)
    assert (one.rows, one.failed) == (6, 0)


def test_rows_that_lack_the_objective_are_left_out_of_its_mean(tmp_path):
    plan = plays.a_plan(("strategy.order_size=20",), objective="pair_cost")
    (one,) = plays.swept(tmp_path, plan=plan).trials
    assert one.value == pytest.approx(20.1)
    assert (one.rows, one.failed) == (6, 0)


def test_a_job_that_fails_costs_its_row_alone(tmp_path):
    result = plays.swept(tmp_path, HereCrew(plays.a_task(plays.fails_at_40)))
    assert [(*row.point.values(), row.market, row.seed) for row in result.failed] == [
        (40.0, latency, "m-2", seed) for latency in (0.0, 50.0) for seed in (1, 2)
    ]
    assert all(row.outcome.error.startswith("ValueError at sweep_plays.py:") for row in result.failed)
    assert len(result.rows) == 36
    assert [one.value is None for one in result.trials] == [False] * 4 + [True] * 2
    again = plays.swept(tmp_path, resume=True)  # by somebody who can
    assert (again.reused, again.played, again.failed) == (32, 4, [])


def test_a_job_that_takes_its_worker_along_costs_its_row_alone(tmp_path):
    result = plays.swept(tmp_path, ProcessCrew(plays.a_task(plays.dies_at_40), 1))
    assert [(*row.point.values(), row.market, row.seed, row.outcome.error) for row in result.failed] == [
        (40.0, 0.0, "m-2", 1, "the worker was ended by SIGKILL"),
        (40.0, 0.0, "m-2", 2, "the worker ended by itself, exit code 3"),
    ]
    (tmp_path / "well").mkdir()
    well = plays.swept(tmp_path / "well")
    assert [one for one in rows_of(result) if one[-1].figures] == [
        one for one in rows_of(well) if one[:4] not in [one[:4] for one in rows_of(result) if one[-1].error]
    ]


def test_a_market_that_cannot_be_read_fails_with_the_reason(tmp_path):
    task = plays.Task("inventory_mm", plays.Settings(), plays.figures, plays.damaged)
    result = plays.swept(tmp_path, HereCrew(task))
    assert {row.outcome.error for row in result.failed} == {
        f"DataError: {name}: damaged" for name in ("m-1", "m-2", "m-3")
    }


def test_what_is_kept_is_not_played_again_and_makes_no_difference(tmp_path):
    whole = plays.swept(tmp_path)
    path = tmp_path / "rows.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:12]) + lines[12][:-9])  # cut off in the middle of a row
    watch = plays.Notes()
    again = plays.swept(tmp_path, resume=True, watch=watch)
    assert (again.reused, again.played) == (11, 25)
    assert (len(watch.reused), len(watch.played)) == (11, 25)
    assert rows_of(again) == rows_of(whole)
    wider = plays.a_plan(("strategy.order_size=10,20,30,40", "conditions.latency_ms=0,50"), seeds=3)
    assert plays.swept(tmp_path, plan=wider, resume=True).reused == 36


def test_optuna_goes_on_as_if_it_had_never_been_stopped(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = plays.swept(tmp_path / "a", **optuna())
    plays.swept(tmp_path / "b", **optuna(trials=5))
    lines = (tmp_path / "b/rows.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "b/rows.jsonl").write_bytes(b"".join(lines[:20]))
    again = plays.swept(tmp_path / "b", resume=True, **optuna())
    assert rows_of(again) == rows_of(whole)
    assert again.reused == 19


def test_rows_of_other_code_or_settings_are_refused_with_what_differs(tmp_path):
    plays.swept(tmp_path, identity={"code": {"digest": "a"}, "policy": "pairs"})
    with pytest.raises(ConfigError, match=r"another code \(digest = a, now digest = b\)"):
        plays.swept(tmp_path, resume=True, identity={"code": {"digest": "b"}, "policy": "pairs"})
    with pytest.raises(ConfigError, match=r"another policy \(pairs, now glft\)"):
        plays.swept(tmp_path, resume=True, identity={"code": {"digest": "a"}, "policy": "glft"})
    with pytest.raises(ConfigError, match="expected no such file, there is one; --resume goes on"):
        plays.swept(tmp_path)


@pytest.mark.parametrize("line", [b"{}", b'{"point": 1', b"[1]", b"\xff"])
def test_a_damaged_line_is_named(tmp_path, line):
    plays.swept(tmp_path)
    path = tmp_path / "rows.jsonl"
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:3], line, *lines[3:]]) + b"\n")
    with pytest.raises(DataError, match=r"rows.jsonl:4: expected JSON with error, figures"):
        plays.swept(tmp_path, resume=True)


def test_one_process_holds_the_rows(tmp_path):
    with (
        KeptRows(tmp_path / "rows.jsonl", {}, resume=True),
        pytest.raises(InUseError, match="expected nobody else at it"),
    ):
        KeptRows(tmp_path / "rows.jsonl", {}, resume=True)
    KeptRows(tmp_path / "rows.jsonl", {}, resume=True).close()


def test_figures_read_back_are_those_that_were_played(tmp_path):
    result = plays.swept(tmp_path)
    kept = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()[1:]]
    assert len(kept) == len(result.rows) == 36
    assert all(row["figures"] in [one.outcome.figures for one in result.rows] for row in kept)
