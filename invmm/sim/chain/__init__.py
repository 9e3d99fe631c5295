"""A real EVM for tests and the demo: the venue's contracts on a chain in this process, with JSON-RPC.

`LocalChain` (chain.py) is the whole of it. Below: `stage` (accounts, money, markets, matches), `node` (blocks
and waiting transactions on py-evm), `rpc` and `server` (JSON-RPC), `deployment` (which code and storage lies
where), `contracts/` (sources and what `compile` made of them), `published` (where to find the published
conditional tokens).
"""

import sys

_limit = sys.getrecursionlimit()

from invmm.sim.chain.chain import LocalChain, Mined  # noqa: E402
from invmm.sim.chain.stage import Condition, Match, Part, Stage, WalletCall  # noqa: E402

# Importing py-evm lets Python recurse twelve thousand frames deep, for contracts that call each other a
# thousand deep. With that, deeply nested JSON overflows a thread's stack where it should raise
# RecursionError. No contract here calls more than a few deep.
sys.setrecursionlimit(_limit)

__all__ = ["Condition", "LocalChain", "Match", "Mined", "Part", "Stage", "WalletCall"]
