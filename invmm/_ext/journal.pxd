"""The journal's records, and appending them."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from invmm._ext.records cimport command_t


cdef enum:
    JOURNAL_PAYLOAD = 128

    KIND_FILE = 1               # JournalKind
    KIND_EVENT = 2
    KIND_BYTES = 3
    KIND_BUFFER = 4
    KIND_COMMAND = 5
    KIND_INTENT = 6
    KIND_RESULT = 7
    KIND_MARKET = 8
    KIND_QUOTE = 9
    KIND_ENDED = 10
    KIND_REVIVED = 11
    KIND_CHECKPOINT = 12
    KIND_ORDER = 13
    KIND_SESSION = 14
    KIND_NOTE = 15
    KIND_CLOSE = 16
    KIND_VENUE = 17
    KIND_ACCOUNT = 18

    FLAG_MORE = 1               # JournalFlag
    FLAG_LOST = 2


cdef struct record_t:
    uint32_t crc                # CRC-32C of all that follows
    uint16_t kind
    uint8_t version
    uint8_t flags
    uint64_t sequence
    int64_t time_ns
    uint64_t link
    uint8_t[128] payload


cdef struct quote_t:
    uint32_t market
    uint8_t token
    uint8_t reason              # 0: quoted
    uint8_t previous
    uint8_t live
    uint64_t version
    int32_t[2] bid_e4
    int32_t[2] ask_e4
    int64_t[2] bid_micro
    int64_t[2] ask_micro
    int64_t[2] position_micro
    int64_t committed_e10
    int64_t[2] age_ns
    int64_t venue_ms
    int64_t ms_to_end
    int64_t unused


cdef struct journaled_order_t:
    uint64_t key
    uint8_t[32] order_id
    uint8_t[32] token_id
    uint32_t market
    uint8_t token
    uint8_t side
    uint8_t order_type
    uint8_t state
    int32_t price_e4
    uint16_t said
    uint8_t reason
    uint8_t level
    int64_t size_micro
    int64_t filled_micro
    int64_t expiration_s
    int64_t sent_ns
    int64_t seen_ns


cdef inline uint64_t command_number(const command_t* command) noexcept nogil:
    """What the records of both streams about one command have in common."""
    return (<uint64_t>(command.market + 1) << 40) + command.sequence


cdef class Journal:
    cdef:
        uint8_t* at                 # where the next record goes
        uint8_t* first              # … of the present file
        uint8_t* end
        uint64_t next_at            # first record of the file that waits, 0: none does
        uint64_t next_end
        uint64_t full_at            # first record of the file that was left, until it is collected
        uint64_t closed
        uint64_t next_sequence      # of the next record
        uint64_t promised           # sequence after the last record of all files offered
        uint64_t lost               # records that found no room
        bint told_lost              # the next record says that some are missing
        dict files                  # memoryview of each file at hand, by where its first record is

    cdef bint append_c(
        self, int kind, const void* payload, size_t size, int64_t time_ns, uint64_t link
    ) noexcept nogil
    cdef bint commands_c(
        self, int kind, const command_t* commands, size_t count, int64_t time_ns
    ) noexcept nogil
    cdef bint append_bytes_c(
        self, const uint8_t* data, size_t size, int64_t time_ns
    ) noexcept nogil
    cdef bint put_c(
        self, int kind, int flags, const void* payload, size_t size, int64_t time_ns, uint64_t link
    ) noexcept nogil
    cdef void lose_c(self) noexcept nogil
    cdef bint turn_c(self) noexcept nogil
    cdef int64_t room_c(self) noexcept nogil


cdef uint32_t crc32c_c(uint32_t crc, const void* data, size_t size) noexcept nogil
