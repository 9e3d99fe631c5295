"""C interface of a signed order."""


cdef class SignedOrder:
    cdef readonly str order_id
    cdef readonly str struct_hash
    cdef readonly str signature
    cdef readonly str token_id
    cdef readonly object maker_amount       # micro-dollars of a BUY, micro-shares of a SELL
    cdef readonly object taker_amount       # the other one
    cdef readonly object salt
    cdef readonly object timestamp_ms
    cdef bytes head
    cdef bytes tail

    @staticmethod
    cdef SignedOrder made(
        str token_id, bytes text, str order_id, str struct_hash, object maker, object taker, object salt,
        object timestamp_ms,
    )
