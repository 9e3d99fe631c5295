"""A policy that quotes as an inventory model says, and the bridge to models that are Python."""

from libc.stdint cimport int64_t, uint64_t

from invmm._ext.models cimport MAX_BARS, FastModel, bar_t, model_view_t, ranges_t
from invmm._ext.quoting cimport half_t
from invmm._ext.solver cimport Policy, ladder_rule_t, policy_input_t, policy_output_t


cdef struct model_counters_t:
    uint64_t asked
    uint64_t answered
    uint64_t samples            # of the history, since the start
    uint64_t volatility_low     # answers with the volatility at its floor, 0.01
    uint64_t volatility_high    # at its ceiling, 2
    uint64_t range_low          # ranges at their floor, two in an answer
    uint64_t range_high


cdef class ModelPolicy(Policy):
    cdef:
        readonly FastModel model
        readonly int64_t sample_ms
        ladder_rule_t rule
        model_counters_t counters
        bar_t[MAX_BARS] bars
        int n_bars
        bar_t forming               # the sample in the making
        bint has_forming
        int64_t start_ms            # ms to the end at the first decision
        int64_t slot                # number of the forming sample
    cdef int decide_c(self, const policy_input_t* view, policy_output_t* out) noexcept nogil
    cdef void sample_c(self, int64_t ms_to_end, double mid) noexcept nogil
    cdef void count_c(self, const ranges_t* ranges) noexcept nogil
    cdef int ask_c(self, const policy_input_t* view, double mid, ranges_t* ranges) noexcept nogil


cdef class PythonModel(FastModel):
    cdef:
        readonly object model
        readonly object last_error
        list history
        int64_t next_bar            # number of the first sample that is not in `history` yet
        object client
    cdef int ranges_c(self, const model_view_t* view, ranges_t* out) noexcept nogil
    cdef int ask(self, const model_view_t* view, ranges_t* out) except? -1
    cdef void remember(self, const model_view_t* view)
