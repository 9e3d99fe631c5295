"""Order hashing, signing and POST bodies without the GIL, from all about a token's orders that never changes.

Takes commands and times; gives order ids and the JSON bytes to send. `OrderTemplate.build_c` allocates
nothing and raises nothing: it returns a length, or a negative `RULE_*` status that
`invmm._ext.amounts.rule_text` puts into words. Reads no clock and draws no random number.

    order words (12 x 32 bytes) -keccak-> struct hash -0x1901, domain-> digest = order id -secp256k1->
    signature

The private key and its caps live in the native buffer of the `Wallet`. `seal_c`, the one place where orders
are signed, asks the caps first.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from invmm._ext.amounts import OrderRuleError
from invmm.venue import profile as venue

from invmm._ext.amounts cimport (
    RULE_CAPACITY,
    RULE_CLOSED,
    RULE_EXPIRATION,
    RULE_EXPIRATION_LEAD,
    RULE_MIN_NOTIONAL,
    RULE_MIN_SIZE,
    RULE_POST_ONLY,
    RULE_SALT,
    RULE_TIMESTAMP,
    order_amounts_c,
)
from invmm._ext.atomics cimport atomic_load_acquire
from invmm._ext.eip712 cimport domain_separator, plain, word_hash, word_of, word_of_address, word_of_text
from invmm._ext.records cimport BUY, FLAG_POST_ONLY, FOK, GTD, command_t
from invmm._ext.wallet cimport Wallet
from invmm._ext.wire cimport put, put_hex, put_number, put_word


cdef extern from "keccak.h" nogil:
    void invmm_keccak256(const uint8_t* data, size_t size, uint8_t* out) noexcept


cdef uint64_t templates_made = 0                        # under the GIL
cdef uint64_t SALT_LIMIT = 1 << 53                      # the salt travels as a JSON number
cdef const char* ORDER_TYPES = b"GTCGTDFOKFAK"          # three letters each, by number


cdef int check_terms(const command_t* command, int64_t timestamp_ms) noexcept nogil:
    """The rules that need neither the market's data nor the amounts."""
    if (command.expiration_s > 0) != (command.order_type == GTD) or command.expiration_s < 0:
        return RULE_EXPIRATION
    if command.flags & FLAG_POST_ONLY and command.order_type >= FOK:
        return RULE_POST_ONLY
    if command.salt >= SALT_LIMIT:
        return RULE_SALT
    if timestamp_ms <= 0:
        return RULE_TIMESTAMP
    return 0


