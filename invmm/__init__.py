"""invmm: a market-making engine for Polymarket's Up/Down markets."""

__version__ = "0.1.0"
