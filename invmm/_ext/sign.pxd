"""C interface of the signer for callers with the GIL; executors hold `OrderTemplate`s."""

from libc.stdint cimport int64_t

from invmm._ext.order cimport SignedOrder
from invmm._ext.records cimport command_t
from invmm._ext.template cimport OrderTemplate
from invmm._ext.wallet cimport Wallet


cdef class OrderSigner(Wallet):
    cdef dict templates         # (exchange, token, metadata, builder) -> OrderTemplate, bounded

    cdef OrderTemplate template_of(self, object token_id, object exchange, object metadata, object builder)
    cdef SignedOrder finish(
        self, OrderTemplate template, command_t* command, int64_t maker, int64_t taker, int64_t timestamp_ms
    )
