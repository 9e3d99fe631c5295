"""Token buckets as single moments: a bucket is the time at which it will be full again.

A unit moves that moment one interval into the future; a unit may go while the moment is no farther away than
the depth of the bucket (the generic cell rate algorithm of ATM, ITU-T I.371). One integer per bucket, no
timer, and what a header says about the remaining tokens is one assignment. Times are engine time, since the
limits are the venue's and its seconds are the engine's.
"""

cimport cython
from libc.stdint cimport int64_t


@cython.final
cdef class Pace:
    """What may be sent now.

    Parameters
    ----------
    rules : sequence of (by_leg, by_request, interval_ns, burst, kept)
        Lanes of which each leg or each request costs a unit, as bits (1 << lane: 0 placements, 1 cancels, 2
        cancel-all); ns between two units at the sustained rate; units at once; units that placements leave
        to the other lanes. At most 16.
    """

    def __cinit__(self, rules):
        if len(rules) > RULES_MAX:
            raise ValueError(f"rules: expected at most {RULES_MAX}, got {len(rules)}")
        for by_leg, by_request, interval_ns, burst, kept in rules:
            self.rules[self.count].by_leg = by_leg
            self.rules[self.count].by_request = by_request
            self.count += 1
            self.set_rate(self.count - 1, interval_ns, burst, kept)

    def room(self, int lane, int64_t legs, int64_t now_ns):
        """How many of `legs` may go in one request now."""
        return self.room_c(lane, legs, now_ns)

    def charge(self, int lane, int64_t legs, int64_t now_ns):
        """One request with `legs` went; allowed or not, it counts."""
        self.charge_c(lane, legs, now_ns)

    def set_rate(self, int rule, int64_t interval_ns, int64_t burst, int64_t kept=0):
        """Another rate and burst, from now on; what was used stays used."""
        self._known(rule)
        if not (0 < interval_ns <= 10**12 and 0 < burst <= 10**6 and 0 <= kept < burst):
            raise ValueError(
                f"rule {rule}: expected an interval of 1 to 1e12 ns and a burst of 1 to 1e6 above what is "
                f"kept, got {interval_ns}, {burst}, {kept}"
            )
        self.rules[rule].interval_ns = interval_ns
        self.rules[rule].depth_ns = burst * interval_ns
        self.rules[rule].kept_ns = kept * interval_ns

    def set_room(self, int rule, int64_t units, int64_t now_ns):
        """At most `units` are left at `now_ns`; fewer stay fewer."""
        self._known(rule)
        full_ns = now_ns + self.rules[rule].depth_ns - units * self.rules[rule].interval_ns
        if full_ns > self.rules[rule].full_ns:
            self.rules[rule].full_ns = full_ns

    def next_ns(self, int lane, int64_t now_ns):
        """When one leg of a lane may go at the earliest; `now_ns` if at once."""
        cdef:
            int64_t at_ns, latest_ns = now_ns
            int i

        for i in range(self.count):
            if (self.rules[i].by_leg | self.rules[i].by_request) & (1 << lane):
                at_ns = self.rules[i].full_ns + self.rules[i].interval_ns - self.depth(i, lane)
                if at_ns > latest_ns:
                    latest_ns = at_ns
        return latest_ns

    def left(self, int rule, int64_t now_ns):
        """Whole units that are left in a bucket; negative when more went than was allowed."""
        self._known(rule)
        full_ns = max(self.rules[rule].full_ns, now_ns)
        return (self.rules[rule].depth_ns - (full_ns - now_ns)) // int(self.rules[rule].interval_ns)

    cdef int64_t depth(self, int rule, int lane) noexcept nogil:
        return self.rules[rule].depth_ns - (self.rules[rule].kept_ns if lane == LANE_PLACE else 0)

    def _known(self, int rule):
        if not 0 <= rule < self.count:
            raise IndexError(f"rule: expected below {self.count}, got {rule}")

    cdef int64_t room_c(self, int lane, int64_t legs, int64_t now_ns) noexcept nogil:
        cdef:
            rule_t* rule
            int64_t units, room = legs
            int i

        for i in range(self.count):
            rule = &self.rules[i]
            if not (rule.by_leg | rule.by_request) & (1 << lane):
                continue
            units = self.depth(i, lane) - (rule.full_ns - now_ns if rule.full_ns > now_ns else 0)
            units = units // rule.interval_ns if units > 0 else 0
            if units < 1:
                return 0
            if rule.by_leg & (1 << lane) and units < room:
                room = units
        return room

    cdef void charge_c(self, int lane, int64_t legs, int64_t now_ns) noexcept nogil:
        cdef:
            rule_t* rule
            int64_t units
            int i

        for i in range(self.count):
            rule = &self.rules[i]
            units = legs if rule.by_leg & (1 << lane) else (1 if rule.by_request & (1 << lane) else 0)
            if units:
                rule.full_ns = (rule.full_ns if rule.full_ns > now_ns else now_ns) + units * rule.interval_ns
