"""Who signs and who pays, for the signers on top."""

from invmm._ext.keys cimport KeyBuffer


cdef class Wallet:
    cdef KeyBuffer keys
    cdef readonly str address   # of the key, checksummed
    cdef readonly str maker     # who pays: the key itself, or the wallet given as funder
    cdef readonly int signature_type
    cdef readonly long long chain_id
