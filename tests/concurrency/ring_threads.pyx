"""Test-only: the two sides of a ring as loops that never take the GIL."""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from invmm._ext.records cimport COMMAND_CANCEL, COMMAND_PLACE, command_t
from invmm._ext.ring cimport RING_WAIT_TIMEOUT, CommandRing


def produce(CommandRing ring, uint64_t count, uint64_t wake_every):
    """Pushes `count` commands numbered from 0, waking after each `wake_every`; returns refusals met."""
    cdef:
        command_t command
        uint64_t sent = 0
        uint64_t refused = 0

    memset(&command, 0, sizeof(command))
    with nogil:
        while sent < count:
            command.kind = COMMAND_CANCEL if sent % 4 == 0 else COMMAND_PLACE
            command.sequence = sent
            command.key = ~sent
            command.salt = sent * 0x9E3779B97F4A7C15ULL
            memset(command.order_id, <int>(sent & 0xFF), 32)
            if ring.try_push_c(&command):
                sent += 1
                if sent % wake_every == 0:
                    ring.wake_c()
            else:
                refused += 1
                ring.wake_c()
        ring.wake_c()
    return refused


def consume(CommandRing ring, uint64_t count, int64_t spin_ns):
    """Takes `count` commands; returns how many were not the expected one, or -1 when none came in 20 s."""
    cdef:
        command_t command
        uint64_t taken = 0
        int64_t wrong = 0
        uint64_t i

    with nogil:
        while taken < count:
            if not ring.pop_c(&command):
                if ring.wait_c(spin_ns, 20_000_000_000, -1) == RING_WAIT_TIMEOUT:
                    wrong = -1
                    break
                continue
            if (command.sequence != taken or command.key != ~taken
                    or command.salt != taken * 0x9E3779B97F4A7C15ULL
                    or command.kind != (COMMAND_CANCEL if taken % 4 == 0 else COMMAND_PLACE)):
                wrong += 1
            for i in range(32):
                if command.order_id[i] != (taken & 0xFF):
                    wrong += 1
            taken += 1
    return wrong


def wait(CommandRing ring, int64_t spin_ns, int64_t timeout_ns, int fd):
    """`wait_c` from Python: RING_WAIT_* bits."""
    cdef int seen

    with nogil:
        seen = ring.wait_c(spin_ns, timeout_ns, fd)
    return seen
