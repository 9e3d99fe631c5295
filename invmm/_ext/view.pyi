"""The policy's view of one market (C level only)."""
