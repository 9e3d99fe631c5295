"""The settler: hears what the engine holds, decides, sends jobs down a lane, and tells what came of them.

    Holding, Purse ──▶ look at the chain ─▶ policy ─▶ Ask ─▶ Grant ─▶ written down ─▶ lane ─▶ FINAL ─▶ Told
      (engine)          balances, payouts                   (engine)    (record)                (engine)

It runs on a thread of its own (`settlement/edge.py`), since nodes and relayers take their time; the engine
never waits for it. Only shares of confirmed fills that the chain shows as well are settled, and of an open
market only after the engine has set them apart. One job per market is under way at a time.

What is begun is on disk before the lane hears of it, with a name that is used once. After a restart each of
them is looked up in the lane by that name: what is open goes on, what became final meanwhile is booked now,
what never reached the lane is void. Markets that an earlier session left are settled too, by what the chain
shows.

If shares and dollars ever fail to add up, or a job moved something else than it said, nothing is begun any
more; what is under way is still followed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from invmm.clock import NS
from invmm.errors import DataError, TransportError, VenueError
from invmm.permission import AlarmKind
from invmm.settlement.calls import check_tokens
from invmm.settlement.costs import Cost
from invmm.settlement.holdings import Holdings, version_of
from invmm.settlement.jobs import FIRST_PAUSE_S, NOTHING_LEFT, MarketState, job_of, one_outcome
from invmm.settlement.lane import ENDED, JobReport, JobState, Lane
from invmm.settlement.messages import (
    Ask,
    Done,
    FromSettler,
    Grant,
    Holding,
    Load,
    Notice,
    Purse,
    Told,
    ToSettler,
    Verdict,
)
from invmm.settlement.policy import Action, Decision, Means, SettlePolicy, SettleReason, Standing
from invmm.settlement.pools import ConservationError, Flow, Pools, Stage
from invmm.settlement.record import Begun, SettlementRecord

RESOLUTION_S: Final = 100.0
"""Usual time from a window's end to its resolution on the chain; the venue takes 53 to 152 s."""
LONGEST_PAUSE_S: Final = 600.0
DIFFERENCE_S: Final = 120.0
"""Engine time after which a chain that shows other shares than the fills is an alarm."""
LEFT_S: Final = 60.0
"""Engine time in which an engine opens what an earlier session left, or does not."""


