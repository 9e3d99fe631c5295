"""One market from frame to signed request in this thread, and how to leave transaction or gate out.

    FRAME, BUFFER_END ─ MarketStep ─ command ring ─ Intake (gate, signature, JSON, headers, journal) ─▶ bytes

The hand-off to another thread and the write to the socket are left out: `bench.tick_to_order` has them.
`BARE` are edits of the sources that leave the transaction or the gate out; they exist here only.

As a program it reads a job from standard input, then numbers of buffers to play, and answers each with rows.
"""

from __future__ import annotations

import json
import select
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.wire import ADDRESS, API_KEY, API_PASSPHRASE, API_SECRET, PRIVATE_KEY
from invmm._ext.l2 import L2Signer
from invmm._ext.ring import CommandRing, ResultRing
from invmm._ext.sign import OrderSigner
from invmm._ext.template import OrderTemplate
from invmm._ext.words import SharedWords
from invmm.clock import LiveClock
from invmm.engine import Engine
from invmm.execution.intake import Intake
from invmm.execution.journal import WARM, SessionJournal
from invmm.execution.remote import book_max_age_ns
from invmm.execution.throttle import Throttle
from invmm.replay.player import frame_events
from invmm.replay.tape import Tape, load
from invmm.settings import RiskSettings, Settings, StateSettings, StrategySettings
from invmm.types import EVENT_DTYPE, CommandKind, EventKind, OrderStatus, Source
from invmm.venue.limits import Limits
from tests.bugs.seeding import Edit

BY_CALLER = -2  # requests are made, and written by nobody
MAX_ROUNDS = 20
BARE = {
    "transaction": (
        Edit(
            "invmm/_ext/transaction.pyx",
            """        cdef int n = slots_of_c(&self.slots[0], wanted, self.registry)

        if self.phase != PHASE_IDLE:
            self.supersede_c(n, now_ns)
        if self.phase == PHASE_IDLE:
            self.begin_c(n, now_ns)
""",
            """        cdef int i
        cdef const action_t* action
        cdef command_t* command
        cdef order_t* order

        self.batch += 1
        for i in range(wanted.n_actions):
            action = &wanted.actions[i]
            if action.kind != ACTION_QUOTE or self.registry.n_live >= self.limits.max_open_orders:
                continue
            command = self.command_c(COMMAND_PLACE, action.reason, now_ns)
            if command == NULL:
                return
            command.token, command.side, command.level = action.token, action.side, action.level
            command.price_e4, command.size_micro = action.price_e4, action.size_micro
            command.flags = FLAG_POST_ONLY
            command.order_type = GTD
            command.expiration_s = now_ns // SECOND_NS + self.limits.quote_lifetime_s
            command.key = self.next_key
            command.salt = self.salt_c()
            self.next_key += 1
            self.registry.add_c(command)
        for i in range(wanted.n_actions):
            if wanted.actions[i].kind == ACTION_CANCEL:
                order = self.registry.find_c(wanted.actions[i].key)
                if order != NULL:
                    self.cancel_c(order, wanted.actions[i].reason, now_ns)
""",
        ),
        Edit(
            "invmm/_ext/transaction.pyx",
            "from invmm._ext.records cimport (\n",
            "from invmm._ext.records cimport COMMAND_PLACE, FLAG_POST_ONLY, GTD, command_t\n"
            "from invmm._ext.solver cimport ACTION_CANCEL\n"
            "from invmm._ext.records cimport (\n",
        ),
        Edit(
            "invmm/_ext/desk.pyx",
            "        if self.account is not None:\n            exposure_of_c(&sums, self.registry)\n",
            "        if False:\n            exposure_of_c(&sums, self.registry)\n",
        ),
    ),
    "gate": (
        Edit(
            "invmm/execution/intake.pyx",
            "        cdef size_t i, kept = 0\n\n        self.gate.group_c(\n",
            "        cdef size_t i, kept = 0\n\n        if self.count:\n            return self.count\n"
            "        self.gate.group_c(\n",
        ),
        Edit(
            "invmm/execution/intake.pyx",
            "reason = -size if size < 0 else self.gate.signed_c(&self.legs[i])",
            "reason = -size if size < 0 else REASON_NONE",
        ),
        Edit(
            "invmm/execution/intake.pyx", "            self.gate.sent_c(&self.legs[i])     #", "            #"
        ),
        Edit(
            "invmm/execution/intake.pyx",
            "        self.gate.charge_c(kind, self.count, self.engine_at_c(self.ready_ns))\n",
            "",
        ),
    ),
}
"""What is left out, and how. Without the transaction a decision's actions become commands as they are: no
merge, no exposure, no account; without the gate nothing is asked of an order, and nothing remembered."""


def tape_of(path: str, window_s: int) -> Tape:
    """A recorded market; without a path, a generated one."""
    if path:
        return load(Path(path))
    from invmm.sim.market import generate

    return generate(1, window_s=window_s)


class Commands:
    """What the engine is told of an executor: where commands go, and the words they share."""

    def __init__(self) -> None:
        self.commands = CommandRing(1024)
        self.results = ResultRing(4096)
        self.words = SharedWords()


