"""Appending fixed records to memory that is a file, and reading them back after anything.

    Journal.append_c   a store, a checksum, one more store: no lock, no allocation, no system call
    read               every record up to the first that is not whole, and why it ended there

A record becomes valid with its checksum, which is stored last; the memory before it is zero and the sequence
follows from the place. So whoever reads, at any moment and after any death of the process, sees it whole
or not at all. Files come from outside (`execution/journal.py`): one is written, one waits. One writer each.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

import numpy as np

from invmm import journal_types as layout
from invmm._ext.atomics cimport (
    atomic_load_acquire, atomic_load_relaxed, atomic_store_relaxed, atomic_store_release
)
from invmm._ext.records cimport command_t


cdef extern from "journal.h" nogil:
    int crc32c_choose()
    uint32_t crc32c(uint32_t crc, const void* data, size_t size)
    uint32_t crc32c_by_table(uint32_t crc, const void* data, size_t size)
    void journal_publish(uint32_t* place, uint32_t crc)
    void journal_touch(uint8_t* byte)


cdef enum:
    RECORD = 160                # sizeof(record_t)
    VERSION = 1
    PAGE = 4096
    WHOLE = 0                   # what a place in a file holds
    BROKEN = 1
    MISPLACED = 2
    UNWRITTEN = 3

cdef bint by_instruction = crc32c_choose()


cdef uint32_t crc32c_c(uint32_t crc, const void* data, size_t size) noexcept nogil:
    return crc32c(crc, data, size)


def checksum(const uint8_t[::1] data not None, uint32_t crc=0):
    """CRC-32C of `data`; that of what came before it goes on with `crc`."""
    return crc32c(crc, &data[0] if data.shape[0] else NULL, data.shape[0])


def checksum_by_table(const uint8_t[::1] data not None, uint32_t crc=0):
    """The same on processors without an instruction for it."""
    return ~crc32c_by_table(~crc, &data[0] if data.shape[0] else NULL, data.shape[0]) & 0xFFFFFFFF


cdef class Journal:
    """Appends to one file after another. One thread writes; another offers and collects files.

    `offer` the first file before anything is appended.
    """

    def __cinit__(self):
        self.files = {}
        self.next_sequence = 1
        self.promised = 1

    def __reduce__(self):
        raise TypeError("Journal writes into a mapped file: it cannot be pickled or copied")

    # ---- whoever keeps the files ---------------------------------------------------------------------------

    def offer(self, memory, header, int64_t time_ns):
        """A new file: the first becomes the present one, others wait until it is full.

        Parameters
        ----------
        memory : writable buffer of zeros
            The file, mapped; whole records, at least two.
        header : bytes of 128, FILE_DTYPE
            `records` is filled in, and so is the sequence of its first record.
        time_ns : int

        Raises
        ------
        ValueError
            One waits already, or the one that was left is not collected yet.
        """
        cdef:
            uint8_t[::1] view = memory
            const uint8_t[::1] given = header
            uint8_t* base
            record_t record
            uint64_t count = view.shape[0] // RECORD
            Py_ssize_t page

        if view.shape[0] % RECORD or count < 2:
            raise ValueError(f"memory: expected two or more records of {RECORD} bytes, got {view.shape[0]}")
        if given.shape[0] != JOURNAL_PAYLOAD:
            raise ValueError(f"header: expected {JOURNAL_PAYLOAD} bytes, got {given.shape[0]}")
        if self.is_waiting or atomic_load_acquire(&self.full_at):
            raise ValueError("a file waits already, or the one before is not collected")
        base = &view[0]
        words = np.frombuffer(header, layout.FILE_DTYPE).copy()
        words["records"] = count - 1
        payload = words.tobytes()
        memset(&record, 0, RECORD)
        record.kind = KIND_FILE
        record.version = VERSION
        record.sequence = self.promised
        record.time_ns = time_ns
        record.link = words["session"][0]
        memcpy(record.payload, <const char*>payload, JOURNAL_PAYLOAD)
        record.crc = crc32c(0, <const char*>&record + 4, RECORD - 4)
        memcpy(base, &record, RECORD)
        for page in range(PAGE, view.shape[0], PAGE):     # the writer is not to wait for page faults
            (<volatile uint8_t*>base)[page] = 0
        self.promised += count - 1
        self.files[<size_t>base + RECORD] = view
        if self.at == NULL:
            self.end = base + count * RECORD
            self.at = self.first = base + RECORD
        else:
            self.next_end = <uint64_t><size_t>(base + count * RECORD)
            atomic_store_release(&self.next_at, <uint64_t><size_t>(base + RECORD))

    @property
    def is_waiting(self):
        """Whether a file waits for the present one to be full."""
        return atomic_load_acquire(&self.next_at) != 0

    def collect(self):
        """Lets go of the memory of the file that was left full; False if none was."""
        cdef uint64_t at = atomic_load_acquire(&self.full_at)

        if at == 0:
            return False
        del self.files[at]
        atomic_store_release(&self.full_at, 0)
        return True

    def warm(self, Py_ssize_t records):
        """Takes the page faults of the next records here, so that the writer does not meet them."""
        cdef:
            uint8_t[::1] view
            uint8_t* at = self.at       # may be a moment old: then another page is warmed
            uint8_t* page
            uint8_t* base
            uint8_t* last

        for view in self.files.values():
            base = &view[0]
            if not base <= at < base + view.shape[0]:
                continue
            last = min(at + records * RECORD, base + view.shape[0])
            with nogil:
                page = at
                while page < last:
                    journal_touch(page)
                    page += PAGE
            return

    def close(self):
        """Nothing is appended from now on. The memory stays until this object is gone."""
        atomic_store_relaxed(&self.closed, 1)

    # ---- the writer ----------------------------------------------------------------------------------------

    def append(self, int kind, payload=b"", int64_t time_ns=0, uint64_t link=0):
        """Appends one record from Python; longer payloads go on in BYTES records.

        Returns
        -------
        bool
            False: not written, or not in whole.
        """
        cdef:
            const uint8_t[::1] data = payload
            const uint8_t* at = &data[0] if data.shape[0] else NULL

        if data.shape[0] <= JOURNAL_PAYLOAD:
            return self.append_c(kind, at, data.shape[0], time_ns, link)
        if self.room_c() * JOURNAL_PAYLOAD < data.shape[0]:
            self.lose_c()
            return False
        return (self.put_c(kind, FLAG_MORE, at, JOURNAL_PAYLOAD, time_ns, link)
                and self.append_bytes_c(at + JOURNAL_PAYLOAD, data.shape[0] - JOURNAL_PAYLOAD, time_ns))

    def append_rows(self, int kind, rows, int64_t time_ns=0, uint64_t link=0):
        """One record for each row of an array of 128-byte payloads; how many found room."""
        cdef:
            const uint8_t[::1] data = np.ascontiguousarray(rows).reshape(-1).view(np.uint8)
            Py_ssize_t count = data.shape[0] // JOURNAL_PAYLOAD
            Py_ssize_t i

        with nogil:
            for i in range(count):
                if not self.append_c(kind, &data[i * JOURNAL_PAYLOAD], JOURNAL_PAYLOAD, time_ns, link):
                    break
            else:
                i = count
        return i

    @property
    def room(self):
        """Records that can be appended before another file is needed; 0: nothing can."""
        return self.room_c()

    @property
    def sequence(self):
        """Sequence of the last record, 0: there is none yet."""
        return self.next_sequence - 1

    @property
    def refused(self):
        """Records that found no room."""
        return self.lost

    cdef int64_t room_c(self) noexcept nogil:
        """Records for which there is room now. Only the writer's answer is exact."""
        cdef uint64_t next_at

        if atomic_load_relaxed(&self.closed):
            return 0
        next_at = atomic_load_acquire(&self.next_at)
        return (self.end - self.at) // RECORD + ((self.next_end - next_at) // RECORD if next_at else 0)

    cdef bint append_c(
        self, int kind, const void* payload, size_t size, int64_t time_ns, uint64_t link
    ) noexcept nogil:
        """One record with at most 128 bytes of payload; False when it was not written."""
        return self.put_c(kind, 0, payload, size, time_ns, link)

    cdef bint commands_c(
        self, int kind, const command_t* commands, size_t count, int64_t time_ns
    ) noexcept nogil:
        """A group of commands, none if there is no room for all; False when it was not written."""
        cdef size_t i

        if self.room_c() < <int64_t>count:
            self.lose_c()
            return False
        for i in range(count):
            self.put_c(kind, 0, &commands[i], sizeof(command_t), time_ns, command_number(&commands[i]))
        return True

    cdef bint append_bytes_c(self, const uint8_t* data, size_t size, int64_t time_ns) noexcept nogil:
        """The bytes that the record before announced with MORE."""
        cdef size_t offset = 0, part

        while offset < size:
            part = min(size - offset, <size_t>JOURNAL_PAYLOAD)
            if not self.put_c(
                KIND_BYTES, FLAG_MORE if offset + part < size else 0, data + offset, part, time_ns, offset
            ):
                return False
            offset += part
        return True

    cdef bint put_c(
        self, int kind, int flags, const void* payload, size_t size, int64_t time_ns, uint64_t link
    ) noexcept nogil:
        cdef record_t* record

        if atomic_load_relaxed(&self.closed) or (self.at == self.end and not self.turn_c()):
            self.lose_c()
            return False
        if self.told_lost:
            flags |= FLAG_LOST
            self.told_lost = False
        record = <record_t*>self.at
        record.kind = <uint16_t>kind
        record.version = VERSION
        record.flags = <uint8_t>flags
        record.sequence = self.next_sequence
        record.time_ns = time_ns
        record.link = link
        if size:
            memcpy(record.payload, payload, size)
        journal_publish(&record.crc, crc32c(0, self.at + 4, RECORD - 4))
        self.at += RECORD
        self.next_sequence += 1
        return True

    cdef void lose_c(self) noexcept nogil:
        self.lost += 1
        self.told_lost = True

    cdef bint turn_c(self) noexcept nogil:
        """Goes on in the file that waits; False when there is none."""
        cdef uint64_t next_at = atomic_load_acquire(&self.next_at)

        if next_at == 0:
            return False
        # Nothing is offered before the last one is collected, so its place is free.
        atomic_store_release(&self.full_at, <uint64_t><size_t>self.first)
        self.at = <uint8_t*><size_t>next_at
        self.end = <uint8_t*><size_t>self.next_end
        self.first = self.at
        atomic_store_release(&self.next_at, 0)
        return True


