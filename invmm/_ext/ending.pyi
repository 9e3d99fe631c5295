"""Transactions that have closed and wait for the ends of their orders (C level only)."""
