"""Queue position: an estimate of the shares ahead of an own order, from level sizes and trades alone.

The venue tells nobody's place. What is public: the size of our level, and trades. A trade takes shares from
the front; a decrease that no trade explains is a cancellation, and a model says how much of it stood ahead of
us (the idea is the one of hftbacktest's queue models). Trade and decrease of one event arrive in either order
and up to tens of milliseconds apart, so both are remembered until they meet: a decrease is first booked as a
cancellation and corrected when its trade arrives.

The conservative model never claims a better place than is certain: cancels are taken from behind us as long
as the level has shares behind us, and increases reported for a venue time before our acknowledgement count as
ahead.
"""

cimport cython

cdef void queue_join_c(queue_t* queue, int64_t level_micro, int64_t settle_ms, int exponent) noexcept nogil:
    """The order rests: `level_micro` displayed at its price, possibly older than `settle_ms` (venue time)."""
    queue.ahead_micro = level_micro
    queue.joined_micro = level_micro
    queue.settle_ms = settle_ms
    queue.unseen_trade_micro = 0
    queue.credited_micro = 0
    queue.credited_ahead_micro = 0
    queue.credited_ms = 0
    queue.batch_ms = -1
    queue.batch_taken_micro = 0
    queue.exponent = exponent
    queue.known = True
    queue.settled = False


cdef int64_t _cancelled_ahead(queue_t* queue, int64_t level_micro, int64_t cancelled_micro) noexcept nogil:
    """How much of a cancellation at a level of `level_micro` stood ahead of us."""
    cdef:
        int64_t behind = level_micro - queue.ahead_micro
        double front_weight = 1.0
        double back_weight = 1.0
        int _

    if behind < 0:
        behind = 0
    if queue.exponent == QUEUE_CONSERVATIVE:
        return cancelled_micro - behind if cancelled_micro > behind else 0
    if queue.ahead_micro == 0:
        return 0
    for _ in range(queue.exponent):  # whole powers: pow() differs between C libraries, products do not
        front_weight *= <double>queue.ahead_micro
        back_weight *= <double>behind
    return _least(
        <int64_t>(cancelled_micro * (front_weight / (front_weight + back_weight))), queue.ahead_micro
    )


cdef void queue_level_c(
    queue_t* queue, int64_t old_micro, int64_t new_micro, int64_t venue_ms
) noexcept nogil:
    """The size of our level changed from old to new."""
    cdef:
        int64_t decrease = old_micro - new_micro
        int64_t explained
        int64_t taken

    if not queue.known:
        return
    if decrease <= 0:
        if venue_ms <= queue.settle_ms:
            # May have been there before we arrived: the acknowledgement overtook the feed.
            queue.ahead_micro -= decrease
            queue.joined_micro -= decrease
        elif venue_ms == queue.batch_ms:
            # One venue timestamp is one change, told in pieces: what is refilled in it was not cancelled.
            taken = _least(-decrease, queue.batch_taken_micro)
            queue.ahead_micro += taken
            queue.batch_taken_micro -= taken
            queue.credited_ahead_micro -= _least(taken, queue.credited_ahead_micro)
            queue.credited_micro -= _least(-decrease, queue.credited_micro)
        return
    if venue_ms != queue.batch_ms:
        queue.batch_ms = venue_ms
        queue.batch_taken_micro = 0
    if venue_ms - queue.credited_ms > MEET_MS:
        queue.credited_micro = 0
        queue.credited_ahead_micro = 0
    explained = _least(decrease, queue.unseen_trade_micro)
    queue.unseen_trade_micro -= explained
    decrease -= explained
    if decrease > 0:
        taken = _cancelled_ahead(queue, old_micro - explained, decrease)
        queue.ahead_micro -= taken
        queue.credited_micro += decrease
        queue.credited_ms = venue_ms
        queue.credited_ahead_micro += taken
        queue.batch_taken_micro += taken
    if queue.ahead_micro > new_micro:
        queue.credited_ahead_micro += queue.ahead_micro - new_micro
        queue.batch_taken_micro += queue.ahead_micro - new_micro
        queue.ahead_micro = new_micro
    if queue.ahead_micro < 0:
        queue.ahead_micro = 0


cdef void queue_trade_c(queue_t* queue, int64_t size_micro, int64_t venue_ms) noexcept nogil:
    """A trade took `size_micro` shares from the front of our level; `venue_ms` is the stamp of its print."""
    cdef:
        int64_t seen
        int64_t returned

    if not queue.known:
        return
    if venue_ms - queue.credited_ms > MEET_MS:
        queue.credited_micro = 0
        queue.credited_ahead_micro = 0
    seen = _least(size_micro, queue.credited_micro)
    if seen > 0:
        # Its decrease was booked as a cancellation: give that back, the trade took from the front. Which of
        # the recent decreases it was is unknown; giving back as much as possible never claims a better place.
        returned = _least(seen, queue.credited_ahead_micro)
        queue.credited_micro -= seen
        queue.credited_ahead_micro -= returned
        queue.ahead_micro += returned
    queue.unseen_trade_micro += size_micro - seen
    queue.ahead_micro -= size_micro
    if queue.ahead_micro < 0:
        queue.ahead_micro = 0


cdef void queue_front_c(queue_t* queue) noexcept nogil:
    """We are first: an own fill, or a trade through our price, proves it."""
    queue.ahead_micro = 0


@cython.final
cdef class QueueEstimate:
    """Shares ahead of one resting order.

    Parameters
    ----------
    level_micro : int
        Shares (1e-6) displayed at the order's price when it was acknowledged, ours not counted. At least 0.
    settle_ms : int
        Venue time (ms) of the acknowledgement; level increases stamped up to it count as ahead. Default 0.
    model : int
        0 conservative, 1 proportional, 2…4 power. Default 0.
    """

    def __init__(self, level_micro: int, settle_ms: int = 0, model: int = 0) -> None:
        if level_micro < 0:
            raise ValueError(f"level_micro: expected at least 0, got {level_micro}")
        if not 0 <= model <= 4:
            raise ValueError(f"model: expected 0 (conservative), 1 (proportional), 2…4 (power), got {model}")
        queue_join_c(&self.queue, level_micro, settle_ms, model)

    @property
    def ahead_micro(self) -> int:
        """Estimated shares ahead, 1e-6; never negative."""
        return self.queue.ahead_micro

    def on_level(self, old_micro: int, new_micro: int, venue_ms: int) -> None:
        """The level's displayed size changed."""
        queue_level_c(&self.queue, old_micro, new_micro, venue_ms)

    def on_trade(self, size_micro: int, venue_ms: int = 0) -> None:
        """A trade at our price took shares."""
        queue_trade_c(&self.queue, size_micro, venue_ms)

    def on_front(self) -> None:
        """An own fill or a trade through our price."""
        queue_front_c(&self.queue)
