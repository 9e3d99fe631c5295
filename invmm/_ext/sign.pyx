"""Signed orders, byte for byte as the venue's own clients make them: the signer for callers with the GIL.

Takes integer prices (1e-4 dollars), sizes (1e-6 shares) and times; gives `SignedOrder`s. It signs with one
`OrderTemplate` per token (`invmm._ext.template`), which an executor uses without the GIL. Reads no clock and
draws no random number.

The private key lives in the native buffer of the signer's `Wallet`, shared by its templates and wiped by
`close` or with the last of them. The signer's caps live beside it and are asked before each signature.
"""

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from invmm._ext.amounts import OrderRuleError

from invmm._ext.amounts cimport market_amounts_c, order_amounts_c, order_type_of, side_of
from invmm._ext.caps cimport SignerCaps
from invmm._ext.eip712 cimport hex_of
from invmm._ext.order cimport SignedOrder
from invmm._ext.records cimport BUY, COMMAND_PLACE, FLAG_POST_ONLY, FOK, command_t
from invmm._ext.template cimport OrderTemplate, check_terms, sealed_t
from invmm._ext.wallet cimport Wallet


cdef enum:
    TEMPLATES_KEPT = 64         # a market has two tokens; windows roll, so old ones are dropped together


cdef class OrderSigner(Wallet):
    """Signs orders with one private key for one wallet.

    The parameters are those of `Wallet`. This class has no clock and no random source: `timestamp_ms` and
    `salt` must be given; `invmm.venue.auth.OrderSigner` adds both.
    """

    def __cinit__(self):
        self.templates = {}

    @property
    def caps(self):
        """The `SignerCaps` that every order of this key must pass, also through templates made earlier. Set
        once; None: no caps.
        """
        return self.keys.caps

    @caps.setter
    def caps(self, SignerCaps caps not None):
        if self.keys.caps is not None and self.keys.caps is not caps:
            raise ValueError("caps: this signer has its caps; they are set once")
        self.keys.caps = caps

    def _now_ms(self):
        raise ValueError("timestamp_ms: expected unix milliseconds; this signer has no clock")

    def _new_salt(self):
        raise ValueError("salt: expected a number below 2^53; this signer has no random source")

    cdef OrderTemplate template_of(self, object token_id, object exchange, object metadata, object builder):
        key = (token_id, exchange, metadata, builder)
        template = self.templates.get(key)
        if template is None:
            template = OrderTemplate(self, token_id, exchange, metadata=metadata, builder=builder)
            if len(self.templates) >= TEMPLATES_KEPT:
                self.templates.clear()
            self.templates[key] = template
        return template

    cdef SignedOrder finish(
        self, OrderTemplate template, command_t* command, int64_t maker, int64_t taker, int64_t timestamp_ms
    ):
        cdef sealed_t sealed
        cdef char* body
        cdef int size
        cdef size_t capacity = template.body_capacity
        body = <char*>calloc(1, capacity)
        if body == NULL:
            raise MemoryError
        try:
            with nogil:
                size = template.seal_c(command, maker, taker, timestamp_ms, &sealed, False)
                if size == 0:
                    size = template.render_c(command, &sealed, body, capacity)
            if size < 0:
                raise OrderRuleError(
                    size,
                    f"price_e4={command.price_e4} size_micro={command.size_micro} "
                    f"timestamp_ms={timestamp_ms} token {template.token_id}",
                )
            text = body[:size]
        finally:
            free(body)
        return SignedOrder.made(
            template.token_id, text, hex_of(sealed.order_id, 32), hex_of(sealed.struct_hash, 32),
            maker, taker, command.salt, timestamp_ms,
        )

    def sign(
        self, token_id, side, int32_t price_e4, int64_t size_micro, *, int32_t tick_e4, order_type="GTC",
        int64_t expiration=0, bint post_only=False, exchange="v2", timestamp_ms=None, salt=None,
        metadata=None, builder=None,
    ):
        """Signs an order of so many shares at a limit price.

        Parameters
        ----------
        token_id
            Outcome id as a decimal string (`clobTokenIds`, or a position id on "v3").
        side
            `Side` or "BUY" / "SELL".
        price_e4
            Limit price in 1e-4 dollars, on the tick.
        size_micro
            Shares in 1e-6. Resting orders floor them to 0.01. FOK and FAK round as market orders do: a buy
            spends floor(size x price) in whole cents and asks for what that buys.
        tick_e4
            The market's tick in 1e-4 dollars.
        order_type
            "GTC", "GTD", "FOK", "FAK" or `OrderType`.
        expiration
            Unix seconds for GTD, otherwise 0. It is sent, not signed.
        post_only
            GTC and GTD only. It is sent, not signed.
        exchange
            "v2", "v2-neg-risk" or "v3": from the market's version, see
            `invmm.venue.profile.exchange_of_market`.
        timestamp_ms
            Creation time, unix milliseconds.
        salt
            Any number below 2^53 that was not used with the same timestamp.
        metadata, builder
            32 bytes or 0x and 64 hex digits; zero if None.

        Returns
        -------
        SignedOrder

        Raises
        ------
        OrderRuleError
            The order breaks a rule of the venue; the text says which.
        """
        cdef command_t command
        cdef int64_t maker = 0, taker = 0
        cdef int status
        cdef int64_t made_ms = self._now_ms() if timestamp_ms is None else timestamp_ms
        memset(&command, 0, sizeof(command))
        command.kind = COMMAND_PLACE
        command.side = side_of(side)
        command.order_type = order_type_of(order_type)
        command.flags = FLAG_POST_ONLY if post_only else 0
        command.price_e4 = price_e4
        command.size_micro = size_micro
        command.expiration_s = expiration
        command.salt = self._new_salt() if salt is None else salt
        template = self.template_of(token_id, exchange, metadata, builder)
        status = order_amounts_c(
            command.side, command.order_type, price_e4, size_micro, tick_e4, &maker, &taker
        )
        if status == 0:
            status = check_terms(&command, made_ms)
        if status:
            raise OrderRuleError(
                status,
                f"{side!r} {order_type!r} price_e4={price_e4} size_micro={size_micro} tick_e4={tick_e4} "
                f"expiration={expiration} post_only={post_only} timestamp_ms={made_ms} salt={command.salt}",
            )
        return self.finish(template, &command, maker, taker, made_ms)

    def sign_market(
        self, token_id, side, int64_t amount_micro, int32_t price_e4, *, int32_t tick_e4, order_type="FOK",
        exchange="v2", timestamp_ms=None, salt=None, metadata=None, builder=None,
    ):
        """Signs a market order that gives an amount: dollars of a BUY, shares of a SELL.

        Parameters
        ----------
        amount_micro
            Micro-dollars to spend, or micro-shares to sell; floored to 0.01.
        price_e4
            The worst price accepted, in 1e-4 dollars, on the tick.
        order_type
            "FOK" or "FAK".

        The other parameters, the result and the errors are those of `sign`.
        """
        cdef command_t command
        cdef int64_t maker = 0, taker = 0
        cdef int status
        cdef int64_t made_ms = self._now_ms() if timestamp_ms is None else timestamp_ms
        memset(&command, 0, sizeof(command))
        command.kind = COMMAND_PLACE
        command.side = side_of(side)
        command.order_type = order_type_of(order_type)
        if command.order_type < FOK:
            raise ValueError(f"order type: a market order is FOK or FAK, found {order_type!r}")
        command.price_e4 = price_e4
        command.salt = self._new_salt() if salt is None else salt
        template = self.template_of(token_id, exchange, metadata, builder)
        status = market_amounts_c(command.side, amount_micro, price_e4, tick_e4, &maker, &taker)
        if status == 0:
            status = check_terms(&command, made_ms)
        if status:
            raise OrderRuleError(
                status,
                f"{side!r} {order_type!r} price_e4={price_e4} amount_micro={amount_micro} tick_e4={tick_e4} "
                f"timestamp_ms={made_ms} salt={command.salt}",
            )
        command.size_micro = taker if command.side == BUY else maker    # the shares: caps look at them
        return self.finish(template, &command, maker, taker, made_ms)
