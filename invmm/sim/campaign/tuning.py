"""Settings of a world's engines, drawn from its seed."""

from __future__ import annotations

from random import Random

from invmm.settings import (
    EngineSettings,
    ExecutorSettings,
    RiskSettings,
    Settings,
    StateSettings,
    StrategySettings,
)


def settings_of(seed: int) -> Settings:
    """Settings of a world: those that ship but for the policy, what only costs time, and sizes drawn from the
    seed.
    """
    draw = Random(f"{seed}:settings")
    return Settings(
        engine=EngineSettings(timer_ms=250),
        executor=ExecutorSettings(
            connections=3, cancel_connections=1, rehearse_ms=0, heartbeat="on", ring_capacity=256
        ),
        strategy=StrategySettings(
            policy="inventory_mm",  # quotes nearly always, so that faults meet orders, and many of them
            num_levels=draw.choice((1, 1, 2)),
            order_size=draw.choice((10.0, 25.0, 100.0)),
            update_interval_ms=250,
        ),
        # A day's loss that ends all quoting leaves the rest of a long seed without orders: few seeds have it.
        risk=RiskSettings(max_loss_day_dollars=2_000.0 if draw.random() < 0.15 else 40_000.0),
        state=StateSettings(journal_records=2_048, journal_files=64),
    )
