"""What became of shares and dollars on the chain, in words."""

from __future__ import annotations

from typing import Any


def told_merges(summary: dict[str, Any]) -> str:
    """What was merged and redeemed on the chain; without one, what the original's rule would have merged."""
    settled = summary.get("settlement")
    if settled is None:
        return f"{summary['merges']['count']} would be made, {summary['merges']['pairs']:,.2f} pairs"
    return (
        f"{settled['merges']} made, {settled['merged_pairs_micro'] / 1e6:,.2f} pairs; "
        f"{settled['redemptions']} redemptions, {settled['redeemed_micro'] / 1e6:,.2f} dollars; "
        f"{settled['gas_used']:,} gas"
    )


def told_cash(settled: dict[str, Any]) -> str:
    """Dollars before and after by the chain, beside what the ledger says."""
    before, after, ledger = (
        settled[f"{name}_micro"] / 1e6 for name in ("cash_before", "cash_after", "ledger_cash")
    )
    same = settled["cash_after_micro"] == settled["ledger_cash_micro"]
    words = "the ledger says the same" if same else f"the ledger says {ledger:,.6f}"
    return f"{before:,.6f} dollars before, {after:,.6f} after; {words}"


def settlement_problems(settled: dict[str, Any] | None, *, complete: bool) -> list[str]:
    """Where chain and ledger differ, and what is left, in words; of an incomplete session nothing: its fills
    need not be final.
    """
    if settled is None or not complete:
        return []
    problems = []
    if settled["cash_after_micro"] != settled["ledger_cash_micro"]:
        problems.append(
            f"settlement: the chain has {settled['cash_after_micro'] / 1e6:.6f} dollars, the ledger says "
            f"{settled['ledger_cash_micro'] / 1e6:.6f}"
        )
    if settled["left"]:
        problems.append(f"settlement: {settled['left']} markets and jobs are left")
    return problems
