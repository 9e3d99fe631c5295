"""Who we are to the venue: API credentials, login and request headers, and the order signer with a clock.

The compiled signer is pure; here it gets the time and the salts that a caller left out.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Final, NoReturn

from invmm._ext.l2 import L2Signer
from invmm._ext.sign import OrderSigner as PureOrderSigner

SALT_BITS: Final = 53
"""The salt is a JSON number, so it must stay exact in a double."""


@dataclass(frozen=True, slots=True, repr=False)
class ApiCredentials:
    """The venue's key triple of an account. `repr` shows the API key only; pickling is refused."""

    api_key: str
    secret: str
    passphrase: str

    def __repr__(self) -> str:
        return f"ApiCredentials({self.api_key})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("ApiCredentials hold a secret: they cannot be pickled or copied")

    def signer(self, address: str) -> L2Signer:
        """The prepared header writer of these credentials; keep it where requests are frequent.

        Parameters
        ----------
        address
            The account of the private key, also when a wallet pays.
        """
        return L2Signer(self.api_key, self.secret, self.passphrase, address)


def l2_headers(
    credentials: ApiCredentials,
    address: str,
    method: str,
    path: str,
    body: bytes | str | None,
    timestamp: int,
) -> dict[str, str]:
    """The five headers of a private REST request.

    Parameters
    ----------
    credentials
        The key triple.
    address
        The account of the private key, also when a wallet pays.
    method
        "GET", "POST", "DELETE".
    path
        Begins with "/". A query string may follow; it is sent but not signed.
    body
        The exact bytes that will be sent, or None.
    timestamp
        Unix seconds.

    Returns
    -------
    dict
        POLY_ADDRESS, POLY_API_KEY, POLY_PASSPHRASE, POLY_SIGNATURE, POLY_TIMESTAMP.
    """
    content = b"" if body is None else body.encode() if isinstance(body, str) else body
    lines = credentials.signer(address).headers(method.upper(), path, content, timestamp).decode()
    return dict(line.split(": ", 1) for line in lines.split("\r\n") if line)


def l1_headers(signer: PureOrderSigner, timestamp: int, nonce: int = 0) -> dict[str, str]:
    """The four headers with which API credentials are created or derived.

    Parameters
    ----------
    signer
        Holds the account's private key.
    timestamp
        Unix seconds.
    nonce
        0 unless the account wants several sets of credentials.
    """
    return {
        "POLY_ADDRESS": signer.address,
        "POLY_SIGNATURE": signer.sign_auth(timestamp, nonce),
        "POLY_TIMESTAMP": str(timestamp),
        "POLY_NONCE": str(nonce),
    }


class OrderSigner(PureOrderSigner):
    """The compiled signer, which takes the time and a random salt where the caller gives none."""

    __slots__ = ()

    def _now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def _new_salt(self) -> int:
        return secrets.randbits(SALT_BITS)
