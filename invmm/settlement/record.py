"""What settlement has begun and ended, on disk, so that the next session knows it: markets, jobs, their ends.

    {"kind": "market", "market": "0x…", "slug": …, "exchange": …, "up_token": …, "down_token": …, "end_s": …}
    {"kind": "begun", "name": …, "market": "0x…", "action": "merge", "up_micro": …, "down_micro": …,
     "pays_micro": …}
    {"kind": "ended", "name": …, "is_done": true, "transaction": "0x…", "gas_used": …, "fee_wei": …}
    {"kind": "closed", "market": "0x…"}
    {"kind": "stop", "reason": …}    nothing is begun any more, by no session, until
    {"kind": "resume"}               a person has looked

"begun" is on disk before the lane hears of the job; whatever a crash leaves without an "ended" is looked up
in the lane by its name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from invmm.errors import DataError
from invmm.settlement.messages import Holding
from invmm.settlement.policy import Action
from invmm.settlement.pools import Stage

SETTLED_FILE: Final = "settled"
"""In a state folder."""
SHORTEN_AFTER: Final = 1_000
"""Jobs of markets that are done, after which the file is shortened when it is opened."""
KEPT_S: Final = 86_400.0
"""From the end of one market to that of the newest: it is kept so long however many jobs there were."""


class RecordLog(Protocol):
    """What records are kept in: `LaneJournal`, or a list of a test."""

    @property
    def records(self) -> tuple[dict[str, Any], ...]: ...

    def append(self, record: dict[str, Any], /) -> None: ...

    def replace(self, records: Iterable[dict[str, Any]], /) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class Begun:
    """A job that was handed to a lane, and how it ended (UNDER_WAY: it has not)."""

    name: str
    market: str
    action: Action
    up_micro: int
    down_micro: int
    pays_micro: int
    stage: Stage = Stage.UNDER_WAY

    @property
    def taken(self) -> tuple[int, int]:
        """Shares that it takes out; what a split brings counts below 0."""
        sign = -1 if self.action is Action.SPLIT else 1
        return sign * self.up_micro, sign * self.down_micro


class SettlementRecord:
    """The file of the module's head, and what it says.

    Parameters
    ----------
    log : RecordLog
        Closed with the record.

    Raises
    ------
    DataError
        A record is none of these, or ends what was not begun.
    """

    def __init__(self, log: RecordLog) -> None:
        self._log = log
        self._markets: dict[str, Holding] = {}
        self._begun: dict[str, Begun] = {}
        self._pasts: dict[str, list[Begun]] = {}  # of each market that an engine had, since it had it
        self._newest_s = 0.0
        self.stopped = ""
        """Why nothing is begun until `resume`, or ""."""
        for number, record in enumerate(log.records, 1):
            try:
                self._read(record)
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"settlement record {number}: expected a market, a job or its end: {error!r}"
                ) from None
        self._shorten()

    def _read(self, record: dict[str, Any]) -> None:
        about = dict(record)
        kind = about.pop("kind")
        if kind == "market":
            self._know(Holding(**about, low_micro=(0, 0), high_micro=(0, 0)))
        elif kind == "begun":
            self._begin(Begun(**(about | {"action": Action(about["action"])})))
        elif kind == "ended":
            self._begun[about["name"]].stage = Stage.DONE if about["is_done"] else Stage.VOID
        elif kind == "closed":
            del self._markets[about["market"]]
        elif kind == "stop":
            self.stopped = about["reason"]
        elif kind == "resume":
            self.stopped = ""
        else:
            raise ValueError(kind)

    def _know(self, holding: Holding) -> None:
        self._markets[holding.market] = holding
        self._pasts.setdefault(holding.market, [])
        self._newest_s = max(self._newest_s, holding.end_s)

    def _begin(self, begun: Begun) -> None:
        if (known := self._begun.setdefault(begun.name, begun)) is not begun:
            known.stage = Stage.UNDER_WAY
        elif (past := self._pasts.get(begun.market)) is not None:
            past.append(begun)

    def _shorten(self) -> None:
        """Where many jobs are those of markets that are done, forgets these markets, but for the last day's:
        an engine may open one again.
        """
        over = {begun.market for begun in self._begun.values() if begun.action is Action.REDEEM}
        over |= self._pasts.keys()
        over -= {
            about["market"]
            for about in self._log.records
            if about["kind"] == "market" and about["end_s"] > self._newest_s - KEPT_S
        }
        over -= {begun.market for begun in self._begun.values() if begun.stage is Stage.UNDER_WAY}
        over -= self._markets.keys()
        done = {begun.name for begun in self._begun.values() if begun.market in over}
        if len(done) < SHORTEN_AFTER:
            return
        kept = [
            about
            for about in self._log.records
            if about.get("market") not in over
            and about.get("name") not in done
            and about["kind"] not in ("stop", "resume")
        ]
        self._log.replace([*kept, *([{"kind": "stop", "reason": self.stopped}] if self.stopped else [])])
        for name in done:
            del self._begun[name]
        for market in over:
            self._pasts.pop(market, None)

    # ---- what is known -------------------------------------------------------------------------------------

    def markets(self) -> list[tuple[Holding, list[Begun]]]:
        """Markets that are not closed, each with what was begun in it, oldest first."""
        return [(holding, self.past(name)) for name, holding in self._markets.items()]

    def past(self, market: str) -> list[Begun]:
        """What was begun in a market since an engine had it first, by hand too, oldest first."""
        return list(self._pasts.get(market, ()))

    def open(self) -> list[str]:
        """Names of jobs without an end, the oldest first."""
        return [begun.name for begun in self._begun.values() if begun.stage is Stage.UNDER_WAY]

    def knows(self, name: str) -> bool:
        """Whether something was begun under a name."""
        return name in self._begun

    def job(self, name: str) -> Begun:
        """What was begun under a name; KeyError for none."""
        return self._begun[name]

    # ---- what happens --------------------------------------------------------------------------------------

    def market(self, holding: Holding) -> None:
        """A market of which shares may have to be settled; on disk on return, like all of these."""
        if holding.market not in self._markets:
            self._know(holding)
            names = ("market", "slug", "exchange", "up_token", "down_token", "end_s")
            self._log.append({"kind": "market"} | {name: getattr(holding, name) for name in names})

    def begun(self, begun: Begun) -> None:
        """A job is about to be handed to the lane."""
        names = ("name", "market", "up_micro", "down_micro", "pays_micro")
        self._log.append(
            {"kind": "begun", "action": str(begun.action)} | {name: getattr(begun, name) for name in names}
        )
        self._begin(begun)

    def ended(
        self,
        name: str,
        is_done: bool,
        transaction: str = "",
        gas_used: int = 0,
        fee_wei: int = 0,
        reason: str = "",
    ) -> None:
        """A job is final, or will never take effect."""
        self._log.append(
            {
                "kind": "ended",
                "name": name,
                "is_done": is_done,
                "transaction": transaction,
                "gas_used": gas_used,
                "fee_wei": fee_wei,
                "reason": reason,
            }
        )
        self._begun[name].stage = Stage.DONE if is_done else Stage.VOID

    def revive(self, name: str) -> bool:
        """A job that counted as void may take effect after all; False for a name that is not known."""
        begun = self._begun.get(name)
        if begun is None:
            return False
        self.begun(replace(begun, stage=Stage.UNDER_WAY))
        return True

    def stop(self, reason: str) -> None:
        """Something moved that should not have."""
        if not self.stopped:
            self._log.append({"kind": "stop", "reason": reason})
            self.stopped = reason

    def resume(self) -> None:
        """A person has looked."""
        if self.stopped:
            self._log.append({"kind": "resume"})
            self.stopped = ""

    def closed(self, market: str) -> None:
        """Nothing of a market is left to settle."""
        if market in self._markets:
            self._log.append({"kind": "closed", "market": market})
            del self._markets[market]

    def close(self) -> None:
        """Closes the file."""
        self._log.close()