class Settler:
    """Settles one account's markets. Belongs to one thread.

    Parameters
    ----------
    lane : Lane
    holdings : Holdings
        Of the account that the lane sends from.
    policy : SettlePolicy
    record : SettlementRecord
    tell : callable
        Gets each message for the engine.
    cost : Cost, optional
        What one more job costs; nothing if omitted.
    look_every_s : float
        Engine seconds between two looks at a market's shares on the chain.
    """

    def __init__(
        self,
        lane: Lane,
        holdings: Holdings,
        policy: SettlePolicy,
        record: SettlementRecord,
        *,
        tell: Callable[[FromSettler], object],
        cost: Cost | None = None,
        look_every_s: float = 5.0,
        chain_id: int = 137,
    ) -> None:
        self.pools = Pools()
        self.broken = ""
        """Why nothing is begun any more; "" while all is well."""
        self._lane = lane
        self._holdings = holdings
        self._policy = policy
        self._record = record
        self._tell = tell
        self._cost = cost
        self._look_every_ns = int(look_every_s * NS)
        self._chain_id = chain_id
        self._purse = Purse(None, 0, False)
        self._markets: dict[str, MarketState] = {}
        self._asked: dict[str, Decision] = {}  # reserved here, waiting for the engine's word
        self._jobs = set(record.open())  # that the lane has, or may have
        self._load = Load(0, 0, 0)
        self._heard = 0
        self._concerns: list[tuple[AlarmKind, str]] = []
        self._now_ns = self._begun_ns = 0
        self._markets |= {
            left.market: MarketState(left, begun, is_left=True) for left, begun in record.markets()
        }
        self._stop_at_strangers()
        for name in record.open():
            self._look_up(name)
        if record.stopped:
            self._break(record.stopped)

    # ---- messages ------------------------------------------------------------------------------------------

    def hear(self, message: ToSettler) -> None:
        """Takes one message of the engine."""
        self._heard += 1
        try:
            if isinstance(message, Holding):
                self._hold(message)
            elif isinstance(message, Purse):
                self._purse = message
            else:
                self._granted(message)
        except ConservationError as error:
            self._break(str(error))

    def turn(self, now_ns: int) -> None:
        """Does what is due: follows the lane, looks at markets, begins jobs."""
        self._now_ns = now_ns
        self._begun_ns = self._begun_ns or now_ns
        try:
            for report in self._lane.advance(now_ns):
                self._reported(report)
            self._worry()
            if not self.broken:
                self._settle_due(now_ns)
        except ConservationError as error:
            self._break(str(error))
        waiting = sum(not (one.is_done or one.is_barred) for one in self._markets.values())
        load = Load(len(self._asked) + len(self._jobs), waiting, self._heard)
        if load != self._load:
            self._load = load
            self._tell(load)

    def close(self) -> None:
        """Closes lane and record. What is in flight is found again by the next session."""
        self._lane.close()
        self._record.close()

    # ---- what the engine says ------------------------------------------------------------------------------

    def _hold(self, holding: Holding) -> None:
        market = self._markets.get(holding.market)
        if market is None:
            market = self._markets[holding.market] = self._opened(holding)
        closed = market.holding.is_open and not holding.is_open
        changed = market.holding != holding
        market.holding, market.is_left = holding, False
        if changed:
            market.look_ns, market.is_done = min(market.look_ns, self._now_ns), False
        if closed:
            for name in [flow.name for flow in self._open_flows(holding.market) if flow.name in self._asked]:
                self._release(name, SettleReason.DENIED)  # nobody will answer any more
        self._fill(market, holding.low_micro)

    def _opened(self, holding: Holding) -> MarketState:
        """A market that was not known; one whose ids are not what they must be is never settled."""
        market = MarketState(holding, self._record.past(holding.market))
        try:
            version, neg_risk = version_of(holding.exchange)
            ids = (holding.up_token, holding.down_token)
            check_tokens(holding.market, version, *ids, self._chain_id, neg_risk=neg_risk)
            self._record.market(holding)
        except DataError as error:
            market.is_barred = True
            self._say(f"{holding.slug}: nothing of it is settled: {error}", is_alarm=True)
        return market

    def _fill(self, market: MarketState, filled: tuple[int, int]) -> None:
        """Tells the pools of fills, and of what an earlier session did with them, once they are all known."""
        name = market.holding.market
        if market.is_adopted:
            self.pools.filled(name, *filled)
            return
        past = [begun for begun in market.past if begun.stage is not Stage.VOID]
        if any(filled[side] < sum(begun.taken[side] for begun in past) for side in (0, 1)):
            return  # fills of before the restart are still being listed
        self.pools.filled(name, *filled)
        market.is_adopted = True
        for begun in sorted(past, key=lambda one: one.action is not Action.SPLIT):
            self.pools.reserve(begun.name, name, begun.action, begun.up_micro, begun.down_micro)
            self.pools.begin(begun.name)
            if begun.stage is Stage.DONE:
                self.pools.finish(begun.name, begun.pays_micro)
        if past:
            self._told(name)

    def _granted(self, grant: Grant) -> None:
        decision = self._asked.pop(grant.name, None)
        if decision is None:
            return
        if grant.is_granted and not self.broken:
            self._submit(self.pools.flow(grant.name), decision.pays_micro)
        else:
            self._void(grant.name, SettleReason.DENIED)

    def _release(self, name: str, reason: SettleReason) -> None:
        self._asked.pop(name, None)
        self._void(name, reason)

    def _void(self, name: str, reason: SettleReason) -> None:
        flow = self.pools.flow(name)
        self.pools.void(name)
        self._pause(self._markets[flow.market])
        self._verdict(self._markets[flow.market], Decision(Action.WAIT, reason))
        self._told(flow.market, name)

    # ---- what is due ---------------------------------------------------------------------------------------

    def _settle_due(self, now_ns: int) -> None:
        for market in list(self._markets.values()):
            if market.is_done or market.is_barred or now_ns < max(market.look_ns, market.wait_ns):
                continue
            market.look_ns = now_ns + self._look_every_ns
            try:
                decision = self._decide(market, now_ns)
            except (TransportError, VenueError) as error:
                self._verdict(market, Decision(Action.WAIT, SettleReason.LANE))
                self._pause(market)
                self._say(f"{market.holding.slug}: what the chain has could not be asked: {error}")
                continue
            self._verdict(market, decision)
            if decision.action is Action.WAIT:
                continue
            flow = self._reserve(market, decision)
            if market.holding.is_open and decision.action is not Action.REDEEM:
                self._asked[flow.name] = decision
                self._tell(Ask(flow.name, flow.market, flow.action, flow.up_micro))
            else:
                self._submit(flow, decision.pays_micro)

    def _decide(self, market: MarketState, now_ns: int) -> Decision:
        """Looks at a market on the chain, and asks the policy."""
        holding = market.holding
        pool = self.pools.of(holding.market)
        if any(not flow.is_final for flow in pool.flows.values()):
            return Decision(Action.WAIT, SettleReason.BUSY)
        tokens = (holding.up_token, holding.down_token)
        is_over = now_ns / NS >= holding.end_s
        if market.is_left and (not is_over or now_ns - self._begun_ns < LEFT_S * NS):
            return Decision(Action.WAIT, SettleReason.UNRESOLVED)
        payouts = self._holdings.payouts(holding.exchange, holding.market, tokens) if is_over else None
        if not any(holding.high_micro) and not any(pool.free) and not market.is_left:
            market.is_done = is_over and not holding.is_open
            shown = (0, 0)
        else:
            up, down = (self._holdings.shares_micro(holding.exchange, token) for token in tokens)
            shown = (up, down)
            if not self._agrees(market, shown, now_ns, is_final=payouts is not None):
                return Decision(Action.WAIT, SettleReason.CHAIN_DIFFERS)
        free = self.pools.of(holding.market).free
        usable = tuple(min(a, b) - c for a, b, c in zip(free, shown, holding.offered_micro, strict=True))
        provisional = max(0, min(holding.high_micro)) - max(0, min(holding.low_micro))
        cost_micro, has_room = (0, True) if self._cost is None else self._cost.next(now_ns)
        purse = self._purse
        decision = self._policy.decide(
            Standing(
                up_micro=max(0, usable[0]),
                down_micro=max(0, usable[1]),
                provisional_micro=max(0, provisional),
                seconds_left=max(0.0, holding.end_s + RESOLUTION_S - now_ns / NS),
                payouts=payouts,
                is_fresh=holding.is_open and not is_over and not pool.flows and not any(holding.high_micro),
                rule=holding.rule,
            ),
            Means(
                cost_micro,
                purse.cash_micro,
                purse.need_micro,
                is_stopped=purse.is_stopped,
                is_killed=purse.is_killed,
                has_quota=has_room,
            ),
        )
        if payouts is not None and decision.reason in NOTHING_LEFT:
            market.is_done = not holding.is_open
            if market.is_done:
                self._record.closed(holding.market)
        if is_over and payouts is None and decision.action is Action.WAIT and any(free):
            return Decision(Action.WAIT, SettleReason.UNRESOLVED)
        return decision if holding.exchange != "v3" else one_outcome(decision, payouts)

    def _agrees(self, market: MarketState, shown: tuple[int, int], now_ns: int, *, is_final: bool) -> bool:
        """Whether the chain shows what the fills brought; of a market that is closed, it says what they did.

        A running market may be ahead or behind for a while: then less is used. Of a resolved one everything
        is redeemed, so it has to be the same.
        """
        holding = market.holding
        pool = self.pools.of(holding.market)
        if market.is_left and not any(begun.stage is Stage.UNDER_WAY for begun in market.past):
            gone = [begun.taken for begun in market.past if begun.stage is Stage.DONE]
            gone = [pool.gone] if market.is_adopted else gone
            self._fill(market, (shown[0] + sum(g[0] for g in gone), shown[1] + sum(g[1] for g in gone)))
        elif not holding.is_open and market.is_adopted and shown != pool.free:
            gross = (shown[0] + pool.gone[0], shown[1] + pool.gone[1])
            low, high = holding.low_micro, holding.high_micro
            if all(low[i] <= gross[i] <= high[i] for i in (0, 1)):
                self.pools.filled(holding.market, *gross)
        if not market.is_adopted:
            return False
        free = self.pools.of(holding.market).free
        if shown == free:
            market.differs_ns = 0
            return True
        market.differs_ns = market.differs_ns or now_ns
        if now_ns - market.differs_ns > DIFFERENCE_S * NS and not holding.is_open:
            market.differs_ns = now_ns
            self._pause(market)
            self._say(
                f"{holding.slug}: by the fills {free[0]} Up and {free[1]} Down micro-shares are still held, "
                f"the chain shows {shown[0]} and {shown[1]}",
                is_alarm=True,
            )
        return not is_final

    # ---- jobs ----------------------------------------------------------------------------------------------

    def _reserve(self, market: MarketState, decision: Decision) -> Flow:
        condition = market.holding.market
        number = 1 + len(self.pools.of(condition).flows)
        while self._is_used(name := f"{decision.action}:{condition}:{number}", condition):
            number += 1
        return self.pools.reserve(name, condition, decision.action, decision.up_micro, decision.down_micro)

    def _is_used(self, name: str, market: str) -> bool:
        """Whether a job had this name: granted or not, sent or not, in this session or before."""
        is_here = name in self.pools.of(market).flows or self._record.knows(name)
        return is_here or self._lane.report_of(name) is not None

    def _submit(self, flow: Flow, pays_micro: int) -> None:
        """Writes a job down and hands it to the lane."""
        begun = Begun(flow.name, flow.market, flow.action, *flow.shares, pays_micro)
        try:
            self._record.begun(begun)
            self._lane.submit(job_of(begun, self._markets[flow.market].holding, self._chain_id))
        except OSError as error:
            self._say(f"{flow.name}: not sent, it could not be written down: {error}", is_alarm=True)
            self._void(flow.name, SettleReason.LANE)
            return
        except ValueError as error:
            self._break(f"{flow.name}: the lane does not take it: {error}")
            return
        self._jobs.add(flow.name)
        self.pools.begin(flow.name)
        self._told(flow.market, flow.name)

    def _stop_at_strangers(self) -> None:
        """What the lane is about to do has to be in the record: a job that is void there, since another lane
        was asked about it, is under way again; shares that an unknown one takes cannot be set apart.
        """
        for job in self._lane.open():
            if job.name in self._jobs or not job.changes:  # nothing of a market is in the second's hands
                continue
            if self._record.revive(job.name):
                self._jobs.add(job.name)
            else:
                self._break(
                    f"{job.name}: the lane is about to do it, and the record of what was begun does not have "
                    "it; start again when it has ended (`invmm lane` shows it)"
                )

    def _look_up(self, name: str) -> None:
        """What became of a job of an earlier session."""
        report = self._lane.report_of(name)
        if report is None:  # the crash came before the lane heard of it
            report = JobReport(name, JobState.REFUSED, reason="the session ended before it was sent")
        self._reported(report)

    def _reported(self, report: JobReport) -> None:
        """A job got further, or ended."""
        if report.name not in self._jobs or report.state not in ENDED:
            return
        self._jobs.remove(report.name)
        begun = self._record.job(report.name)
        market = self._markets.get(begun.market)
        is_pooled = market is not None and market.is_adopted  # else the record alone has it for now
        if report.state is JobState.FINAL and report.reason:
            why = f"{report.name} ({report.transaction}) moved something else: {report.reason}"
            self._record.stop(why)
            cost = (report.transaction, report.gas_used, report.fee_wei)
            self._record.ended(report.name, True, *cost, reason=report.reason)
            self._break(f"{why}; look the account up, then: invmm lane --resume")
        elif report.state is JobState.FINAL:
            cost = (report.transaction, report.gas_used, report.fee_wei)
            self._record.ended(report.name, True, *cost)
            if self._cost is not None:
                self._cost.heard(report)
            if is_pooled and market is not None:
                self.pools.finish(report.name, begun.pays_micro)
                market.pause_s, market.look_ns, market.wait_ns = FIRST_PAUSE_S, self._now_ns, 0
                done = Done(begun.action, begun.up_micro, begun.down_micro, begun.pays_micro, *cost)
                self._told(begun.market, report.name, done)
        else:
            self._say(f"{report.name}: {report.state}: {report.reason}")
            self._record.ended(report.name, False, reason=report.reason)
            if is_pooled:
                self._void(report.name, SettleReason.LANE)

    def _worry(self) -> None:
        """An alarm for each concern when it comes up, not again while it lasts."""
        concerns = [] if self._cost is None else self._cost.concerns()
        for kind, text in concerns:
            is_told = self.broken and kind is AlarmKind.SETTLEMENT
            if (kind, text) not in self._concerns and not is_told:
                self._tell(Notice(text, True, kind))
        self._concerns = concerns

    # ---- words ---------------------------------------------------------------------------------------------

    def _open_flows(self, market: str) -> list[Flow]:
        return [flow for flow in self.pools.of(market).flows.values() if not flow.is_final]

    def _told(self, market: str, name: str = "", done: Done | None = None) -> None:
        pool = self.pools.of(market)
        reserved = sum(flow.up_micro for flow in self._open_flows(market) if flow.action is Action.MERGE)
        self._tell(Told(market, name, reserved, pool.merged_micro(), done))

    def _verdict(self, market: MarketState, decision: Decision) -> None:
        if market.said != (decision.action, decision.reason):
            market.said = (decision.action, decision.reason)
            holding = market.holding
            self._tell(
                Verdict(holding.market, holding.slug, *market.said, decision.up_micro, decision.down_micro)
            )

    def _pause(self, market: MarketState) -> None:
        """What was refused is not tried again at once."""
        market.wait_ns = self._now_ns + int(market.pause_s * NS)
        market.pause_s = min(2 * market.pause_s, LONGEST_PAUSE_S)

    def _say(self, text: str, *, is_alarm: bool = False) -> None:
        self._tell(Notice(text, is_alarm))

    def _break(self, why: str) -> None:
        if not self.broken:
            self.broken = why
            self._say(f"settlement stops: {why}", is_alarm=True)
