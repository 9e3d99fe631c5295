"""Fair value in log-odds (C level only)."""