# ---- reading -----------------------------------------------------------------------------------------------


cdef int look_c(const uint8_t* at, uint64_t sequence) noexcept nogil:
    """What the record at a place is, if `sequence` is what belongs there. Records need no alignment."""
    cdef:
        record_t head
        int i

    memcpy(&head, at, 32)
    if crc32c(0, at + 4, RECORD - 4) != head.crc:
        for i in range(RECORD):
            if at[i]:
                return BROKEN
        return UNWRITTEN
    return WHOLE if head.sequence == sequence and head.version == VERSION else MISPLACED


def scan(const uint8_t[::1] data not None, uint64_t sequence, Py_ssize_t first=1):
    """How many records of a file's bytes are whole, one after another.

    Parameters
    ----------
    data : bytes-like
        A journal file, from its beginning; nothing beyond it is read.
    sequence : int
        What the record at `first` must have.
    first : int
        Where to begin, in records.

    Returns
    -------
    count : int
        Whole records from `first` on.
    reason : EndReason
        What ended them: SHORT when the bytes did.
    """
    cdef:
        Py_ssize_t total = data.shape[0] // RECORD
        Py_ssize_t i = first
        int found = WHOLE

    if first < 0:
        raise ValueError(f"first: expected 0 or more, got {first}")
    with nogil:
        while i < total:
            found = look_c(&data[i * RECORD], sequence + <uint64_t>(i - first))
            if found != WHOLE:
                break
            i += 1
    reason = layout.EndReason.SHORT
    if found == BROKEN:
        reason = layout.EndReason.CHECKSUM
    elif found == MISPLACED:
        reason = layout.EndReason.SEQUENCE
    elif found == UNWRITTEN:
        reason = layout.EndReason.UNWRITTEN
    return max(i - first, 0), reason


