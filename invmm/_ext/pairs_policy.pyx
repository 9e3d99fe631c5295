"""Quotes both tokens by what a share is worth to the holder of the present lead, and completes pairs.

What a policy holds beyond whole pairs is a lead of one token, and that lead is all of its risk: pairs pay a
dollar for sure. Each bid is priced by the exact reservation price of its own shares (`reservation.pyx`),
as if everything that would fill before it had filled: the worst end of the position, orders of unknown
fate, own better levels, and for a new order those whose cancel is under way. So no average cost, no cap
and no gate are needed, and a book that is under water can still be completed.

    bid = reservation − max(half-spread + adverse selection − rebate, least edge), floored to the tick

A resting order stays as long as it keeps the least edge, unless another price is worth more than the messages
of the move, its place in the queue counted in.

A lead is completed at the displayed price, by buying the lighter token or selling the heavier one, when

    ask + fee + drift during the takers' delay + W  ≤  reservation of the lighter token

where W is what a maker fill would save, in full `patience` before the end and nothing from 30 s on. From
`narrow` before the end on nothing widens the lead; from 20 s on nothing is done at all.

Floats are rounded once, when a price is floored to the tick, and by a billionth of a dollar against us.
"""

from libc.math cimport exp, fabs, isfinite
from libc.stdint cimport int32_t, int64_t, uint8_t

from invmm._ext.compatible cimport MAX_LEVELS
from invmm._ext.completion cimport complete_c
from invmm._ext.decay cimport decay_rested_c
from invmm._ext.markouts cimport adverse_at, watch_end_c, watch_fair_c, watch_fill_c
from invmm._ext.microprice cimport fair_logit_c
from invmm._ext.pairs_ladder cimport ladder_c
from invmm._ext.quoting cimport ONE_E4, check_view
from invmm._ext.records cimport BUY, DOWN, FLAG_TAKER, SELL, UP
from invmm._ext.reservation cimport half_spread_of, reservation, sigmoid
from invmm._ext.solver cimport (
    ACTION_CANCEL, ACTION_QUOTE, ACTION_TAKE, DECIDE_BAD_INTERVAL, DECIDE_OK, ORDER_PENDING_CANCEL,
    ORDER_PENDING_NEW, action_t, own_order_t, read_view,
)


cdef enum:
    REASON_QUOTE = 1            # invmm.types.Reason
    REASON_NOT_WANTED = 3
    REASON_NO_FAIR = 116
    REASON_NO_EXIT = 119

    LOT_MICRO = 10_000          # the venue takes sizes with two decimals
    COUNT_MS = 250              # least time between two counts of what rests
    EXIT_MS = 20_000            # from then on a lead is what it is

cdef int64_t MAX_MICRO = 1_000_000_000_000


cdef double known(object value, str name, double low, double high) except? -1.0:
    cdef double x = value

    if not (isfinite(x) and low <= x <= high):
        raise ValueError(f"{name}: expected {low:g} to {high:g}, got {value!r}")
    return x


