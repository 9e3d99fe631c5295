"""A private key and the wallet that it signs for: who pays, by which signature type, on which chain.

The key lives in one native buffer that is wiped with its last user. The venue's L1 login message and the
account's own transactions are signed here; orders are `invmm._ext.sign`'s.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t

from invmm._ext.amounts import OrderRuleError
from invmm._ext.eip712 import checksum_address
from invmm.venue import profile as venue
from invmm.venue import relayed, transactions

from invmm._ext.eip712 cimport (
    checksummed,
    domain_separator,
    hex_of,
    keccak,
    word_hash,
    word_of,
    word_of_address,
)
from invmm._ext.keys cimport KeyBuffer


cdef class Wallet:
    """One private key and the wallet that it signs for.

    Parameters
    ----------
    private_key
        64 hex digits with or without 0x, or 32 bytes. It is copied to native memory; the caller's object is
        not changed.
    signature_type
        0: the key's own account; 1: proxy wallet; 2: Safe; 3: deposit wallet (ERC-7739).
    funder
        The wallet that pays, for types 1 to 3.
    chain_id
        137 (Polygon) or 80002.

    Notes
    -----
    `repr` shows the address only; pickling and copying are refused. `close` wipes the key.
    """

    def __cinit__(self, private_key, int signature_type=0, funder=None, long long chain_id=137):
        if not 0 <= signature_type <= 3:
            raise ValueError(f"signature type: expected 0, 1, 2 or 3, found {signature_type}")
        if chain_id not in venue.CONTRACTS:
            raise ValueError(f"chain id: expected one of {sorted(venue.CONTRACTS)}, found {chain_id}")
        self.keys = KeyBuffer()
        self.keys.load(private_key)
        self.address = checksummed(self.keys.account())
        self.maker = self.address if funder is None else checksum_address(funder)
        if signature_type == 0 and self.maker != self.address:
            raise ValueError(
                "funder: signature type 0 pays from the key's own account; a wallet needs type 1, 2 or 3"
            )
        if signature_type != 0 and funder is None:
            raise ValueError(
                f"funder: signature type {signature_type} needs the address of the wallet that pays"
            )
        self.signature_type = signature_type
        self.chain_id = chain_id

    def __repr__(self):
        return f"{type(self).__name__}({self.address})"

    def __reduce__(self):
        raise TypeError(f"{type(self).__name__} holds a private key: it cannot be pickled or copied")

    @property
    def closed(self):
        """Whether the key was wiped by `close`."""
        return self.keys.closed != 0

    @property
    def locked(self):
        """Whether the system keeps the key's memory out of swap; it allows a process only so much."""
        return self.keys.locked != 0

    def close(self):
        """Wipes the key now, for every template made of it too; signing is refused from here on.

        Signatures that other threads are making are finished first. The address stays known.
        """
        self.keys.close_c()

    def sign_auth(self, long long timestamp_s, long long nonce=0):
        """The signature of the venue's L1 login message: 0x and 130 hex digits.

        Parameters
        ----------
        timestamp_s
            Unix seconds, the same that the `POLY_TIMESTAMP` header says.
        nonce
            0 unless the wallet wants several sets of credentials.
        """
        cdef uint8_t[65] signature
        cdef bytes digest
        content = (word_hash(venue.AUTH_TYPE) + word_of_address(self.address) + word_hash(str(timestamp_s))
                   + word_of(nonce) + word_hash(venue.AUTH_MESSAGE))
        domain = domain_separator(venue.AUTH_DOMAIN_NAME, venue.AUTH_DOMAIN_VERSION, self.chain_id, None)
        digest = keccak(b"\x19\x01" + domain + keccak(content))
        status = self.keys.sign_c(<const uint8_t*>PyBytes_AS_STRING(digest), signature)
        if status:
            raise OrderRuleError(status, "a login message")
        return hex_of(signature, 65)

    def sign_relayed(self, calls, *, nonce, deadline_s=0, relay="", gas=0):
        """The signature under which a relayer has the wallet make calls: 0x and 130 hex digits.

        Parameters
        ----------
        calls
            (target, wei, data) of each, to be made together.
        nonce, deadline_s, relay, gas
            See `invmm.venue.relayed.signable`, which says what is signed at all.

        Raises
        ------
        ValueError
            The calls are not settlement's, or the key's own account pays. OrderRuleError, one of its kind,
            once the key was wiped.
        """
        cdef uint8_t[65] signature
        cdef bytes digest
        digest, mark = relayed.signable(
            self.signature_type, self.address, self.maker, calls, nonce=nonce, deadline_s=deadline_s,
            relay=relay, gas=gas, chain_id=self.chain_id,
        )
        status = self.keys.sign_c(<const uint8_t*>PyBytes_AS_STRING(digest), signature)
        if status:
            raise OrderRuleError(status, "a relayed call")
        signature[64] += <uint8_t>mark
        return hex_of(signature, 65)

    def sign_transaction(self, transaction):
        """The bytes of a signed EIP-1559 transaction of the key's own account, ready to be broadcast.

        Parameters
        ----------
        transaction
            See `invmm.venue.transactions.signable`, which says what is signed at all: splits, merges,
            redemptions and the rights that they need.

        Raises
        ------
        ValueError
            It is none of these, or malformed. OrderRuleError, one of its kind, once the key was wiped.
        """
        cdef uint8_t[65] signature
        cdef bytes digest
        fields = transactions.signable(transaction, self.chain_id)
        digest = keccak(transactions.TYPE + transactions.encoded(fields))
        status = self.keys.sign_c(<const uint8_t*>PyBytes_AS_STRING(digest), signature)
        if status:
            raise OrderRuleError(status, "a transaction")
        return transactions.signed(fields, bytes(signature[:65]))
