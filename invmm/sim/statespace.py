"""All states of a few orders next to each other (`protocol.py`), searched breadth first.

A state is one integer: the number of each order's situation (16 bits each) above eight shared bits, which
hold the newest target, what the adversary has left, and whether the engine has just been restarted.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from invmm.sim.protocol import POSSIBLY_LIVE, Around, Book, Cost, Order, Rules, State, Wire

ID_BITS = 16
TARGET, DROPS, COPIES, CRASH, RECOVERING = 1, 4, 16, 64, 128  # places of a state's lowest eight bits
GLOBAL_BITS = 8
COSTS = {Cost.NONE: 0, Cost.DROP: -DROPS, Cost.COPY: -COPIES, Cost.ADVANCE: TARGET}

LIMIT, ORPHAN, LOST_FILL, DOUBLE_SEND, JOURNAL, STUCK = (
    "limit",
    "orphan",
    "lost fill",
    "double send",
    "journal",
    "stuck",
)


@dataclass(frozen=True)
class Setting:
    """One world: how many lots fit, how many orders there are, and the adversary's means."""

    name: str
    capacity: int = 1
    orders: int = 2
    drops: int = 2
    copies: int = 1
    crashes: int = 1
    rules: Rules = field(default_factory=Rules)


@dataclass
class Violation:
    """A broken obligation and a shortest way to it."""

    obligation: str
    steps: list[str]


@dataclass
class Outcome:
    """What a search found. `rest_steps`: the longest shortest way to rest from any state, without faults."""

    name: str
    states: int = 0
    steps: int = 0
    depth: int = 0
    rests: int = 0
    rest_steps: int = 0
    seconds: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    @property
    def broken(self) -> tuple[str, ...]:
        """The obligations that do not hold."""
        return tuple(violation.obligation for violation in self.violations)


