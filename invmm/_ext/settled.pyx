"""What settlement has done with a market's shares: pairs promised to a merge, merged, or split off dollars.

A SETTLEMENT event whose `status` is PAIRS says both as they stand: `size_micro` pairs are promised, and
`filled_micro` pairs have left by merges, less those that splits brought. So the same event twice changes
nothing, and a lost one is made good by the next.

Promised shares are not offered (`exposure.pyx`). Merged ones are gone from the position, and the dollars that
they became count no longer as spent. Shares of a split cost half a dollar each.
"""

from invmm._ext.records cimport SETTLED_PAIRS

cdef int64_t HALF_E4 = 5000
cdef int64_t ONE_E4 = 10000


cdef bint settlement_told_c(Registry registry, const event_t* event, int64_t now_ns) noexcept nogil:
    """Books what a SETTLEMENT event says; whether it says who won."""
    if event.status != SETTLED_PAIRS:
        registry.fence.resolved_ns = now_ns
        return True
    pairs_told_c(registry, event)
    return False


cdef void pairs_told_c(Registry registry, const event_t* event) noexcept nogil:
    cdef:
        int64_t left_micro = event.filled_micro - registry.settled_micro
        int token

    registry.settled_micro += left_micro
    registry.spent_e10 -= left_micro * ONE_E4
    registry.settlement_version += 1
    registry.inventory_version += left_micro != 0
    for token in range(2):
        registry.reserved_micro[token] = event.size_micro
        registry.position_micro[token] -= left_micro
        registry.confirmed_micro[token] -= left_micro
        if left_micro < 0:
            registry.bought_micro[token] -= left_micro
            registry.bought_e10[token] -= left_micro * HALF_E4
        registry.price_c(token)
