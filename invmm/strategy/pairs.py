"""The policy `pairs` from its settings, with what the markets of a session share."""

from __future__ import annotations

from dataclasses import dataclass, replace

from invmm._ext.markouts import Markouts
from invmm._ext.pairs_policy import PairsPolicy
from invmm.settings import PairsSettings, StrategySettings


@dataclass(frozen=True, slots=True)
class PairsTerms:
    """What `pairs` needs beyond the settings of every policy."""

    settings: PairsSettings
    markouts: Markouts
    """What a session learns about adverse selection, over all its markets."""
    rebate_share: float = 0.2
    """Of the taker fee, for the maker."""

    @classmethod
    def new(cls, settings: PairsSettings | None = None) -> PairsTerms:
        """Those of a new session: nothing is learnt yet."""
        settings = settings or PairsSettings()
        known = Markouts(
            settings.adverse,
            settings.adverse_spread,
            settings.adverse_slope,
            settings.adverse_slope_spread,
            settings.follow,
            settings.fill_decay,
        )
        return cls(settings, known)

    def at(self, rebate_share: float) -> PairsTerms:
        """Those of one of its markets."""
        return replace(self, rebate_share=rebate_share)


def pairs_policy(strategy: StrategySettings, terms: PairsTerms) -> PairsPolicy:
    """The policy of one market; sizes and levels are those of every policy."""
    pairs = terms.settings
    return PairsPolicy(
        terms.markouts,
        dollars_at_risk=pairs.dollars_at_risk,
        min_edge=pairs.min_edge,
        message=pairs.message,
        rebate_share=terms.rebate_share,
        max_pair_cost=pairs.max_pair_cost,
        taker_delay_ms=pairs.taker_delay_ms,
        order_size=strategy.order_size,
        max_lead=pairs.max_lead_shares,
        patience_s=pairs.patience_s,
        narrow_s=pairs.narrow_s,
        fair_max_age_ms=pairs.fair_max_age_ms,
        num_levels=strategy.num_levels,
        overshoot=pairs.overshoot,
        sells=pairs.sells,
        offers=pairs.offers,
    )
