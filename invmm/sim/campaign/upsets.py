"""Faults of the machine that the engine runs on, and of others who trade at the venue or with our key."""

from __future__ import annotations

from invmm.sim.campaign.planned import Hazard, lasting

UPSETS: dict[str, Hazard] = {
    "crash": Hazard(
        "the process is killed at any moment and started again on its journal",
        "P1 X6",
        lambda r: ({"down_s": round(r.choice((0.2, 1, 5, 30)) * r.uniform(0.5, 1.5), 2)}, 0.0),
        lambda world, figures: world.crash(figures["down_s"]),
        slows=True,
    ),
    "foreign_order": Hazard(
        "somebody else with our key places an order",
        "P5",
        lambda r: ({}, 0.0),
        lambda world, figures: world.strangers.place_foreign(),
        stops=True,
        weight=0.2,
        slows=True,
    ),
    "disk_full": Hazard(
        "the next journal file cannot be made",
        "P4",
        lasting(5, 60),
        lambda world, figures: world.engine.fill_disk(True),
        lambda world, figures: world.engine.fill_disk(False),
        stops=True,
        weight=0.2,
    ),
    "stale_taker": Hazard(
        "somebody buys the other token whenever a quote of ours is good for them: each match mints a pair",
        "X4",
        lambda r: (
            {"until_s": 0.0, "edge_e4": r.choice((0, 50, 100)), "rate": r.choice((0.02, 0.2))},
            r.uniform(30, 300),
        ),
        lambda world, figures: world.strangers.take(**figures),
    ),
    "swept_levels": Hazard(
        "somebody takes all of our orders on a side at once: several fills under one trade id",
        "X3",
        lambda r: ({"until_s": 0.0, "rate": r.choice((0.01, 0.05, 0.2))}, r.uniform(30, 300)),
        lambda world, figures: world.strangers.sweep(**figures),
        apart=True,
    ),
    "paused": Hazard(
        "the process is stopped and goes on later",
        "P3",
        lasting(0.5, 20),
        lambda world, figures: world.engine.stop(),
        lambda world, figures: world.go_on(),
        slows=True,
    ),
    "wedged": Hazard(
        "the engine's loop stands still while its executor goes on",
        "P3 O13",
        lasting(3.5, 12),
        lambda world, figures: world.wedge(),
        lambda world, figures: world.go_on(),
        slows=True,
    ),
    "second_instance": Hazard(
        "somebody starts a second engine on the same state folder",
        "P5",
        lambda r: ({}, 0.0),
        lambda world, figures: world.start_second(),
    ),
    "contradiction": Hazard(
        "a trade that was told confirmed is told failed",
        "X2",
        lambda r: ({"until_s": 0.0}, r.uniform(60, 120)),
        lambda world, figures: world.strangers.contradict(figures["until_s"]),
        stops=True,
        weight=0.2,
    ),
}
