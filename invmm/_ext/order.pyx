"""A signed order: its id, amounts and signature, and the bytes of the request that places it."""

cimport cython

from invmm._ext.eip712 cimport plain


@cython.final
@cython.auto_pickle(False)
cdef class SignedOrder:
    """An order ready to be sent.

    Attributes
    ----------
    order_id
        The id under which the venue will know it, 0x and 64 hex digits.
    struct_hash, signature
        0x and hex digits; a deposit wallet's signature is the wrapped one.
    maker_amount, taker_amount
        What is given and asked for: micro-dollars and micro-shares for a BUY, the other way round for a SELL.
    """

    def __cinit__(self):
        self.head = self.tail = b""

    @staticmethod
    cdef SignedOrder made(
        str token_id, bytes text, str order_id, str struct_hash, object maker, object taker, object salt,
        object timestamp_ms,
    ):
        cdef SignedOrder order = SignedOrder.__new__(SignedOrder)
        # The template of a signer has no owner: it stands between the last two halves.
        mark = text.rindex(b'"owner":"') + 9
        start = text.index(b'"signature":"') + 13
        order.head = text[:mark]
        order.tail = text[mark:]
        order.signature = text[start:text.index(b'"', start)].decode()
        order.token_id = token_id
        order.order_id = order_id
        order.struct_hash = struct_hash
        order.maker_amount = maker
        order.taker_amount = taker
        order.salt = salt
        order.timestamp_ms = timestamp_ms
        return order

    def body(self, owner):
        """The exact bytes of a POST /order request for the API key `owner`."""
        return self.head + plain("owner", owner) + self.tail

    def __repr__(self):
        return f"SignedOrder({self.order_id})"
