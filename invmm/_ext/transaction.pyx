"""The replace transaction: one target of a market is put into effect, or taken back.

The venue has no replace: two messages cannot become visible together, and a fill may fall between them. The
transaction promises instead that every limit holds whichever messages take effect in whatever order, and that
it ends with every new order proven (COMMITTED) or proven dead (REVERTED).

    target ─ VALIDATE ─ PREPARE ─ APPLY ─ RESOLVE ─┬─▶ COMMIT       the old orders' ends are awaited
              merge      sums      sent    evidence └─▶ COMPENSATE   what was added is cancelled, too

One transaction is open at a time, from the first message until each placement is proven or given up. What is
left then can only shrink what is alive, and holds nothing up. While one is open, a newer target may only
remove: placements that wait and that it does not want are dropped, and it is solved again when the way is
free, so that the newest one wins.

    the market has passed the old price     cancel; place when its end is proven
    old and new fit together                place; cancel when the new one is acknowledged
    otherwise                               cancel; place when its end is proven
    larger at the same price                place the difference
    the venue takes cancels only, or none   cancel; solve again when it takes orders

Compensation never places. After one, a growing pause keeps a venue that refuses from being stormed. Pure:
times come with the events, nothing is allocated.
"""

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memset

from invmm._ext.desk cimport LEGS_PER_BATCH, MAX_REASONS, OrderDesk
from invmm._ext.evidence cimport DUST_MICRO, ORDER_LIVE, ORDER_UNKNOWN, order_t
from invmm._ext.exposure cimport (
    exposure_begin_c, exposure_exceeds_c, exposure_of_c, exposure_order_c, exposure_owed_c, exposure_t
)
from invmm._ext.ending cimport endings_await_c, endings_close_c, endings_drain_c
from invmm._ext.merge cimport (
    BASE_NONE, MERGE_CANCEL, MERGE_CHILD, MERGE_KEEP, MERGE_NOTHING, MERGE_PLACE, MERGE_REFRESH,
    MERGE_REPLACE, base_moved_c, base_of_c, merge_c, order_expiring_c, slot_now_c,
    slot_passed_c, slot_t, slots_of_c,
)
from invmm._ext.records cimport (
    BUY, DOWN, R_BASE_MOVED, R_CHILDREN, R_COMPENSATED, R_COOL_DOWN, R_EXPIRING, R_NOT_WANTED,
    R_VENUE_MODE, UP,
)
from invmm._ext.solver cimport ACTION_QUOTE, action_t, policy_output_t

cdef int64_t SECOND_NS = 1000000000
cdef int64_t MILLISECOND_NS = 1000000
cdef tuple PHASES = ("idle", "apply", "resolve")

cdef enum:
    LOT_MICRO = 10000           # sizes have two decimals
    RESOLVE_S = 5               # a placement that is not proven by then is given up


