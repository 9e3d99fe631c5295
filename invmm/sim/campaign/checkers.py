"""What must hold in a world, looked at from the venue's side.

The checkers know the venue's own state and ask the engine only what it believes. They share no code with what
they check: sums are made anew from the venue's orders and trades.

| checker    | fails when |
|------------|---|
| exposure   | the venue's true orders and shares exceed a limit of the settings, at any event |
| orphans    | an order is open at the venue and the engine does not count it as possibly alive |
| fills      | at rest a fill is missing, is there twice, or differs from the venue's |
| positions  | at rest the engine's own count of shares differs from what its fills at the venue come to |
| sends      | an order's bytes leave more often than once and one resend, or the same order rests twice |
| guards     | an order leaves while the data is stale, the mode forbids it or heartbeats are not answered, |
|            | or after the engine was told of something that ends trading |
| rest       | something is still undetermined when nothing happens any more |
| journal    | the journal and memory differ in which orders may be alive |
| stall      | nothing is in the way of cancels, and quotes stay more than 3 s on another book (`stalls`) |
| budget     | more is asked than the venue publishes as allowed (`budget`) |
| unknown    | with no fault but a few lost answers, an order's fate stays unknown for more than 5 s |
| secrets    | a secret is in a message or in the body of a request |
"""

from __future__ import annotations

import json
from collections import Counter, deque
from contextvars import Context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from invmm.execution.breakers import ACKS
from invmm.execution.journaled import possibly_alive
from invmm.feed.user_messages import trade_key
from invmm.sim.account import Leg
from invmm.sim.campaign.network import Incoming
from invmm.sim.exchange import Exchange
from invmm.sim.orders import Order, Report
from invmm.sim.profile import SECOND
from invmm.types import MICRO, Mode, OrderStatus, Outcome, Side, VenueMode

if TYPE_CHECKING:
    from invmm.sim.campaign.process import EngineProcess
    from invmm.sim.campaign.world import World

MS = 1_000_000
RESOLVED_NS = 5 * SECOND  # from unknown to known, where all is well
MARGIN_NS = 400 * MS  # from a decision to its arrival: command deadline, way, timer
BEAT_NS, PULLED_NS = 3 * SECOND, SECOND  # a silent engine is noticed, and its orders are gone
LISTING_NS = 10 * MS  # from a pass's beginning to the answer of its first question
MOST_FAILURES = 20  # kept of each checker
PLACES = ("/order", "/orders")
ENDED = ("dead", "filled", "rejected")
UNANSWERED = ("prepared", "sent", "unknown")


@dataclass(frozen=True)
class Failure:
    """Something that must not be. `at_s` is the world's time."""

    checker: str
    text: str
    at_s: float


@dataclass
class Findings:
    """What the checkers of a world have found."""

    failures: list[Failure] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def fail(self, checker: str, text: str, at_s: float) -> None:
        """Counts a failure; keeps the first ones."""
        self.counts[checker] += 1
        if self.counts[checker] <= MOST_FAILURES:
            self.failures.append(Failure(checker, text, round(at_s, 3)))


