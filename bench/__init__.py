"""Benchmarks: one file per stage, peers beside ours in the same run, and `python -m bench.tick_to_order`."""
