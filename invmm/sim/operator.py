"""The venue's end of its chain: asks the operator's process (`chain/desk.py`), and hands out tickets for what
it will answer.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from invmm.errors import TransportError
from invmm.sim import spool

if TYPE_CHECKING:
    from invmm.replay.tape import MarketInfo

READY_S: Final = 60.0
ANSWER_S: Final = 60.0


class Ticket:
    """Something asked of the operator. Callbacks run on the venue's loop, or at once if it has answered."""

    def __init__(self) -> None:
        self.answer: dict[str, Any] | None = None
        self._known = threading.Event()
        self._then: list[Callable[[], None]] = []

    @property
    def ok(self) -> bool:
        """Whether it was done; False while that is not known."""
        return self.answer is not None and bool(self.answer.get("ok"))

    @property
    def transaction(self) -> str:
        """Hash of the operator's transaction, where there is one."""
        return "" if self.answer is None else str(self.answer.get("tx", ""))

    def then(self, callback: Callable[[], None]) -> None:
        """Calls back when the answer is known."""
        if self.answer is not None:
            callback()
        else:
            self._then.append(callback)

    def wait(self) -> None:
        """Blocks until the answer is known. TransportError after a minute without one."""
        if not self._known.wait(ANSWER_S):
            raise TransportError(f"the chain's operator: no answer within {ANSWER_S:g} s")

    def answered(self, answer: dict[str, Any], tell: Callable[[Callable[[], None]], object]) -> None:
        """Takes the answer, on any thread; `tell` brings callbacks to the loop."""
        self.answer = answer
        self._known.set()
        tell(self._fire)

    def _fire(self) -> None:
        waiting, self._then = self._then, []
        for callback in waiting:
            callback()


class Operator:
    """The process with the chain, from its start to its end. Belongs to the venue's loop.

    It starts at once and takes requests at once; `ready` waits until it is there.
    """

    def __init__(self) -> None:
        self.url = ""
        """JSON-RPC of the chain, once it is ready."""
        self.is_patient = False
        """Whether the venue waits for answers on the spot, as when it skips time."""
        self.accounts: dict[str, str] = {}
        """Addresses of the flow's account and of the operator's own, which takes the fees."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tickets: dict[int, Ticket] = {}
        self._number = 0
        self._is_ready = threading.Event()
        self._wallets: set[str] = set()
        self._markets: set[str] = set()
        self._is_closed = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "invmm.sim.chain.desk"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=spool.environment(),
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name="operator", daemon=True)
        self._reader.start()

    async def ready(self) -> None:
        """Waits for the chain, and until all that was asked is done. TransportError when it does not come
        up.
        """
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._is_ready.wait, READY_S)
        if not self.url:
            raise TransportError(f"the venue's chain did not start within {READY_S:g} s")
        for ticket in list(self._tickets.values()):
            await asyncio.to_thread(ticket.wait)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """While it lasts, whoever needs an answer waits for it on the spot."""
        before, self.is_patient = self.is_patient, True
        try:
            yield
        finally:
            self.is_patient = before

    def close(self) -> None:
        """Ends the process."""
        self._is_closed = True
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.close()
            process.wait(1.0)
        except (OSError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()
        self._reader.join(5.0)
        process.stdout.close()

    # ---- what is asked

    def wallet(self, address: str, collateral_micro: int) -> None:
        """Opens a wallet, unless it is open."""
        if address not in self._wallets:
            self._wallets.add(address)
            self._ask("wallet", address, collateral_micro)

    def market(self, market: MarketInfo, question_id: str = "") -> None:
        """Makes a market on the chain, unless it is there; its question may be unknown."""
        if market.condition_id not in self._markets:
            self._markets.add(market.condition_id)
            ids = (market.up_token_id, market.down_token_id)
            self._ask("market", market.condition_id, question_id, market.exchange, *ids)

    def settle(self, condition: str, parts: Sequence[Sequence[Any]], *, is_doomed: bool = False) -> Ticket:
        """Sends a match; with `is_doomed` one that fails on the chain."""
        return self._ask("settle", condition, parts, is_doomed)

    def resolve(self, condition: str, winner: int) -> Ticket:
        """Reports a result."""
        return self._ask("resolve", condition, winner)

    def pay(self, address: str, amount_micro: int) -> Ticket:
        """Gives a wallet collateral, or takes it (negative)."""
        return self._ask("pay", address, amount_micro)

    async def look(self, address: str, conditions: Sequence[str]) -> dict[str, Any]:
        """What else than matches has changed a wallet since one looked last: `cash` and `tokens` (Up and Down
        by condition), micro. TransportError.
        """
        ticket = self._ask("look", address, list(conditions))
        known = asyncio.Event()
        ticket.then(known.set)
        await asyncio.wait_for(known.wait(), ANSWER_S)
        assert ticket.answer is not None
        if "cash" not in ticket.answer:
            raise TransportError("the chain's operator: expected what the chain has, found nothing")
        return ticket.answer

    def _ask(self, kind: str, *told: Any) -> Ticket:
        ticket = Ticket()
        self._number += 1
        self._tickets[self._number] = ticket
        line = json.dumps([kind, self._number, *told]) + "\n"
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except (OSError, ValueError):
            del self._tickets[self._number]
            ticket.answer = {"ok": False}
        return ticket

    # ---- what is answered (a thread of its own)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            if "url" in told:
                self.url = told["url"]
                self.accounts = {name: told[name] for name in ("flow", "owner")}
                self._is_ready.set()
                continue
            if "error" in told:
                print(f"the chain's operator: {told['error']}", file=sys.stderr, flush=True)
            ticket = self._tickets.pop(told["n"], None)
            if ticket is not None:
                ticket.answered(told, self._to_loop)
        self._is_ready.set()
        if not self._is_closed:
            print("the chain's operator has ended", file=sys.stderr, flush=True)
            self.url = ""
        while self._tickets:
            self._tickets.popitem()[1].answered({"ok": False}, self._to_loop)

    def _to_loop(self, callback: Callable[[], None]) -> None:
        loop, end = self._loop, time.monotonic() + ANSWER_S
        while loop is None and time.monotonic() < end:  # asked before the venue serves
            time.sleep(0.01)
            loop = self._loop
        if loop is not None and not loop.is_closed():
            try:
                loop.call_soon_threadsafe(callback)
            except RuntimeError:  # it was closed in this moment
                return
