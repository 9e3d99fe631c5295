"""Hand-off between two threads: a lock-free ring of fixed records for exactly one producer and one consumer.

`CommandRing` carries `COMMAND_DTYPE` from the engine to the executor, `ResultRing` `EVENT_DTYPE` back. A push
copies one record in or refuses; a published record is never rewritten; nothing blocks, allocates or needs the
GIL. Waiting is the consumer's affair: spin, spin then park, or park on an eventfd together with an epoll set
(ring_wait.h).

Each method belongs to one side, producer or consumer, and to one thread at a time; `len`, `capacity`,
`reserve`, `refused` and `memory` belong to everybody.
"""

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint64_t
from posix.unistd cimport close

cimport numpy as cnp

import numpy as np

from invmm import types

from invmm._ext.atomics cimport atomic_load_relaxed
from invmm._ext.records cimport COMMAND_PLACE, command_t, event_t

cdef extern from "Python.h":
    ctypedef struct PyObject

cdef extern from "numpy/arrayscalars.h":
    ctypedef struct PyVoidScalarObject:
        char* obval
        void* descr

cdef extern from "numpy/arrayobject.h":
    object PyArray_Scalar(void* data, cnp.dtype descr, PyObject* base)

cnp.import_array()

cdef object np_void = np.void
cdef uint64_t MAX_CAPACITY = 1 << 24     # two gigabytes of records: above is a mistake, not a wish


