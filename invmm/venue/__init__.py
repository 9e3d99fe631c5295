"""What is particular to the real venue."""
