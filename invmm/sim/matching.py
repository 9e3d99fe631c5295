"""Matching of own orders against a tape's flow: an overlay beside the recorded book, never in it.

Everything is said in terms of the Up book, because there is one logical book per market:
BUY Up at p and SELL Down at 1−p wait in one queue, a bid at p; SELL Up at p and BUY Down at 1−p wait in one
queue, an ask at p.

When a resting bid of ours at p fills (asks: mirror image). "Batch" = all frames of one venue timestamp, one
atomic change.

| # | what the batch shows                                            | fills                                |
|---|-----------------------------------------------------------------|--------------------------------------|
| 1 | a trade printed at p that hit the bid side                      | what is left of its volume after the |
|   |                                                                 | shares ahead and earlier own orders  |
| 2 | a trade printed strictly below p                                | in full                              |
| 3 | the best ask is at or below p                                   | in full (but see 5)                  |
| 4 | sweep: the best bid ended below p and below where it began,     | in full                              |
|   | and the batch has trade evidence (a `book` frame, a print, or   |                                      |
|   | it is derived from two books), which is either no print or one  |                                      |
|   | that hit the bid side (at or below p if p was behind the best)  |                                      |
|   | the same, but every print hit the ask side: it was cancelled    | nothing                              |
| 5 | the ask at or below p is a level from which we took ourselves   | only what was added to it since      |
| 6 | the level decreased otherwise                                   | nothing; the queue model decides how |
|   |                                                                 | many shares are still ahead          |

A print that comes after the `book` frames of its trade (33-39 ms on the captured feed) belongs to the moment
of those frames: it explains the decrease that they showed, and does not reach orders that arrived in between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from invmm.replay.queue_models import QueueModel
from invmm.sim.batches import Batch, Print
from invmm.sim.orders import Level, Order
from invmm.sim.profile import SECOND, VenueProfile
from invmm.types import Side


class PublicBook(Protocol):
    """What matching reads of a displayed book."""

    def best_bid(self) -> tuple[int, int] | None: ...
    def best_ask(self) -> tuple[int, int] | None: ...
    def size(self, side: int, price_e4: int) -> int: ...
    def depth(self, side: int, levels: int) -> Any: ...


class PublicBooks(Protocol):
    """Both displayed books of a market; the two are mirrors, so matching reads Up only."""

    @property
    def up(self) -> PublicBook: ...
    def apply_frame(self, data: memoryview | bytes, now_ns: int) -> int: ...


class Overlay:
    """Own resting orders in their queues, beside the displayed book that `book` keeps.

    `before` and `apply` frame every batch that is applied to the book. Fills go out through `fill(parts,
    up_price_e4)`, which must take the filled orders out again with `remove`.
    """

    def __init__(
        self,
        book: PublicBook,
        profile: VenueProfile,
        model: QueueModel,
        fill: Callable[[list[tuple[Order, int]], int], None],
    ) -> None:
        self.book = book
        self.levels: dict[tuple[Side, int], Level] = {}
        self.now_ns = 0
        self._profile = profile
        self._model = model
        self._fill = fill
        self._best: dict[Side, int | None] = {Side.BUY: None, Side.SELL: None}
        self._taken: dict[tuple[Side, int], int] = {}  # displayed shares that we took, until restated
        self._spent: dict[
            tuple[Side, int], int
        ] = {}  # levels we took from: displayed size that is not new to us
        self._book_batches: deque[tuple[int, dict[Side, tuple[int | None, int | None]]]] = deque(maxlen=16)

    def reach(self, order: Order) -> list[tuple[int, int, Level | None]]:
        """Opposite levels within an order's limit, best first: (price, displayed shares not yet taken, own
        queue).
        """
        opposite = Side(1 - order.up_side)
        sign = 1 if opposite == Side.SELL else -1
        public: dict[int, int] = {}
        limit = order.up_price_e4
        levels = 8
        while True:
            rows = self.book.depth(opposite, levels)
            if len(rows) < levels or (int(rows[-1]["price_e4"]) - limit) * sign > 0:
                break
            levels *= 4
        for row in rows:
            price = int(row["price_e4"])
            if (price - limit) * sign <= 0:
                public[price] = max(0, int(row["size_micro"]) - self._taken.get((opposite, price), 0))
        prices = set(public)
        for side, price in self.levels:
            if side == opposite and (price - limit) * sign <= 0:
                prices.add(price)
        return [
            (price, public.get(price, 0), self.levels.get((opposite, price)))
            for price in sorted(prices, reverse=sign < 0)
            if public.get(price, 0) > 0 or (opposite, price) in self.levels
        ]

    def would_match(self, order: Order) -> bool:
        """Whether anything displayed and not yet taken, or an own order, is within the order's limit."""
        opposite = Side(1 - order.up_side)
        best = self.book.best_ask() if opposite == Side.SELL else self.book.best_bid()
        sign = 1 if opposite == Side.SELL else -1
        near = best is not None and (best[0] - order.up_price_e4) * sign <= 0
        near = near or any(s == opposite and (p - order.up_price_e4) * sign <= 0 for s, p in self.levels)
        return near and bool(self.reach(order))

    def take(self, side: Side, price_e4: int, taken_micro: int) -> None:
        """We took displayed shares of a level: they are gone until a message restates the level."""
        at = (side, price_e4)
        self._taken[at] = self._taken.get(at, 0) + taken_micro
        self._spent[at] = self.book.size(side, price_e4)
        level = self.levels.get(at)
        for resting in level.orders if level is not None else ():
            resting.ahead_micro = max(0, resting.ahead_micro - taken_micro)

    def rest(self, order: Order, now_ns: int) -> None:
        """The order joins the back of its queue."""
        self.now_ns = now_ns
        at = (order.up_side, order.up_price_e4)
        level = self.levels.get(at)
        if level is None:
            if not self.levels:
                self._read_best()
            level = self.levels[at] = Level(*at, self.book.size(*at))
        displayed = level.size_micro - self._taken.get(at, 0)
        order.ahead_micro = order.ceiling_micro = max(0, displayed)
        if level.pending_micro:  # keeps its place behind a decrease whose print may still come
            order.ahead_micro += level.pending_micro
        order.rested_ns = self.now_ns
        level.orders.append(order)
        self._remember(level, order)

    def remove(self, order: Order) -> None:
        """The order leaves its queue, filled or canceled."""
        at = (order.up_side, order.up_price_e4)
        level = self.levels.get(at)
        if level is not None and order in level.orders:
            level.orders.remove(order)
            if not level.orders:
                del self.levels[at]

    def ahead_micro(self, order: Order) -> int | None:
        """Shares ahead of a resting order now; None if it does not rest."""
        level = self.levels.get((order.up_side, order.up_price_e4))
        return level.shown_ahead(order) if level is not None and order in level.orders else None

    def _remember(self, level: Level, order: Order) -> None:
        if self._profile.record_truth:
            ahead = level.shown_ahead(order)
            if not order.truth or order.truth[-1][1] != ahead:
                order.truth.append((self.now_ns, ahead))

    def _read_best(self) -> None:
        bid, ask = self.book.best_bid(), self.book.best_ask()
        self._best[Side.BUY] = None if bid is None else bid[0]
        self._best[Side.SELL] = None if ask is None else ask[0]

    @property
    def is_watching(self) -> bool:
        """Whether a batch can matter: own orders rest, or displayed shares were taken."""
        return bool(self.levels or self._taken or self._spent)

    @property
    def has_taken(self) -> bool:
        """Whether restated levels have to be told to `apply`."""
        return bool(self._taken)

    def still_levels(self) -> list[tuple[int, int, int]] | None:
        """Own levels (side, price, displayed shares), if nothing but a change of theirs, of a best price or a
        trade can matter to them; None otherwise.
        """
        if self._taken or self._spent:
            return None
        found = []
        for level in self.levels.values():
            if level.pending_micro or level.printed_micro:
                return None
            found.append((int(level.side), level.price_e4, level.size_micro))
        return found

    def best_known(self) -> tuple[int, int]:
        """Best bid and ask of Up when the levels were looked at last; -1 for none."""
        bid, ask = self._best[Side.BUY], self._best[Side.SELL]
        return -1 if bid is None else bid, -1 if ask is None else ask

    def before(self, batch: Batch) -> None:
        """Called before a batch's frames are applied to the book."""
        self.now_ns = batch.time_ns
        if batch.has_book and not batch.is_derived:
            self._read_best()

    def glimpse(self, batch: Batch) -> None:
        """The book within a batch: levels may lose shares to a trade and gain others at the same moment."""
        size_of = self.book.size
        for level in self.levels.values():
            if not self._is_still(level, size_of(level.side, level.price_e4)):
                self._level_moved(level, batch)

    def apply(self, batch: Batch, restated: Sequence[tuple[Side, int]] = ()) -> None:
        """Called after a batch's frames were applied; `restated` are the levels that its messages named (Up
        terms).
        """
        for at in restated:
            self._taken.pop(at, None)
        for at in [at for at in self._spent if self.book.size(*at) == 0]:
            del self._spent[at]
        if not self.levels:
            self._note_book_batch(batch)
            return
        began = dict(self._best)
        for told in batch.prints:
            self._print(told, batch)
        self._note_book_batch(batch)
        self._read_best()
        size_of = self.book.size
        for level in list(self.levels.values()):
            if not self._is_still(level, size_of(level.side, level.price_e4)):
                self._level_moved(level, batch)
        if self.levels and (self._spent or batch.has_trade_evidence or self._best != began):
            self._reached_by_opposite()
        if self.levels and batch.has_trade_evidence:
            for level in list(self.levels.values()):
                if self._was_swept(level, batch, began):
                    self._fill_in_full(level)

    def _note_book_batch(self, batch: Batch) -> None:
        """Remembers which prices a live `book` batch may have traded at, for the print that follows it."""
        if batch.has_book and not batch.is_derived:
            began = dict(self._best)
            self._read_best()
            self._book_batches.append((batch.time_ns, {s: (began[s], self._best[s]) for s in Side}))

    def _trade_time(self, told: Print, batch: Batch) -> int:
        """When the printed trade happened: at the oldest recent `book` batch that could show it, or in this
        batch.
        """
        if batch.has_book or batch.is_derived:
            return batch.time_ns
        for index, (time_ns, bests) in enumerate(self._book_batches):
            if batch.time_ns - time_ns > self._profile.late_print_ns:
                continue
            began, ended = bests[told.side]
            sign = 1 if told.side == Side.BUY else -1
            if (
                began is not None
                and (began - told.price_e4) * sign >= 0
                and (ended is None or (told.price_e4 - ended) * sign >= 0)
            ):
                del self._book_batches[index]
                return time_ns
        return batch.time_ns

    def _print(self, told: Print, batch: Batch) -> None:
        """Rules 1 and 2."""
        happened_ns = self._trade_time(told, batch)
        volume = told.size_micro
        for level in self._best_first(told.side) + self._best_first(Side(1 - told.side)):
            sign = 1 if level.side == Side.BUY else -1
            beyond = (level.price_e4 - told.price_e4) * sign
            if beyond > 0:
                volume -= min(volume, self._fill_in_full(level, happened_ns))
            elif beyond == 0 and level.side == told.side:
                self._traded_at(level, volume, happened_ns, batch.time_ns)

    def _traded_at(self, level: Level, volume: int, happened_ns: int, now_ns: int) -> None:
        is_late = happened_ns < now_ns
        explained = min(volume, level.pending_micro)
        level.pending_micro -= explained
        used = 0
        for order in list(level.orders):
            if is_late and order.rested_ns >= happened_ns:
                # It stood behind the decrease that this print explains; `ahead` carried that decrease along.
                order.ahead_micro = max(0, order.ahead_micro - explained)
                continue
            passing = volume - order.ahead_micro - used
            order.ahead_micro = max(0, order.ahead_micro - volume)
            if passing > 0:
                size = min(order.left_micro, passing)
                used += size
                self._fill([(order, size)], level.price_e4)
        if not is_late:
            level.printed_micro += volume - explained
            level.printed_ns = now_ns

    @staticmethod
    def _is_still(level: Level, size_micro: int) -> bool:
        """Whether a level that shows so many shares is as it was, with nothing left to be explained."""
        return size_micro == level.size_micro and not level.pending_micro and not level.printed_micro

    def _level_moved(self, level: Level, batch: Batch) -> None:
        """Rule 6: what a level lost without a trade is a cancellation, apportioned by the queue model."""
        now_ns = batch.time_ns
        if level.pending_micro and now_ns - level.pending_ns > self._profile.late_print_ns:
            self._cancelled(level, level.size_micro + level.pending_micro, level.pending_micro)
            level.pending_micro = 0
        if level.printed_micro and now_ns - level.printed_ns > SECOND:
            level.printed_micro = 0
        new = self.book.size(level.side, level.price_e4)
        lost = level.size_micro - new
        if lost > 0:
            explained = min(lost, level.printed_micro)
            level.printed_micro -= explained
            rest = lost - explained
            if rest and batch.has_book and not batch.is_derived:
                level.pending_micro += rest
                level.pending_ns = now_ns
            elif rest:
                self._cancelled(level, level.size_micro - explained, rest)
        level.size_micro = new
        if batch.is_derived:
            level.printed_micro = 0  # prints and decreases of one interval come in one batch
        for order in level.orders:
            order.ceiling_micro = min(order.ceiling_micro, new)
            if not level.pending_micro:
                order.ahead_micro = min(order.ahead_micro, order.ceiling_micro)
            self._remember(level, order)

    def _cancelled(self, level: Level, total: int, cancelled: int) -> None:
        for order in level.orders:
            ahead = min(order.ahead_micro, total)
            order.ahead_micro = self._model.after_cancel(ahead, total - ahead, cancelled)

    def _reached_by_opposite(self) -> None:
        """Rules 3 and 5."""
        for side in Side:
            opposite = Side(1 - side)
            best = self._best[opposite]
            sign = 1 if side == Side.BUY else -1
            if best is None:
                continue
            reached = [level for level in self._best_first(side) if (level.price_e4 - best) * sign >= 0]
            if not reached:
                continue
            limit = reached[0].price_e4
            prices = [int(row["price_e4"]) for row in self.book.depth(opposite, 16)]
            for price in (p for p in prices if (limit - p) * sign >= 0):
                at = (opposite, price)
                level_now = [level for level in reached if (level.price_e4 - price) * sign >= 0]
                if at not in self._spent:
                    for level in level_now:
                        self._fill_in_full(level)
                    continue
                size = self.book.size(*at)
                fresh, self._spent[at] = size - self._spent[at], size
                for level in level_now:
                    for order in list(level.orders):
                        part = min(fresh, order.left_micro)
                        if part > 0:
                            fresh -= part
                            self._taken[at] = self._taken.get(at, 0) + part
                            self._fill([(order, part)], level.price_e4)

    def _was_swept(self, level: Level, batch: Batch, began: dict[Side, int | None]) -> bool:
        """Rule 4."""
        first, last = began[level.side], self._best[level.side]
        if first is None:
            return False
        sign = 1 if level.side == Side.BUY else -1
        edge = min(level.price_e4 * sign, first * sign)
        if last is not None and last * sign >= edge:
            return False
        same = [told.price_e4 for told in batch.prints if told.side == level.side]
        if same:
            at_best = (level.price_e4 - first) * sign >= 0
            return at_best or any((price - level.price_e4) * sign <= 0 for price in same)
        return not batch.prints

    def _best_first(self, side: Side) -> list[Level]:
        found = [level for (s, _), level in self.levels.items() if s == side]
        return sorted(found, key=lambda level: level.price_e4, reverse=side == Side.BUY)

    def _fill_in_full(self, level: Level, before_ns: int | None = None) -> int:
        filled = 0
        for order in list(level.orders):
            if before_ns is None or order.rested_ns < before_ns or before_ns >= self.now_ns:
                filled += order.left_micro
                self._fill([(order, order.left_micro)], level.price_e4)
        return filled
