"""What a cluster may do to a sweep, by a stand-in for Ray: other code, no room, a worker's death."""

from __future__ import annotations

import signal
from types import SimpleNamespace

import pytest

from invmm.errors import ConfigError, TransportError
from invmm.research import ray_crew
from invmm.research.provenance import code_digest
from invmm.research.ray_crew import RayCrew, RemoteBench
from tests.unit import sweep_plays as plays


class RayError(Exception):
    """Ray's own."""


class GetTimeoutError(RayError):
    """No answer in time."""


DEATH = "The actor died unexpectedly.\n\tclass_name: RemoteBench\nWorker exit detail: killed for memory"


class FakeRay:
    """As much of Ray as a crew asks for; a task is done when somebody waits for it."""

    exceptions = SimpleNamespace(RayError=RayError, GetTimeoutError=GetTimeoutError)

    def __init__(self, digest=None, has_room=True, dies_at=()):
        self.digest, self.has_room, self.dies_at = digest, has_room, set(dies_at)
        self.stored, self.hired, self.is_open = [], 0, False
        self.util = SimpleNamespace(get_node_ip_address=lambda: "127.0.0.1")

    def init(self, **words):
        self.is_open = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as Ray does: it takes the signal for itself

    def shutdown(self):
        self.is_open = False

    def cluster_resources(self):
        return {"CPU": 2.0}

    def kill(self, actor):
        pass

    def put(self, value):
        self.stored.append(value)
        return len(self.stored) - 1

    def remote(self, **words):
        return lambda kind: SimpleNamespace(remote=self._actor)

    def _actor(self, task):
        self.hired += 1
        bench = RemoteBench(task)

        def play(job, boxed):
            if job.address in self.dies_at:
                self.dies_at.discard(job.address)
                raise RayError(DEATH)
            return bench.play(job, boxed)

        return SimpleNamespace(
            introduce=SimpleNamespace(remote=lambda: lambda: ("node-1", self.digest or bench.introduce()[1])),
            play=SimpleNamespace(remote=lambda job, boxed: lambda: play(job, boxed)),
        )

    def get(self, asked, timeout=None):
        if timeout is not None and not self.has_room:
            raise GetTimeoutError
        if isinstance(asked, int):
            return self.stored[asked]
        return [one() for one in asked] if isinstance(asked, list) else asked()

    def wait(self, asked, num_returns):
        return asked[-num_returns:], asked[:-num_returns]


def crew_on(ray, monkeypatch, task=None):
    monkeypatch.setattr(ray_crew, "ray_module", lambda address="": ray)
    return RayCrew(task or plays.a_task(), 3, "local")


def test_rows_are_those_of_one_process_and_a_market_is_stored_once_per_visit(tmp_path, monkeypatch):
    ray = FakeRay()
    before = signal.getsignal(signal.SIGTERM)
    crew = crew_on(ray, monkeypatch)
    assert signal.getsignal(signal.SIGTERM) == before
    assert crew.size == 2  # no more than the cluster has processors
    for name in ("alone", "there"):
        (tmp_path / name).mkdir()
    assert plays.swept(tmp_path / "there", crew).rows == plays.swept(tmp_path / "alone").rows
    assert set(ray.stored) == {"m-1", "m-2", "m-3"}
    assert len(ray.stored) <= 4
    assert not ray.is_open


def test_a_worker_s_death_costs_its_row_and_another_takes_its_place(tmp_path, monkeypatch):
    ray = FakeRay(dies_at=[(4, "m-2", 1)])
    result = plays.swept(tmp_path, crew_on(ray, monkeypatch))
    (failed,) = result.failed
    assert (failed.trial, failed.market, failed.seed) == (4, "m-2", 1)
    assert failed.outcome.error == (
        "the worker ended: RayError: The actor died unexpectedly. killed for memory"
    )
    assert (len(result.rows), ray.hired) == (36, 3)


def test_a_market_that_cannot_be_read_fails_with_the_reason(tmp_path, monkeypatch):
    task = plays.Task("inventory_mm", plays.Settings(), plays.figures, plays.damaged)
    result = plays.swept(tmp_path, crew_on(FakeRay(), monkeypatch, task=task))
    assert len(result.failed) == 36
    assert {row.outcome.error for row in result.failed} == {
        f"DataError: {name}: damaged" for name in ("m-1", "m-2", "m-3")
    }


def test_a_node_with_other_code_is_refused_and_the_cluster_left(monkeypatch):
    ray = FakeRay(digest="0" * 32)
    with pytest.raises(ConfigError, match=f"code digest {code_digest()}; node node-1 has 0000"):
        crew_on(ray, monkeypatch)
    assert not ray.is_open


def test_a_cluster_without_room_is_told(monkeypatch):
    ray = FakeRay(has_room=False)
    with pytest.raises(TransportError, match="expected room for 2 workers of one processor"):
        crew_on(ray, monkeypatch)
    assert not ray.is_open