class World:
    """The states of a setting, each one integer: an order's number (16 bits each) above eight shared bits.

    The moves of an order depend on it and on its surroundings alone, so each is worked out once.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting, self.rules = setting, setting.rules
        self.orders: list[Order] = []
        self.numbers: dict[Order, int] = {}
        self.state: list[State] = []
        self.claimed: list[int] = []
        self.true: list[int] = []
        self.flags: list[int] = []
        self.settled: list[bool] = []
        self.told: dict[int, int] = {}
        self.restarted: dict[int, int] = {}
        self.table: dict[tuple[int, int], list[tuple[int, int, bool]]] = {}
        self.shifts = [GLOBAL_BITS + ID_BITS * i for i in range(setting.orders)]
        first = self.number(Order())
        self.start = sum(first << shift for shift in self.shifts)
        self.start += DROPS * setting.drops + COPIES * setting.copies + CRASH * setting.crashes

    FLAGS = (ORPHAN, LOST_FILL, DOUBLE_SEND, JOURNAL)

    def number(self, order: Order) -> int:
        """The number of an order, and what is to be known about it, worked out once."""
        known = self.numbers.get(order)
        if known is not None:
            return known
        rules, number = self.rules, len(self.orders)
        if number >> ID_BITS:
            raise OverflowError(f"expected fewer than {1 << ID_BITS} different orders")
        state = rules.state(order)
        alive = state in POSSIBLY_LIVE
        resting = order.book == Book.RESTING
        sent = bool(order.wire & (Wire.PLACE | Wire.AGAIN))
        self.numbers[order] = number
        self.orders.append(order)
        self.state.append(state)
        self.claimed.append(rules.claimed(order))
        self.true.append(order.matched + (rules.lots - order.matched if resting else 0))
        broken = (
            resting and not alive,
            state == State.FORGOTTEN and order.matched > order.legs.bit_count(),
            rules.new_salt and state == State.FORGOTTEN,
            sent and not order.journaled,
        )
        self.flags.append(sum(bool(one) << n for n, one in enumerate(broken)))
        self.settled.append(
            not order.wire
            and order.legs.bit_count() == order.matched
            and state not in (State.PREPARED, State.SENT, State.UNKNOWN)
            and resting == (state == State.LIVE)
            and (state != State.DEAD or order.listed)
        )
        return number

    def split(self, state: int) -> list[int]:
        """The numbers of the orders of a state."""
        return [(state >> shift) & ((1 << ID_BITS) - 1) for shift in self.shifts]

    def around(self, state: int, ids: Sequence[int]) -> list[int]:
        """What surrounds each order, as bits in the order of the fields of `Around`."""
        target = state & 3
        claimed = sum(self.claimed[one] for one in ids)
        fits = claimed + self.rules.lots <= self.setting.capacity
        theirs = self.state[ids[target]]
        replaceable = theirs in (State.LIVE, State.FILLED) or (theirs == State.NONE and not fits)
        bits = fits << 1 | replaceable << 2 | bool(state & RECOVERING) << 3
        bits |= bool(state & 3 * DROPS) << 4 | bool(state & 3 * COPIES) << 5
        bits |= (target + 1 < len(ids)) << 6
        return [bits | (i == target) for i in range(len(ids))]

    def moves(self, number: int, bits: int) -> list[tuple[int, int, bool]]:
        """Number afterwards, change of the shared bits, calm: of each move of an order."""
        around = Around(*(bool(bits >> n & 1) for n in range(7)))
        return [
            (self.number(move.order), COSTS[move.cost], move.calm)
            for move in self.rules.moves(self.orders[number], around)
        ]

    def shared(self, state: int, ids: Sequence[int]) -> Iterator[tuple[str, int, bool]]:
        """The steps that concern all orders: text, next state, calm."""
        low = state & ((1 << GLOBAL_BITS) - 1)
        if (state & 3) + 1 < len(ids):
            yield "engine: a newer target comes", state + TARGET, False
        told = self.joined(self.told, self.rules.told_all, ids) + (low & ~RECOVERING)
        if told != state:
            yield "engine: lists the trades", told, True
        if state & CRASH:
            after = self.joined(self.restarted, self.rules.restarted, ids) + (low & ~CRASH)
            after |= 0 if self.rules.trades_unlisted else RECOVERING
            yield "adversary: the process dies and starts again", after, False

    def joined(self, known: dict[int, int], change: Callable[[Order], Order], ids: Sequence[int]) -> int:
        """The orders' part of a state after a change of each; what it makes of an order is in `known`."""
        total = 0
        for one, shift in zip(ids, self.shifts, strict=True):
            new = known.get(one)
            if new is None:
                new = known[one] = self.number(change(self.orders[one]))
            total += new << shift
        return total

    def at_rest(self, state: int, ids: Sequence[int]) -> bool:
        """Whether nothing is under way: every record is exact, and the replacement is done or undone."""
        if state & RECOVERING or not all(self.settled[one] for one in ids):
            return False
        target = state & 3
        theirs = self.state[ids[target]]
        alone = all(self.state[one] != State.LIVE for i, one in enumerate(ids) if i != target)
        if theirs == State.NONE:
            return alone and sum(self.claimed[one] for one in ids) + self.rules.lots > self.setting.capacity
        return alone or theirs == State.DEAD

    def describe(self, state: int) -> str:
        """A state in words, for people."""
        parts = []
        for i, one in enumerate(self.split(state)):
            order = self.orders[one]
            words = [self.state[one].name.lower(), "venue " + order.book.name.lower()]
            if order.matched:
                words.append(f"traded {order.matched}, told {order.legs.bit_count()}")
            words += [str(wire.name).lower().replace("_", " ") + " under way" for wire in order.wire]
            parts.append(f"{'ABC'[i]}: " + ", ".join(words))
        return " | ".join(parts)

    def step_to(self, state: int, after: int) -> str:
        """The text of a step that leads from one state to another."""
        ids = self.split(state)
        for text, new, _calm in self.shared(state, ids):
            if new == after:
                return text
        for i, bits in enumerate(self.around(state, ids)):
            around = Around(*(bool(bits >> n & 1) for n in range(7)))
            for move in self.rules.moves(self.orders[ids[i]], around):
                new = state + ((self.number(move.order) - ids[i]) << self.shifts[i]) + COSTS[move.cost]
                if new == after:
                    who, what = move.text.split(": ", 1)
                    return f"{who} ({'ABC'[i]}): {what}"
        raise ValueError("no step leads from the one state to the other")


