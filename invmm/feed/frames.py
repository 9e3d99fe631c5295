"""The text frames that we send on the venue's sockets, byte for byte as its own client sends them.

The venue ignores what it does not recognise (JSON with blanks, a second first frame) without an answer, so
these are built in one place, compact, with the keys in the documented order. The first frame of a connection
and later changes differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import orjson

from invmm.errors import ConfigError

PING = b"PING"


class ApiCredentials(Protocol):
    """What the user channel asks for."""

    @property
    def api_key(self) -> str: ...
    @property
    def secret(self) -> str: ...
    @property
    def passphrase(self) -> str: ...


def check_token_ids(token_ids: Sequence[str], limit: int) -> tuple[str, ...]:
    """The ids without duplicates, in order; ConfigError if one is no decimal number or there are too many.

    The venue refuses a frame with duplicates, and above some count sends no snapshot at all and says nothing.
    """
    unique = tuple(dict.fromkeys(token_ids))
    for token_id in unique:
        if not (
            isinstance(token_id, str) and token_id.isascii() and token_id.isdigit() and len(token_id) <= 78
        ):
            raise ConfigError(f"token id: expected a decimal number of at most 78 digits, found {token_id!r}")
    if len(unique) > limit:
        raise ConfigError(
            f"expected at most {limit} tokens on one connection, found {len(unique)}: use another feed"
        )
    return unique


def market_first(token_ids: Sequence[str], custom_features: bool = True) -> bytes:
    """First frame on a market connection."""
    return _compact({"assets_ids": list(token_ids), "type": "market"}, custom_features)


def market_add(token_ids: Sequence[str], custom_features: bool = True) -> bytes:
    """Adds tokens to a market connection."""
    return _compact({"operation": "subscribe", "assets_ids": list(token_ids)}, custom_features)


def market_remove(token_ids: Sequence[str]) -> bytes:
    """Removes tokens from a market connection."""
    return orjson.dumps({"operation": "unsubscribe", "assets_ids": list(token_ids)})


def user_first(credentials: ApiCredentials) -> bytes:
    """First frame on a user connection: every market of the account, so a new window needs no other frame.

    The result holds secrets: send it, do not keep or print it.
    """
    auth = {
        "apiKey": credentials.api_key,
        "secret": credentials.secret,
        "passphrase": credentials.passphrase,
    }
    return orjson.dumps({"auth": auth, "type": "user"})


def _compact(message: dict[str, object], custom_features: bool) -> bytes:
    if custom_features:
        message["custom_feature_enabled"] = True
    return orjson.dumps(message)
