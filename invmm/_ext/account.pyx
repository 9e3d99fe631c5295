"""Limits over all markets of one account, asked last before a placement is handed over.

A market reports what it has committed after each of its steps (`commit_c`); in between, each placement that
is admitted counts at once. Cash is in 1e-10 dollars (price_e4 × size_micro). Orders, positions, provisional
fills and the pairs of closed markets count until proof that they are gone; what is unknown counts as used.

    committed of all markets + parked                  ≤ max_total
    bids, unsettled buys, what was settled since then  ≤ cash that the venue last told − reserve
    possibly-live orders of all markets                ≤ max_orders
    placements in any 60 s                             ≤ per_minute: the times of so many are kept
"""

import struct

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free

from invmm import types
from invmm._ext.journal cimport KIND_ACCOUNT
from invmm._ext.records cimport BUY

cdef enum:
    R_TOTAL_CASH = 63           # Reason
    R_TOTAL_ORDERS = 64
    R_MINUTE_RATE = 65
    R_RESERVE = 68

cdef int64_t MINUTE_NS = 60_000_000_000


@cython.final
cdef class Account:
    """What all markets together may do.

    Parameters
    ----------
    max_total_e10, reserve_e10 : int
        Cash committed at most; cash that is never committed. 1e-10 dollars.
    max_orders : int
        Possibly-live orders at most.
    per_minute : int
        Placements in any minute at most, 1 to 1 000 000.
    markets : int
        Their numbers are below it.

    Examples
    --------
    >>> account = Account(10 * 10**10, 0, 2, 100)
    >>> account.admit(0, 0, 6 * 10**10, 0), account.admit(1, 0, 6 * 10**10, 0)
    (<Reason.NONE: 0>, <Reason.TOTAL_CASH: 63>)
    """

    def __cinit__(
        self,
        int64_t max_total_e10,
        int64_t reserve_e10,
        int64_t max_orders,
        int64_t per_minute,
        uint32_t markets=65_536,
    ):
        if max_total_e10 < 0 or reserve_e10 < 0 or max_orders < 0 or not 0 < per_minute <= 1_000_000:
            raise ValueError(
                f"account: expected limits of at least 0 and 1 to 1000000 placements a minute, got "
                f"{max_total_e10}, {reserve_e10}, {max_orders}, {per_minute}"
            )
        self.max_total_e10 = max_total_e10
        self.reserve_e10 = reserve_e10
        self.max_orders = max_orders
        self.per_minute = per_minute
        self.cash_e10 = -1
        self.markets = markets
        self.shares = <share_t*>calloc(max(markets, 1), sizeof(share_t))
        self.times_ns = <int64_t*>calloc(per_minute, sizeof(int64_t))
        if self.shares == NULL or self.times_ns == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.shares)
        free(self.times_ns)

    def admit(self, uint32_t market, int side, int64_t cash_e10, int64_t now_ns):
        """The Reason why a placement may not be made. If it is NONE the placement counts from now on.

        `cash_e10`: what a bid may cost, fee included; `now_ns`: engine time.
        """
        return types.Reason(self.admit_c(market, side, cash_e10, now_ns))

    def commit(self, uint32_t market, int64_t committed_e10, int64_t open_e10, int64_t orders):
        """What a market has committed by now; replaces all it had."""
        self._known(market)
        self.commit_c(market, committed_e10, open_e10, orders)

    def park(self, uint32_t market):
        """A market is closed: what it has committed stays so, its number is free. How much that is."""
        cdef int64_t left_e10

        self._known(market)
        left_e10 = max(self.shares[market].committed_e10, 0)
        self.commit_c(market, 0, 0, 0)
        self.shares[market].stop = 0
        self.parked_e10 += left_e10
        self._told("park", market)
        return left_e10

    def park_e10(self, int64_t amount_e10):
        """So much was parked by a process before this one."""
        self.parked_e10 += amount_e10
        self._told("park_e10", amount_e10)

    def release(self, int64_t amount_e10):
        """So much of what was parked is dollars again, or gone."""
        self.parked_e10 = max(self.parked_e10 - amount_e10, 0)
        self._told("release", amount_e10)

    def set_cash(self, int64_t cash_e10, int64_t settled_e10):
        """The collateral that the venue told, and what was settled (`figures`) when it was asked."""
        self.cash_e10 = max(cash_e10, 0)
        self.settled_then_e10 = settled_e10
        self._told("set_cash", cash_e10, settled_e10)

    def bar(self, uint32_t market, reason):
        """Nothing is placed in a market any more, for this Reason; NONE lifts it."""
        self._known(market)
        self.shares[market].stop = types.Reason(reason)
        self._told("bar", market, reason)

    def bar_all(self, reason):
        """Nothing is placed at all, for this Reason; NONE lifts it."""
        self.stop = types.Reason(reason)
        self._told("bar_all", reason)

    def _told(self, name, first, second=0):
        """Journals a call that no step makes, so that a session can be run again."""
        if self.journal is not None:
            self.journal.append(KIND_ACCOUNT, struct.pack("<16sqq", name.encode(), first, second))

    def recent(self):
        """Placements of the last minute, as far as they are kept: (unix second, how many), oldest first."""
        cdef:
            int64_t i, second, count = 0, last = -1
            int64_t first = max(self.placed - self.per_minute, 0)
            int64_t newest_ns = self.times_ns[(self.placed - 1) % self.per_minute] if self.placed else 0
            list told = []

        for i in range(first, self.placed):
            if newest_ns - self.times_ns[i % self.per_minute] >= MINUTE_NS:
                continue
            second = self.times_ns[i % self.per_minute] // 1_000_000_000
            if count and second != last:
                told.append((last, count))
                count = 0
            last = second
            count += 1
        return told + [(last, count)] if count else told

    def remember(self, times_ns):
        """Placements made before this object existed, oldest first."""
        for time_ns in times_ns:
            self.times_ns[self.placed % self.per_minute] = time_ns
            self.placed += 1

    def figures(self):
        """What is used, 1e-10 dollars and orders; `cash` is None while the venue has not told it."""
        return {
            "committed_e10": self.committed_e10 + self.parked_e10,
            "open_e10": self.open_e10,
            "settled_e10": self.settled_c(),
            "parked_e10": self.parked_e10,
            "orders": self.orders,
            "placed": self.placed,
            "cash_e10": None if self.cash_e10 < 0 else self.cash_e10,
        }

    def refusals(self):
        """How often a placement was refused here, by name of the Reason."""
        return {types.Reason(i).name: self.refused[i] for i in range(ACCOUNT_REASONS) if self.refused[i]}

    def _known(self, uint32_t market):
        if market >= self.markets:
            raise IndexError(f"market: expected below {self.markets}, got {market}")

    cdef uint8_t admit_c(
        self, uint32_t market, int side, int64_t cash_e10, int64_t now_ns
    ) noexcept nogil:
        cdef uint8_t reason = self.why_not_c(market, side, cash_e10, now_ns)

        if reason:
            self.refused[reason & (ACCOUNT_REASONS - 1)] += 1
            return reason
        self.times_ns[self.placed % self.per_minute] = now_ns
        self.placed += 1
        if side != BUY:
            cash_e10 = 0
        self.commit_c(
            market,
            self.shares[market].committed_e10 + cash_e10,
            self.shares[market].open_e10 + cash_e10,
            self.shares[market].orders + 1,
        )
        return 0

    cdef uint8_t why_not_c(
        self, uint32_t market, int side, int64_t cash_e10, int64_t now_ns
    ) noexcept nogil:
        cdef int64_t used_e10

        if market >= self.markets:
            return R_TOTAL_ORDERS
        if self.stop:
            return self.stop
        if self.shares[market].stop:
            return self.shares[market].stop
        if self.orders + 1 > self.max_orders:
            return R_TOTAL_ORDERS
        if (
            self.placed >= self.per_minute
            and now_ns - self.times_ns[self.placed % self.per_minute] < MINUTE_NS
        ):
            return R_MINUTE_RATE
        if side != BUY:
            return 0
        if self.committed_e10 + self.parked_e10 + cash_e10 > self.max_total_e10:
            return R_TOTAL_CASH
        if self.cash_e10 >= 0:
            used_e10 = self.open_e10 + max(self.settled_c() - self.settled_then_e10, 0)
            if used_e10 + cash_e10 > self.cash_e10 - self.reserve_e10:
                return R_RESERVE
        return 0

    cdef void commit_c(
        self, uint32_t market, int64_t committed_e10, int64_t open_e10, int64_t orders
    ) noexcept nogil:
        cdef share_t* share

        if market >= self.markets:
            return
        share = &self.shares[market]
        # A market that has made more than it has spent gives no room to the others.
        committed_e10 = max(committed_e10, open_e10)
        self.committed_e10 += committed_e10 - share.committed_e10
        self.open_e10 += open_e10 - share.open_e10
        self.orders += orders - share.orders
        share.committed_e10 = committed_e10
        share.open_e10 = open_e10
        share.orders = orders

    cdef int64_t settled_c(self) noexcept nogil:
        """Cash that the venue has moved into positions, as far as is known."""
        return self.committed_e10 - self.open_e10 + self.parked_e10
