"""What an executor did since it was started."""

from __future__ import annotations

from dataclasses import dataclass

from invmm.types import VenueMode


@dataclass(frozen=True)
class ExecutorStatistics:
    """Counts since the start, and latencies in ns."""

    requests: dict[str, int]
    answers: dict[int, int]
    refused_by_pool: int
    unknown: int
    warm: int
    connects: int
    lost: int
    waiting_cancels: int
    venue_mode: VenueMode
    venue_mode_changes: int
    missed_heartbeats: int
    throttle: dict[str, float | str]
    alarms: int
    latency_ns: dict[str, dict[str, int | None]]
    signed_ahead: dict[str, int]
    """Orders signed in advance: signed, used, missed (signed when they were asked for), dropped."""
    refusals: dict[str, int]
    """Orders that the gate or the signer refused, by Reason."""