cdef class Ring:
    """What both rings share. Not to be made directly: see `CommandRing` and `ResultRing`."""

    def __cinit__(self, capacity, reserve=None, *, first_cursor=0):
        # Everything happens here, so that no object without memory can exist.
        self.eventfd = -1
        if isinstance(self, CommandRing):
            self.dtype = types.COMMAND_DTYPE
        elif isinstance(self, ResultRing):
            self.dtype = types.EVENT_DTYPE
        else:
            raise TypeError(f"{type(self).__name__}: use CommandRing or ResultRing")
        if isinstance(capacity, bool) or not isinstance(capacity, int):
            raise TypeError(f"capacity: expected an int, got {capacity!r}")
        if not 0 < capacity <= MAX_CAPACITY or capacity & (capacity - 1):
            raise ValueError(f"capacity: expected a power of two, 1 to {MAX_CAPACITY}, got {capacity}")
        if reserve is None:
            reserve = max(1, capacity // 8) if capacity > 1 and isinstance(self, CommandRing) else 0
        if not 0 <= reserve < capacity:
            raise ValueError(f"reserve: expected 0 to {capacity - 1} (below the capacity), got {reserve}")
        if self.dtype.itemsize != RING_RECORD_BYTES:
            raise ValueError(f"dtype: records have {RING_RECORD_BYTES} bytes, got {self.dtype.itemsize}")

        # numpy promises 16-byte alignment at best: take more and slice to the boundary.
        wide = np.zeros(ring_bytes(capacity) + RING_ALIGNMENT, dtype=np.uint8)
        skip = -wide.ctypes.data % RING_ALIGNMENT
        self.memory = wide[skip:skip + ring_bytes(capacity)]
        cdef char* start = <char*>cnp.PyArray_DATA(self.memory)
        if <size_t>start % RING_ALIGNMENT:
            raise MemoryError(f"ring memory is not on a {RING_ALIGNMENT}-byte boundary")
        self.memory.flags.writeable = False     # for readers; the ring writes through its own pointer
        self.eventfd = ring_eventfd()
        if self.eventfd < 0:
            raise OSError("eventfd: the system gave no descriptor")
        ring_init(<ring_t*>start, capacity, reserve, first_cursor)
        self.ring = <ring_t*>start

    def __dealloc__(self):
        if self.eventfd >= 0:
            close(self.eventfd)

    def __reduce__(self):
        raise TypeError(f"{type(self).__name__} is shared memory between two threads and cannot be pickled")

    def __len__(self):
        """Records inside, a moment ago."""
        return ring_count(self.ring)

    @property
    def capacity(self):
        """Records it holds."""
        return self.ring.capacity

    @property
    def reserve(self):
        """Slots that only urgent records may take."""
        return self.ring.reserve

    @property
    def refused(self):
        """Pushes (a batch counts once) that found no room."""
        return atomic_load_relaxed(&self.ring.refused)

    def pop_into(self, out):
        """Consumer: moves waiting records into `out`, an array of the ring's dtype; returns how many."""
        cdef:
            cnp.ndarray array
            char* data
            Py_ssize_t i, size

        if (not isinstance(out, np.ndarray) or out.dtype != self.dtype or not out.flags.c_contiguous
                or not out.flags.writeable):
            raise TypeError("out: expected a writeable contiguous array of the ring's dtype")
        array = out
        data = <char*>cnp.PyArray_DATA(array)
        size = cnp.PyArray_SIZE(array)
        for i in range(size):
            if not ring_pop(self.ring, data + i * RING_RECORD_BYTES):
                return i
        return size

    def pop(self, timeout_ns=0, spin_ns=0):
        """Consumer: the oldest record, as a copy.

        Parameters
        ----------
        timeout_ns : int or None
            How long to wait for one, without the GIL. 0: not at all; None: until one comes.
        spin_ns : int
            How much of that to spend spinning before parking; below 0: all of it.

        Returns
        -------
        numpy.void or None
            None when the time is over.
        """
        cdef char record[RING_RECORD_BYTES]

        if not ring_pop(self.ring, record):
            if timeout_ns is not None and timeout_ns <= 0:
                return None
            if not self._wait_or_raise(timeout_ns, spin_ns) or not ring_pop(self.ring, record):
                return None
        return PyArray_Scalar(record, self.dtype, NULL)

    def wake(self):
        """Producer: wakes the consumer if it sleeps and something was pushed since the last wake-up."""
        self.wake_c()

    def arm(self):
        """Consumer that waits for `eventfd` in an event loop: asks to be signalled at the next push.

        Returns
        -------
        bool
            False when a record is already there: take it first.
        """
        ring_drain_signal(self.eventfd)
        return ring_park(self.ring)

    def check(self):
        """Asserts every invariant. For a moment when neither side is at work."""
        cdef:
            ring_t* ring = self.ring
            uint64_t used = ring.tail - ring.head

        if <size_t>ring % RING_ALIGNMENT:
            raise AssertionError("memory left its boundary")
        if ring.capacity & ring.mask or ring.mask != ring.capacity - 1:
            raise AssertionError(f"mask {ring.mask} does not belong to capacity {ring.capacity}")
        if ring.reserve >= ring.capacity:
            raise AssertionError(f"reserve {ring.reserve} leaves no room in {ring.capacity}")
        if used > ring.capacity:
            raise AssertionError(f"{used} records in {ring.capacity} slots")
        if ring.tail - ring.cached_head > ring.capacity or ring.head - ring.cached_head > ring.capacity:
            raise AssertionError(f"producer believes head {ring.cached_head}, it is {ring.head}")
        if ring.cached_tail - ring.head > used:
            raise AssertionError(f"consumer believes tail {ring.cached_tail}, it is {ring.tail}")
        if ring.parked > 1:
            raise AssertionError(f"parked is {ring.parked}")

    cdef uint64_t room_c(self, bint urgent) noexcept nogil:
        return ring_room(self.ring, self.ring.capacity, urgent)

    cdef void wake_c(self) noexcept nogil:
        if ring_must_wake(self.ring):
            ring_signal(self.eventfd)

    cdef int wait_c(self, int64_t spin_ns, int64_t timeout_ns, int epoll_fd) noexcept nogil:
        return ring_wait(self.ring, self.eventfd, spin_ns, timeout_ns, epoll_fd)

    cdef const void* _record(self, object record) except NULL:
        """Where the bytes of one record lie: a numpy.void scalar or an array of one, of the ring's dtype."""
        cdef void* found

        if type(record) is np_void:
            found = (<PyVoidScalarObject*>record).descr
            if found == <void*>self.dtype or <object>found == self.dtype:
                return (<PyVoidScalarObject*>record).obval
        elif isinstance(record, np.ndarray):
            if cnp.PyArray_SIZE(record) != 1:
                raise ValueError(f"record: expected one record, got an array of {record.size}")
            if record.dtype == self.dtype:
                return cnp.PyArray_DATA(record)
        else:
            raise TypeError(f"record: expected a numpy record, got {type(record).__name__}")
        raise TypeError(f"record: expected the dtype {self.dtype.names}, got {record.dtype}")

    cdef bint _wait_or_raise(self, object timeout_ns, int64_t spin_ns) except -1:
        cdef:
            int64_t left = -1 if timeout_ns is None else timeout_ns
            int64_t end = 0 if left < 0 else ring_monotonic_ns() + left
            int seen

        while True:
            with nogil:
                seen = self.wait_c(spin_ns, left, -1)
            if seen != RING_WAIT_SIGNAL:
                return seen == RING_WAIT_RING
            PyErr_CheckSignals()
            if left >= 0:
                left = max(<int64_t>0, end - ring_monotonic_ns())


@cython.final
cdef class CommandRing(Ring):
    """Commands from the engine to the executor, with room kept for cancels.

    Parameters
    ----------
    capacity : int
        Records it holds: a power of two.
    reserve : int, optional
        Placements leave at least this many slots free; cancels, cancel-all and shutdown may fill them.
        An eighth of the capacity unless given.
    first_cursor : int
        Where the 64-bit cursors start; tests start just below 2**64.

    Examples
    --------
    >>> import numpy as np
    >>> from invmm.types import COMMAND_DTYPE, CommandKind
    >>> ring = CommandRing(8)
    >>> command = np.zeros(1, COMMAND_DTYPE)
    >>> command["kind"], command["key"] = CommandKind.CANCEL, 7
    >>> ring.try_push(command)
    True
    >>> int(ring.pop()["key"])
    7
    >>> ring.pop() is None
    True
    """

    def try_push(self, record):
        """Producer: hands one record over and wakes the consumer if it sleeps; about 50 ns.

        Parameters
        ----------
        record : numpy.void or numpy.ndarray of one
            Of `COMMAND_DTYPE`; copied.

        Returns
        -------
        bool
            False when there is no room for such a record.
        """
        cdef const command_t* command = <const command_t*>self._record(record)

        if not ring_push(self.ring, command, 1, command.kind != COMMAND_PLACE):
            return False
        if ring_must_wake(self.ring):
            ring_signal(self.eventfd)
        return True

    def try_push_batch(self, records):
        """Producer: hands over all records of an array (`COMMAND_DTYPE`) or none; returns whether it did."""
        cdef bint taken = self.try_push_batch_c(self._commands(records), cnp.PyArray_SIZE(records))

        self.wake_c()
        return taken

    def push_many(self, records):
        """Producer: hands over as many as fit, in order, up to the first refusal.

        The placements of one batch go together or stay out together.

        Returns
        -------
        int
            How many were taken.
        """
        cdef size_t taken = self.push_many_c(self._commands(records), cnp.PyArray_SIZE(records))

        self.wake_c()
        return taken

    cdef const command_t* _commands(self, object records) except? NULL:
        if (not isinstance(records, np.ndarray) or records.dtype != self.dtype
                or not records.flags.c_contiguous):
            raise TypeError("records: expected a contiguous array of COMMAND_DTYPE")
        return <const command_t*>cnp.PyArray_DATA(records)

    cdef bint try_push_c(self, const command_t* command) noexcept nogil:
        return ring_push(self.ring, command, 1, command.kind != COMMAND_PLACE)

    cdef bint try_push_batch_c(self, const command_t* commands, size_t count) noexcept nogil:
        """All or none; one placement among them and the reserve is out of reach."""
        cdef:
            bint urgent = True
            size_t i

        for i in range(count):
            urgent = urgent and commands[i].kind != COMMAND_PLACE
        return ring_push(self.ring, commands, count, urgent)

    cdef size_t push_many_c(self, const command_t* commands, size_t count) noexcept nogil:
        """As many as fit, in order, up to the first refusal; legs of one batch (placements) all or none."""
        cdef size_t taken = 0, end

        while taken < count:
            end = taken + 1
            while (end < count and commands[taken].kind == COMMAND_PLACE
                   and commands[end].kind == COMMAND_PLACE
                   and commands[end].batch == commands[taken].batch):
                end += 1
            if not ring_push(self.ring, commands + taken, end - taken, commands[taken].kind != COMMAND_PLACE):
                break
            taken = end
        return taken

    cdef bint pop_c(self, command_t* command) noexcept nogil:
        return ring_pop(self.ring, command)

    cdef const command_t* front_c(self) noexcept nogil:
        return <const command_t*>ring_front(self.ring)


@cython.final
cdef class ResultRing(Ring):
    """Events from the executor to the engine; no reserve, since the executor holds back what does not fit.

    Parameters
    ----------
    capacity : int
        Records it holds: a power of two.
    first_cursor : int
        Where the 64-bit cursors start; tests start just below 2**64.
    """

    def try_push(self, record):
        """Producer: hands one record over and wakes the consumer if it sleeps; False when full."""
        if not ring_push(self.ring, self._record(record), 1, True):
            return False
        if ring_must_wake(self.ring):
            ring_signal(self.eventfd)
        return True

    cdef bint try_push_c(self, const event_t* event) noexcept nogil:
        return ring_push(self.ring, event, 1, True)

    cdef bint pop_c(self, event_t* event) noexcept nogil:
        return ring_pop(self.ring, event)


if sizeof(command_t) != RING_RECORD_BYTES or sizeof(event_t) != RING_RECORD_BYTES:
    raise ImportError(f"records are {sizeof(command_t)} and {sizeof(event_t)} bytes, "
                      f"the ring carries {RING_RECORD_BYTES}")
