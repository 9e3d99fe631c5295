"""Bugs in what is there for the worst case: limits, restart, guards, alarms, the names of orders."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from invmm.sim.campaign.hazards import Planned
from invmm.types import MICRO, CommandKind, EventKind, OrderStatus, Outcome, Side
from tests.bugs.seeding import Bug, Edit

EXPOSURE, TRANSACTION = "invmm/_ext/exposure.pyx", "invmm/_ext/transaction.pyx"
REGISTRY = "invmm/_ext/registry.pyx"


def no_journal(patch: pytest.MonkeyPatch) -> None:
    """A start knows nothing of the sessions before it."""
    from invmm.execution.left import Left
    from invmm.sim.campaign import process

    patch.setattr(process, "read_left", lambda folder: Left())


def takers_view(patch: pytest.MonkeyPatch) -> None:
    """A fill has the token of the trade, and the side that the taker did not take."""
    from invmm.feed.user_messages import UserMessages
    from invmm.market import Market

    leg, take = UserMessages._maker_leg, Market.take

    def read(self: UserMessages, message: dict[str, Any], entry: dict[str, Any]) -> Any:
        row = leg(self, message, entry)
        if not isinstance(row, str):
            row |= self._instrument(message["asset_id"])
            row["side"] = Side(1 - Side[message["side"]])
        return row

    def booked(self: Market, event: Any) -> None:
        take(self, event)
        known = self.ledger.legs.get((int(event["trade"]), int(event["key"])))
        if known is not None and int(event["kind"]) == EventKind.USER_EVENT:
            known.outcome, known.side = Outcome(int(event["token"])), Side(int(event["side"]))

    patch.setattr(UserMessages, "_maker_leg", read)
    patch.setattr(Market, "take", booked)


def age_ignored(patch: pytest.MonkeyPatch) -> None:
    """Data do not age: neither the step nor the socket asks when a token was last heard of."""
    from invmm import engine, limits

    step_limits, feed_settings_of = engine.step_limits, limits.feed_settings_of

    def ageless(*args: Any) -> dict[str, int]:
        return step_limits(*args) | {"book_max_age_ns": 1 << 60, "quiet_cap_ns": 1 << 60}

    def patient(*args: Any) -> Any:
        return replace(feed_settings_of(*args), silence_s=3600.0, silence_cap_s=3600.0)

    patch.setattr(engine, "step_limits", ageless)
    patch.setattr(limits, "feed_settings_of", patient)


def age_doubled(patch: pytest.MonkeyPatch) -> None:
    """Data may be six seconds old instead of three, and no witness is asked."""
    from invmm import engine, limits
    from invmm.feed.witness import BookWitness

    step_limits, feed_settings_of = engine.step_limits, limits.feed_settings_of
    patch.setattr(engine, "step_limits", lambda *args: step_limits(*args) | {"book_max_age_ns": 6 * 10**9})
    patch.setattr(limits, "feed_settings_of", lambda *args: replace(feed_settings_of(*args), silence_s=6.0))
    patch.setattr(BookWitness, "tick", lambda self, now_ns, wanted=True: None)


def foreign_ignored(patch: pytest.MonkeyPatch) -> None:
    """An open order that is not ours is somebody else's business."""
    from invmm.execution.reconcile import Reconciler

    patch.setattr(Reconciler, "_watch_foreign", lambda self, records: None)


def always_asking(patch: pytest.MonkeyPatch) -> None:
    """Everything is listed anew as soon as it has been listed."""
    from invmm.execution.reconcile import Reconciler

    end = Reconciler._end_pass

    def again(self: Reconciler, outcome: Any, **about: Any) -> None:
        end(self, outcome, **about)
        self._begin_pass(self._clock.now_ns())

    patch.setattr(Reconciler, "_end_pass", again)


def only_the_fence(patch: pytest.MonkeyPatch) -> None:
    """What becomes known of an order without an answer is not believed before its fence."""
    from invmm.execution.inbox import Inbox

    apply = Inbox._apply
    unknown: set[int] = set()

    def deaf(self: Inbox, record: Any, now_ns: int) -> int:
        status, key = int(record["status"]), int(record["key"])
        if status == OrderStatus.UNKNOWN:
            unknown.add(key)
        elif key in unknown and status != OrderStatus.FENCED and not int(record["trade"]):
            return int(record["market"])
        return apply(self, record, now_ns)

    patch.setattr(Inbox, "_apply", deaf)


def no_lock(patch: pytest.MonkeyPatch) -> None:
    """Two engines may run from one state folder."""
    from invmm.execution.state import StateFolder

    patch.setattr(StateFolder, "acquire", lambda self: None)


def silence_not_noticed(patch: pytest.MonkeyPatch) -> None:
    """The executor does not ask whether the engine gives signs of life."""
    from invmm.execution.watch import EngineWatch

    patch.setattr(EngineWatch, "tick", lambda self, now_ns: False)


def retry_signs_anew(patch: pytest.MonkeyPatch) -> None:
    """An order without an answer is sent again as a new one."""
    from invmm.execution.executor import Executor
    from invmm.execution.follow import Follower

    again: list[Any] = []
    answered, look_around = Follower.finished, Executor._look_around

    def finished(self: Follower, request: Any, answer: Any) -> None:
        if request.kind == CommandKind.PLACE and answer.code == 0:
            legs = request.legs.copy()
            legs["salt"] += 1
            legs["key"] += 1 << 20
            legs["order_id"] = np.void(bytes(32))
            again.append(legs)
        answered(self, request, answer)

    def turn(self: Executor, now_ns: int, *rest: Any) -> None:
        for legs in again:
            legs["deadline_ns"] = self._clock.at_ns(now_ns) + MICRO * 1000
            self.commands.push_many(legs)
        again.clear()
        look_around(self, now_ns, *rest)

    patch.setattr(Follower, "finished", finished)
    patch.setattr(Executor, "_look_around", turn)


