"""Hashing of typed structured data (EIP-712), addresses (EIP-55) and the 32-byte words of the ABI.

For preparing what is constant; the per-order path patches words in place. Pure, with the GIL.
"""

from invmm.venue import profile as venue

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t


cdef extern from "keccak.h" nogil:
    void invmm_keccak256(const uint8_t* data, size_t size, uint8_t* out) noexcept


cdef bytes keccak(bytes data):
    cdef uint8_t[32] out
    invmm_keccak256(<const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), out)
    return PyBytes_FromStringAndSize(<char*>out, 32)


def keccak256(data):
    """Keccak-256 of bytes, as Ethereum uses it (not SHA-3)."""
    return keccak(bytes(data))


cdef str checksummed(bytes account):
    """EIP-55: a letter is upper case where the hash of the lower-case text has a nibble above 7."""
    text = account.hex()
    marks = keccak(text.encode()).hex()
    return "0x" + "".join([c.upper() if int(mark, 16) > 7 else c for c, mark in zip(text, marks)])


def checksum_address(address):
    """An address in EIP-55 spelling.

    Raises
    ------
    ValueError
        Not 0x and 40 hex digits, or spelled in mixed case with a wrong checksum: a mistyped address.
    """
    try:
        account = bytes.fromhex(address[2:])
    except (TypeError, ValueError):
        account = b""
    if len(account) != 20 or len(address) != 42 or address[:2] != "0x":
        # What is longer is not shown: it may be a private key in the wrong place.
        found = repr(address) if len(repr(address)) <= 44 else f"{len(repr(address))} characters"
        raise ValueError(f"address: expected 0x and 40 hex digits, found {found}")
    right = checksummed(account)
    if address[2:] not in (address[2:].lower(), address[2:].upper()) and address != right:
        raise ValueError(f"address: the checksum of {address} is wrong, expected {right}")
    return right


cdef bytes word_of(object value):
    return int(value).to_bytes(32, "big")


cdef bytes word_of_address(str address):
    return bytes(12) + bytes.fromhex(address[2:])


cdef bytes word_of_text(str name, object value):
    """bytes32 from None, 32 bytes or 0x and 64 hex digits."""
    if value is None:
        return bytes(32)
    if isinstance(value, str):
        try:
            word = bytes.fromhex(value[2:]) if value[:2] == "0x" and len(value) == 66 else b""
        except ValueError:
            word = b""
    else:
        word = bytes(value) if isinstance(value, (bytes, bytearray)) else b""
    if len(word) != 32:
        raise ValueError(f"{name}: expected 32 bytes or 0x and 64 hex digits, found {value!r}")
    return word


cdef bytes plain(str name, object value):
    """ASCII that may stand between quotes in JSON and in a header line."""
    fits = isinstance(value, str) and value.isascii() and value.isprintable()
    if not fits or set(value) & set('"\\'):
        raise ValueError(f"{name}: expected printable ASCII without quotes and backslashes")
    return value.encode()


cdef bytes word_hash(str text):
    return keccak(text.encode())


cdef bytes domain_separator(str name, str version, object chain_id, str contract):
    """EIP-712 domain separator; without a contract as the venue's authentication domain has none."""
    if contract is None:
        kind, tail = venue.AUTH_DOMAIN_TYPE, b""
    else:
        kind, tail = venue.DOMAIN_TYPE, word_of_address(contract)
    return keccak(word_hash(kind) + word_hash(name) + word_hash(version) + word_of(chain_id) + tail)


cdef str hex_of(const uint8_t* data, size_t size):
    return "0x" + (<const char*>data)[:size].hex()
