"""Where the books are heading (C level only)."""
