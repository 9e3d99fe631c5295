"""Holds what we believe against what the venue lists, all the time; asks for orders of unknown fate by id.

| what                                                    | how often (engine time)                        |
|---------------------------------------------------------|------------------------------------------------|
| open orders                                             | 5 s                                            |
| … trades (with 120 s of overlap) and collateral         | 10 s                                           |
| … and the shares of every open market, and the clock    | 5 min, and whenever it is demanded             |
| one order by id, while its fate is unknown              | the ladder of `unknown.py`                     |

A pass is demanded after the user channel or the venue has been away; nothing is quoted until one that began
later has succeeded. A snapshot adds evidence, never takes an order away: one that it should list and does not
is asked for by id, and only that answer can make it UNKNOWN. Orders younger than 10 s are not missed. One row
that cannot be read rejects its whole snapshot.

Alarms forbid new risk until a person has looked: an open order that is not ours, the same difference of more
than 0.01 share or dollar in passes ten seconds apart, a death that a query contradicts, a settlement told
both ways, a clock more than 5 s from ours. The questions are asked on the edge thread; everything here runs
on the engine's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from invmm.errors import InvmmError, origin_of
from invmm.execution.balances import LASTING_NS, TOLERANCE_MICRO, Balance, cash_bounds, token_bounds
from invmm.execution.edge import EdgeThread
from invmm.execution.snapshot import ClockReading, Reader, Snapshot, Wish, take
from invmm.execution.unknown import Finding, Ladder, Listing, look_up
from invmm.market import Market
from invmm.permission import AlarmKind, Permission
from invmm.types import EVENT_DTYPE, EventArray, EventKind, GuardFact, Outcome, Source, VenueMode

SECOND = 1_000_000_000
ORDERS_EVERY_NS = 5 * SECOND
TRADES_EVERY = 2  # passes
EVERYTHING_EVERY_NS = 300 * SECOND
TRADES_OVERLAP_S = 120
FIRST_TRADES_S = 600  # before the start
YOUNG_NS = 10 * SECOND
REAL_PERIOD_S = 0.5  # on a fast clock: no more passes than this
AGAIN_S = 0.5  # after a demanded pass that failed, real seconds
CLOCK_TELL_NS, CLOCK_ALARM_NS = SECOND, 5 * SECOND
AWAY = (VenueMode.RESTARTING, VenueMode.HALTED)


class Clock(Protocol):
    """The engine clock; may be read on any thread."""

    @property
    def scale(self) -> float: ...

    def now_ns(self) -> int: ...


class Account(Protocol):
    """What reconciliation sees of the engine. On the engine's thread."""

    @property
    def markets(self) -> Mapping[int, Market]: ...

    def key_of(self, order_id: bytes, /) -> int | None: ...

    def order_ids(self, keys: Collection[int], /) -> dict[int, str]: ...

    def take_evidence(self, records: EventArray, /) -> object: ...

    def venue_mode(self) -> int: ...


@dataclass
class ReconcileStats:
    """Passes that were applied, failed (not answered) or rejected (not readable); looks at single orders."""

    passes: int = 0
    failed: int = 0
    rejected: int = 0
    looks: int = 0
    missed_fills: int = 0
    foreign_orders: int = 0


