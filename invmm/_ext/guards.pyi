"""The data guards of one market (C level only)."""
