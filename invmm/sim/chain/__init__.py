"""A real EVM for tests and the demo: the venue's contracts on a chain in this process, with JSON-RPC.

`LocalChain` (chain.py) is the whole of it. Below: `stage` (accounts, money, markets, matches), `node` (blocks
and waiting transactions on py-evm), `rpc` and `server` (JSON-RPC), `deployment` (which code and storage lies
where), `contracts/` (sources and what `compile` made of them), `published` (where to find the published
conditional tokens).
"""

from invmm.sim.chain.chain import LocalChain, Mined
from invmm.sim.chain.stage import Condition, Match, Part, Stage, WalletCall

__all__ = ["Condition", "LocalChain", "Match", "Mined", "Part", "Stage", "WalletCall"]
