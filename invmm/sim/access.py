"""Who may do what at the embedded venue: accounts, their API keys, and what requests and orders must prove.

An account is the address of a signing key (EOA). Any key may log in and create API keys, as at the venue;
the accounts that the rules name have wallets, bans and modes of their own. Texts are the venue's where they
are known and marked (ours) where they are not.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from eth_utils.address import is_address, to_checksum_address

from invmm.errors import ConfigError
from invmm.sim import signatures
from invmm.sim.rules import INVALID_PAYLOAD, Refusal

WRONG_KEY: Final = Refusal(401, "Unauthorized/Invalid api key")
WRONG_LOGIN: Final = Refusal(401, "Invalid L1 Request headers")
NOT_CREATED: Final = Refusal(400, "Could not create api key")
NOT_DERIVED: Final = Refusal(400, "Could not derive api key!")
WRONG_VERSION: Final = Refusal(400, "order_version_mismatch")
WRONG_OWNER: Final = Refusal(400, "the order owner has to be the owner of the API KEY")
# Also what an undeployed deposit wallet is told.
WRONG_SIGNER: Final = Refusal(400, "the order signer address has to be the address of the API KEY")
WRONG_MAKER: Final = Refusal(400, "the order maker address has to be a wallet of the API KEY")  # (ours)
NOT_ALLOWED: Final = Refusal(400, "maker address not allowed, please use the deposit wallet flow")
WRONG_SIGNATURE: Final = Refusal(400, "invalid signature")  # (ours)
EOA, PROXY, SAFE, DEPOSIT_WALLET = range(4)


@dataclass(frozen=True, slots=True, repr=False)
class ApiKey:
    """An API key of an account; `nonce` is the login's that made it. `repr` shows the key alone."""

    api_key: str
    secret: str
    passphrase: str
    address: str
    nonce: int = 0

    def __repr__(self) -> str:
        return f"ApiKey({self.api_key}, {self.address})"


@dataclass
class Member:
    """What the venue knows of an account.

    Attributes
    ----------
    address : str
        The signing key's.
    wallets : mapping of int to str
        Maker by signature type. Of a type that is not named any wallet is taken for this account's.
    is_deployed : bool
        Whether its deposit wallet is on the chain; orders of an undeployed one are refused.
    is_new : bool
        A new account may trade through a deposit wallet only.
    is_banned, is_closed_only : bool
        A banned account places nothing; one in closed-only mode sells what it has (ours: which orders the
        venue lets through then is not known).
    """

    address: str
    wallets: Mapping[int, str] = field(default_factory=dict)
    is_deployed: bool = True
    is_new: bool = False
    is_banned: bool = False
    is_closed_only: bool = False

    def __post_init__(self) -> None:
        self.address = _address(self.address)
        self.wallets = {int(kind): _address(wallet) for kind, wallet in self.wallets.items()}
        if not self.wallets.keys() <= {PROXY, SAFE, DEPOSIT_WALLET}:
            raise ConfigError(f"wallets: expected signature types 1 to 3, got {sorted(self.wallets)}")


@dataclass(frozen=True)
class AccessRules:
    """How the venue lets people in; plain data, so that it can be told to a child process.

    Attributes
    ----------
    members : tuple of Member
        Accounts with something special about them; others are made when they first log in.
    keys : tuple of ApiKey
        API keys that exist from the start.
    is_checked : bool
        False switches all checks of headers, owners and signatures off.
    tolerance_s : float
        A request's timestamp may be this far from the machine's clock or from the venue's, whichever is
        nearer: the venue's may run fast or in the past, and clients use either. (ours: the venue's own
        tolerance is not documented.)
    only_deposit_wallets : bool
        Accounts that are made at their first login are new ones.
    """

    members: tuple[Member, ...] = ()
    keys: tuple[ApiKey, ...] = ()
    is_checked: bool = True
    tolerance_s: float = 60.0
    only_deposit_wallets: bool = False

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> AccessRules:
        """From JSON of the same names."""
        parts = dict(told)
        parts["members"] = tuple(Member(**one) for one in parts.get("members", ()))
        parts["keys"] = tuple(ApiKey(**one) for one in parts.get("keys", ()))
        return cls(**parts)