def _during(name: str, begin_s: float = 10.0, end_s: float = 70.0, **figures: object) -> tuple[Planned, ...]:
    return (Planned(name, begin_s, end_s, dict(figures)),)


# Orders are taken, but nothing says so, and no cancel succeeds: their fate stays unknown while they rest.
NOTHING_HEARD = (
    *_during("lost_answers", 10.0, 40.0, rate=1.0, method="POST", path="/order"),
    *_during("server_errors", 10.0, 40.0, rate=1.0, status=500, method="DELETE", path="/order", done=False),
    *_during("silent_events", 10.0, 40.0, channel="user"),
    *_during("hidden", 10.0, 40.0, rate=1.0, seconds=60, listing="order"),
)
DEFENCES = (
    Bug(
        "no-journal",
        "a start forgets the orders of the session before",
        (
            Planned("crash", 30.0, 30.0, {"down_s": 0.2}),
            Planned(
                "server_errors", 30.0, 34.0, {"rate": 1.0, "status": 500, "method": "DELETE", "done": False}
            ),
        ),
        1,
        "orphans",
        no_journal,
    ),
    Bug(
        "takers-view",
        "token and side of a fill are read from the taker's",
        _during("stale_taker", until_s=70.0, edge_e4=100, rate=0.1),
        1,
        "lost_fills",
        takers_view,
    ),
    Bug(
        "unknown-not-counted",
        "an order of unknown fate is left out of the limits",
        NOTHING_HEARD,
        3,
        "exposure",
        minutes=1.0,
        open_orders=3,
        edits=(
            Edit(
                EXPOSURE,
                "import DUST_MICRO, SAID_CANCELED,",
                "import DUST_MICRO, ORDER_UNKNOWN, SAID_CANCELED,",
            ),
            Edit(
                EXPOSURE,
                """    for i in range(registry.n_live):
        exposure_order_c(sums, registry, &registry.live[i])


cdef void exposure_order_c""",
                """    for i in range(registry.n_live):
        if registry.live[i].state != ORDER_UNKNOWN:
            exposure_order_c(sums, registry, &registry.live[i])


cdef void exposure_order_c""",
            ),
        ),
    ),
    Bug(
        "union-not-checked",
        "what is to be replaced does not count while it is still there",
        (),
        1,
        "exposure",
        open_orders=2,
        edits=(
            Edit(
                TRANSACTION,
                """        # The change that lowers the larger imbalance goes first.
        self.batch += 1
""",
                """        exposure_begin_c(&sums, self.registry, True)
        for i in range(self.registry.n_live):
            if not self.registry.live[i].replaced:
                exposure_order_c(&sums, self.registry, &self.registry.live[i])
        self.batch += 1
""",
            ),
        ),
    ),
    Bug(
        "age-ignored",
        "nobody asks how old the books are",
        (
            Planned("silent_data", 15.0, 65.0, {"channel": "market"}),
            Planned(
                "server_errors", 10.0, 70.0, {"rate": 1.0, "status": 500, "path": "/book", "done": False}
            ),
            Planned("stale_taker", 10.0, 70.0, {"until_s": 70.0, "edge_e4": 200, "rate": 0.2}),
        ),
        1,
        "guards",
        age_ignored,
    ),
    Bug(
        "age-doubled",
        "quotes rest on a book of twice the age that is allowed",
        _during("silent_data", 30.0, 40.0, channel="market"),
        1,
        "stall",
        age_doubled,
    ),
    Bug(
        "foreign-ignored",
        "an order that is not ours changes nothing",
        _during("foreign_order", 20.0, 20.0),
        1,
        "guards",
        foreign_ignored,
    ),
    Bug(
        "failed-voids-twice",
        "FAILED takes a fill back each time it is told",
        _during("settlement", fail=0.4, retry=0.0, delay_s=0),
        2,
        "positions",
        edits=(
            Edit(
                REGISTRY,
                """                if leg.status != event.status and not leg.conflict & LEG_TERMINAL_CONFLICT:
""",
                """                if event.status == STATUS_TRADE_FAILED == leg.status:
                    self.move_c(leg, -1)
                if leg.status != event.status and not leg.conflict & LEG_TERMINAL_CONFLICT:
""",
            ),
        ),
    ),
    Bug(
        "retry-signs-anew",
        "an order without an answer is signed anew and sent again",
        _during("lost_answers", rate=0.3),
        1,
        "sends",
        retry_signs_anew,
    ),
    Bug(
        "always-asking",
        "reconciliation does not pause between its passes",
        (),
        1,
        "budget",
        always_asking,
        minutes=0.5,
    ),
    Bug(
        "only-the-fence",
        "nothing makes up for an answer that was lost but the fence",
        (),
        4,
        "unknown",
        only_the_fence,
        minutes=3.0,
    ),
    Bug(
        "no-lock",
        "a second engine may run from the same folder",
        _during("second_instance", 20.0, 20.0),
        1,
        "engine",
        no_lock,
        minutes=0.5,
    ),
    Bug(
        "silence-not-noticed",
        "the executor of an engine that stands still does nothing",
        _during("wedged", 20.0, 30.0),
        1,
        "guards",
        silence_not_noticed,
    ),
    Bug(
        "contradiction-ignored",
        "trading goes on although a trade was told confirmed and failed",
        _during("contradiction", 20.0, 80.0, until_s=80.0),
        1,
        "guards",
        edits=(
            Edit(
                REGISTRY,
                "self.terminal_conflicts += 1  # the first terminal stage stays",
                "pass  # the first terminal stage stays",
            ),
        ),
    ),
)