def whole(const uint8_t[::1] data not None, uint64_t sequence):
    """Which records after the first are whole, each by itself: an array of bool.

    For what must not be missed after a loss of power, when a later page reached the disk and an earlier one
    did not: sequence `sequence + i` belongs to place 1 + i, so each record proves itself.
    """
    cdef:
        Py_ssize_t total = max(data.shape[0] // RECORD - 1, 0)
        Py_ssize_t i
        uint8_t[::1] found

    out = np.zeros(total, dtype=np.uint8)
    found = out
    with nogil:
        for i in range(total):
            found[i] = look_c(&data[(i + 1) * RECORD], sequence + <uint64_t>i) == WHOLE
    return out.astype(bool)


def header_of(data):
    """First record of a journal file's bytes: its head (JOURNAL_DTYPE) and payload (FILE_DTYPE), or None."""
    cdef:
        const uint8_t[::1] view = data
        record_t record

    if view.shape[0] < RECORD:
        return None
    memcpy(&record, &view[0], RECORD)
    if (crc32c(0, &view[4], RECORD - 4) != record.crc or record.kind != KIND_FILE or record.version != VERSION
            or memcmp(record.payload, <const char*>layout.MAGIC, 8) != 0):
        return None
    head = np.frombuffer(bytes(view[:RECORD]), layout.JOURNAL_DTYPE)[0]
    payload = np.frombuffer(head["payload"].tobytes(), layout.FILE_DTYPE)[0]
    return (head, payload) if payload["record_bytes"] == RECORD else None


def read(path):
    """The records of one file, up to the first that is not whole.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    records : array of JOURNAL_DTYPE
        Without the one that describes the file.
    end : JournalEnd

    Raises
    ------
    OSError
        The file cannot be opened or read.
    """
    with open(path, "rb") as file:
        return read_bytes(file.read())


def read_bytes(data):
    """`read` of a file's content."""
    header = header_of(data)
    if header is None:
        return np.zeros(0, layout.JOURNAL_DTYPE), layout.JournalEnd(layout.EndReason.HEADER, 0, 0)
    first = int(header[0]["sequence"])
    count, reason = scan(data, first)
    records = np.frombuffer(data, layout.JOURNAL_DTYPE, count, RECORD)
    if reason is layout.EndReason.SHORT and count == header[1]["records"]:
        reason = layout.EndReason.FULL
    if count and records["kind"][count - 1] == KIND_CLOSE:
        reason = layout.EndReason.CLOSED
    return records, layout.JournalEnd(reason, first + count - 1, (count + 1) * RECORD)
