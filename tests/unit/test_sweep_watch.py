"""How far a sweep is, on standard error: rows, failures by name, and nothing where nobody looks."""

from invmm.research.watch import SweepProgress
from invmm.research.work import Job, Outcome

JOB = Job(3, {"strategy.order_size": 20.0}, "generated:7", 2)


def test_rows_are_counted_and_failures_named(capsys):
    with SweepProgress(4, enabled=True) as progress:
        progress.row(JOB, Outcome({}), is_reused=True)
        progress.row(JOB, Outcome({}), is_reused=False)
        progress.row(JOB, Outcome(None, "the worker was ended by SIGKILL"), is_reused=False)
    told = " ".join(capsys.readouterr().err.split())
    assert "2/3" in told  # what was there before counts neither as done nor as left
    assert "1 failed" in told
    assert "trial 3 (strategy.order_size=20.0) on generated:7, seed 2: the worker was ended by" in told


def test_nothing_is_shown_where_it_is_not_wanted(capsys):
    with SweepProgress(1, enabled=False) as progress:
        progress.row(JOB, Outcome(None, "why"), is_reused=False)
    assert capsys.readouterr().err == ""