@cython.final
cdef class OrderTemplate:
    """Everything about a wallet's orders for one token that does not change, hashed and rendered once.

    Parameters
    ----------
    signer
        Whose key signs; the template shares its native buffer.
    token_id
        Outcome id as a decimal string.
    exchange
        "v2", "v2-neg-risk" or "v3".
    owner
        The API key that the body names.
    tick_e4
        The market's tick in 1e-4 dollars; assign it when the venue changes the tick.
    min_size_micro, min_notional_micro, gtd_lead_s
        The market's minimum shares of a resting order, minimum micro-dollars of a FOK or FAK buy, and least
        life of a GTD order. 0 leaves the check to others.
    metadata, builder
        As `OrderSigner.sign`.
    """

    def __cinit__(
        self, Wallet signer not None, token_id, exchange="v2", owner="", *, int32_t tick_e4=100,
        int64_t min_size_micro=0, int64_t min_notional_micro=0, int64_t gtd_lead_s=0,
        metadata=None, builder=None,
    ):
        if not isinstance(token_id, str) or not token_id.isdecimal() or not token_id.isascii():
            raise ValueError(f"token id: expected a decimal string, found {token_id!r}")
        if len(token_id) > 78 or str(int(token_id)) != token_id or int(token_id) >> 256:
            raise ValueError(f"token id: expected a canonical decimal below 2^256, found {token_id!r}")
        global templates_made

        place = venue.exchange(exchange, signer.chain_id)
        templates_made += 1
        self.serial = templates_made
        self.keys = signer.keys
        self.token_id = token_id
        self.exchange = str(place.name)
        self.tick_e4 = tick_e4
        self.min_size_micro = min_size_micro
        self.min_notional_micro = min_notional_micro
        self.gtd_lead_s = gtd_lead_s
        self.wrapped = signer.signature_type == 3
        signing = signer.maker if self.wrapped else signer.address
        metadata_word = word_of_text("metadata", metadata)
        builder_word = word_of_text("builder", builder)
        domain = domain_separator(venue.DOMAIN_NAME, place.domain_version, signer.chain_id, place.contract)
        zero = bytes(32)
        words = (word_hash(venue.ORDER_TYPE) + zero + word_of_address(signer.maker) + word_of_address(signing)
                 + word_of(token_id) + zero * 3 + word_of(signer.signature_type) + zero + metadata_word
                 + builder_word)
        self.hold(self.words, words, 384)
        self.hold(self.digest_input, b"\x19\x01" + domain + zero, 66)
        wallet = (word_hash(venue.WALLET_TYPE_PREFIX + venue.ORDER_TYPE) + zero
                  + word_hash(venue.WALLET_DOMAIN_NAME) + word_hash(venue.WALLET_DOMAIN_VERSION)
                  + word_of(signer.chain_id) + word_of_address(signer.maker) + zero)
        self.hold(self.wallet_words, wallet, 224)
        self.texts = []
        self.middle = self.piece(
            f',"maker":"{signer.maker}","signer":"{signing}","tokenId":"{token_id}","makerAmount":"'
        )
        self.after_expiration = self.piece(f'","signatureType":{signer.signature_type},"timestamp":"')
        self.after_timestamp = self.piece(
            f'","metadata":"0x{metadata_word.hex()}","builder":"0x{builder_word.hex()}","signature":"0x'
        )
        kind = venue.ORDER_TYPE.encode()
        size = len(kind).to_bytes(2, "big")
        self.before_contents = self.piece(domain.hex() if self.wrapped else "")
        self.after_contents = self.piece(kind.hex() + size.hex() if self.wrapped else "")
        self.after_signature = self.piece(f'"}},"owner":"{plain("owner", owner).decode()}","orderType":"')
        # 256: the fixed words between the pieces and the longest numbers.
        self.body_capacity = 256 + 130 + 64 + sum([len(text) for text in self.texts])

    def __repr__(self):
        return f"OrderTemplate({self.exchange}, {self.token_id})"

    def __reduce__(self):
        raise TypeError("OrderTemplate holds a private key: it cannot be pickled or copied")

    cdef int hold(self, uint8_t* place, bytes content, Py_ssize_t size) except -1:
        if PyBytes_GET_SIZE(content) != size:
            raise AssertionError("an encoded struct has another length than its layout")
        memcpy(place, PyBytes_AS_STRING(content), size)
        return 0

    cdef piece_t piece(self, str text) except *:
        cdef piece_t made
        cdef bytes content = text.encode()
        self.texts.append(content)
        made.text = PyBytes_AS_STRING(content)
        made.size = PyBytes_GET_SIZE(content)
        return made

    cdef int check_c(self, const command_t* command, int64_t timestamp_ms) noexcept nogil:
        """0, or the `RULE_*` that the command breaks apart from its amounts."""
        cdef int status = check_terms(command, timestamp_ms)
        if status:
            return status
        if command.order_type < FOK and command.size_micro < self.min_size_micro:
            return RULE_MIN_SIZE
        if command.order_type == GTD and command.expiration_s - timestamp_ms // 1000 < self.gtd_lead_s:
            return RULE_EXPIRATION_LEAD
        return 0

    cdef int admit_c(
        self, const command_t* command, int64_t timestamp_ms, int64_t* maker, int64_t* taker
    ) noexcept nogil:
        """The amounts of a command; 0, or the rule of the venue that it breaks. Caps are not asked."""
        cdef int status = order_amounts_c(
            command.side, command.order_type, command.price_e4, command.size_micro, self.tick_e4, maker, taker
        )
        if status == 0:
            status = self.check_c(command, timestamp_ms)
        if status:
            return status
        if command.order_type >= FOK and command.side == BUY and maker[0] < self.min_notional_micro:
            return RULE_MIN_NOTIONAL
        return 0

    cdef int seal_c(
        self, const command_t* command, int64_t maker, int64_t taker, int64_t timestamp_ms, sealed_t* sealed,
        bint ahead,
    ) noexcept nogil:
        """Asks the caps, then hashes and signs an admitted order; 0, or a negative status and nothing of
        `sealed` counts. `ahead`: the rate is asked at the order's release.
        """
        cdef uint8_t[384] words
        cdef uint8_t[66] digest_input
        cdef uint8_t[224] wallet_words
        cdef uint8_t[32] hashed
        cdef int status
        if self.keys.caps is not None:
            if ahead:
                status = self.keys.caps.admit_ahead_c(command, self.words + 128, timestamp_ms)
            else:
                status = self.keys.caps.admit_c(command, self.words + 128, timestamp_ms)
            if status:
                return status
        sealed.salt = command.salt
        sealed.maker = maker
        sealed.taker = taker
        sealed.timestamp_ms = timestamp_ms
        sealed.side = command.side
        # Copies on the stack are patched, so that a template can serve several threads.
        memcpy(words, self.words, 384)
        put_word(words + 32, command.salt)
        put_word(words + 160, <uint64_t>maker)
        put_word(words + 192, <uint64_t>taker)
        words[255] = command.side
        put_word(words + 288, <uint64_t>timestamp_ms)
        invmm_keccak256(words, 384, sealed.struct_hash)
        memcpy(digest_input, self.digest_input, 34)
        memcpy(digest_input + 34, sealed.struct_hash, 32)
        invmm_keccak256(digest_input, 66, sealed.order_id)
        if not self.wrapped:
            return self.keys.sign_c(sealed.order_id, sealed.signature)
        memcpy(wallet_words, self.wallet_words, 224)
        memcpy(wallet_words + 32, sealed.struct_hash, 32)
        invmm_keccak256(wallet_words, 224, digest_input + 34)
        invmm_keccak256(digest_input, 66, hashed)
        return self.keys.sign_c(hashed, sealed.signature)

    cdef int render_c(
        self, const command_t* command, const sealed_t* sealed, char* body, size_t capacity
    ) noexcept nogil:
        """The body of a sealed order; its length, or RULE_CAPACITY. Of the command it takes what is sent but
        not signed: order type, expiration, post-only.
        """
        cdef char* at = body
        if capacity < self.body_capacity:
            return RULE_CAPACITY
        at = put_number(put(at, b'{"order":{"salt":', 17), sealed.salt)
        at = put_number(put(at, self.middle.text, self.middle.size), <uint64_t>sealed.maker)
        at = put_number(put(at, b'","takerAmount":"', 17), <uint64_t>sealed.taker)
        if sealed.side == BUY:
            at = put(at, b'","side":"BUY","expiration":"', 29)
        else:
            at = put(at, b'","side":"SELL","expiration":"', 30)
        at = put_number(at, <uint64_t>command.expiration_s)
        at = put(at, self.after_expiration.text, self.after_expiration.size)
        at = put_number(at, <uint64_t>sealed.timestamp_ms)
        at = put_hex(put(at, self.after_timestamp.text, self.after_timestamp.size), sealed.signature, 65)
        if self.wrapped:
            at = put(at, self.before_contents.text, self.before_contents.size)
            at = put_hex(at, sealed.struct_hash, 32)
            at = put(at, self.after_contents.text, self.after_contents.size)
        at = put(at, self.after_signature.text, self.after_signature.size)
        at = put(at, ORDER_TYPES + 3 * command.order_type, 3)
        if command.flags & FLAG_POST_ONLY:
            at = put(at, b'","deferExec":false,"postOnly":true}', 36)
        else:
            at = put(at, b'","deferExec":false,"postOnly":false}', 37)
        return <int>(at - body)

    cdef int build_c(
        self, const command_t* command, int64_t timestamp_ms, uint8_t* order_id, char* body, size_t capacity
    ) noexcept nogil:
        """One element of the POST /orders array and its id from a command; the length, or a negative
        `RULE_*`.

        Reads side, order_type, flags (FLAG_POST_ONLY), price_e4, size_micro, expiration_s and salt of the
        command. Writes 32 bytes to `order_id` and at most `body_capacity` to `body`; nothing that is written
        counts if the result is negative. The signer's caps count the order as sent. It is `admit_c`, `seal_c`
        and `render_c` in one.
        """
        return self.build_any_c(command, timestamp_ms, order_id, body, capacity, False)

    cdef int release_c(self, const command_t* command, int64_t time_ms) noexcept nogil:
        """Whether an order that was signed ahead may go at `time_ms` (now, not when it was signed): 0, or the
        cap that it breaks, or that the key is closed. Counted as sent.
        """
        if atomic_load_acquire(&self.keys.closed):
            return RULE_CLOSED
        if self.keys.caps is None:
            return 0
        return self.keys.caps.release_c(command, self.words + 128, time_ms)

    cdef int build_any_c(
        self, const command_t* command, int64_t timestamp_ms, uint8_t* order_id, char* body, size_t capacity,
        bint ahead,
    ) noexcept nogil:
        cdef sealed_t sealed
        cdef int64_t maker = 0, taker = 0
        cdef int status = self.admit_c(command, timestamp_ms, &maker, &taker)
        if status == 0:
            status = self.seal_c(command, maker, taker, timestamp_ms, &sealed, ahead)
        if status:
            return status
        memcpy(order_id, sealed.order_id, 32)
        return self.render_c(command, &sealed, body, capacity)

    def build(self, const uint8_t[::1] command not None, int64_t timestamp_ms, *, bint ahead=False):
        """`build_c` for callers with the GIL.

        Parameters
        ----------
        command
            The 128 bytes of one `COMMAND_DTYPE` record, such as `records[0:1].view("u1")`.
        timestamp_ms
            Creation time, unix milliseconds.
        ahead
            To be sent later, if at all, after `release`: nothing is taken from the caps' rate.

        Returns
        -------
        tuple of bytes
            (order id, body).

        Raises
        ------
        OrderRuleError
            The order breaks a rule of the venue or a cap of the signer.
        """
        cdef uint8_t[32] order_id
        cdef command_t record
        cdef char* body
        cdef int size
        if command.shape[0] != sizeof(command_t):
            raise ValueError(f"command: expected {sizeof(command_t)} bytes, found {command.shape[0]}")
        memcpy(&record, &command[0], sizeof(command_t))
        body = <char*>calloc(1, self.body_capacity)
        if body == NULL:
            raise MemoryError
        try:
            with nogil:
                size = self.build_any_c(&record, timestamp_ms, order_id, body, self.body_capacity, ahead)
            if size < 0:
                raise OrderRuleError(size, f"price_e4={record.price_e4} size_micro={record.size_micro}")
            return (<char*>order_id)[:32], body[:size]
        finally:
            free(body)

    def release(self, const uint8_t[::1] command not None, int64_t time_ms):
        """`release_c` for callers with the GIL; OrderRuleError if a cap refuses."""
        cdef command_t record
        cdef int status
        if command.shape[0] != sizeof(command_t):
            raise ValueError(f"command: expected {sizeof(command_t)} bytes, found {command.shape[0]}")
        memcpy(&record, &command[0], sizeof(command_t))
        status = self.release_c(&record, time_ms)
        if status:
            raise OrderRuleError(
                status, f"price_e4={record.price_e4} size_micro={record.size_micro} time_ms={time_ms}"
            )
