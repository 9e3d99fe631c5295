"""C interface of the hashing of constants."""

from libc.stdint cimport uint8_t


cdef bytes keccak(bytes data)
cdef str checksummed(bytes account)
cdef bytes word_of(object value)
cdef bytes word_of_address(str address)
cdef bytes word_of_text(str name, object value)
cdef bytes plain(str name, object value)
cdef bytes word_hash(str text)
cdef bytes domain_separator(str name, str version, object chain_id, str contract)
cdef str hex_of(const uint8_t* data, size_t size)
