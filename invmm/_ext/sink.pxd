"""The border between the sockets and the step, for Cython code on either side of it."""

from libc.stdint cimport int32_t, int64_t


cdef enum:
    LATENCY_STEPS = 8               # buckets per doubling, as in execution/latency.py
    LATENCY_BUCKETS = 320


cdef extern from *:
    int __builtin_clzll(unsigned long long word) noexcept nogil


cdef inline int latency_bucket(int64_t ns) noexcept nogil:
    """Index of the bucket that counts a duration."""
    cdef int shift
    if ns < LATENCY_STEPS:
        return <int> ns if ns > 0 else 0
    shift = 60 - __builtin_clzll(<unsigned long long> ns)
    shift = (shift + 1) * LATENCY_STEPS + <int> ((ns >> shift) - LATENCY_STEPS)
    return shift if shift < LATENCY_BUCKETS else LATENCY_BUCKETS - 1


cdef class FrameSink:
    cdef:
        readonly int64_t entered_ns  # CLOCK_MONOTONIC when the callback of the current frame was entered
        int64_t[LATENCY_BUCKETS] acted      # messages that led to commands, by time from entry to publication
        readonly int32_t published   # commands that the present message led to; the feed clears it
        public int32_t fault       # not 0: the sink failed on the message it was given; cleared by the feed

    # One whole message, in the receive buffer: `data` is invalid after the return.
    # `last`: nothing more was received so far.
    cdef void on_frame_c(self, const char* data, Py_ssize_t size, int64_t now_ns, bint last) noexcept
    # After messages with last=0 the buffer ended with what is no message: a PONG, a control frame, a part.
    cdef void on_buffer_end_c(self, int64_t now_ns) noexcept
    # The connection is gone: what it delivered may not be traded on until a fresh snapshot.
    cdef void on_disconnect_c(self, int64_t now_ns) noexcept


cdef class CallbackSink(FrameSink):
    cdef:
        readonly object last_error   # what a callback raised last, None if nothing
        object _on_frame
        object _on_buffer_end
        object _on_disconnect
        bint _copy

    cdef void _failed(self, object error) noexcept