cdef class PairsPolicy(Policy):
    """Collects pairs, and prices what an orphan costs.

    Parameters
    ----------
    markouts : Markouts, optional
        The session's; an own one if omitted.
    dollars_at_risk : float
        1/γ: at a lead worth this much, a share that pays with even odds is bid for as if at odds of 1 : e.
    min_edge : float
        Least distance from the own reservation price, dollars per share, above 0.
    message : float
        What a message to the venue is worth, dollars.
    rebate_share : float
        Of the fee that a taker pays, what its maker gets back; the fee's rate comes with each view.
    max_pair_cost : float
        No pair is completed at more, dollars; 0: at any price that the rule above allows.
    taker_delay_ms : float
        How long the venue holds orders that take.
    order_size, max_lead : float
        Shares per level; most shares by which one token may lead if every bid for it fills.
    patience_s, narrow_s : float
        Seconds before the end: see above.
    fair_max_age_ms : float
        From then on a model's fair value does not count.
    num_levels : int
        Bids per token, 0 to 31.
    overshoot : bool
        A lead below the venue's minimum size may be completed with the minimum size; else it is held.
    sells : bool
        A lead may be completed by selling the heavier token. It is preferred where both cost the same, as it
        frees its cash at once.
    offers : bool
        Where enough of the heavier token may be sold, it is offered instead of bidding for the lighter one:
        the same place in the same queue, but it frees cash instead of binding it, and needs no merge.
    """

    def __init__(
        self,
        Markouts markouts=None,
        *,
        dollars_at_risk=2500.0,
        min_edge=0.002,
        message=0.01,
        rebate_share=0.2,
        max_pair_cost=0.0,
        taker_delay_ms=250.0,
        order_size=100.0,
        max_lead=400.0,
        patience_s=150.0,
        narrow_s=60.0,
        fair_max_age_ms=2000.0,
        int num_levels=3,
        bint overshoot=False,
        bint sells=True,
        bint offers=False,
    ) -> None:
        cdef pairs_rule_t* rule = &self.rule

        if not 0 <= num_levels <= MAX_LEVELS:
            raise ValueError(f"num_levels: expected 0 to {MAX_LEVELS}, got {num_levels}")
        rule.gamma = 1.0 / known(dollars_at_risk, "dollars_at_risk", 1.0, 1e12)
        rule.min_edge = known(min_edge, "min_edge", 1e-4, 0.5)
        rule.message = known(message, "message", 0.0, 100.0)
        rule.rebate_share = known(rebate_share, "rebate_share", 0.0, 1.0)
        rule.max_pair_cost = known(max_pair_cost, "max_pair_cost", 0.0, 2.0)
        rule.delay_s = known(taker_delay_ms, "taker_delay_ms", 0.0, 10_000.0) / 1e3
        # The millionth of a lot keeps 0.29 * 100 from losing a lot to its binary tail.
        rule.order_micro = <int64_t> (known(order_size, "order_size", 0.01, 1e5) * 100.0 + 1e-6) * LOT_MICRO
        rule.max_lead_micro = <int64_t> (known(max_lead, "max_lead", 0.0, 1e6) * 100.0 + 1e-6) * LOT_MICRO
        rule.patience_ms = <int64_t> (known(patience_s, "patience_s", 0.0, 86_400.0) * 1e3)
        rule.narrow_ms = <int64_t> (known(narrow_s, "narrow_s", 0.0, 86_400.0) * 1e3)
        rule.fair_max_age_ns = <int64_t> (known(fair_max_age_ms, "fair_max_age_ms", 0.0, 1e6) * 1e6)
        rule.order = rule.order_micro * 1e-6
        rule.step = rule.gamma * rule.order
        rule.step_exp = exp(-rule.step)
        # With less, the difference of logarithms has too few digits left.
        rule.per_step = 1.0 / rule.step if rule.step > 1e-4 else 0.0
        rule.num_levels = num_levels
        rule.overshoot = overshoot
        rule.sells = sells
        rule.offers = offers
        self.markouts = Markouts() if markouts is None else markouts
        self.name = "pairs"

    cdef int decide_c(self, const policy_input_t* view, policy_output_t* out) noexcept nogil:
        cdef:
            take_t take
            double x = 0.0
            uint8_t reason = 0
            int status = check_view(view)
            int token
            int i

        out.n_actions = 0
        out.imbalance = 0.0
        if status != DECIDE_OK:
            return status
        for token in range(2):
            if not (
                view.low_micro[token] <= view.position_micro[token] <= view.high_micro[token] <= MAX_MICRO
                and view.low_micro[token] >= -MAX_MICRO
            ):
                return DECIDE_BAD_INTERVAL
        take.size_micro = 0
        if not fair_logit_c(
            view, self.rule.fair_max_age_ns, &self.watch.trend, &self.markouts.trend, &x
        ):
            reason = REASON_NO_FAIR
        self.odds_c(x)
        if reason == 0:
            watch_fair_c(&self.watch, self.markouts, self.sides[UP].fair, view)
            if view.ms_to_end <= EXIT_MS:
                reason = REASON_NO_EXIT
        self.terms_c(view)
        self.read_c(view)
        self.count_c(view)
        out.imbalance = (self.sides[UP].lead - self.sides[DOWN].lead) / 2e-6 / max(
            view.high_micro[UP] + view.high_micro[DOWN], self.rule.order_micro
        )
        if reason == 0 and self.rule.num_levels:
            complete_c(
                &self.rule, &self.terms, view, &self.sides[0], self.watch.variance, &take, &self.counters
            )
        for token in range(2):
            self.sides[token].reason = reason
            if reason:
                for i in range(self.sides[token].n_bids):
                    self.ends[self.sides[token].bids[i]] = reason
                    self.n_ends += 1
            else:
                self.n_ends += ladder_c(
                    &self.rule, &self.terms, view, token, &self.sides[0], &self.ends[0], &self.counters
                )
        self.emit_c(view, &take, out)
        return DECIDE_OK

    cdef void terms_c(self, const policy_input_t* view) noexcept nogil:
        """What every price of this decision rests on."""
        cdef terms_t* terms = &self.terms

        if (
            terms.tick_e4 == view.tick_e4 and terms.fee_rate_ppm == view.fee_rate_ppm
            and terms.fits == self.markouts.fits
        ):
            return
        terms.fits = self.markouts.fits
        terms.fee_rate_ppm = view.fee_rate_ppm
        terms.base = self.markouts.base[self.markouts.worst]
        terms.slope = self.markouts.slope[self.markouts.worst]
        if terms.decay != self.markouts.fills.decay:
            terms.decay = self.markouts.fills.decay
            terms.half_spread = half_spread_of(self.rule.gamma, self.rule.order, terms.decay)
        terms.rest = max(0.0, 1.0 - terms.slope)
        terms.per_rest = 1.0 / max(terms.rest, 0.1)
        terms.needed = max(terms.half_spread * terms.rest, self.rule.min_edge) + terms.base
        terms.fee = view.fee_rate_ppm * 1e-6
        terms.rebate = terms.fee * self.rule.rebate_share
        terms.ticks = 10_000.0 / view.tick_e4
        terms.tick_e4 = view.tick_e4

    cdef void odds_c(self, double x) noexcept nogil:
        """Fair value of both tokens, from Up's log-odds."""
        cdef:
            double against = exp(-fabs(x))          # odds of the less likely one
            double part = 1.0 / (1.0 + against)
            int likely = UP if x >= 0.0 else DOWN

        self.sides[UP].x = x
        self.sides[DOWN].x = -x
        self.sides[likely].fair = part
        self.sides[1 - likely].fair = against * part
        self.sides[likely].odds = 1.0 / against
        self.sides[1 - likely].odds = against

    cdef void read_c(self, const policy_input_t* view) noexcept nogil:
        """Both tokens' leads, and the own orders: what may be kept, what is dying, what may be met."""
        cdef:
            const own_order_t* order
            side_t* side
            int32_t price_e4
            int token
            int i
            int k

        for token in range(2):
            side = &self.sides[token]
            side.best = max(0, view.top[token].bid_e4) * 1e-4
            side.lead = (view.high_micro[token] - view.low_micro[1 - token]) * 1e-6
            side.dying = side.paid = 0.0
            if view.position_micro[token] > 0:
                side.paid = <double> view.cost_micro[token] / <double> view.position_micro[token]
            side.highest_bid = 0
            side.cap_e4 = ONE_E4
            side.cap_reason = side.reason = 0
            side.offered_micro = 0
            side.n_bids = side.n_kept = side.n_quotes = 0
        self.n_ends = 0
        for i in range(view.n_orders):
            order = &view.orders[i]
            self.ends[i] = 0
            if order.remaining_micro <= 0:
                continue
            side = &self.sides[order.token if order.side == BUY else 1 - order.token]
            price_e4 = order.price_e4 if order.side == BUY else ONE_E4 - order.price_e4
            side.highest_bid = max(side.highest_bid, price_e4)
            if order.state == ORDER_PENDING_CANCEL and not order.is_taker:
                side.dying += order.remaining_micro * 1e-6
            elif order.is_taker or order.state > ORDER_PENDING_NEW:
                side.lead += order.remaining_micro * 1e-6
            else:
                k = side.n_bids
                while k > 0 and side.bid_e4[k - 1] < price_e4:
                    side.bids[k] = side.bids[k - 1]
                    side.bid_e4[k] = side.bid_e4[k - 1]
                    k -= 1
                side.bids[k] = i
                side.bid_e4[k] = price_e4
                side.n_bids += 1

    cdef void count_c(self, const policy_input_t* view) noexcept nogil:
        """What rested since it was last counted, by its distance from fair value now."""
        cdef:
            int64_t span_ms = -view.ms_to_end - self.watch.rested_ms
            const side_t* side
            int token
            int i

        if 0 <= span_ms < COUNT_MS:
            return
        self.watch.rested_ms = -view.ms_to_end
        if not 0 < span_ms < 4 * COUNT_MS:
            return
        for token in range(2):
            side = &self.sides[token]
            for i in range(side.n_bids):
                decay_rested_c(
                    &self.markouts.fills, side.fair - side.bid_e4[i] * 1e-4,
                    <double> view.orders[side.bids[i]].remaining_micro / self.rule.order_micro
                    * span_ms / 1e3,
                )

    cdef void emit_c(
        self, const policy_input_t* view, const take_t* take, policy_output_t* out
    ) noexcept nogil:
        """Cancels, then quotes, then the order that takes; Up before Down."""
        cdef:
            side_t* side
            action_t* action
            const own_order_t* order
            int token
            int i

        for token in range(2):
            if self.n_ends == 0:
                break
            for i in range(view.n_orders):
                order = &view.orders[i]
                if order.token == token and self.ends[i]:
                    action = add_c(out, ACTION_CANCEL, token, order.side, self.ends[i], order.price_e4)
                    action.size_micro = order.remaining_micro
                    action.key = order.key
        for token in range(2):
            side = &self.sides[token]
            out.reason[token] = 0
            if side.n_kept + side.n_quotes == 0:
                out.reason[token] = side.reason if side.reason else REASON_NOT_WANTED
            for i in range(side.n_quotes):
                if side.offers[i]:
                    action = add_c(
                        out, ACTION_QUOTE, 1 - token, SELL, REASON_QUOTE, ONE_E4 - side.price_e4[i]
                    )
                else:
                    action = add_c(out, ACTION_QUOTE, token, BUY, REASON_QUOTE, side.price_e4[i])
                action.size_micro = side.size_micro[i]
                action.level = side.level[i]
        if take.size_micro:
            action = add_c(out, ACTION_TAKE, take.token, take.side, take.reason, take.price_e4)
            action.size_micro = take.size_micro

    cdef void filled_c(self, const event_t* event) noexcept nogil:
        if event.flags & FLAG_TAKER:
            return
        if event.side == BUY:
            self.made_c(event.token, event.price_e4, event.size_micro)
        else:
            self.made_c(1 - event.token, ONE_E4 - event.price_e4, event.size_micro)

    cdef void made_c(self, int token, int32_t price_e4, int64_t size_micro) noexcept nogil:
        """A bid was filled, or what amounts to one."""
        watch_fill_c(
            &self.watch, self.markouts, token, price_e4, <double> size_micro / self.rule.order_micro
        )

    cdef void settled_c(self, int winner) noexcept nogil:
        if winner == UP or winner == DOWN:
            watch_end_c(&self.watch, self.markouts, winner)

    # ---- for people and tests ------------------------------------------------------------------------------

    def fair(self, view) -> float | None:
        """What Up is worth in a view by itself, dollars; None if nothing tells."""
        cdef:
            policy_input_t c_view
            double x = 0.0

        read_view(view, &c_view)
        return sigmoid(x) if fair_logit_c(&c_view, self.rule.fair_max_age_ns, NULL, NULL, &x) else None

    def filled(self, int token, int price_e4) -> None:
        """A whole bid for a token was filled; the engine's step says so by itself."""
        if token not in (UP, DOWN) or not 0 < price_e4 < ONE_E4:
            raise ValueError(f"token, price_e4: expected 0 or 1, 1 to 9999, got {token}, {price_e4}")
        self.made_c(token, price_e4, self.rule.order_micro)

    def settled(self, int winner) -> None:
        """The market is resolved; the engine's step says so by itself."""
        if winner not in (UP, DOWN):
            raise ValueError(f"winner: expected 0 or 1, got {winner}")
        self.settled_c(winner)

    def stats(self) -> dict[str, object]:
        """Counters (`pairs_counters_t`), γ as dollars at risk, by how much the first level lies below fair
        value for its own risk, what is charged for adverse selection and from which markouts.
        """
        cdef double first = reservation(0.0, self.rule.gamma, 0.0, self.rule.order_micro / 1e6)

        return {
            **(<dict> self.counters),
            "dollars_at_risk": 1.0 / self.rule.gamma,
            "first_level_cents": 100.0 * (0.5 - first),
            "adverse_cents": 100.0 * adverse_at(self.markouts, 0.0),
            "follow": self.markouts.follow,
            "fill_decay": self.markouts.decay,
            "markouts": self.markouts.stats(),
            "markouts_dropped": self.watch.dropped,
        }


cdef inline action_t* add_c(
    policy_output_t* out, uint8_t kind, int token, uint8_t side, uint8_t reason, int32_t price_e4
) noexcept nogil:
    cdef action_t* action = &out.actions[out.n_actions]

    out.n_actions += 1
    action.kind = kind
    action.token = <uint8_t> token
    action.side = side
    action.level = 0
    action.reason = reason
    action.price_e4 = price_e4
    action.size_micro = 0
    action.key = 0
    return action
