"""One token's bids (C level only)."""
