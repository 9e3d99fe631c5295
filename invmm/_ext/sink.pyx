"""Where frames leave the feed and enter the step: a base class for whatever consumes a socket's messages.

Takes one message at a time with the engine time of its arrival, gives nothing back but a fault flag. Runs on
the thread of the event loop with the GIL held. The base class allocates nothing and ignores everything, so it
also measures the feed alone.

A sink is told three things: a message, the end of what was received so far (`last`, or `on_buffer_end` when
the buffer ended with something that is no message), and the loss of the connection. It cannot raise: C
methods are `noexcept`. A sink that fails on a message sets `fault`; the feed then stops handing messages
over, reports the disconnect and replaces the connection.
"""

from cpython.buffer cimport PyBUF_READ, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.memoryview cimport PyMemoryView_FromMemory


cdef class FrameSink:
    """Base of all consumers; does nothing with what it is told.

    Attributes
    ----------
    entered_ns : int
        CLOCK_MONOTONIC, in ns, at entry of the socket callback that is being served. Wall time, never scaled.
    fault : int
        Not 0 when the last message could not be handled; cleared by the feed.
    """

    def acted_counts(self) -> list[int]:
        """Counts of messages that led to commands, by the time from callback entry to publication.

        Returns
        -------
        list of int
            One count per bucket of `invmm.execution.latency`.
        """
        return [self.acted[i] for i in range(LATENCY_BUCKETS)]

    cdef void on_frame_c(self, const char* data, Py_ssize_t size, int64_t now_ns, bint last) noexcept:
        pass

    cdef void on_buffer_end_c(self, int64_t now_ns) noexcept:
        pass

    cdef void on_disconnect_c(self, int64_t now_ns) noexcept:
        pass

    def on_frame(self, data, int64_t now_ns, bint last=True):
        """Hands one message over as the socket would.

        Parameters
        ----------
        data : bytes-like
            The message; borrowed for the call.
        now_ns : int
            Engine time of its arrival, unix-epoch ns.
        last : bool
            Nothing more was received so far: the consumer may act now.
        """
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self.on_frame_c(<const char*> view.buf, view.len, now_ns, last)
        finally:
            PyBuffer_Release(&view)

    def on_buffer_end(self, int64_t now_ns):
        """Says that nothing more was received so far. `now_ns`: engine time, unix-epoch ns."""
        self.on_buffer_end_c(now_ns)

    def on_disconnect(self, int64_t now_ns):
        """Says that the connection is gone. `now_ns`: engine time, unix-epoch ns."""
        self.on_disconnect_c(now_ns)


cdef class CallbackSink(FrameSink):
    """Calls Python functions: for the rare user messages, for tests, and for bots without compiled code.

    Parameters
    ----------
    on_frame : callable(data, now_ns, last), optional
        `data` is `bytes`, or with `copy=False` a memoryview of the receive buffer that must not be kept.
    on_buffer_end, on_disconnect : callable(now_ns), optional
    copy : bool
        Whether messages are copied into `bytes`.

    An exception in a callback is kept in `last_error` and sets `fault`.
    """

    def __init__(self, on_frame=None, on_buffer_end=None, on_disconnect=None, *, bint copy=True):
        self._on_frame = on_frame
        self._on_buffer_end = on_buffer_end
        self._on_disconnect = on_disconnect
        self._copy = copy

    cdef void on_frame_c(self, const char* data, Py_ssize_t size, int64_t now_ns, bint last) noexcept:
        if self._on_frame is None:
            return
        try:
            if self._copy:
                payload = PyBytes_FromStringAndSize(data, size)
            else:
                payload = PyMemoryView_FromMemory(<char*> data, size, PyBUF_READ)
            self._on_frame(payload, now_ns, last)
        except Exception as error:
            self._failed(error)

    cdef void on_buffer_end_c(self, int64_t now_ns) noexcept:
        if self._on_buffer_end is None:
            return
        try:
            self._on_buffer_end(now_ns)
        except Exception as error:
            self._failed(error)

    cdef void on_disconnect_c(self, int64_t now_ns) noexcept:
        if self._on_disconnect is None:
            return
        try:
            self._on_disconnect(now_ns)
        except Exception as error:
            self._failed(error)

    cdef void _failed(self, object error) noexcept:
        self.last_error = error
        self.fault = 1
