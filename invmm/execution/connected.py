"""What the live engine needs of a venue besides `Venue`: where its sockets are, opening and closing markets,
and the few slow questions of a shutdown. `RemoteVenue` trades for real, `PaperVenue` on paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from invmm._ext.ring import CommandRing, ResultRing
from invmm._ext.words import SharedWords
from invmm.execution.follow import Alarm
from invmm.replay.tape import MarketInfo
from invmm.types import CommandArray, EventArray
from invmm.venue.auth import ApiCredentials
from invmm.venue.client import VenueClient


@runtime_checkable
class ConnectedVenue(Protocol):
    """A venue that the engine's event loop can live with. `user_url` "" means: own events come as results."""

    market_url: str
    user_url: str
    credentials: ApiCredentials
    account: str  # address whose orders these are; "" on paper

    @property
    def commands(self) -> CommandRing: ...

    @property
    def results(self) -> ResultRing: ...

    @property
    def words(self) -> SharedWords: ...

    def start(self) -> None: ...

    def submit(self, commands: CommandArray, now_ns: int) -> int: ...

    def poll(self, now_ns: int, out: EventArray) -> int: ...

    def close(self, timeout_s: float = ...) -> None: ...

    def open_market(self, number: int, info: MarketInfo) -> None: ...

    def close_market(self, number: int) -> None: ...

    def set_tick(self, number: int, tick_e4: int) -> None: ...

    def news(self) -> Sequence[Alarm]: ...

    async def open_order_count(self) -> int: ...

    async def cancel_all(self) -> Any: ...

    def client(self) -> VenueClient: ...
