"""A relayer's lane, the relayer and the chain on one virtual clock; the lane may be killed at any step."""

from __future__ import annotations

from typing import Any

import httpx
from polymarket import BuilderApiKey

from invmm import OrderSigner
from invmm.clock import NS
from invmm.settings import SettlementSettings
from invmm.settlement.calls import route_of
from invmm.settlement.envelopes import RelayedWallet, WalletKind
from invmm.settlement.lane import ENDED, Change, Job, JobReport
from invmm.settlement.relay import Relay
from invmm.settlement.relayer import RelayerLane
from invmm.sim.relayer import Answer, FakeRelayer, Mishap
from tests import markers
from tests.reference.wallet_chain import COLLATERAL, WalletChain

KEY = "0x" + markers.PRIVATE_KEY
WALLET = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
CONDITIONS = [bytes([number]) * 32 for number in range(1, 9)]
TOKENS = {condition: (2 * number + 1, 2 * number + 2) for number, condition in enumerate(CONDITIONS)}
TYPES = {WalletKind.PROXY: 1, WalletKind.SAFE: 2, WalletKind.DEPOSIT: 3}
HELD = 1_000_000_000
ROUTE = route_of("v1", False)


class Crash(BaseException):
    """The process is killed here."""


class MemoryJournal:
    """A lane's journal that survives the lane; killed before or after a record is written."""

    def __init__(self, rig: Rig, records: list[dict[str, Any]]) -> None:
        self._rig = rig
        self._kept = records
        self.records = tuple(records)

    def append(self, record: dict[str, Any]) -> None:
        self._rig.step()
        self._kept.append(record)
        self._rig.step()

    def close(self) -> None:
        pass


def merge_job(number: int, amount: int, name: str = "") -> Job:
    condition = CONDITIONS[number]
    up, down = TOKENS[condition]
    return Job(
        name or f"merge:{number}:{amount}",
        (ROUTE.merge("0x" + condition.hex(), amount),),
        (
            Change("token", up, -amount),
            Change("token", down, -amount),
            Change("collateral", 0, amount),
        ),
    )


class Rig:
    """Everything around a lane. `crash_at` is the step at which it is killed, counted from 0."""

    def __init__(
        self,
        kind: WalletKind = WalletKind.DEPOSIT,
        *,
        mishaps: tuple[Mishap, ...] = (),
        crash_at: int = -1,
        settings: SettlementSettings | None = None,
    ) -> None:
        held = {("token", token): HELD for pair in TOKENS.values() for token in pair}
        self.chain = WalletChain(TOKENS, {COLLATERAL: HELD, **held})
        self.relayer = FakeRelayer(
            self.chain,
            secret=markers.API_SECRET,
            passphrase=markers.PASSPHRASE,
            mishap=lambda number: mishaps[number] if number < len(mishaps) else Mishap.NONE,
        )
        self.settings = settings or SettlementSettings(poll_ms=5_000)
        self.steps = 0
        self.crash_at = crash_at
        self.crashes = 0
        self.reports: list[JobReport] = []
        self.jobs: list[Job] = []
        self._kind = kind
        self._records: list[dict[str, Any]] = []
        try:
            self.lane = self.start()
        except Crash:
            self._restart()

    def start(self) -> RelayerLane:
        """A lane as a new process makes it."""
        key = BuilderApiKey(
            key=self.relayer.key, secret=self.relayer.secret, passphrase=self.relayer.passphrase
        )
        relay = Relay("http://127.0.0.1:9", key, transport=httpx.MockTransport(self._serve))
        journal = MemoryJournal(self, self._records)
        wallet = RelayedWallet(OrderSigner(KEY, TYPES[self._kind], WALLET))
        return RelayerLane(relay, self.chain, wallet, journal, settings=self.settings)

    def step(self) -> None:
        """A point at which the process may be killed."""
        self.steps += 1
        if self.steps - 1 == self.crash_at:
            raise Crash

    def submit(self, *jobs: Job) -> None:
        """Hands jobs to the lane, again if it was killed before it had them."""
        for job in jobs:
            self.jobs.append(job)
            try:
                self.lane.submit(job)
            except Crash:
                self._restart()
                if job not in self.lane.open():
                    self.lane.submit(job)

    def run(self, seconds: float, pace_s: float = 5.0) -> list[JobReport]:
        """Lets time pass; the reports that came."""
        begun = len(self.reports)
        until = self.chain.now_s + seconds
        while self.chain.now_s < until:
            self.chain.now_s += pace_s
            self.relayer.advance(self.chain.now_s)
            try:
                self.reports += self.lane.advance(int(self.chain.now_s * NS))
            except Crash:
                self._restart()
        return self.reports[begun:]

    def settle(self, most_s: float = 20_000.0) -> None:
        """Lets time pass until no job is open."""
        until = self.chain.now_s + most_s
        while self.lane.open() and self.chain.now_s < until:
            self.run(5.0)
        self.run(5.0)  # one look more, for the reports

    def last(self) -> dict[str, JobReport]:
        """The end of each job, as the lane knows it."""
        return {
            name: one.report for name, one in self.lane._submits.standing.items() if one.report.state in ENDED
        }

    def _serve(self, request: httpx.Request) -> httpx.Response:
        self.step()
        answer: Answer = self.relayer.handle(
            request.method,
            request.url.raw_path.decode(),
            {name.lower(): value for name, value in request.headers.items()},
            request.content,
            self.chain.now_s,
        )
        self.step()
        if answer.body is None:
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
        return httpx.Response(answer.status, json=answer.body, headers=dict(answer.headers))

    def _restart(self) -> None:
        self.crashes += 1
        self.crash_at = -1
        self.lane = self.start()
