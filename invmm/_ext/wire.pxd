"""Writing numbers, hex and base64 into a caller's buffer.

Each function returns the place after what it wrote and checks no room.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy


cdef inline char* put(char* at, const char* text, size_t size) noexcept nogil:
    memcpy(at, text, size)
    return at + size


cdef inline char* put_number(char* at, uint64_t value) noexcept nogil:
    cdef char[20] digits
    cdef int count = 0
    while True:
        digits[count] = <char>(48 + value % 10)
        count += 1
        value //= 10
        if value == 0:
            break
    while count > 0:
        count -= 1
        at[0] = digits[count]
        at += 1
    return at


cdef inline char* put_hex(char* at, const uint8_t* data, size_t size) noexcept nogil:
    # Arithmetic instead of a table, so that the compiler can do many at a time: 39 leads from "9" + 1 to "a".
    cdef size_t i
    cdef uint8_t high, low
    for i in range(size):
        high = data[i] >> 4
        low = data[i] & 15
        at[2 * i] = <char>(48 + high + (39 if high > 9 else 0))
        at[2 * i + 1] = <char>(48 + low + (39 if low > 9 else 0))
    return at + 2 * size


cdef inline void put_word(uint8_t* word, uint64_t value) noexcept nogil:
    """A uint256 of the ABI: big-endian, in the last eight of 32 bytes that are zero above."""
    cdef int i
    for i in range(8):
        word[31 - i] = <uint8_t>(value >> (8 * i))


cdef inline char* put_base64url(char* at, const uint8_t* data) noexcept nogil:
    """The 44 characters of 32 bytes, padding kept."""
    cdef const char* alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    cdef int i
    cdef uint32_t group
    for i in range(0, 30, 3):
        group = <uint32_t>data[i] << 16 | <uint32_t>data[i + 1] << 8 | data[i + 2]
        at[0] = alphabet[group >> 18]
        at[1] = alphabet[group >> 12 & 63]
        at[2] = alphabet[group >> 6 & 63]
        at[3] = alphabet[group & 63]
        at += 4
    group = <uint32_t>data[30] << 16 | <uint32_t>data[31] << 8
    at[0] = alphabet[group >> 18]
    at[1] = alphabet[group >> 12 & 63]
    at[2] = alphabet[group >> 6 & 63]
    at[3] = 61
    return at + 4
