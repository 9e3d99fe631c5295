"""The names that other programs import: this list is the promise, and changes only on purpose."""

from __future__ import annotations

import importlib

import pytest

import invmm

EXPORTED = (
    "ApiCredentials",
    "BlockingVenueClient",
    "Book",
    "COMMAND_DTYPE",
    "CommandRing",
    "EVENT_DTYPE",
    "Engine",
    "ExecutorCommand",
    "ExecutorHandle",
    "ExecutorResult",
    "InventoryMMConfig",
    "InventoryMMStrategy",
    "InventorySnapshot",
    "LIVE",
    "Ledger",
    "LimitOrder",
    "LiveClock",
    "MarketBooks",
    "MergeDecision",
    "Merger",
    "MergerConfig",
    "OpenOrder",
    "OrderSigner",
    "OrderRecord",
    "OrderRegistry",
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
    "adapt",
    "build_mode",
    "extract_solver_input",
    "l2_headers",
    "loopback",
    "solve",
)


def test_the_package_exports_exactly_the_promised_names() -> None:
    assert sorted(set(invmm.__all__) - {"__version__"}) == sorted(EXPORTED)


@pytest.mark.parametrize("name", sorted(invmm.__all__))
def test_an_exported_name_can_be_imported(name: str) -> None:
    assert getattr(importlib.import_module("invmm"), name) is not None
