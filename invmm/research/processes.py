"""Workers as processes of this machine. One that is killed or crashes costs its job, and is replaced."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Final

from invmm.research.work import Bench, Job, Outcome, Task

PATIENCE_S: Final = 5.0  # for a worker that was told to end


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    pipe: Connection


class ProcessCrew:
    """`size` processes, spawned when they get their first job."""

    def __init__(self, task: Task, size: int) -> None:
        self.size = size
        self._task = task
        self._workers: dict[int, _Worker] = {}
        self._busy: set[int] = set()

    def give(self, worker: int, job: Job) -> None:
        """Sends it, to a new process if there is none."""
        self._busy.add(worker)
        if worker not in self._workers:
            self._workers[worker] = self._hired()
        with suppress(BrokenPipeError, ConnectionResetError):  # it has ended: `wait` says so
            self._workers[worker].pipe.send(job)

    def wait(self) -> list[tuple[int, Outcome]]:
        """Outcomes of those that are done or have ended."""
        pipes = {self._workers[worker].pipe: worker for worker in self._busy}
        done = []
        for pipe in wait(list(pipes)):
            worker = pipes[pipe]  # type: ignore[index]
            self._busy.discard(worker)
            try:
                done.append((worker, self._workers[worker].pipe.recv()))
            except (EOFError, ConnectionResetError):
                done.append((worker, Outcome(None, self._buried(worker))))
        return done

    def close(self, *, at_once: bool = False) -> None:
        """Tells them to end, and sees to it."""
        workers, self._workers, self._busy = list(self._workers.values()), {}, set()
        for worker in workers:
            if at_once:
                worker.process.kill()  # it holds nothing that must be put down
            worker.pipe.close()
        for worker in workers:
            worker.process.join(PATIENCE_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.process.close()

    def _hired(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, self._task), daemon=True)
        # Ctrl-C goes to every process of the terminal, and is this one's to answer. Blocked, it is inherited
        # so, and here it waits.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        return _Worker(process, ours)

    def _buried(self, worker: int) -> str:
        ended = self._workers.pop(worker)
        ended.pipe.close()
        ended.process.join()
        code = ended.process.exitcode or 0
        ended.process.close()
        if code < 0:
            with suppress(ValueError):
                return f"the worker was ended by {signal.Signals(-code).name}"
        return f"the worker ended by itself, exit code {code}"


def serve(pipe: Connection, task: Task, bench: Callable[[Task], Bench] = Bench) -> None:
    """A worker's life: jobs in, outcomes out, until the other end is gone."""
    place = bench(task)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            pipe.send(place.play(pipe.recv()))
