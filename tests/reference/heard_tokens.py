"""Which token ids a message names as data: the obvious twin of the listener's search."""

import re

_NAMED = re.compile(rb'"asset_id"[ :]*"([^"]+)(?=")')


def heard(message: bytes) -> set[bytes]:
    """Every string that follows the key `"asset_id"`, whatever the message is otherwise."""
    return set(_NAMED.findall(message))


def has_book(message: bytes) -> bool:
    """Whether the message holds a book, or several."""
    return b'"bids"' in message
