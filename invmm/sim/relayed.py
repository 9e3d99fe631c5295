"""Where a fake relayer's submits take effect: the wallets of a `LocalChain`."""

from __future__ import annotations

from invmm.sim.chain import LocalChain, WalletCall
from invmm.sim.envelopes import Opened
from invmm.sim.relayer import RevertedError


class LocalExecutor:
    """`Executor` on a `LocalChain`, whose stand-ins for wallets lie at the wallets' addresses.

    What a real wallet's contract checks before it makes the calls is checked here.
    """

    def __init__(self, chain: LocalChain) -> None:
        self._chain = chain
        self._nonces: dict[str, int] = {}

    def execute(self, opened: Opened, now_s: float) -> str:
        """See `Executor`; the transaction is mined at once or with the next block."""
        nonce = self.next_nonce(opened.kind, opened.account, opened.wallet)
        if opened.nonce != nonce:
            raise RevertedError(f"nonce {opened.nonce}, expected {nonce}")
        if opened.deadline_s and now_s > opened.deadline_s:
            raise RevertedError("deadline has passed")
        calls = [WalletCall(target, data, value) for target, value, data in opened.calls]
        transaction = self._chain.execute(opened.wallet, calls)
        mined = self._chain.mined(transaction)
        if mined is not None and not mined.success:
            raise RevertedError("execution reverted")
        self._nonces[opened.account.lower()] = nonce + 1
        return transaction

    def next_nonce(self, kind: str, account: str, wallet: str) -> int:
        """See `Executor`."""
        return self._nonces.get(account.lower(), 0)

    def overtake(self, opened: Opened, now_s: float) -> None:
        """See `Executor`."""
        self._nonces[opened.account.lower()] = self.next_nonce("", opened.account, "") + 1

    def block_of(self, transaction: str) -> int | None:
        """See `Executor`."""
        mined = self._chain.mined(transaction)
        return mined.block if mined is not None else None

    def final_block(self) -> int:
        """See `Executor`."""
        with self._chain.lock:
            return self._chain.node.finalized
