"""The table `[price]` of the settings: where prices of the underlying come from, and what is made of them."""

from __future__ import annotations

from dataclasses import dataclass

from invmm.setting_rules import choice, flag, number, text

SOURCES = ("auto", "polybolt", "rtds")


@dataclass(frozen=True, slots=True)
class PriceSettings:
    """Prices of the underlying. Without them quoting goes on by the books alone."""

    use: bool = flag(True, "whether they are used, where the policy asks for a fair value")
    source: str = choice(
        "auto", SOURCES, "whose socket: polybolt needs API credentials; auto: polybolt with them, else rtds"
    )
    url: str = text("", "of the socket; empty: the venue's own")
    stale_s: float = number(90.0, 1.0, 3_600.0, "s", "a socket silent for longer is connected anew")
    jitter_s: float = number(10.0, 0.1, 60.0, "s", "longest random wait before a socket is connected anew")
    sigma_bp: float = number(0.9, 0.01, 50.0, "bp/√s", "volatility before prices tell")
    sigma_floor_bp: float = number(0.2, 0.001, 50.0, "bp/√s", "least volatility that is believed")
    sigma_cap_bp: float = number(10.0, 0.01, 100.0, "bp/√s", "most volatility that is believed")
    basis_bp: float = number(2.0, 0.0, 100.0, "bp", "how far the fast feed strays, before readings tell")
    move: float = number(0.001, 0.0, 1.0, "dollars", "a change of what Up is worth that triggers a solve")