class Exposure:
    """The venue's true orders and shares against the limits, whenever one of them changes."""

    def __init__(self, world: World) -> None:
        self._world = world
        risk = world.settings.risk
        self._cash_micro = round(risk.max_cash_dollars * MICRO)
        self._direction_micro = round(risk.max_direction_shares * MICRO)
        self._gross_micro = round(risk.max_gross_shares * MICRO)
        self._order_micro = round(risk.max_order_shares * MICRO)
        self._costs: dict[str, dict[int, int]] = {}  # by market and trade

    def at(self, exchange: Exchange, report: Report) -> None:
        """Something has happened to an order or a trade."""
        world, market = self._world, exchange.market
        own = [order for order in exchange.open_orders() if world.is_own(order)]
        account = exchange.account
        bids = {Outcome.UP: 0, Outcome.DOWN: 0}
        open_micro = {Outcome.UP: 0, Outcome.DOWN: 0}
        cash = gross = 0
        for order in own:
            request, left = order.request, order.left_micro
            gross += left
            if request.side == Side.BUY:
                open_micro[request.token] += left
                bids[request.token] = max(bids[request.token], request.price_e4)
                cash += left * request.price_e4 // 10_000
        held = [account.tokens_micro(token, market.condition_id) for token in Outcome]
        for token, other in ((Outcome.UP, Outcome.DOWN), (Outcome.DOWN, Outcome.UP)):
            lean = held[token] - held[other] + open_micro[token]
            self._most("direction", lean, self._direction_micro, market.slug)
        cash += self._paid(exchange, report)
        self._most("cash", cash, self._cash_micro + MICRO // 100, market.slug)
        self._most("gross", gross, self._gross_micro, market.slug)
        self._most("orders", len(own), world.settings.risk.max_open_orders, market.slug)
        if bids[Outcome.UP] and bids[Outcome.DOWN] and bids[Outcome.UP] + bids[Outcome.DOWN] >= 10_000:
            world.fail(
                "exposure", f"{market.slug}: own bids cross: {bids[Outcome.UP]} and {bids[Outcome.DOWN]}"
            )
        if report.kind == "placed" and report.order is not None:
            self._most("order size", report.order.request.size_micro, self._order_micro, market.slug)

    def _paid(self, exchange: Exchange, report: Report) -> int:
        """What the shares of this market have cost, failed trades left out."""
        known = self._costs.setdefault(exchange.market.condition_id, {})
        trade = report.trade
        if trade is not None:
            own = [leg for leg in trade.legs if self._world.is_own_leg(leg)]
            failed = trade.status == OrderStatus.TRADE_FAILED
            known[trade.key] = 0 if failed else -sum(leg.cash_micro + leg.fee_micro for leg in own)
        return sum(known.values())

    def _most(self, what: str, value: int, limit: int, slug: str) -> None:
        if value > limit:
            self._world.fail("exposure", f"{slug}: {what}: {value} at the venue, at most {limit} allowed")


class Orphans:
    """Open orders of which the engine does not think that they may be alive."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._told: set[bytes] = set()

    def look(self) -> None:
        """Every open order of ours at every market."""
        for exchange in self._world.server.floor.exchanges:
            for order in exchange.open_orders():
                self.check(order)

    def check(self, order: Order) -> None:
        """One open order."""
        world, name = self._world, order.request.order_id
        if name in self._told or not world.is_own(order) or not world.engine_knows:
            return
        if not world.believes_alive(name):
            self._told.add(name)
            world.fail(
                "orphans", f"order {order.request.id_text} is {order.state}, the engine {world.belief(name)}"
            )


class Sends:
    """Placements on the wire: which bytes, how often, and whether anything forbade them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._seen: Counter[str] = Counter()
        self.orders = 0
        self.sent_s: deque[float] = deque(maxlen=ACKS)  # when each of the last orders arrived
        self.per_second: Counter[int] = Counter()

    def request(self, request: Incoming) -> None:
        """A request arrives at the venue's door."""
        if request.path not in (*PLACES, "/cancel-all") or request.method not in ("POST", "DELETE"):
            return
        world, body = self._world, request._body
        self.per_second[int(world.now_s)] += 1
        if request.method != "POST":
            return
        try:
            told = json.loads(body)
        except ValueError:
            world.fail("sends", f"a request that is no JSON: {body[:80]!r}")
            return
        for leg in told if isinstance(told, list) else [told]:
            name = json.dumps(leg["order"], sort_keys=True)
            self._seen[name] += 1
            if self._seen[name] == 1:
                self.orders += 1
                self.sent_s.append(world.now_s)
            if self._seen[name] > 2:
                world.fail("sends", f"the same order was sent {self._seen[name]} times")
            if self._seen[name] == 1:
                world.guards.post(leg["order"])

    def booked(self, exchange: Exchange, order: Order) -> None:
        """An order of ours has reached the book: is it another one signed anew for one whose fate is open?"""
        world, said = self._world, order.request
        for other in exchange.open_orders():
            known = other.request
            if (
                other is not order
                and world.is_own(other)
                and (known.token, known.side, known.price_e4, known.size_micro)
                == (said.token, said.side, said.price_e4, said.size_micro)
                and (world.state_of(known.order_id) in UNANSWERED or not world.believes_alive(said.order_id))
            ):
                world.fail("sends", f"{known.id_text} is there a second time, as {said.id_text}")


class Guards:
    """What forbids an order, as the venue knows it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._over_ns: dict[str, int] = {}  # why trading is over, and since when
        self._listed_ns: int | None = None  # when an order that is not ours was told to the engine

    def begin_anew(self) -> None:
        """Another process trades: what the last one was told it has to learn itself."""
        self._over_ns.clear()
        self._listed_ns = None

    def wedged(self) -> None:
        """The engine's loop stands still from now on: its executor has three seconds to notice."""
        world = self._world
        now_ns = world.loop.now_ns()
        self.over("its loop had stood still for three seconds", now_ns + BEAT_NS)
        world.loop.call_in_ns(BEAT_NS + PULLED_NS, self._look_wedged, world.engine, now_ns, context=Context())

    def unwedged(self) -> None:
        """It goes on."""
        self._over_ns.pop("its loop had stood still for three seconds", None)

    def _look_wedged(self, process: EngineProcess, since_ns: int) -> None:
        """Where nothing else is wrong, nothing may be open any more."""
        world = self._world
        if world.engine is not process or not process.is_stopped or process.born_ns > since_ns - BEAT_NS:
            return
        if sum(world.active.values()) > 1 or world.server.mode.now() != VenueMode.RUNNING:
            return
        if world.network.cancelled_ns < since_ns + BEAT_NS // 2:
            world.fail("guards", "the engine stood still, and its executor has cancelled nothing")
        for exchange in world.server.floor.exchanges:
            for order in exchange.open_orders():
                if world.is_own(order):
                    world.fail("guards", f"the engine stood still, and {order.request.id_text} is still open")

    def over(self, why: str, since_ns: int) -> None:
        """From then on this process may place nothing."""
        self._over_ns.setdefault(why, since_ns)

    def heard(self, request: Incoming, answer: web.Response) -> None:
        """An answer reaches the engine."""
        placed = self._world.strangers.placed
        if not placed or self._listed_ns is not None or request.path != "/data/orders":
            return
        body = answer.body if isinstance(answer.body, bytes) else b""
        if answer.status == 200 and any(name.hex().encode() in body for name in placed):
            self._listed_ns = self._world.loop.now_ns()

    def look(self) -> None:
        """Several times a second. A listing counts once a whole pass that began with it has succeeded."""
        world = self._world
        reconciler = world.engine.engine.reconciler
        if self._listed_ns is None or reconciler is None:
            return
        if reconciler.reconciled_ns >= self._listed_ns - LISTING_NS:
            self.over("an order that is not ours was listed", world.loop.now_ns())

    def post(self, order: dict[str, Any]) -> None:
        """An order has just left."""
        world = self._world
        now_ns, process = world.loop.now_ns(), world.engine
        session = world.server.floor.by_token(order.get("tokenId"))
        if session is None:
            return
        stale_ns = world.stale_ns(session)
        bound_ns = world.settings.engine.book_max_age_ms * MS + MARGIN_NS
        if stale_ns > bound_ns:
            world.fail(
                "guards", f"an order left while its book was {stale_ns / SECOND:.2f} s behind the venue's"
            )
        forbidden_ns = world.forbidden_ns
        if forbids(process.engine.permission.mode) and forbidden_ns and now_ns - forbidden_ns > MARGIN_NS:
            world.fail(
                "guards", f"an order left although the engine was {process.engine.permission.mode.name}"
            )
        for why, since_ns in self._over_ns.items():
            if now_ns - since_ns > MARGIN_NS:
                world.fail("guards", f"an order left {(now_ns - since_ns) / SECOND:.1f} s after {why}")
        silent_ns = now_ns - world.heartbeat_ns
        limit_s = world.server.profile.heartbeat_limit_s
        if world.heartbeat_ns and limit_s and silent_ns > limit_s * SECOND + MARGIN_NS:
            world.fail("guards", f"an order left {silent_ns / SECOND:.1f} s after the last good heartbeat")
        if now_ns > session.market.end_s * SECOND - world.settings.engine.stop_before_end_ms * MS + MARGIN_NS:
            world.fail("guards", f"{session.market.slug}: an order left after the end of quoting")


@dataclass
class Timers:
    """Durations in seconds, and samples of whether we quote."""

    unknown_s: list[float] = field(default_factory=list)
    quoting: int = 0
    wanted: int = 0
    _unknown: dict[tuple[int, int], int] = field(default_factory=dict)
    _late: set[tuple[int, int]] = field(default_factory=set)

    def sample(self, world: World) -> None:
        """A look at the engine and the venue; several a second."""
        now_ns = world.loop.now_ns()
        unknown: set[tuple[int, int]] = set()
        for market in world.engine.engine.markets.values():
            for key, _ in market.step.registry.unknown():
                unknown.add((id(world.engine), int(key)))
        for name in unknown:
            self._unknown.setdefault(name, now_ns)
            if not world.plan and now_ns - self._unknown[name] > RESOLVED_NS and name not in self._late:
                self._late.add(name)
                world.fail("unknown", f"the fate of order {name[1]} is unknown for 5 s on a healthy venue")
        for name in [name for name in self._unknown if name not in unknown]:
            self.unknown_s.append((now_ns - self._unknown.pop(name)) / SECOND)
        now_s = now_ns / SECOND
        for session in world.server.floor.sessions.values():
            info = session.market
            own = any(world.is_own(order) for order in session.exchange.open_orders())
            last_s = info.end_s - world.settings.engine.stop_before_end_ms / 1000
            if info.start_s + 2 <= now_s < last_s - 1 and not world.is_draining:
                self.wanted += 1
                self.quoting += own
            world.stalls.look(session)


def compare_fills(world: World) -> None:
    """At rest: the fills that the engine booked are those that the venue made."""
    ours: Counter[tuple[int, str]] = Counter()  # most often in one process: a later one takes over
    known: dict[tuple[int, str], tuple[int, ...]] = {}
    for process in world.processes:
        here: Counter[tuple[int, str]] = Counter()
        for market in process.markets:
            ids = process.engine.order_ids({leg.key for leg in market.ledger.legs.values()})
            ids.update(process.ids)
            for (trade, key), leg in market.ledger.legs.items():
                name = (trade, ids.get(key, f"key {key}"))
                here[name] += 1
                known[name] = (leg.size_micro, leg.price_e4, int(leg.outcome), int(leg.side), int(leg.status))
        ours |= here
    theirs: dict[tuple[int, str], tuple[int, ...]] = {}
    for trade_ in world.server.floor.purses.first.trades:
        for part in trade_.legs:
            if world.is_own_leg(part):
                theirs[trade_key(trade_.id_text), "0x" + part.order_id.hex()] = (
                    part.size_micro,
                    part.price_e4,
                    int(part.token),
                    int(part.side),
                    int(trade_.status),
                )
    for name, count in ours.items():
        if name not in theirs or count > 1:
            world.fail(
                "double_fills",
                f"{name[1]}: {count} × a fill that the venue has {'once' if name in theirs else 'not'}",
            )
    for name, made in theirs.items():
        if name not in known:
            world.fail(
                "lost_fills",
                f"{name[1]}: the venue filled {made[0] / MICRO:g} shares, the engine does not know",
            )
        elif known[name] != made:
            world.fail(
                "lost_fills",
                f"{name[1]}: (size, price, token, side, status): ours {known[name]}, the venue's {made}",
            )


def compare_positions(world: World) -> None:
    """At rest: the shares that the limits are held against are those of the fills that did not fail.

    Of each process the markets that it released; of the last one those that it still has, too.
    """
    true: Counter[tuple[str, int]] = Counter()
    for trade in world.server.floor.purses.first.trades:
        for leg in trade.legs if trade.status != OrderStatus.TRADE_FAILED else ():
            if world.is_own_leg(leg):
                sign = 1 if leg.side == Side.BUY else -1
                true[trade.condition_id, int(leg.token)] += sign * leg.size_micro
    for process in world.processes:
        counted: Counter[tuple[str, int]] = Counter()
        for market in process.markets if process is world.engine else process.closed:
            for token, micro in enumerate(market.step.registry.position()):
                counted[market.info.condition_id, token] += micro
        for name, micro in counted.items():
            if micro != true[name]:
                world.fail(
                    "positions",
                    f"{name[0][:12]}: the engine counts {micro / MICRO:g} shares of token {name[1]}, "
                    f"its fills come to {true[name] / MICRO:g}",
                )


def check_rest(world: World) -> None:
    """At rest: nothing is open or undetermined, on either side."""
    for exchange in world.server.floor.exchanges:
        for order in exchange.open_orders():
            if order.request.is_of(world.account):
                world.fail("rest", f"order {order.request.id_text} is still {order.state} at the venue")
    for market in world.engine.markets:
        for order_ in market.step.registry.orders_live():
            world.fail("rest", f"{market.info.slug}: order {order_['key']} is still {order_['state']}")
        for leg in market.ledger.unsettled:
            world.fail("rest", f"{market.info.slug}: a fill of order {leg.key} is still {leg.status.name}")


def compare_journal(world: World) -> None:
    """The journal names the orders that the engine counts as possibly alive, and no other."""
    process = world.engine
    if not world.engine_knows or process.is_stopped or process.engine.journal is None:
        return
    engine = process.engine
    engine.key_of(bytes(32))  # what the executor has announced is taken first
    keys = [int(str(o["key"])) for m in engine.markets.values() for o in m.step.registry.orders_live()]
    memory = set(engine.order_ids(keys).values())
    journal = {order.order_id for order in possibly_alive(process.folder)}
    for name in sorted(memory ^ journal):
        world.fail(
            "journal",
            f"order {name} may be alive, says {'memory' if name in memory else 'the journal'} alone",
        )


def own_leg(leg: Leg, account: str) -> bool:
    """Whether a leg of a trade is of our account."""
    return leg.who is None or leg.who.account.lower() == account.lower()


def check_secrets(world: World) -> None:
    """Nothing that people read contains a secret."""
    words = "\n".join(text for process in world.processes for text in process.engine.messages)
    for secret in world.secrets:
        if secret in words:
            world.fail("secrets", "a message contains a secret")


def forbids(mode: Mode) -> bool:
    """Whether the engine's own mode allows no new order."""
    return mode != Mode.RUNNING
