"""Rates that the venue allows, counted where a request is gated."""

from libc.stdint cimport int64_t


cdef enum:
    LANE_PLACE = 0
    LANE_CANCEL = 1
    LANE_CANCEL_ALL = 2
    RULES_MAX = 16


cdef struct rule_t:
    int64_t interval_ns         # between two units at the sustained rate
    int64_t depth_ns            # burst × interval
    int64_t full_ns             # engine time at which the bucket is full again
    int64_t kept_ns             # part of the depth that placements leave to cancels
    int by_leg                  # lanes of which each leg costs a unit, as bits
    int by_request              # lanes of which each request costs one


cdef class Pace:
    """All buckets of one executor; belongs to its thread."""
    cdef rule_t[RULES_MAX] rules
    cdef readonly int count

    cdef int64_t room_c(self, int lane, int64_t legs, int64_t now_ns) noexcept nogil
    cdef void charge_c(self, int lane, int64_t legs, int64_t now_ns) noexcept nogil
    cdef int64_t depth(self, int rule, int lane) noexcept nogil
