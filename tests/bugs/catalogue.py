"""The bugs. Each is one that bots have shipped, or one that a careless change here would make."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from invmm.sim.campaign.hazards import Planned
from invmm.types import EventKind, Mode, OrderStatus, Source
from tests.bugs.defences import DEFENCES
from tests.bugs.seeding import Bug, Edit

SECOND = 1_000_000_000


def _told_otherwise(patch: pytest.MonkeyPatch, status: OrderStatus, instead: OrderStatus) -> None:
    """The executor's answers of one kind reach the engine as another."""
    from invmm.execution.inbox import Inbox

    apply = Inbox._apply

    def harmed(self: Inbox, record: Any, now_ns: int) -> int:
        if int(record["status"]) == status and int(record["source"]) == Source.EXECUTOR:
            record["status"] = instead
        return apply(self, record, now_ns)

    patch.setattr(Inbox, "_apply", harmed)


def timeout_is_failure(patch: pytest.MonkeyPatch) -> None:
    _told_otherwise(patch, OrderStatus.UNKNOWN, OrderStatus.REJECTED)


def cancel_refusal_is_dead(patch: pytest.MonkeyPatch) -> None:
    _told_otherwise(patch, OrderStatus.NOT_CANCELED, OrderStatus.CANCELED)


def _found_otherwise(patch: pytest.MonkeyPatch, status: OrderStatus, after_s: int) -> None:
    """An order that a query does not know ends with `status`, told as of some seconds later."""
    from invmm.execution.snapshot import Reader

    found = Reader.found

    def harmed(self: Reader, finding: Any, market: int) -> Any:
        records = found(self, finding, market)
        if finding.row is None:
            records["status"] = status
            records["time_ns"] += after_s * SECOND
        return records

    patch.setattr(Reader, "found", harmed)


def absent_is_dead(patch: pytest.MonkeyPatch) -> None:
    _found_otherwise(patch, OrderStatus.CANCELED, 0)


def fence_early(patch: pytest.MonkeyPatch) -> None:
    _found_otherwise(patch, OrderStatus.FENCED, 400)


def matched_is_final(patch: pytest.MonkeyPatch) -> None:
    from invmm.execution.inbox import Inbox

    take = Inbox.take
    patch.setattr(
        Inbox,
        "take",
        lambda self, records: take(self, records[records["status"] != OrderStatus.TRADE_FAILED]),
    )


def trade_id_is_all(patch: pytest.MonkeyPatch) -> None:
    """Fills are deduplicated by trade alone: whatever is told of a trade later is taken for a repetition."""
    from invmm.market import Market

    take = Market.take
    seen: set[tuple[int, int]] = set()

    def harmed(self: Market, event: Any) -> None:
        if int(event["kind"]) == EventKind.USER_EVENT and int(event["trade"]):
            name = (id(self), int(event["trade"]))
            if name in seen:
                return
            seen.add(name)
        take(self, event)

    patch.setattr(Market, "take", harmed)


def first_leg_is_all(patch: pytest.MonkeyPatch) -> None:
    """A trade id names one fill: what other orders of ours had in the same trade is a repetition of it."""
    from invmm.market import Market

    take = Market.take
    first: dict[tuple[int, int], int] = {}

    def harmed(self: Market, event: Any) -> None:
        if int(event["kind"]) == EventKind.USER_EVENT and int(event["trade"]):
            key = int(event["key"])
            if first.setdefault((id(self), int(event["trade"])), key) != key:
                return
        take(self, event)

    patch.setattr(Market, "take", harmed)


def each_message_is_a_fill(patch: pytest.MonkeyPatch) -> None:
    """Repeated trade messages are not deduplicated at all."""
    from invmm.settlement.ledger import Ledger

    fill = Ledger.fill

    def harmed(self: Ledger, **about: Any) -> bool:
        known = self.legs.get((about["trade"], about["key"]))
        if known is not None and about["status"] == OrderStatus.TRADE_MATCHED == known.status:
            about["trade"] += len(self.legs)
        return fill(self, **about)

    patch.setattr(Ledger, "fill", harmed)


def late_fills_dropped(patch: pytest.MonkeyPatch) -> None:
    """A fill of an order that has ended is not ours any more."""
    from invmm.execution.inbox import Inbox

    apply = Inbox._apply

    def harmed(self: Inbox, record: Any, now_ns: int) -> int:
        market = self._markets.get(int(record["market"]))
        if market is not None and int(record["trade"]):
            key = int(record["key"])
            if all(order["key"] != key for order in market.step.registry.orders_live()):
                return int(record["market"])
        return apply(self, record, now_ns)

    patch.setattr(Inbox, "_apply", harmed)


def trades_never_listed(patch: pytest.MonkeyPatch) -> None:
    """Reconciliation trusts the user channel for fills."""
    from invmm.execution.reconcile import Reconciler

    apply = Reconciler._apply

    def harmed(self: Reconciler, snapshot: Any, *rest: Any, **more: Any) -> int:
        return apply(self, replace(snapshot, trades=None), *rest, **more)

    patch.setattr(Reconciler, "_apply", harmed)


def errors_are_refusals(patch: pytest.MonkeyPatch) -> None:
    """500 and the like mean that the order was not taken."""
    from invmm.execution import answers
    from invmm.execution.answers import Verdict
    from invmm.types import Reason

    placed = answers.placed

    def harmed(code: int, body: bytes, asked: Any) -> list[Verdict]:
        if code >= 500:
            return [Verdict(OrderStatus.REJECTED, Reason.VENUE_REJECTED)] * len(asked)
        return placed(code, body, asked)

    patch.setattr(answers, "placed", harmed)


