"""Recorded markets through the same step; the report."""