def explore(
    setting: Setting, until: Sequence[str] = (), progress: Callable[[int, int], None] = lambda n, depth: None
) -> Outcome:
    """Searches all states of a setting, breadth first.

    Parameters
    ----------
    setting : Setting
    until : names of obligations
        The search ends when all of them have been seen broken; empty: it goes on to the end, and then looks
        for states from which rest cannot be reached.
    progress : called with the number of states and the depth, every 50 000 states.
    """
    began = time.monotonic()
    world, outcome = World(setting), Outcome(setting.name)
    seen = {world.start: 0}
    states, parents = array("Q", [world.start]), array("I", [0])
    offsets, targets = array("Q", [0]), array("I")  # calm steps, for the way to rest
    rests = array("B")
    left = set(until) or {LIMIT, *World.FLAGS}
    level_end, at = 1, 0
    flags, true, table, shifts = world.flags, world.true, world.table, world.shifts
    capacity, mask = setting.capacity, (1 << ID_BITS) - 1

    def trace(index: int) -> list[str]:
        path = [index]
        while path[-1]:
            path.append(parents[path[-1]])
        path.reverse()
        return [
            f"{world.step_to(states[a], states[b])}\n      {world.describe(states[b])}"
            for a, b in pairwise(path)
        ]

    while at < len(states):
        if at == level_end:
            outcome.depth += 1
            level_end = len(states)
        if at % 50_000 == 0:
            progress(at, outcome.depth)
        state = states[at]
        ids = [(state >> shift) & mask for shift in shifts]
        broken = 0
        for one in ids:
            broken |= flags[one]
        wrong = [name for n, name in enumerate(World.FLAGS) if broken >> n & 1] if broken else []
        if sum([true[one] for one in ids]) > capacity:
            wrong.append(LIMIT)
        for name in wrong:
            if name in left:
                left.discard(name)
                outcome.violations.append(Violation(name, trace(at)))
        if until and not left:
            break
        found: list[tuple[int, bool]] = []
        for i, bits in enumerate(world.around(state, ids)):
            moves = table.get((ids[i], bits))
            if moves is None:
                moves = table[ids[i], bits] = world.moves(ids[i], bits)
            shift, base = shifts[i], state - (ids[i] << shifts[i])
            found += [(base + (number << shift) + change, calm) for number, change, calm in moves]
        found += [(after, calm) for _text, after, calm in world.shared(state, ids)]
        outcome.steps += len(found)
        for after, calm in found:
            index = seen.get(after)
            if index is None:
                index = seen[after] = len(states)
                states.append(after)
                parents.append(at)
            if calm:
                targets.append(index)
        offsets.append(len(targets))
        rests.append(world.at_rest(state, ids))
        at += 1
    outcome.states = len(states)
    if at == len(states):
        stuck = ways_to_rest(outcome, np.array(offsets), np.array(targets), np.array(rests))
        if stuck >= 0:
            outcome.violations.append(Violation(STUCK, trace(stuck)))
    outcome.seconds = time.monotonic() - began
    return outcome


def ways_to_rest(
    outcome: Outcome,
    offsets: npt.NDArray[np.int64],
    targets: npt.NDArray[np.int64],
    rests: npt.NDArray[np.int64],
) -> int:
    """Fills in how far rest is; the first state from which it cannot be reached, −1 if there is none."""
    far = np.iinfo(np.int32).max - 1
    distance = np.where(rests, 0, far).astype(np.int32)
    has_steps = offsets[1:] > offsets[:-1]
    starts = offsets[:-1][has_steps].astype(np.int64)
    while True:
        nearest = np.minimum.reduceat(distance[targets], starts) + 1
        new = distance.copy()
        new[has_steps] = np.minimum(new[has_steps], nearest)
        if (new == distance).all():
            break
        distance = new
    outcome.rests = int(rests.sum())
    outcome.rest_steps = int(distance[distance < far].max(initial=0))
    return int(np.argmax(distance >= far)) if (distance >= far).any() else -1
