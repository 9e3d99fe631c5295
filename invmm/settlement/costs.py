"""What one more job costs, in dollars: gas where the account pays for itself, a share of a relayer's quota
elsewhere.
"""

from __future__ import annotations

from typing import Final, Protocol

from invmm.permission import AlarmKind
from invmm.settings import SettlementSettings
from invmm.settlement.chain import LaneStatus
from invmm.settlement.lane import JobReport
from invmm.settlement.policy import gas_cost_micro, quota_cost_micro
from invmm.types import MICRO

GWEI: Final = 10**9


class Cost(Protocol):
    """What the settler asks before each decision."""

    def heard(self, report: JobReport) -> None:
        """Learns from a job that is final."""

    def next(self, now_ns: int) -> tuple[int | None, bool]:
        """Micro-dollars of the next job, None while that is not known; and whether the lane takes one."""

    def concerns(self) -> list[tuple[AlarmKind, str]]:
        """What a person has to see to before the lane can go on as it should, in words without figures that
        change by themselves; empty while all is well.
        """


class StatusLane(Protocol):
    """A lane that says how it is: `ChainLane`."""

    def status(self) -> LaneStatus: ...


class QuotaLane(Protocol):
    """A lane with a quota: `RelayerLane`."""

    def submits_left(self, now_ns: int) -> int: ...


class GasCost:
    """Gas as the last transaction used it, at the present base fee and the least tip: of a `ChainLane`.

    Parameters
    ----------
    lane : StatusLane
    settings : SettlementSettings
    """

    def __init__(self, lane: StatusLane, settings: SettlementSettings) -> None:
        self._lane = lane
        self._gas = settings.merge_gas
        self._tip_wei = settings.tip_floor_gwei * GWEI
        self._least_pol = settings.min_balance_pol
        self._coin_micro = round(settings.pol_dollars * MICRO)

    def heard(self, report: JobReport) -> None:
        """See `Cost`."""
        self._gas = report.gas_used or self._gas

    def next(self, now_ns: int) -> tuple[int | None, bool]:
        """See `Cost`."""
        status = self._lane.status()
        if not status.head:
            return None, False
        return gas_cost_micro(
            self._gas, status.base_fee_wei + self._tip_wei, self._coin_micro
        ), not status.halted

    def concerns(self) -> list[tuple[AlarmKind, str]]:
        """See `Cost`: a halted lane, and an account that is short of gas money."""
        status = self._lane.status()
        found = []
        if status.halted:
            text = f"the lane sends nothing until `invmm lane --resume`: {status.halted}"
            found.append((AlarmKind.SETTLEMENT, text))
        if status.is_balance_low:
            found.append((AlarmKind.GAS, f"expected {self._least_pol:g} POL for gas or more, found less"))
        return found


class SubmitCost:
    """A submit of a relayer, dearer the fewer are left of the day's: of a `RelayerLane`.

    Parameters
    ----------
    lane : QuotaLane
    settings : SettlementSettings
    """

    def __init__(self, lane: QuotaLane, settings: SettlementSettings) -> None:
        self._lane = lane
        self._price_micro = round(settings.submit_dollars * MICRO)
        self._per_day = settings.relayer_submits_per_day

    def heard(self, report: JobReport) -> None:
        """See `Cost`; a relayer charges nothing."""

    def next(self, now_ns: int) -> tuple[int | None, bool]:
        """See `Cost`."""
        left = self._lane.submits_left(now_ns)
        return quota_cost_micro(self._price_micro, left, self._per_day), left > 0

    def concerns(self) -> list[tuple[AlarmKind, str]]:
        """See `Cost`; a quota comes back by itself."""
        return []
