"""Completing a lead at the displayed price (C level only)."""
