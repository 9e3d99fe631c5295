"""When to solve again: a best level moved (price, or size past a threshold), or our place in a queue did.

Deep levels never trigger. Own fills, acknowledgements, timers and mode changes are the step's own reasons to
solve; they do not pass through here.
"""

cimport cython
from libc.stdint cimport int32_t, int64_t


cdef bint best_moved_c(
    const trigger_t* trigger, int token, int32_t bid_e4, int64_t bid_micro, int32_t ask_e4, int64_t ask_micro
) noexcept nogil:
    """Whether this token's best levels differ enough from those of the last solve. −1: empty side."""
    return (
        not trigger.armed
        or bid_e4 != trigger.bid_e4[token]
        or ask_e4 != trigger.ask_e4[token]
        or moved_c(trigger.bid_micro[token], bid_micro, trigger.bid_micro[token], trigger.size_change_ppm)
        or moved_c(trigger.ask_micro[token], ask_micro, trigger.ask_micro[token], trigger.size_change_ppm)
    )


cdef void remember_best_c(
    trigger_t* trigger, int token, int32_t bid_e4, int64_t bid_micro, int32_t ask_e4, int64_t ask_micro
) noexcept nogil:
    """A solve saw these best levels."""
    trigger.bid_e4[token] = bid_e4
    trigger.ask_e4[token] = ask_e4
    trigger.bid_micro[token] = bid_micro
    trigger.ask_micro[token] = ask_micro
    trigger.armed = True


@cython.final
cdef class Trigger:
    """The best-level part of the trigger, for use on its own.

    Parameters
    ----------
    size_change_ppm : int
        Share (1e-6) of a best size that must move before it counts; 0 counts every change. Default 250000.
    """

    def __init__(self, size_change_ppm: int = 250_000) -> None:
        if not 0 <= size_change_ppm <= 1_000_000:
            raise ValueError(f"size_change_ppm: expected 0…1000000, got {size_change_ppm}")
        self.trigger.size_change_ppm = size_change_ppm
        self.trigger.armed = False

    def moved(self, token: int, bid: tuple[int, int] | None, ask: tuple[int, int] | None) -> bool:
        """Whether `(price_e4, size_micro)` of the best levels deserve a solve; None is an empty side."""
        cdef:
            int32_t bid_e4 = -1 if bid is None else bid[0]
            int64_t bid_micro = 0 if bid is None else bid[1]
            int32_t ask_e4 = -1 if ask is None else ask[0]
            int64_t ask_micro = 0 if ask is None else ask[1]

        if token not in (0, 1):
            raise ValueError(f"token: expected 0 (Up) or 1 (Down), got {token}")
        return bool(best_moved_c(&self.trigger, token, bid_e4, bid_micro, ask_e4, ask_micro))

    def solved(self, token: int, bid: tuple[int, int] | None, ask: tuple[int, int] | None) -> None:
        """Remembers the best levels that a solve saw."""
        if token not in (0, 1):
            raise ValueError(f"token: expected 0 (Up) or 1 (Down), got {token}")
        remember_best_c(
            &self.trigger,
            token,
            -1 if bid is None else bid[0],
            0 if bid is None else bid[1],
            -1 if ask is None else ask[0],
            0 if ask is None else ask[1],
        )