_CHANGEABLE: Final = {item.name for item in fields(Member)} - {"address"}
NOBODY: Final = ApiKey("", "", "", "0x" + "00" * 20)
"""Who everybody is at a venue that checks nothing."""


class Access:
    """Accounts and API keys of a venue.

    Parameters
    ----------
    rules : AccessRules
        What holds from the start.
    seed : int
        API keys follow from it, the account and the nonce.
    venue_s : callable
        The venue's time in unix seconds.
    real_s : callable
        The machine's.
    """

    def __init__(
        self,
        rules: AccessRules,
        *,
        seed: int = 0,
        venue_s: Callable[[], float] = time.time,
        real_s: Callable[[], float] = time.time,
    ) -> None:
        self.rules = rules
        self._seed = seed
        self._clocks = (venue_s, real_s)
        self._members = {member.address: member for member in rules.members}
        self._keys = {one.api_key: one for one in rules.keys}

    # ---- accounts and keys ----

    def member(self, address: str) -> Member:
        """An account, made when it is not known yet."""
        address = _address(address)
        return self._members.setdefault(address, Member(address, is_new=self.rules.only_deposit_wallets))

    def change(self, told: Mapping[str, Any]) -> Member:
        """Sets what `told` names of the account `address`: flags, wallets. ConfigError for anything else."""
        changes = dict(told)
        known = self.member(str(changes.pop("address", "")))
        if not changes.keys() <= _CHANGEABLE:
            raise ConfigError(f"account: expected {sorted(_CHANGEABLE)}, got {sorted(changes)}")
        changed = replace(known, **changes)
        self._members[changed.address] = changed
        return changed

    def keys_of(self, address: str) -> list[str]:
        """API keys of an account, by nonce."""
        mine = [one for one in self._keys.values() if _address(one.address) == _address(address)]
        return [one.api_key for one in sorted(mine, key=lambda one: one.nonce)]

    def create(self, headers: Mapping[str, str]) -> ApiKey | Refusal:
        """A new API key for who logs in; refused when this account has one of that nonce."""
        login = self._login(headers)
        if isinstance(login, Refusal):
            return login
        if self._of(*login) is not None:
            return NOT_CREATED
        made = self._made(*login)
        self._keys[made.api_key] = made
        return made

    def derive(self, headers: Mapping[str, str]) -> ApiKey | Refusal:
        """The API key that exists for who logs in."""
        login = self._login(headers)
        return login if isinstance(login, Refusal) else self._of(*login) or NOT_DERIVED

    def revoke(self, key: ApiKey) -> None:
        """Ends a key. (ours: the same login makes the same key again.)"""
        self._keys.pop(key.api_key, None)

    def _of(self, address: str, nonce: int) -> ApiKey | None:
        for one in self._keys.values():
            if one.nonce == nonce and _address(one.address) == address:
                return one
        return None

    def _made(self, address: str, nonce: int) -> ApiKey:
        def drawn(what: str) -> bytes:
            text = f"{self._seed}:{address}:{nonce}:{what}"
            return hashlib.blake2b(text.encode(), digest_size=32).digest()

        return ApiKey(
            str(UUID(bytes=drawn("key")[:16], version=4)),
            base64.urlsafe_b64encode(drawn("secret")).decode(),
            drawn("passphrase").hex(),
            address,
            nonce,
        )

    def is_deployed(self, wallet: str) -> bool:
        """Whether a wallet is on the chain; one that no account names is."""
        if not is_address(wallet):
            return False
        return all(
            member.is_deployed
            for member in self._members.values()
            if member.wallets.get(DEPOSIT_WALLET) == _address(wallet)
        )

    # ---- requests ----

    def _login(self, headers: Mapping[str, str]) -> tuple[str, int] | Refusal:
        """Account and nonce that L1 headers prove."""
        address, nonce = headers.get("POLY_ADDRESS", ""), headers.get("POLY_NONCE", "")
        stamp = headers.get("POLY_TIMESTAMP", "")
        if not (is_address(address) and _is_count(nonce) and self._is_fresh(stamp)):
            return WRONG_LOGIN
        try:
            signer = signatures.login_signer(address, stamp, int(nonce), headers.get("POLY_SIGNATURE", ""))
        except signatures.SignatureError:
            return WRONG_LOGIN
        if signer != _address(address):
            return WRONG_LOGIN
        self.member(signer)
        return signer, int(nonce)

    def prove(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> ApiKey | Refusal:
        """The API key that L2 headers prove. `path` is without the query."""
        known = self._keys.get(headers.get("POLY_API_KEY", ""))
        if not self.rules.is_checked:
            return known or NOBODY
        stamp = headers.get("POLY_TIMESTAMP", "")
        if known is None or not self._is_fresh(stamp):
            return WRONG_KEY
        expected = signatures.l2_signature(known.secret, stamp, method, path, body)
        proven = (
            hmac.compare_digest(headers.get("POLY_PASSPHRASE", "").encode(), known.passphrase.encode())
            and headers.get("POLY_ADDRESS", "").lower() == known.address.lower()
            and hmac.compare_digest(headers.get("POLY_SIGNATURE", "").encode(), expected.encode())
        )
        return known if proven else WRONG_KEY

    def prove_triple(self, told: Mapping[str, Any]) -> ApiKey | None:
        """The API key that a user subscription's `auth` proves; None when it proves none."""
        known = self._keys.get(str(told.get("apiKey", "")))
        if not self.rules.is_checked:
            return known or NOBODY
        triple = (told.get("secret"), told.get("passphrase"))
        return known if known is not None and triple == (known.secret, known.passphrase) else None

    def _is_fresh(self, stamp: str) -> bool:
        if not _is_count(stamp):
            return False
        return min(abs(int(stamp) - clock()) for clock in self._clocks) <= self.rules.tolerance_s

    # ---- orders ----

    def admit(self, payload: Any, exchange: str, key: ApiKey) -> bytes | Refusal:
        """The id of an order that `key` may place on a market of this exchange, or why it may not.

        `payload` is the body of `POST /order`. What the signature does not cover (order type, expiration) is
        left to the rules of orders.
        """
        signed = payload.get("order") if isinstance(payload, dict) else None
        if not isinstance(signed, dict):
            return Refusal(400, INVALID_PAYLOAD)
        if signatures.is_old(signed) != exchange.startswith("v1"):
            return WRONG_VERSION
        try:
            contents = signatures.contents_hash(signed)
        except signatures.MalformedError:
            return Refusal(400, INVALID_PAYLOAD)
        order_id = signatures.order_digest(signed, exchange, contents)
        if not self.rules.is_checked:
            return order_id
        if payload.get("owner") != key.api_key:
            return WRONG_OWNER
        return self._refused(signed, exchange, contents, self.member(key.address)) or order_id

    def _refused(
        self, signed: dict[str, Any], exchange: str, contents: bytes, member: Member
    ) -> Refusal | None:
        maker, signer, kind = _address(signed["maker"]), _address(signed["signer"]), signed["signatureType"]
        if kind not in (EOA, PROXY, SAFE, DEPOSIT_WALLET):
            return Refusal(400, INVALID_PAYLOAD)
        wrapped = kind == DEPOSIT_WALLET
        if signer != (maker if wrapped else member.address) or (wrapped and not member.is_deployed):
            return WRONG_SIGNER
        if maker != (member.address if kind == EOA else member.wallets.get(kind, maker)):
            return WRONG_MAKER
        if member.is_new and not wrapped:
            return NOT_ALLOWED
        if member.is_banned:
            return Refusal(400, f"'{maker}' address banned")
        if member.is_closed_only and signed["side"] == "BUY":
            return Refusal(400, f"'{maker}' address in closed only mode")
        if _is_signed_by(member.address, signed, exchange, contents):
            return None
        others = {**signatures.EXCHANGES, **signatures.OLD_EXCHANGES}
        for other in others:
            if other[:2] != exchange[:2] and _is_signed_by(member.address, signed, other, contents):
                return WRONG_VERSION
        return WRONG_SIGNATURE


def _is_signed_by(address: str, signed: dict[str, Any], exchange: str, contents: bytes) -> bool:
    try:
        return signatures.signer_of(signed, exchange, contents) == address
    except signatures.SignatureError:
        return False


@lru_cache(maxsize=1024)
def _address(text: str) -> str:
    if not is_address(text):
        raise ConfigError(f"expected an address of 20 bytes in hex, got {text!r}")
    return str(to_checksum_address(text))


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal()