def any_cancel_answer_is_proof(patch: pytest.MonkeyPatch) -> None:
    """An answer of 200 to a cancel is taken for its success, whatever it lists."""
    from invmm.execution import answers
    from invmm.execution.answers import Verdict

    patch.setattr(
        answers,
        "canceled",
        lambda code, body, ids: [
            Verdict(OrderStatus.CANCELED if code == 200 else OrderStatus.NOT_CANCELED) for _ in ids
        ],
    )


def heartbeat_ignored(patch: pytest.MonkeyPatch) -> None:
    """Orders go on whatever becomes of the heartbeats."""
    from invmm.execution.heartbeat import Heartbeat

    patch.setattr(Heartbeat, "missed", property(lambda self: 0, lambda self, value: None), raising=False)
    patch.setattr(Heartbeat, "until_ns", property(lambda self: 2**62))


def pause_not_obeyed(patch: pytest.MonkeyPatch) -> None:
    """The steps are not told that nothing may be quoted."""
    from invmm.permission import Permission

    def harmed(self: Permission, mode: Mode) -> None:
        self.mode = mode
        if mode == Mode.RUNNING:
            self._announce(mode)

    patch.setattr(Permission, "_set", harmed)


def _during(name: str, **figures: object) -> tuple[Planned, ...]:
    """One fault, a minute long."""
    return (Planned(name, 10.0, 70.0, dict(figures)),)


# Without own events: one that says that an order rests would heal what a bug has done.
UNHEARD = _during("silent_events", channel="user")
LATE_ORDERS = tuple(
    Planned("late_orders", at_s, at_s + 5.0, {"rate": 1.0, "seconds": 3.2, "answer": "silence"})
    for at_s in (15.0, 30.0, 45.0, 60.0)
)
SLOW_CANCELS = _during("slow_answers", rate=1.0, seconds=1.0, method="DELETE", before=True)
SETTLEMENTS_FAIL = _during("settlement", fail=0.4, retry=0.0, delay_s=0)
EXPOSURE = "invmm/_ext/exposure.pyx"
COUNTED = """    for i in range(registry.n_live):
        exposure_order_c(sums, registry, &registry.live[i])


cdef void exposure_order_c"""


def _counted(condition: str) -> Edit:
    return Edit(
        EXPOSURE,
        COUNTED,
        COUNTED.replace(
            "        exposure_order_c(", f"        if {condition}:\n            exposure_order_c("
        ),
    )


BUGS = (
    Bug(
        "timeout-is-failure",
        "no answer in time means that the order failed",
        (*_during("lost_answers", rate=0.5), *UNHEARD),
        1,
        "orphans",
        timeout_is_failure,
    ),
    Bug(
        "absent-is-dead",
        "an order that the venue does not know is dead",
        LATE_ORDERS,
        1,
        "orphans",
        absent_is_dead,
    ),
    Bug(
        "cancel-refusal-is-dead",
        "“already cancelled or matched” means dead",
        _during("server_errors", rate=1.0, status=500, method="DELETE", done=False),
        1,
        "orphans",
        cancel_refusal_is_dead,
    ),
    Bug(
        "fence-early",
        "the fence is used too early",
        LATE_ORDERS,
        1,
        "orphans",
        fence_early,
    ),
    Bug(
        "matched-is-final",
        "a provisional fill counts as final",
        SETTLEMENTS_FAIL,
        1,
        "lost_fills",
        matched_is_final,
    ),
    Bug(
        "trade-id-is-all",
        "fills are deduplicated by trade id only",
        (),
        1,
        "lost_fills",
        trade_id_is_all,
    ),
    Bug(
        "first-leg-is-all",
        "one fill is booked of a trade that has several of ours",
        (Planned("swept_levels", 10.0, 50.0, {"until_s": 50.0, "rate": 0.2}),),
        3,
        "lost_fills",
        first_leg_is_all,
        minutes=1.0,
    ),
    Bug(
        "each-message-is-a-fill",
        "a repeated trade message counts again",
        _during("repeated_events", rate=1.0, seconds=3),
        1,
        "double_fills",
        each_message_is_a_fill,
    ),
    Bug(
        "late-fills-dropped",
        "an order that has ended takes no fill",
        _during("reordered_events", rate=1.0, seconds=3),
        1,
        "lost_fills",
        late_fills_dropped,
    ),
    Bug(
        "trades-never-listed",
        "fills come from the user channel alone",
        _during("lost_events", rate=0.5, event="trade"),
        1,
        "lost_fills",
        trades_never_listed,
    ),
    Bug(
        "errors-are-refusals",
        "a server error means that nothing was done",
        (*_during("server_errors", rate=0.5, status=500, method="POST", done=True), *UNHEARD),
        1,
        "orphans",
        errors_are_refusals,
    ),
    Bug(
        "any-cancel-answer-is-proof",
        "200 means cancelled, whatever the answer lists",
        _during("odd_answers", rate=1.0, status=200, method="DELETE", done=False, path="/order", body={}),
        1,
        "orphans",
        any_cancel_answer_is_proof,
    ),
    Bug(
        "heartbeat-ignored",
        "orders go on without heartbeats",
        _during("heartbeats_refused", rate=1.0, status=500, path="/v1/heartbeats"),
        1,
        "guards",
        heartbeat_ignored,
    ),
    Bug(
        "pause-not-obeyed",
        "quotes go on while nothing is known",
        _during("user_gap", channel="user", refused=8),
        1,
        "guards",
        pause_not_obeyed,
    ),
    Bug(
        "no-wait",
        "an order whose cancel is under way counts as gone",
        SLOW_CANCELS,
        1,
        "exposure",
        open_orders=2,
        edits=(_counted("not registry.live[i].cancel_sent"),),
    ),
    *DEFENCES,
)
