"""Campaigns: the shipped engine against the embedded venue on virtual time, with faults, and checkers.

>>> report = run_seed(10, minutes=0.5)
>>> report.failures
[]
"""

from invmm.sim.campaign.checkers import Failure
from invmm.sim.campaign.report import SeedReport, run_seed

__all__ = ["Failure", "SeedReport", "run_seed"]
