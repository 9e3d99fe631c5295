"""What a set of evidence about one order means, slow and obvious: read off the whole set at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from invmm.types import OrderStatus as S

DUST_MICRO = 10_000
PROVISIONAL = (S.TRADE_MATCHED, S.TRADE_MINED, S.TRADE_RETRYING)


@dataclass(frozen=True)
class Evidence:
    """One piece. `at` is seconds: of the answer, or of the question for FOUND, NOT_FOUND and FENCED."""

    status: S
    at: int
    size_micro: int = 0
    trade: int = 0


def verdict(
    evidence: Iterable[Evidence], size_micro: int, *, takes: bool, fence_at: int
) -> dict[str, object]:
    """State and shares of an order of `size_micro`; `fence_at` 0 means that it has no fence."""
    said = set(evidence)

    def times(*statuses: S) -> list[int]:
        return [one.at for one in said if one.status in statuses]

    size_micro = min(
        [size_micro, *(one.size_micro for one in said if one.status == S.SENT and one.size_micro)]
    )
    legs: dict[int, int] = {}
    failed: set[int] = set()
    for one in said:
        if one.trade:
            legs[one.trade] = max(legs.get(one.trade, 0), one.size_micro)
            failed |= {one.trade} if one.status == S.TRADE_FAILED else set()
    filled_micro = sum(legs.values())
    failed_micro = sum(legs[trade] for trade in failed)
    landed = bool(times(S.LIVE, S.DELAYED, S.MATCHED, S.FOUND))
    twice, copy_refused = bool(times(S.RESENT)), bool(times(S.COPY_REFUSED))
    proofs = times(S.CANCELED) + [at for at in times(S.FENCED) if fence_at and at >= fence_at]
    refused = bool(times(S.REJECTED, S.REFUSED))
    found_last = max(times(S.FOUND), default=-1)
    full_last = max(
        (one.at for one in said if one.status == S.MATCHED and one.size_micro + DUST_MICRO > size_micro),
        default=-1,
    )

    def state() -> str:
        if filled_micro + DUST_MICRO > size_micro or (takes and legs):
            back = failed_micro and found_last > max([full_last, *proofs])
            return "unknown" if back else "filled"
        if proofs:
            return "unknown" if found_last > max(proofs) else "dead"
        everywhere = refused and (copy_refused or not twice)
        if everywhere and not landed and not legs and not times(S.DUPLICATED):
            return "dead"
        if landed:
            seen = max(times(S.LIVE, S.DELAYED, S.MATCHED, S.FOUND))
            return "unknown" if max(times(S.NOT_FOUND), default=-1) > seen else "live"
        if times(S.DUPLICATED) and not legs:
            return "unknown"
        if times(S.DUPLICATED):
            seen = -1
            return "unknown" if max(times(S.NOT_FOUND), default=-1) > seen else "live"
        if times(S.UNKNOWN, S.NOT_FOUND) or twice or copy_refused or refused:
            return "unknown"
        return "sent" if times(S.SENT) else "prepared"

    return {
        "state": state(),
        "original_micro": size_micro,
        "filled_micro": filled_micro,
        "failed_micro": failed_micro,
        "hinted_micro": max((one.size_micro for one in said if one.status == S.MATCHED), default=0),
        "rejected": refused,
    }
