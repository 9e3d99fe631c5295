"""anvil, a node that can be made to misbehave, with the venue's contracts at their production addresses.

with Anvil() as node:
    account = node.account("trader")
    node.fund(account.address, 100_000_000, 10**18)
    node.approve_all(account.key)
    condition = node.prepare(b"q" * 32)
    node.automine(False)
    ...                       # a lane sends to node.url
    node.drop(transaction)    # or node.base_fee(wei), node.reorganise(2), node.every(seconds), node.mine(3)
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self, cast

from invmm.errors import InvmmError
from invmm.sim.chain import deployment
from invmm.sim.chain.chain import PLENTY_WEI
from invmm.sim.chain.stage import Stage
from invmm.venue.profile import POLYGON
from tests.chain.packages import need_anvil

FINALITY_BLOCKS = 2
"""How far anvil's finalized block lags behind the head, with epochs of one slot."""


class Anvil(Stage):
    """One anvil process on a free port of this machine; each transaction is mined when it is sent, at first.

    `finalized` is two blocks behind the head, `safe` one. The binary missing skips the test.
    """

    def __init__(
        self,
        *,
        base_fee_wei: int = 25_000_000_000,
        seed: int = 0,
        wallets: Iterable[str] = (),
        tokens: deployment.Artifact | None = None,
    ) -> None:
        super().__init__(seed, threading.RLock())
        self._wallets, self._tokens = tuple(wallets), tokens
        self._base_fee_wei = base_fee_wei
        self._binary: Path = need_anvil()
        self._process: subprocess.Popen[str] | None = None
        self._spoke = threading.Event()
        self._said = ""
        self._automine = True
        self.url = ""

    def __enter__(self) -> Self:
        self._process = process = subprocess.Popen(
            [
                str(self._binary),
                *("--host", "127.0.0.1", "--port", "0"),
                *("--chain-id", str(POLYGON), "--accounts", "1", "--threads", "1"),
                *("--slots-in-an-epoch", "1", "--hardfork", "prague"),
                *("--block-base-fee-per-gas", str(self._base_fee_wei)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, args=(process,), name="anvil", daemon=True)
        self._reader.start()
        if not self._spoke.wait(60) or not self.url:
            self.close()
            raise InvmmError(f"anvil: expected it to listen, it said: {self._said[-400:]}")
        self._place()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _read(self, process: subprocess.Popen[str]) -> None:
        """Reads all that it says, so that it never waits for a reader."""
        assert process.stdout is not None
        for line in process.stdout:
            if not self.url:
                self._said += line
                if listening := re.search(r"Listening on ([\d.]+:\d+)", line):
                    self.url = f"http://{listening[1]}"
                    self._spoke.set()
        self._spoke.set()

    def close(self) -> None:
        """Ends the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(60)
            self._reader.join(60)
            assert process.stdout is not None
            process.stdout.close()

    def _place(self) -> None:
        places = deployment.placed(self.owner.address, tokens=self._tokens, wallets=self._wallets)
        asked: list[tuple[str, tuple[Any, ...]]] = [
            ("anvil_setBalance", (self.owner.address, hex(PLENTY_WEI)))
        ]
        for place in places:
            asked.append(("anvil_setCode", (place.address, "0x" + place.artifact.runtime.hex())))
            asked += [
                ("anvil_setStorageAt", (place.address, hex(slot), f"0x{value:064x}"))
                for slot, value in place.storage.items()
            ]
        self._post(asked)

    # ---- JSON-RPC

    def rpc(self, method: str, *parameters: Any) -> Any:
        """One method's result. InvmmError with the node's words."""
        return self._post([(method, parameters)])[0]

    def _post(self, asked: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Any]:
        body = [
            {"jsonrpc": "2.0", "id": index, "method": method, "params": list(parameters)}
            for index, (method, parameters) in enumerate(asked)
        ]
        request = urllib.request.Request(
            self.url, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            answers = sorted(json.load(answer), key=lambda one: int(one["id"]))
        for (method, _), one in zip(asked, answers, strict=True):
            if "error" in one:
                raise InvmmError(f"anvil: {method}: {one['error']}")
        return [one["result"] for one in answers]

    # ---- what a stage needs

    def call(self, to: str, data: bytes, *, sender: str | None = None) -> bytes:
        """What a contract would return on the head; changes nothing."""
        asked = {"to": to, "data": "0x" + data.hex(), "from": sender or "0x" + "00" * 20}
        return bytes.fromhex(self.rpc("eth_call", asked, "latest")[2:])

    def send(self, raw: bytes) -> str:
        """Hands a signed transaction to the node and gives its hash."""
        return str(self.rpc("eth_sendRawTransaction", "0x" + raw.hex()))

    def pending_nonce(self, address: str) -> int:
        """The next nonce of an account, waiting transactions counted."""
        return int(self.rpc("eth_getTransactionCount", address, "pending"), 16)

    def fees_wei(self) -> tuple[int, int]:
        """Enough for whatever base fee a test sets."""
        return 10**12, 30 * 10**9

    def finish(self, transactions: Sequence[str]) -> None:
        """Mines these transactions, or waits for their blocks. InvmmError if one was undone."""
        if not self._automine:
            self.mine()
        for one in transactions:
            receipt = self.receipt(one)
            if receipt is None or receipt["status"] != "0x1":
                raise InvmmError(f"anvil: expected transaction {one} to succeed, found {receipt}")

    def receipt(self, transaction: str) -> dict[str, Any] | None:
        """A transaction's receipt. Where each is mined when sent, it comes a moment later."""
        deadline = time.monotonic() + (30 if self._automine else 0)
        while True:
            found = self.rpc("eth_getTransactionReceipt", transaction)
            if found is not None or time.monotonic() >= deadline:
                return cast("dict[str, Any] | None", found)
            time.sleep(0.005)

    # ---- what a node may do to a lane

    @property
    def head(self) -> int:
        """Number of the newest block."""
        return int(self.rpc("eth_blockNumber"), 16)

    def automine(self, on: bool) -> None:
        """Mines each transaction when it is sent, or nothing but by `mine` and `every`."""
        self.rpc("evm_setAutomine", on)
        self._automine = on

    def every(self, seconds: int) -> None:
        """Mines a block at this pace, empty or not; 0 stops."""
        self.rpc("evm_setIntervalMining", seconds)

    def mine(self, blocks: int = 1) -> None:
        """Mines what waits and can be paid, then empty blocks."""
        self.rpc("anvil_mine", hex(blocks))

    def base_fee(self, wei: int) -> None:
        """The base fee of the next block; it moves on from there by the protocol's rule.

        A waiting transaction that cannot pay it is forgotten with that block, where geth lets it wait;
        one that cannot pay the newest block's is not taken.
        """
        self.rpc("anvil_setNextBlockBaseFeePerGas", hex(wei))

    def drop(self, transaction: str) -> None:
        """Forgets a waiting transaction."""
        self.rpc("anvil_dropTransaction", transaction)

    def drop_all(self) -> None:
        """Forgets all waiting transactions."""
        self.rpc("anvil_dropAllTransactions")

    def reorganise(self, depth: int, transactions: Sequence[tuple[str, int]] = ()) -> None:
        """Replaces the newest `depth` blocks by as many others.

        The transactions of the old ones are gone; `transactions` go into the new ones, each raw (0x…)
        with the index of its block. The head has its number at once, with another hash.
        """
        self.rpc("anvil_reorg", depth, [list(one) for one in transactions])

    def snapshot(self) -> str:
        """Remembers the state; `revert` with what this gives goes back to it, once."""
        return str(self.rpc("evm_snapshot"))

    def revert(self, snapshot: str) -> None:
        """Back to a snapshot: later blocks and what they did never were."""
        if self.rpc("evm_revert", snapshot) is not True:
            raise InvmmError(f"anvil: expected a snapshot that is there, found {snapshot}")
