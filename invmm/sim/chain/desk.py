"""The venue's operator on a local chain, in a process of its own: `python -m invmm.sim.chain.desk`.

It settles what the venue has matched, opens wallets, makes markets and reports their results. The chain is
reached by everybody else over JSON-RPC. A process of its own, and a polite one, because a transaction takes
the interpreter some hundredth of a second in which a venue beside it could answer nobody.

Requests come as JSON lines on standard input, each a list that begins with a kind and a number; answers
(`{"n": number, …}`) go to standard output as they are known. The first line out is `{"url": …}`. The process
ends with its input.

| request | what is done | the answer's figures
|---|---|---
| wallet, address, collateral | opens a wallet: pUSD, gas money, everything approved | ok
| market, condition, question, exchange, up, down | prepares it; a question that is "" is not known | ok
| settle, condition, parts, doomed | a match, or with `doomed` one that must fail | ok, tx
| resolve, condition, winner | reports the result | ok
| pay, address, amount | pUSD out of nothing, or (negative) to the treasury | ok
| look, address, conditions | what else than matches has moved the wallet's balances since | cash, tokens

What could not be done is `ok` false with `error`, its words. A part is a list [trader, outcome, buys, shares,
cash, fee] as in `stage.Part`, of the venue's accounts alone; the flow takes the other side. Matches of one
market that wait together go into one transaction, in which equal parts are added up. If it fails, each is
tried alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any, Final, TextIO

from invmm.errors import DataError, InvmmError
from invmm.settlement.calls import check_tokens
from invmm.sim.chain.chain import LocalChain
from invmm.sim.chain.deployment import ADDRESSES
from invmm.sim.chain.stage import Condition, Match, Part, WalletCall, approvals, calldata
from invmm.types import Outcome, Side
from invmm.venue.profile import ExchangeName

WAIT_S: Final = 0.1
"""Real seconds in which matches of one market gather for one transaction."""
MOST: Final = 24
"""Matches in one transaction."""
FLOW_MICRO: Final = 10**15
GAS_WEI: Final = 10**21
NICE: Final = 10

PartRow = tuple[str, int, bool, int, int, int]


class Desk:
    """The operator. One thread works; any thread may `put` requests.

    Parameters
    ----------
    chain : LocalChain
    tell : callable
        Gets each answer, on the working thread.
    """

    def __init__(self, chain: LocalChain, tell: Callable[[dict[str, Any]], object]) -> None:
        self.chain = chain
        self.flow = chain.account("flow").address
        """Whoever trades with the venue's accounts."""
        self._tell = tell
        self._waiting: deque[list[Any]] = deque()
        self._news = threading.Condition()
        self._ended = False
        self._markets: dict[str, tuple[Condition, ExchangeName, bool]] = {}  # is its question known?
        self._expected: Counter[tuple[str, str]] = Counter()  # by wallet and "", or token id
        self._open(self.flow, FLOW_MICRO)

    def put(self, request: list[Any]) -> None:
        """Takes a request."""
        with self._news:
            self._waiting.append(request)
            self._news.notify()

    def end(self) -> None:
        """No more requests; `work` returns when it has done those that wait."""
        with self._news:
            self._ended = True
            self._news.notify()

    def work(self) -> None:
        """Does what is asked, in order, until the end."""
        while True:
            with self._news:
                while not self._waiting:
                    if self._ended:
                        return
                    self._news.wait()
                request = self._waiting.popleft()
            kind, number, *told = request
            try:
                if kind == "settle":
                    self._settle(number, *told)
                else:
                    self._tell({"n": number, **getattr(self, f"_{kind}")(*told)})
            except InvmmError as error:
                self._tell({"n": number, "ok": False, "error": f"{kind} {told[0]}: {error}"})

    # ---- requests

    def _wallet(self, address: str, collateral_micro: int) -> dict[str, Any]:
        self._open(address, collateral_micro)
        return {"ok": True}

    def _open(self, address: str, collateral_micro: int) -> None:
        self.chain.fund(address, collateral_micro, GAS_WEI)
        self.chain.act(address, approvals())
        self._expected[address, ""] = collateral_micro

    def _market(self, condition: str, question: str, exchange: str, up: str, down: str) -> dict[str, Any]:
        name = ExchangeName(exchange)
        is_newer = name is ExchangeName.V3
        version = "v2" if is_newer else "v1"
        check_tokens(condition, version, up, down)  # of neg-risk markets, too, USDC.e is inside here
        known = bool(question) or is_newer
        if is_newer:
            question = "0x" + condition[4:36] + "00" * 16  # all of it that the id has
        if known:
            made = self.chain.prepare(bytes.fromhex(question[2:]), version)
            if made.condition_id != condition.lower():
                raise DataError(f"{condition}: expected its question, found that of {made.condition_id}")
        else:
            self.chain.decree(condition)
        self._markets[condition] = (Condition(condition, up, down), name, known)
        return {"ok": True}

    def _resolve(self, condition: str, winner: int) -> dict[str, Any]:
        made, _, known = self._markets[condition]
        report = self.chain.resolve if known else self.chain.decree
        report(made.condition_id, (1 - winner, winner))
        return {"ok": True}

    def _pay(self, address: str, amount_micro: int) -> dict[str, Any]:
        if amount_micro >= 0:
            self.chain.fund(address, amount_micro)
        else:
            data = calldata("transfer(address,uint256)", self.chain.owner.address, -amount_micro)
            self.chain.act(address, [WalletCall(ADDRESSES.collateral, data)])
        self._expected[address, ""] += amount_micro
        return {"ok": True}

    def _look(self, address: str, conditions: list[str]) -> dict[str, Any]:
        with self.chain.lock:
            cash = self._moved(address, "", self.chain.collateral_micro(address))
            tokens = {}
            for name in conditions:
                if name in self._markets:
                    made = self._markets[name][0]
                    tokens[name] = [
                        self._moved(address, token, self.chain.shares_micro(address, token))
                        for token in (made.up_token, made.down_token)
                    ]
        return {"cash": cash, "tokens": {name: moved for name, moved in tokens.items() if any(moved)}}

    def _moved(self, address: str, what: str, there: int) -> int:
        moved = there - self._expected[address, what]
        self._expected[address, what] = there
        return moved

    # ---- matches

    def _settle(self, number: int, condition: str, parts: list[PartRow], is_doomed: bool) -> None:
        if condition not in self._markets:
            self._tell({"n": number, "ok": False})
            return
        if is_doomed:
            self._send(condition, [(number, parts)], is_doomed=True)
            return
        batch = [(number, parts), *self._others(condition)]
        if not self._send(condition, batch) and len(batch) > 1:
            for one in batch:
                self._send(condition, [one])

    def _others(self, condition: str) -> list[tuple[int, list[PartRow]]]:
        """Matches of the same market that wait, or come within `WAIT_S`; no other request is overtaken."""
        found: list[tuple[int, list[PartRow]]] = []
        until = time.monotonic() + WAIT_S
        with self._news:
            while len(found) < MOST - 1:
                if not self._waiting:
                    if self._ended or not self._news.wait(max(0.0, until - time.monotonic())):
                        break
                    continue
                kind, number, *told = self._waiting[0]
                if kind != "settle" or told[0] != condition or told[2]:
                    break
                self._waiting.popleft()
                found.append((number, told[1]))
        return found

    def _send(
        self,
        condition: str,
        batch: list[tuple[int, list[PartRow]]],
        *,
        is_doomed: bool = False,
    ) -> bool:
        """Settles a batch in one transaction and tells how it ended; nothing if several failed."""
        market, exchange, _ = self._markets[condition]
        own = added(part for _, parts in batch for part in parts)
        parts = own + self._other_side(market, own)
        if is_doomed:  # shares that do not add up are refused by the contract
            parts.append(Part(self.flow, Outcome.UP, Side.BUY, 1, 0))
        transaction = self.chain.settle(Match(market, tuple(parts), exchange))
        mined = self.chain.mined(transaction)
        ok = mined is not None and mined.success
        if ok:
            self._book(market, parts)
        if ok or len(batch) == 1:
            for number, _ in batch:
                self._tell({"n": number, "ok": ok, "tx": transaction})
        return ok

    def _book(self, market: Condition, parts: Iterable[Part]) -> None:
        tokens = (market.up_token, market.down_token)
        for part in parts:
            sign = 1 if part.side == Side.BUY else -1
            self._expected[part.trader, tokens[part.outcome]] += sign * part.shares_micro
            self._expected[part.trader, ""] -= sign * part.cash_micro + part.fee_micro

    def _other_side(self, market: Condition, own: list[Part]) -> list[Part]:
        """The flow's parts: it sells what it has of the outcome that is wanted, else it buys the other one,
        so that pairs are minted; where shares are sold, it sells its own of the other outcome, so that pairs
        are merged, or buys them. It pays and gets what makes the sum right.
        """
        wanted, paid = [0, 0], 0
        for part in own:
            sign = 1 if part.side == Side.BUY else -1
            wanted[part.outcome] += sign * part.shares_micro
            paid += sign * part.cash_micro
        missing = wanted[0] - wanted[1]
        sold = Outcome.UP if missing >= 0 else Outcome.DOWN
        other = Outcome(1 - sold)
        token = (market.up_token, market.down_token)[sold]
        from_stock = min(abs(missing), self._expected[self.flow, token])
        bought = abs(missing) - from_stock
        pays = wanted[sold] - from_stock - paid  # negative: gets
        parts = []
        if from_stock or pays < 0:
            parts.append(Part(self.flow, sold, Side.SELL, from_stock, max(0, -pays)))
        if bought or pays > 0:
            parts.append(Part(self.flow, other, Side.BUY, bought, max(0, pays)))
        return parts


def added(parts: Iterable[PartRow]) -> list[Part]:
    """One part for each trader, outcome and side."""
    sums: dict[tuple[str, int, bool], list[int]] = {}
    for trader, outcome, buys, *figures in parts:
        known = sums.setdefault((trader, outcome, buys), [0, 0, 0])
        for place, figure in enumerate(figures):
            known[place] += figure
    return [
        Part(trader, Outcome(outcome), Side.BUY if buys else Side.SELL, *figures)
        for (trader, outcome, buys), figures in sums.items()
    ]


def _read(desk: Desk, lines: TextIO) -> None:
    for line in lines:
        desk.put(json.loads(line))
    desk.end()


def main() -> int:
    """Serves a venue until its standard input ends."""
    answers = threading.Lock()

    def tell(answer: dict[str, Any]) -> None:
        with answers:
            print(json.dumps(answer), flush=True)

    with LocalChain() as chain:
        desk = Desk(chain, tell)
        tell({"url": chain.serve(), "flow": desk.flow, "owner": chain.owner.address})
        os.nice(NICE)
        threading.Thread(target=_read, args=(desk, sys.stdin), name="desk-reader", daemon=True).start()
        with contextlib.suppress(BrokenPipeError):  # the venue is gone
            desk.work()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
