"""invmm: a market-making engine for Polymarket's Up/Down markets.

The names below are what other programs import; they are typed, documented and stay stable.

>>> from invmm import Book, Side
>>> book = Book()
>>> _ = book.apply(Side.BUY, 4800, 100_000_000)
>>> book.best_bid()
(4800, 100000000)
"""

import importlib as _importlib
import logging as _logging
from typing import TYPE_CHECKING as _TYPE_CHECKING

try:
    from invmm._ext.book import Book
    from invmm._ext.build import build_mode
    from invmm._ext.caps import SignerCaps
    from invmm._ext.decode import MarketBooks
    from invmm._ext.ring import CommandRing
except ImportError as error:  # a source tree without its compiled modules shadows an installed package
    if error.name is not None and error.name.startswith("invmm._ext"):
        raise ImportError(
            f"{error}: the compiled modules are not built in {__path__[0]}. In a source tree, run "
            "`pip install -e .`; to use an installed package instead, start Python from another folder."
        ) from error
    raise

from invmm.clock import LiveClock
from invmm.engine import Engine
from invmm.execution.handle import ExecutorHandle
from invmm.execution.registry import OrderRecord, OrderRegistry, OrderState
from invmm.settings import Settings
from invmm.settlement.ledger import Ledger
from invmm.settlement.merger import MergeDecision, Merger, MergerConfig
from invmm.strategy.commands import ExecutorCommand, ExecutorResult
from invmm.strategy.extraction import extract_solver_input
from invmm.strategy.inventory_mm import InventoryMMConfig, InventoryMMStrategy
from invmm.strategy.solver import solve
from invmm.strategy.vocabulary import (
    InventorySnapshot,
    LimitOrder,
    OpenOrder,
    OrderbookSnapshot,
    OrderSnapshot,
    Quote,
    QuoteLadder,
    SolverConfig,
    SolverInput,
    SolverOutput,
    TakerOrder,
)
from invmm.types import COMMAND_DTYPE, EVENT_DTYPE, Side, Venue
from invmm.venue.auth import ApiCredentials, OrderSigner, l2_headers
from invmm.venue.profile import LIVE, Profile, loopback

if _TYPE_CHECKING:
    from invmm.execution.remote import RemoteVenue
    from invmm.venue.adapters import adapt
    from invmm.venue.blocking import BlockingVenueClient
    from invmm.venue.client import VenueClient
    from invmm.venue.trading import VenueTradingClient

# Need an HTTP client, whose import would cost those who want a book or a signer a third of a second.
_ON_FIRST_USE = {
    "BlockingVenueClient": "invmm.venue.blocking",
    "RemoteVenue": "invmm.execution.remote",
    "VenueClient": "invmm.venue.client",
    "VenueTradingClient": "invmm.venue.trading",
    "adapt": "invmm.venue.adapters",
}

_logging.getLogger("invmm").addHandler(_logging.NullHandler())  # the program decides

__version__ = "0.1.0"

__all__ = [
    "COMMAND_DTYPE",
    "EVENT_DTYPE",
    "LIVE",
    "ApiCredentials",
    "BlockingVenueClient",
    "Book",
    "CommandRing",
    "Engine",
    "ExecutorCommand",
    "ExecutorHandle",
    "ExecutorResult",
    "InventoryMMConfig",
    "InventoryMMStrategy",
    "InventorySnapshot",
    "Ledger",
    "LimitOrder",
    "LiveClock",
    "MarketBooks",
    "MergeDecision",
    "Merger",
    "MergerConfig",
    "OpenOrder",
    "OrderRecord",
    "OrderRegistry",
    "OrderSigner",
    "OrderSnapshot",
    "OrderState",
    "OrderbookSnapshot",
    "Profile",
    "Quote",
    "QuoteLadder",
    "RemoteVenue",
    "Settings",
    "Side",
    "SignerCaps",
    "SolverConfig",
    "SolverInput",
    "SolverOutput",
    "TakerOrder",
    "Venue",
    "VenueClient",
    "VenueTradingClient",
    "__version__",
    "adapt",
    "build_mode",
    "extract_solver_input",
    "l2_headers",
    "loopback",
    "solve",
]


def __getattr__(name: str) -> object:
    if name in _ON_FIRST_USE:
        return getattr(_importlib.import_module(_ON_FIRST_USE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