class Reconciler:
    """Reconciles one account.

    Parameters
    ----------
    account : Account
        The engine.
    permission : Permission
        Told what was found; decides whether quotes go on.
    edge : EdgeThread
        Where the venue is asked.
    clock : Clock
    tokens : mapping
        Token id → (number of the market, Outcome); may change.
    api_key : str, optional
        Ours: marks legs of orders that we do not know.
    """

    def __init__(
        self,
        account: Account,
        permission: Permission,
        edge: EdgeThread[Listing],
        clock: Clock,
        tokens: Mapping[str, tuple[int, int]],
        api_key: str | None = None,
    ) -> None:
        self.stats = ReconcileStats()
        self.clock_bound_ns = SECOND
        self.tell_cash: Callable[[int, int], object] = lambda cash_micro, asked_ns: None
        """Told of the collateral that the venue lists, and of the engine time at which it was asked."""
        self.clock_offset_ns = 0  # venue minus engine, what is certain of it
        self.reconciled_ns = 0  # when the last pass that succeeded was asked for
        self._account = account
        self._permission = permission
        self._edge = edge
        self._clock = clock
        self._reader = Reader(account.key_of, tokens, api_key)
        self._ladder = Ladder()
        self._doubts: dict[int, int] = {}  # orders to be asked for although not UNKNOWN: key → since
        self._busy = False
        self._demanded = 0
        self._satisfied = 0
        self._next_ns = 0
        self._next_everything_ns = 0
        self._number = 0
        self._trades_asked_ns = clock.now_ns() - (FIRST_TRADES_S - TRADES_OVERLAP_S) * SECOND
        self._unequal: dict[int, tuple[int, int]] = {}  # order → matched minus known, and since when
        self._told: set[int] = set()
        self._balances: dict[str, Balance] = {}
        self._balanced_markets: tuple[tuple[int, int], ...] = ()
        self._foreign: set[bytes] = set()
        self._alarms_seen: dict[tuple[int, int], dict[str, int]] = {}
        self._venue_mode = account.venue_mode()

    @property
    def is_current(self) -> bool:
        """Whether a pass has succeeded since the last one was demanded."""
        return self._satisfied == self._demanded

    def demand(self, trades_from_ns: int | None = None) -> None:
        """Something may have been missed: a pass over everything, now; the permission is told its end.

        `trades_from_ns`: trades are asked for from that engine time on, if it is earlier than usual.
        """
        self._demanded += 1
        self._next_ns = 0
        if trades_from_ns is not None:
            from_ns = trades_from_ns + TRADES_OVERLAP_S * SECOND
            self._trades_asked_ns = min(self._trades_asked_ns, from_ns)

    def tick(self, now_ns: int) -> None:
        """From the engine's timer: asks what is due."""
        self._watch_venue_mode()
        self._watch_registries()
        self._climb(now_ns)
        if not self._busy and now_ns >= self._next_ns:
            self._begin_pass(now_ns)

    # ---- passes ------------------------------------------------------------------------------------------

    def _begin_pass(self, now_ns: int) -> None:
        demanded = self._demanded
        everything = not self.is_current or now_ns >= self._next_everything_ns
        with_trades = everything or self._number % TRADES_EVERY == 0
        wish = self._wish(everything) if with_trades else Wish()
        self._next_ns = now_ns + max(ORDERS_EVERY_NS, round(REAL_PERIOD_S * self._clock.scale * SECOND))
        self._busy = True
        taken = self._edge.ask(
            partial(take, wish=wish, now_ns=self._clock.now_ns),
            partial(self._end_pass, demanded=demanded, everything=everything),
        )
        if not taken:
            self._busy = False

    def _wish(self, everything: bool) -> Wish:
        markets = self._account.markets.values()
        oldest = [leg.time_ns for market in markets for leg in market.ledger.unsettled]
        after_ns = min([self._trades_asked_ns, *oldest])
        tokens = [
            ("CONDITIONAL-V2" if market.info.exchange == "v3" else "CONDITIONAL", token)
            for market in markets
            if everything and self._is_open(market)
            for token in (market.info.up_token_id, market.info.down_token_id)
        ]
        return Wish(after_ns // SECOND - TRADES_OVERLAP_S, True, tokens, clock=everything)

    def _end_pass(self, outcome: Snapshot | BaseException, *, demanded: int, everything: bool) -> None:
        self._busy = False
        now_ns = self._clock.now_ns()
        try:
            if isinstance(outcome, BaseException):
                raise outcome
            found = self._apply(outcome)
        except InvmmError as error:
            if isinstance(outcome, BaseException):
                self.stats.failed += 1
            else:
                self.stats.rejected += 1
            if everything:
                self._permission.say(f"trades could not be listed: {error}")
                self._next_ns = now_ns + round(AGAIN_S * self._clock.scale * SECOND)
            return
        except Exception as error:
            self._failed(error)
            return
        self._number += 1
        self.reconciled_ns = outcome.asked_ns
        self.stats.passes += 1
        self.stats.missed_fills += found
        if everything:
            self._next_everything_ns = now_ns + EVERYTHING_EVERY_NS
        if demanded > self._satisfied and everything:
            self._satisfied = demanded
            if self.is_current:
                self._permission.reconciled(found)

    def _apply(self, snapshot: Snapshot, young_ns: int = YOUNG_NS) -> int:
        """Evidence of a snapshot, and what it contradicts; how many fills were new."""
        asked_ns = snapshot.asked_ns
        orders = self._reader.orders(snapshot.orders, asked_ns)  # both are read before either is applied
        trades = None if snapshot.trades is None else self._reader.trades(snapshot.trades, asked_ns)
        before = self._fills()
        if snapshot.clock is not None:
            self._set_clock(snapshot.clock)
        if trades is not None:
            self._trades_asked_ns = asked_ns
            self._account.take_evidence(trades)
            self._account.take_evidence(self._listed(asked_ns))
        known = orders[orders["key"] != 0]
        self._account.take_evidence(known)
        self._watch_foreign(orders[orders["key"] == 0])
        listed = {int(record["key"]): int(record["filled_micro"]) for record in known}
        self._doubt(listed, asked_ns, young_ns)
        if trades is not None:
            self._compare_orders(listed, asked_ns)
            self._compare_balances(snapshot)
        return self._fills() - before

    def _listed(self, asked_ns: int) -> EventArray:
        """Tells every market that the trades are known as they were asked for: cancelled orders owe none."""
        told = np.zeros(len(self._account.markets), EVENT_DTYPE)
        told["kind"], told["status"], told["source"] = EventKind.GUARD, GuardFact.LISTED, Source.EDGE
        told["market"], told["time_ns"] = list(self._account.markets), asked_ns
        return told

    def _set_clock(self, reading: ClockReading) -> None:
        """Fences rest on how far the venue's clock may be from ours."""
        self.clock_bound_ns = reading.bound_ns
        self.clock_offset_ns = reading.offset_ns
        for market in self._account.markets.values():
            market.step.registry.set_fence(clock_bound_ns=reading.bound_ns)
        text = f"the venue's clock is at least {reading.least_ns / SECOND:.1f} s from ours"
        if reading.least_ns > CLOCK_ALARM_NS:
            self._permission.alarm(text, AlarmKind.CLOCK)
        elif reading.least_ns > CLOCK_TELL_NS:
            self._permission.alarm(text, AlarmKind.CLOCK_DRIFT)

    def _fills(self) -> int:
        return sum(market.step.registry.counts()["fills"] for market in self._account.markets.values())

    def _doubt(self, listed: Mapping[int, int], asked_ns: int, young_ns: int) -> None:
        """Orders that are listed though we know their end, or not listed though we believe them alive."""
        for _, order in self._alive():
            key = _int(order, "key")
            if key not in listed and asked_ns - _int(order, "sent_ns") >= young_ns:
                self._doubts.setdefault(key, asked_ns)
        for key in listed:
            market_of = self._market_of(key)
            known = market_of.step.registry.order(key) if market_of else None
            if known is None or known["state"] not in ("dead", "filled"):
                continue
            if asked_ns - max(_int(known, "ended_ns"), _int(known, "seen_ns")) >= young_ns:
                self._doubts.setdefault(key, asked_ns)

    def _compare_orders(self, listed: Mapping[int, int], asked_ns: int) -> None:
        unequal = {}
        for key, matched_micro in listed.items():
            market = self._market_of(key)
            order = market.step.registry.order(key) if market else None
            if order is None or abs(matched_micro - _int(order, "filled_micro")) <= TOLERANCE_MICRO:
                continue
            difference = matched_micro - _int(order, "filled_micro")
            since = self._unequal.get(key)
            unequal[key] = since if since and since[0] == difference else (difference, asked_ns)
            if asked_ns - unequal[key][1] >= LASTING_NS and key not in self._told:
                self._told.add(key)
                self._permission.alarm(
                    f"order {key}: the venue has {difference / 1e6:+g} shares to our fills",
                    AlarmKind.FILLS,
                )
        self._unequal = unequal

    def _compare_balances(self, snapshot: Snapshot) -> None:
        markets = self._account.markets
        present = tuple(sorted((market.number, market.serial) for market in markets.values()))
        if present != self._balanced_markets:
            self._balanced_markets, self._balances = present, {}  # another set of ledgers: begin anew
        if snapshot.cash_micro is not None:
            self.tell_cash(snapshot.cash_micro, snapshot.asked_ns)
        bounds = {
            "": (snapshot.cash_micro, cash_bounds([m.ledger for m in markets.values()], snapshot.asked_ns))
        }
        for market in markets.values():
            if self._is_open(market):
                for outcome in Outcome:
                    token = (market.info.up_token_id, market.info.down_token_id)[outcome]
                    bounds[token] = (
                        snapshot.tokens_micro.get(token),
                        token_bounds(market.ledger, outcome, snapshot.asked_ns),
                    )
        for name, (balance_micro, (low, high)) in bounds.items():
            if balance_micro is None:
                continue
            difference = self._balances.setdefault(name, Balance()).differs(
                balance_micro, low, high, at_ns=snapshot.asked_ns
            )
            if difference < 0 or (difference and name):
                unit = "shares of token " + name[:12] if name else "dollars"
                self._permission.alarm(
                    f"the venue's balance is off by {difference / 1e6:+g} {unit}", AlarmKind.BALANCE
                )
            elif difference and all(self._is_open(market) for market in markets.values()):
                self._permission.say(f"{difference / 1e6:+g} dollars came in that are no fill of ours")

    def refresh_balances(self, market: Market) -> None:
        """Has the venue read from the chain what settlement has moved: it keeps a view of its own."""
        kind = "CONDITIONAL-V2" if market.info.exchange == "v3" else "CONDITIONAL"

        async def refresh(venue: Any) -> None:
            await venue.update_balance_allowance()
            for token in (market.info.up_token_id, market.info.down_token_id):
                await venue.update_balance_allowance(kind, token)

        self._edge.ask(refresh, lambda _: None)  # if it fails, the next balances say so

    # ---- single orders -----------------------------------------------------------------------------------

    def _climb(self, now_ns: int) -> None:
        if self._doubts:
            self._doubts = {key: since for key, since in self._doubts.items() if self._market_of(key)}
        asked = dict(self._doubts)
        for market in self._account.markets.values():
            asked.update(market.step.registry.unknown())
        if not asked:
            return
        due = self._ladder.due(asked.items(), now_ns)
        ids = self._account.order_ids(due) if due else {}
        for key in due:
            if key not in ids or not self._look(key, ids[key]):
                self._ladder.answered(key)  # its id is not announced yet, or the edge is busy

    def _look(self, key: int, order_id: str) -> bool:
        market = self._market_of(key)
        order = market.step.registry.order(key) if market else None
        if order is None:
            return False
        return self._edge.ask(
            partial(
                look_up,
                key=key,
                order_id=order_id,
                now_ns=self._clock.now_ns,
                sent_ns=_int(order, "sent_ns"),
                fence_ns=_int(order, "fence_ns"),
            ),
            partial(self._found, key=key),
        )

    def _found(self, outcome: Finding | BaseException, *, key: int) -> None:
        self._ladder.answered(key)
        market = self._market_of(key)
        if market is None:
            return
        self.stats.looks += 1
        try:
            if isinstance(outcome, BaseException):
                raise outcome
            trades = self._reader.trades(outcome.trades, outcome.asked_ns)
            records = self._reader.found(outcome, market.number)
            self._doubts.pop(key, None)
            self._account.take_evidence(trades)
            self._account.take_evidence(records)
        except InvmmError:
            return  # nothing was learnt; the ladder asks again
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        """What nobody has foreseen: it is told, and nothing new is risked."""
        self.stats.failed += 1
        self._permission.alarm(f"reconciliation failed: {origin_of(error)}", AlarmKind.RECONCILE)

    async def finish(self) -> int:
        """The last pass: everything, and every order that may be alive by id; how many fills were new.

        Raises
        ------
        InvmmError
            Something was not answered: what is known stays as it is.
        """
        now_ns = self._clock.now_ns
        found = self._apply(await self._edge.result(partial(take, wish=self._wish(True), now_ns=now_ns)), 0)
        ids = self._account.order_ids([_int(order, "key") for _, order in self._alive()])
        for market, order in list(self._alive()):
            key = _int(order, "key")
            if key in ids:
                look = partial(
                    look_up,
                    key=key,
                    order_id=ids[key],
                    now_ns=now_ns,
                    sent_ns=_int(order, "sent_ns"),
                    fence_ns=_int(order, "fence_ns"),
                )
                self._account.take_evidence(self._reader.found(await self._edge.result(look), market.number))
        return found

    # ---- alarms ------------------------------------------------------------------------------------------

    def _watch_venue_mode(self) -> None:
        """After the venue was away nothing is known about our orders: it may have forgotten them."""
        before, self._venue_mode = self._venue_mode, self._account.venue_mode()
        if before in AWAY and self._venue_mode not in AWAY:
            self._permission.pause("the venue was away: quotes pulled until its orders and trades are known")
            self.demand()

    def _watch_foreign(self, records: EventArray) -> None:
        for record in records:
            order_id = record["order_id"].tobytes()
            if order_id not in self._foreign:
                self._foreign.add(order_id)
                self.stats.foreign_orders += 1
                self._permission.alarm(
                    f"an open order is not ours: 0x{order_id.hex()}", AlarmKind.FOREIGN_ORDER
                )
        ids = ["0x" + record["order_id"].tobytes().hex() for record in records]
        if ids:  # as long as it is listed: whoever sent it, this account is traded from here alone
            self._edge.ask(lambda venue: venue.cancel(ids), lambda _: None)

    def _watch_registries(self) -> None:
        """What the evidence itself says cannot be."""
        for market in self._account.markets.values():
            now, name = market.step.registry.alarms(), (market.number, market.serial)
            before = self._alarms_seen.get(name)
            if now == before:
                continue
            self._alarms_seen[name] = now
            for kind, count in now.items():
                if count > (before or {}).get(kind, 0):
                    text = f"{market.info.slug}: {ALARMS[kind]}"
                    if kind == "contradicted":
                        self._permission.say(text)
                    else:
                        self._permission.alarm(text, AlarmKind.EVIDENCE)
        if len(self._alarms_seen) > len(self._account.markets):
            names = {(market.number, market.serial) for market in self._account.markets.values()}
            self._alarms_seen = {name: told for name, told in self._alarms_seen.items() if name in names}

    # ---- own orders --------------------------------------------------------------------------------------

    def _alive(self) -> Iterator[tuple[Market, dict[str, Any]]]:
        for market in self._account.markets.values():
            for order in market.step.registry.orders_live():
                yield market, order

    def _is_open(self, market: Market) -> bool:
        """Whether its shares are still there: after the end they are paid out, at a time of their own."""
        return market.winner is None and self._clock.now_ns() < market.info.end_s * SECOND

    def _market_of(self, key: int) -> Market | None:
        return next((market for market in self._account.markets.values() if market.owns(key)), None)


ALARMS = {
    "terminal_conflicts": "a trade was told confirmed and failed",
    "size_conflicts": "a fill was told with two sizes",
    "revived": "an order that was told cancelled is open",
    "contradicted": "an order was told accepted and refused",
    "full": "a table of own orders or fills is full",
}


def _int(order: Mapping[str, Any], name: str) -> int:
    return int(order[name])