class SignedRig:
    """A market's frames, and the orders they lead to, up to the signed bytes.

    Parameters
    ----------
    tape : Tape
    orders : int
        Most that rest at once.
    rests : bool
        Orders rest and are replaced; otherwise each is gone before the next frame, so that each places all.
    journal : SessionJournal, optional
    """

    def __init__(self, tape: Tape, orders: int, rests: bool, journal: SessionJournal | None = None) -> None:
        self.tape, self.rests, self.given, self.journal = tape, rests, Commands(), journal
        risk = RiskSettings(
            max_open_orders=4 * orders if rests else orders,  # old and new ones at once
            orders_per_second=600,
            orders_burst=900,
            orders_per_minute=36_000,
        )
        settings = Settings(strategy=StrategySettings(policy="inventory_mm"), risk=risk)
        settings = replace(settings, strategy=replace(settings.strategy, num_levels=-(-orders // 2)))
        clock = LiveClock(1.0, int(tape.rows["recv_ns"][0]))
        venue: Any = self.given
        engine = Engine(settings, venue=venue, clock=clock, seed=1, journal=journal)
        market = engine.add_market(tape.market, number=0)
        self.step = market.step
        self.intake = Intake(
            self.given.commands,
            self.given.results,
            self.given.words,
            L2Signer(API_KEY, API_SECRET, API_PASSPHRASE, ADDRESS),
            "localhost",
            clock,
        )
        self.intake.scale = 0.0  # its time is the tape's
        self.intake.gate.pace = Throttle(Limits(tier="elite")).pace
        self.intake.gate.book_max_age_ns = book_max_age_ns(settings)
        self.intake.outbox.journal = None if journal is None else journal.intents
        signer = OrderSigner(PRIVATE_KEY)
        for token, token_id in enumerate((tape.market.up_token_id, tape.market.down_token_id)):
            self.intake.set_template(0, token, OrderTemplate(signer, token_id, owner=API_KEY))
        self._epoll = select.epoll()
        self._events = frame_events(tape, 0)
        self._raw = self._events.view(np.uint8).reshape(-1)
        self._ends = np.flatnonzero(self._events["kind"] == EventKind.BUFFER_END) + 1
        self._at = 0
        self._buffer = 0
        self._out = np.zeros(512, EVENT_DTYPE)

    def close(self) -> None:
        self._epoll.close()

    def play(self, count: int) -> list[tuple[int, int, int]]:
        """The next buffers: (number, ns from the call to signed bytes, placements in it) of each with orders.

        Fewer when the tape ends.
        """
        rows = []
        for self._buffer in range(self._buffer, min(self._buffer + count, len(self._ends))):  # noqa: B020
            end = int(self._ends[self._buffer])
            self.intake.origin_ns = int(self._events["time_ns"][end - 1])
            last = end - 2  # the frames before the last one of equal receive time
            self.step.run(self._raw, self._at, last, self.tape.data)
            self._at = end
            begin = time.perf_counter_ns()
            _, sent = self.step.run(self._raw, last, end, self.tape.data)
            kind = self._take() if len(sent) else 0
            if kind == CommandKind.PLACE:
                rows.append((self._buffer, self.intake.ready_ns - begin, len(self.intake.legs_copy())))
            self._answer(list(self.intake.legs_copy()) if kind == CommandKind.CANCEL else [])
            if self.journal is not None:  # at the market's own pace the background does it in time
                self.journal.inputs.warm(WARM)
                self.journal.intents.warm(WARM)
        self._buffer += 1
        return rows

    def _take(self) -> int:
        return self.intake.take(0, 0, self._epoll.fileno(), BY_CALLER, BY_CALLER)

    def _answer(self, cancelled: list[Any]) -> None:
        """The venue says yes to everything, until nothing more follows."""
        now_ns = self.intake.origin_ns
        for _ in range(MAX_ROUNDS):
            while kind := self._take():
                if kind == CommandKind.CANCEL:
                    cancelled += list(self.intake.legs_copy())
            got = self._out[: self.given.results.pop_into(self._out)].copy()
            for record in got:
                self.step.step(record, now_ns)
                if record["status"] != OrderStatus.SENT:
                    continue
                record["status"] = OrderStatus.LIVE
                self.step.step(record, now_ns)
                if not self.rests:
                    self._gone(record, now_ns)
            for leg in cancelled:
                self._gone(leg, now_ns)
            if not self.rests or not (len(got) or cancelled):
                return
            self._solve(now_ns)
            cancelled = []

    def _gone(self, order: Any, now_ns: int) -> None:
        """The user channel says that an order is cancelled, without a fill."""
        event = np.zeros(1, EVENT_DTYPE)
        event["kind"], event["source"] = EventKind.USER_EVENT, Source.USER_FEED
        event["status"], event["time_ns"] = OrderStatus.CANCELED, now_ns
        for name in ("key", "token", "side", "price_e4", "size_micro", "order_id"):
            event[name] = order[name]
        self.step.step(event, now_ns)

    def _solve(self, now_ns: int) -> None:
        event = np.zeros(1, EVENT_DTYPE)
        event["kind"], event["time_ns"] = EventKind.BUFFER_END, now_ns
        self.step.step(event, now_ns)


def main() -> int:
    """Plays for `bench.bench_frame_to_signed`, which tells what and how much."""
    job = json.loads(sys.stdin.readline())
    with ExitStack() as stack:
        journal = None
        if job["journal"]:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            journal = stack.enter_context(SessionJournal(folder, StateSettings(), LiveClock()))
        rig = SignedRig(tape_of(job["tape"], job["window_s"]), job["orders"], job["rests"], journal)
        stack.callback(rig.close)
        for line in sys.stdin:
            print(json.dumps(rig.play(int(line))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
