"""What can go wrong at the edges. The core raises nothing: kernels return status, queues refuse.

InvmmError
├── ConfigError       a setting is unknown, mistyped or out of range (file, line, key, expected, found)
│   └── InUseError         … or another process holds what only one may hold
├── DataError         a recording or another input file is not what it should be (file, line, expected, found)
├── VenueError        the venue answered something that ends what was asked (status and text of the answer)
└── TransportError    no usable answer came: the state of what was asked is unknown
    └── OrderUnknownError    … of an order, which may rest or fill (its id, where it is known)
"""

from pathlib import Path
from traceback import extract_tb


def origin_of(error: BaseException) -> str:
    """Kind of an error and where it was raised, for people; not its text, which may quote anything."""
    frames = extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return type(error).__name__ + where


class InvmmError(Exception):
    """Base of every error raised by invmm."""


class ConfigError(InvmmError, ValueError):
    """A setting is unknown, of the wrong type or out of its range."""


class InUseError(ConfigError):
    """Another process holds what only one may hold; the text names it."""


class DataError(InvmmError, ValueError):
    """A file or message is not what it should be."""


class VenueError(InvmmError):
    """The venue refused. `status` is the HTTP status, `text` the venue's words."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"venue answered {status}: {text}")
        self.status = status
        self.text = text


class TransportError(InvmmError):
    """No usable answer arrived; whether the request took effect is unknown."""


class OrderUnknownError(TransportError):
    """An order was sent and nobody knows what became of it: it counts as alive until the venue says.

    `order_id` is its id, "" if even that is not known.
    """

    def __init__(self, order_id: str, text: str) -> None:
        super().__init__(f"order {order_id or 'of unknown id'} may be alive: {text}")
        self.order_id = order_id
