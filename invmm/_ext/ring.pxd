"""Rings between two threads, for other Cython modules. The algorithm is ring.h, the waiting ring_wait.h."""

from libc.stdint cimport int64_t, uint64_t

from invmm._ext.records cimport command_t, event_t


cdef extern from "ring.h" nogil:
    enum:
        RING_RECORD_BYTES
        RING_ALIGNMENT

    ctypedef struct ring_t:
        uint64_t capacity
        uint64_t mask
        uint64_t reserve
        uint64_t tail
        uint64_t cached_head
        uint64_t woken
        uint64_t refused
        uint64_t head
        uint64_t cached_tail
        uint64_t parked

    size_t ring_bytes(uint64_t capacity) noexcept
    void ring_init(ring_t* ring, uint64_t capacity, uint64_t reserve, uint64_t first) noexcept
    uint64_t ring_room(ring_t* ring, uint64_t wanted, bint urgent) noexcept
    bint ring_push(ring_t* ring, const void* records, uint64_t count, bint urgent) noexcept
    bint ring_ready(ring_t* ring) noexcept
    const void* ring_front(ring_t* ring) noexcept
    bint ring_pop(ring_t* ring, void* record) noexcept
    bint ring_must_wake(ring_t* ring) noexcept
    bint ring_park(ring_t* ring) noexcept
    void ring_unpark(ring_t* ring) noexcept
    uint64_t ring_count(const ring_t* ring) noexcept


cdef extern from "ring_wait.h" nogil:
    enum:
        RING_WAIT_TIMEOUT
        RING_WAIT_RING
        RING_WAIT_FD
        RING_WAIT_SIGNAL

    void ring_relax() noexcept
    int64_t ring_monotonic_ns() noexcept
    int ring_eventfd() noexcept
    void ring_signal(int eventfd) noexcept
    void ring_drain_signal(int eventfd) noexcept
    int ring_wait(ring_t* ring, int eventfd, int64_t spin_ns, int64_t timeout_ns, int fd) noexcept


cdef class Ring:
    cdef ring_t* ring               # inside `memory`, on a RING_ALIGNMENT boundary
    cdef object dtype               # of its records
    cdef readonly object memory     # numpy array (uint8) that holds cursors and slots
    cdef readonly int eventfd       # readable when the parked consumer is to wake up

    # producer
    cdef uint64_t room_c(self, bint urgent) noexcept nogil
    cdef void wake_c(self) noexcept nogil               # once, after the last push of a step
    # consumer
    cdef int wait_c(self, int64_t spin_ns, int64_t timeout_ns, int epoll_fd) noexcept nogil   # RING_WAIT_*

    cdef const void* _record(self, object record) except NULL
    cdef bint _wait_or_raise(self, object timeout_ns, int64_t spin_ns) except -1


cdef class CommandRing(Ring):
    cdef const command_t* _commands(self, object records) except? NULL
    cdef bint try_push_c(self, const command_t* command) noexcept nogil
    cdef bint try_push_batch_c(self, const command_t* commands, size_t count) noexcept nogil
    cdef size_t push_many_c(self, const command_t* commands, size_t count) noexcept nogil
    cdef bint pop_c(self, command_t* command) noexcept nogil
    cdef const command_t* front_c(self) noexcept nogil  # the oldest in place, or NULL; until the next pop


cdef class ResultRing(Ring):
    cdef bint try_push_c(self, const event_t* event) noexcept nogil
    cdef bint pop_c(self, event_t* event) noexcept nogil