cdef class ReplaceDesk(OrderDesk):
    """The desk of one market with its open transaction; base of `MarketStep`."""

    cdef void target_c(self, const policy_output_t* wanted, int64_t now_ns) noexcept nogil:
        """Takes the newest target: begins a transaction, or lets it wait behind the open one."""
        cdef int n = slots_of_c(&self.slots[0], wanted, self.registry)

        if self.phase != PHASE_IDLE:
            self.supersede_c(n, now_ns)
        if self.phase == PHASE_IDLE:
            self.begin_c(n, now_ns)

    cdef void begin_c(self, int n, int64_t now_ns) noexcept nogil:
        """VALIDATE, PREPARE and APPLY: merges the slots and sends what may go at once."""
        cdef:
            exposure_t sums
            int i
            int k
            int token
            int lighter = self.registry.position_micro[UP] > self.registry.position_micro[DOWN]
            uint8_t merged
            uint8_t now
            uint8_t forbidden = 0
            bint within
            bint adds = False
            order_t* order
            slot_t* slot
            op_t* op

        exposure_of_c(&sums, self.registry)
        within = exposure_exceeds_c(&sums, &self.bounds) == 0
        self.n_ops = 0
        for i in range(n):
            slot = &self.slots[i]
            order = self.registry.find_c(slot.key) if slot.key else NULL
            now = BASE_NONE if order == NULL else slot.base
            merged = merge_c(
                slot.base, now, slot.price_e4 == slot.base_price_e4,
                order != NULL and order_expiring_c(order, self.registry.fence.early_ns, now_ns),
                self.registry.remaining_c(order) if order != NULL else 0,
                slot.size_micro, 0, self.books.min_size_micro, True, within,
            )
            if merged == MERGE_KEEP:
                self.replaced.kept += 1
            if merged == MERGE_KEEP or merged == MERGE_NOTHING:
                continue
            op = &self.ops[self.n_ops]
            self.n_ops += 1
            op.slot = slot[0]
            op.new_key = 0
            op.state = OP_HELD
            op.merged = merged
            op.cancel_first = merged == MERGE_REPLACE and (
                slot.price_e4 == slot.base_price_e4 or slot_passed_c(slot, &self.view.top[slot.token])
            )
            if order != NULL and merged != MERGE_CHILD:
                order.replaced = True
            if merged == MERGE_CHILD:
                op.slot.size_micro -= self.registry.remaining_c(order)
            elif merged == MERGE_REFRESH:
                op.slot.reason = R_EXPIRING
            # What is left of a filled order is no whole number of lots; the venue takes nothing else.
            op.slot.size_micro -= op.slot.size_micro % LOT_MICRO
            adds = adds or merged != MERGE_CANCEL
        if self.n_ops == 0:
            return
        if adds:
            forbidden = R_COOL_DOWN if now_ns < self.pause_until_ns else self.venue_refuses_c(now_ns)
            if forbidden:
                self.reasons[forbidden & (MAX_REASONS - 1)] += 1
                self.why_not[UP] = self.why_not[DOWN] = forbidden
                self.replaced.discarded += 1
                self.newer = True
        self.transaction += 1
        self.phase = PHASE_APPLY
        self.messages = 0
        self.resolve_ns = now_ns + RESOLVE_S * SECOND_NS
        base_of_c(
            &self.base, self.registry, self.books, self.version, now_ns + self.limits.command_deadline_ns
        )
        # An old order that a new one would match must be gone before it.
        for i in range(self.n_ops):
            op = &self.ops[i]
            if op.merged == MERGE_REPLACE and op.slot.side == BUY and not op.cancel_first:
                for k in range(self.n_ops):
                    if (
                        self.ops[k].slot.size_micro and self.ops[k].slot.side == BUY
                        and self.ops[k].slot.token != op.slot.token
                        and self.ops[k].slot.price_e4 + op.slot.base_price_e4 >= 10000
                    ):
                        op.cancel_first = True
        for i in range(self.n_ops):
            op = &self.ops[i]
            if (
                op.merged == MERGE_CANCEL or op.cancel_first
                or (forbidden == R_VENUE_MODE and op.merged == MERGE_REPLACE)
            ):
                self.end_old_c(op, now_ns)
            if op.merged == MERGE_CANCEL or forbidden:
                op.state = OP_DONE
        # The change that lowers the larger imbalance goes first.
        self.batch += 1
        self.legs = 0
        for token in range(2):
            for i in range(self.n_ops):
                op = &self.ops[i]
                if op.state == OP_HELD and op.slot.token == (lighter if token == 0 else 1 - lighter):
                    if not op.cancel_first:
                        self.try_c(op, &sums, False, now_ns)
        self.advance_c(0, now_ns)
        if self.phase == PHASE_APPLY:
            self.phase = PHASE_RESOLVE

    cdef bint try_c(self, op_t* op, exposure_t* sums, bint last, int64_t now_ns) noexcept nogil:
        """Places an operation's order if it is allowed now. Refuses it if it is not, and nothing still to
        be removed (`last`: nothing is) could change that."""
        cdef:
            action_t action
            exposure_t after
            uint8_t refused
            bint same_price = op.merged == MERGE_CHILD or op.merged == MERGE_REFRESH
            order_t* order
            int i
            int k

        memset(&action, 0, sizeof(action))
        action.kind = op.slot.kind
        action.token, action.side, action.level = op.slot.token, op.slot.side, op.slot.level
        action.reason = 1 if op.merged == MERGE_REFRESH else op.slot.reason
        action.price_e4, action.size_micro = op.slot.price_e4, op.slot.size_micro
        if self.messages >= self.limits.max_children:
            self.drop_c(op, R_CHILDREN)
            self.end_old_c(op, now_ns)
            return False
        if self.legs == LEGS_PER_BATCH:
            self.batch += 1
            self.legs = 0
        order = self.place_c(&action, sums, same_price, now_ns, &refused)
        if order != NULL:
            self.messages += 1
            self.legs += 1
            op.state = OP_PLACED
            op.new_key = order.key
            if op.merged == MERGE_CHILD:
                self.replaced.children += 1
            elif op.merged == MERGE_REFRESH:
                self.replaced.refreshed += 1
            if op.merged == MERGE_REPLACE:
                if op.cancel_first:
                    self.replaced.cancelled_first += 1
                else:
                    self.replaced.placed_first += 1
            return True
        if self.sound_c(&action, now_ns) == 0 and not last:
            # Would it fit without what this transaction removes (its own old order, or all of them)?
            exposure_begin_c(&after, self.registry, False)
            for i in range(self.registry.n_live):
                if self.registry.live[i].key != op.slot.key:
                    exposure_order_c(&after, self.registry, &self.registry.live[i])
            # (A child stands beside its parent, which nobody removes.)
            if op.slot.key and op.merged != MERGE_CHILD and self.fits_c(&action, &after, same_price) == 0:
                op.cancel_first = True
                self.end_old_c(op, now_ns)
                return False
            exposure_begin_c(&after, self.registry, False)
            for i in range(self.registry.n_live):
                for k in range(self.n_ops):
                    if (
                        self.ops[k].slot.key == self.registry.live[i].key
                        and self.ops[k].merged != MERGE_CHILD
                    ):
                        break
                else:
                    exposure_order_c(&after, self.registry, &self.registry.live[i])
            if self.fits_c(&action, &after, True) == 0:
                return False
        self.drop_c(op, refused)
        self.end_old_c(op, now_ns)
        return False

    cdef void drop_c(self, op_t* op, uint8_t reason) noexcept nogil:
        """Gives a placement up before it was sent."""
        self.reasons[reason & (MAX_REASONS - 1)] += 1
        self.why_not[op.slot.token & 1] = reason
        op.state = OP_DONE

    cdef void end_old_c(self, op_t* op, int64_t now_ns) noexcept nogil:
        """Cancels the order that an operation removes, unless that is under way; its end is awaited."""
        cdef order_t* order

        if op.slot.key == 0 or op.merged == MERGE_CHILD:
            return
        order = self.registry.find_c(op.slot.key)
        if order == NULL or order.cancel_sent or order.cancel_wanted:
            return
        self.cancel_c(
            order,
            op.slot.reason if op.merged == MERGE_CANCEL or op.merged == MERGE_REFRESH else R_NOT_WANTED,
            now_ns,
        )
        self.messages += 1
        endings_await_c(&self.endings, order.key, self.transaction, False)

    cdef void supersede_c(self, int n, int64_t now_ns) noexcept nogil:
        """A newer target while a transaction is open: removals that endanger nothing go at once, placements
        that still wait and are not wanted any more are dropped.
        """
        cdef:
            int i
            int k
            bint adds = False
            order_t* order
            const slot_t* slot
            op_t* op

        for k in range(self.n_ops):
            op = &self.ops[k]
            if op.merged == MERGE_REPLACE and slot_passed_c(&op.slot, &self.view.top[op.slot.token]):
                self.end_old_c(op, now_ns)
            if op.state != OP_HELD:
                continue
            for i in range(n):
                slot = &self.slots[i]
                if (
                    slot.price_e4 == op.slot.price_e4 and slot.token == op.slot.token
                    and slot.side == op.slot.side and slot.kind == op.slot.kind
                ):
                    break
            else:
                op.state = OP_DONE
                self.end_old_c(op, now_ns)
                self.replaced.superseded += 1
        for i in range(n):
            slot = &self.slots[i]
            order = self.registry.find_c(slot.key) if slot.key else NULL
            if order == NULL:
                adds = True
            elif slot.size_micro == 0 or (
                slot.price_e4 != slot.base_price_e4 and slot_passed_c(slot, &self.view.top[slot.token])
            ):
                for k in range(self.n_ops):
                    if self.ops[k].new_key == slot.key and self.ops[k].state == OP_PLACED:
                        self.ops[k].state = OP_DONE     # the newest target wants its end, not its proof
                self.cancel_c(order, slot.reason if slot.size_micro == 0 else R_NOT_WANTED, now_ns)
                endings_await_c(&self.endings, order.key, self.transaction, False)
            elif slot.price_e4 != slot.base_price_e4:
                adds = True
        if adds:
            self.newer = True
            self.replaced.waited += 1
        self.advance_c(0, now_ns)

    cdef bint holds_c(self) noexcept nogil:
        """Whether a placement of the open transaction waits."""
        cdef int i

        for i in range(self.n_ops):
            if self.ops[i].state == OP_HELD:
                return True
        return False

    cdef void advance_c(self, uint8_t forbidden, int64_t now_ns) noexcept nogil:
        """RESOLVE: looks at the evidence for each operation, places what waited, closes what is settled.

        `forbidden`: the Reason for which nothing may be placed now, 0 if it may.
        """
        cdef:
            int i
            bint open = False
            op_t* op
            order_t* order

        endings_drain_c(&self.endings, self.registry, self.transaction if self.phase != PHASE_IDLE else 0)
        if self.phase == PHASE_IDLE:
            return
        if self.holds_c():
            self.held_c(forbidden, now_ns)
        for i in range(self.n_ops):
            op = &self.ops[i]
            if op.state == OP_PLACED:
                order = self.registry.find_c(op.new_key)
                if order == NULL:
                    order = self.registry.find_ended_c(op.new_key)
                    # What takes may find nothing to take; a quote that is gone without a fill was refused.
                    if order != NULL and order.filled_micro == 0 and op.slot.kind == ACTION_QUOTE:
                        self.close_c(True, now_ns)
                        return
                    op.state = OP_DONE
                    self.end_old_c(op, now_ns)
                elif order.cancel_first_ns and order.state == ORDER_UNKNOWN or now_ns >= self.resolve_ns:
                    self.close_c(True, now_ns)      # given up: no proof came
                    return
                elif order.cancel_sent or order.cancel_wanted:
                    op.state = OP_DONE              # a guard or a newer target wants its end
                elif order.state == ORDER_LIVE:
                    op.state = OP_DONE
                    self.end_old_c(op, now_ns)
            if op.state != OP_DONE:
                open = True
        if not open:
            self.close_c(False, now_ns)

    cdef void held_c(self, uint8_t forbidden, int64_t now_ns) noexcept nogil:
        """The placements that wait: merged with what is there now, then placed, kept waiting or dropped."""
        cdef:
            exposure_t sums
            int i
            int token
            int lighter = self.registry.position_micro[UP] > self.registry.position_micro[DOWN]
            bint changed = forbidden != 0 or now_ns > self.base.deadline_ns or base_moved_c(
                &self.base, self.books, self.version
            )
            bint removing = False
            int64_t moved_micro = 0         # shares of either token, since the base
            uint8_t merged
            op_t* op
            order_t* order

        if self.base.inventory != self.registry.inventory_version:
            for token in range(2):
                moved_micro = max(
                    moved_micro, abs_c(self.registry.position_micro[token] - self.base.position_micro[token])
                )
        for i in range(self.n_ops):
            op = &self.ops[i]
            if op.slot.key and op.merged != MERGE_CHILD:
                order = self.registry.find_c(op.slot.key)
                if order == NULL:
                    order = self.registry.find_ended_c(op.slot.key)
                    if order != NULL and exposure_owed_c(order, self.registry) >= DUST_MICRO:
                        removing = True
                elif op.cancel_first or op.state == OP_PLACED or order.cancel_sent:
                    removing = True
        exposure_of_c(&sums, self.registry)
        self.batch += 1
        self.legs = 0
        for token in range(2):
            for i in range(self.n_ops):
                op = &self.ops[i]
                if op.state != OP_HELD or op.slot.token != (lighter if token == 0 else 1 - lighter):
                    continue
                if changed:
                    self.drop_c(op, forbidden if forbidden else R_BASE_MOVED)
                    self.end_old_c(op, now_ns)
                    self.replaced.conflicts += 1
                    self.own_dirty = True
                    continue
                order = self.registry.find_c(op.slot.key) if op.slot.key else NULL
                if op.cancel_first and order != NULL:
                    self.end_old_c(op, now_ns)      # a cancel that was not taken is asked for again
                    continue
                if op.slot.key and order == NULL:
                    merged = merge_c(
                        op.slot.base, slot_now_c(&op.slot, self.registry), False, False, 0,
                        op.slot.size_micro,
                        moved_micro,
                        self.books.min_size_micro, True, True,
                    )
                    if merged != MERGE_PLACE:
                        op.state = OP_DONE
                        self.replaced.conflicts += 1
                        self.own_dirty = True
                        continue
                if not self.try_c(op, &sums, not removing, now_ns) and op.state == OP_DONE:
                    self.own_dirty = self.own_dirty or self.phase == PHASE_RESOLVE

    cdef void close_c(self, bint reverts, int64_t now_ns) noexcept nogil:
        """COMMIT, or COMPENSATE: what was added is cancelled. What is left to prove holds nothing up."""
        cdef:
            int i
            op_t* op
            order_t* order

        for i in range(self.n_ops):
            op = &self.ops[i]
            if reverts and op.new_key:
                order = self.registry.find_c(op.new_key)
                if order != NULL:
                    if not order.cancel_sent and not order.cancel_wanted:
                        self.cancel_c(order, R_COMPENSATED, now_ns)
                    endings_await_c(&self.endings, op.new_key, self.transaction, True)
            order = self.registry.find_c(op.slot.key) if op.slot.key else NULL
            if order != NULL:
                order.replaced = False      # without a cancel on its way it stays, and is the policy's again
        self.phase = PHASE_IDLE
        self.n_ops = 0
        if self.newer:
            self.newer = False
            self.own_dirty = True
        if self.messages == 0:
            self.transaction -= 1       # every placement was refused by a limit: nothing has happened
            return
        self.replaced.begun += 1
        if reverts:
            self.reasons[R_COMPENSATED] += 1
            self.pause_ns = min(max(2 * self.pause_ns, 50 * MILLISECOND_NS), 5 * SECOND_NS)
            self.pause_until_ns = now_ns + self.pause_ns
            self.own_dirty = True
        else:
            self.pause_ns = 0
        endings_close_c(&self.endings, self.transaction, reverts)

    cdef void abandon_c(self, int64_t now_ns) noexcept nogil:
        """A guard forbids quoting: what waits is dropped, what was added is taken back."""
        if self.phase != PHASE_IDLE:
            self.replaced.discarded += 1
            self.close_c(True, now_ns)
            self.pause_ns = 0
            self.pause_until_ns = 0

    # ---- for Python ----------------------------------------------------------------------------------------

    def set_funds(self, micro_dollars: int | None) -> None:
        """The cash that this market's bids and provisional buys may take, in micro-dollars: what is confirmed
        less what is kept back. None: not known, and no limit.
        """
        self.bounds.funds_e10 = -1 if micro_dollars is None else max(micro_dollars, 0) * 10000

    def exposure(self) -> dict[str, object]:
        """The sums that the limits bind, over every order that may be alive: the fields of `exposure_t`."""
        cdef exposure_t sums

        exposure_of_c(&sums, self.registry)
        return dict(<dict> sums)

    cdef dict replace_stats(self):
        result = dict(<dict> self.replaced)
        result.update(
            number=self.transaction,
            phase=PHASES[self.phase],
            open=self.phase != PHASE_IDLE,
            waiting=bool(self.newer),
            operations=self.n_ops,
            held=sum(1 for i in range(self.n_ops) if self.ops[i].state == OP_HELD),
            closing=self.endings.n,
            base=dict(<dict> self.base),
            committed=self.endings.committed,
            reverted=self.endings.reverted,
        )
        return result


cdef inline int64_t abs_c(int64_t value) noexcept nogil:
    return value if value >= 0 else -value
