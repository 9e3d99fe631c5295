"""From fills to dollars: ledger and merger."""
