"""What we assume about the venue, asked with tiny orders under a spending cap.

Each probe answers one question and returns what it did, what it saw and a verdict: CONFIRMED, VIOLATED, or
UNDETERMINED when this account, market or cap could not settle it. Orders are post-only bids of the minimum
size at the lowest price, so that they rest far from the market; what they could cost at most is reserved in
the purse before they are sent, and everything placed is cancelled by id at the end.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from invmm._ext.order import SignedOrder
from invmm.clock import NS, LiveClock
from invmm.errors import InvmmError
from invmm.replay.tape import MarketInfo
from invmm.types import MICRO, PRICE_ONE_E4, Side
from invmm.venue.auth import OrderSigner, l2_headers
from invmm.venue.client import VenueClient

EARLY_S: Final = 60  # a dated order ends so long before its date
BEAT_LIMIT_S: Final = 10
BEAT_CHECK_S: Final = 5
REFUSALS: Final = frozenset({425, 429, 503})


class Verdict(StrEnum):
    """What an observation says about an assumption."""

    CONFIRMED = "confirmed"
    VIOLATED = "violated"
    UNDETERMINED = "undetermined"


@dataclass(frozen=True)
class Result:
    """One probe's answer; `cost` in dollars that were actually spent, `at` in UTC."""

    name: str
    question: str
    done: str
    observed: str
    verdict: Verdict
    cost: float = 0.0
    at: str = ""


class PurseEmpty(Exception):
    """An order would go beyond the cap."""


@dataclass
class Purse:
    """What the probes may spend: worst case of every order that is not proven dead, micro-dollars."""

    cap_micro: int
    reserved: dict[str, int] = field(default_factory=dict)
    spent_micro: int = 0

    def reserve(self, order_id: str, micro: int) -> None:
        """Puts an order's worst case aside; PurseEmpty when the cap does not cover it."""
        if self.spent_micro + sum(self.reserved.values()) + micro > self.cap_micro:
            raise PurseEmpty
        self.reserved[order_id] = self.reserved.get(order_id, 0) + micro  # the same bytes may be booked twice

    def release(self, order_id: str, filled_micro: int) -> None:
        """An order is proven dead; `filled_micro` dollars of it were spent."""
        self.reserved.pop(order_id, None)
        self.spent_micro += filled_micro


@dataclass
class Placed:
    """What came back for one order."""

    signed: SignedOrder
    status: int
    entry: dict[str, Any]
    text: str

    @property
    def accepted(self) -> bool:
        """The venue says that it has the order."""
        said = str(self.entry.get("status", "")).lower()
        return (
            self.status == 200 and bool(self.entry.get("orderID")) and said in ("live", "delayed", "matched")
        )


class Desk:
    """What a probe works with: one account, one market, one purse. An asynchronous context manager's inside.

    Parameters
    ----------
    client : VenueClient
        With credentials.
    signer : OrderSigner
    info : MarketInfo
        A market that is open for as long as the probes take.
    purse : Purse
    clock : LiveClock
        The venue's time.
    """

    def __init__(
        self, client: VenueClient, signer: OrderSigner, info: MarketInfo, purse: Purse, clock: LiveClock
    ) -> None:
        self.client = client
        self.signer = signer
        self.info = info
        self.purse = purse
        self.clock = clock
        self.placed: dict[str, SignedOrder] = {}
        self.refused: list[tuple[int, str]] = []  # answers 425, 429, 503 and the order that they were about

    @property
    def now_s(self) -> float:
        """The venue's time, unix seconds."""
        return self.clock.now_ns() / NS

    async def sleep(self, seconds: float) -> None:
        """Waits seconds of the venue's time."""
        await asyncio.sleep(self.clock.wall_s(int(seconds * NS)))

    def sign(self, *, order_type: str = "GTC", expiration: int = 0, age_s: float = 0.0) -> SignedOrder:
        """A post-only bid for Up at the lowest price in the smallest size, `age_s` old."""
        return self.signer.sign(
            self.info.up_token_id,
            Side.BUY,
            self.info.tick_e4,
            self.info.min_size_micro,
            tick_e4=self.info.tick_e4,
            order_type=order_type,
            expiration=expiration,
            post_only=True,
            exchange=self.info.exchange,
            timestamp_ms=int((self.now_s - age_s) * 1000),
        )

    @property
    def worst_micro(self) -> int:
        """What one such order costs if it fills, micro-dollars."""
        return self.info.min_size_micro * self.info.tick_e4 // PRICE_ONE_E4

    async def send(self, signed: SignedOrder, worst_micro: int = 0) -> Placed:
        """Sends an order once, as it is; PurseEmpty before anything is sent."""
        credentials = self.client.credentials
        assert credentials is not None
        self.purse.reserve(signed.order_id, worst_micro or self.worst_micro)
        self.placed[signed.order_id] = signed
        body = b"[" + signed.body(credentials.api_key) + b"]"
        answer, _ = await self.client.post_raw("POST", "/orders", body)
        if answer.status in REFUSALS:
            self.refused.append((answer.status, signed.order_id))
        entry, text = {}, ""
        try:
            told = json.loads(answer.body)
            entry = told[0] if isinstance(told, list) and told and isinstance(told[0], dict) else {}
            source = entry or (told if isinstance(told, dict) else {})
            text = str(source.get("errorMsg") or source.get("error") or "")
        except ValueError:
            text = "no JSON"
        return Placed(signed, answer.status, entry, text[:200])

    async def is_open(self, order_id: str) -> bool:
        """Whether the listing of open orders has it."""
        return any(str(row.get("id")).lower() == order_id.lower() for row in await self.client.open_orders())

    async def end(self, order_id: str) -> bool:
        """Cancels an order; whether the answer or the listing says that it is gone."""
        answer = await self.client.cancel(order_id)
        gone = order_id.lower() in (each.lower() for each in answer["canceled"])
        return gone or not await self.is_open(order_id)

    async def clear(self) -> list[str]:
        """Cancels everything that was placed; ids whose end is not proven."""
        left = []
        for order_id in self.placed:
            try:
                if await self.is_open(order_id):
                    await self.end(order_id)
                    await self.sleep(0.5)
                if await self.is_open(order_id):
                    left.append(order_id)
                else:
                    self.purse.release(order_id, await self._filled_micro(order_id))
            except InvmmError:
                left.append(order_id)
        return left

    async def _filled_micro(self, order_id: str) -> int:
        """Dollars that trades say an order of ours has spent."""
        spent = 0.0
        for trade in await self.client.trades(market=self.info.condition_id):
            for leg in trade.get("maker_orders", []):
                if str(leg.get("order_id", "")).lower() == order_id.lower():
                    spent += float(leg["matched_amount"]) * float(leg["price"])
        return round(spent * MICRO)


Probe = Callable[[Desk], Awaitable[tuple[str, str, Verdict]]]
"""Takes a desk; gives what was done, what was observed, and the verdict."""

PROBES: dict[str, tuple[str, Probe]] = {}


def probe(name: str, question: str) -> Callable[[Probe], Probe]:
    """Registers a probe under a name, in the order of the programme."""

    def register(function: Probe) -> Probe:
        PROBES[name] = (question, function)
        return function

    return register


async def run(desk: Desk, names: list[str], say: Callable[[str], object]) -> tuple[list[Result], list[str]]:
    """Runs probes one after another; their results, and ids of orders whose end is not proven."""
    results = []
    for name in names:
        question, function = PROBES[name]
        say(f"{name}: {question}")
        spent_micro = desk.purse.spent_micro
        try:
            done, observed, verdict = await function(desk)
        except PurseEmpty:
            done, observed, verdict = "nothing", "the spending cap does not cover it", Verdict.UNDETERMINED
        except InvmmError as error:
            done, observed, verdict = "it was cut short", str(error)[:200], Verdict.UNDETERMINED
        left = await desk.clear()
        for order_id in desk.placed.keys() - set(left):
            desk.placed.pop(order_id)
        cost = (desk.purse.spent_micro - spent_micro) / MICRO
        at = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")
        results.append(Result(name, question, done, observed, verdict, cost, at))
        say(f"  {verdict}: {observed}")
    return results, list(desk.placed)


def verdict_of(holds: bool) -> Verdict:
    """CONFIRMED or VIOLATED."""
    return Verdict.CONFIRMED if holds else Verdict.VIOLATED


# ---- orders ------------------------------------------------------------------------------------------------


@probe("order-id", "is the order id the hash that we computed before sending?")
async def order_id(desk: Desk) -> tuple[str, str, Verdict]:
    """Of the signature type that this account has; each type needs an account of its own."""
    placed = await desk.send(desk.sign())
    kind = f"type {desk.signer.signature_type}"
    done = f"one resting bid, signature {kind}"
    if not placed.accepted:
        return done, f"not accepted: {placed.status} {placed.text}", Verdict.UNDETERMINED
    given = str(placed.entry["orderID"])
    amounts = ", ".join(f"{name} {placed.entry.get(name)!r}" for name in ("makingAmount", "takingAmount"))
    same = given.lower() == placed.signed.order_id.lower()
    listed = await desk.is_open(placed.signed.order_id)
    observed = f"{kind}: the venue's id is {'ours' if same else 'another one'}, listed: {listed}; {amounts}"
    if not same:
        await desk.client.cancel(given)
    return done, observed, verdict_of(same and listed)


@probe("duplicate", "is a signed order booked once, however often its bytes arrive?")
async def duplicate(desk: Desk) -> tuple[str, str, Verdict]:
    """The same bytes while the first order rests."""
    signed = desk.sign()
    first = await desk.send(signed)
    done = "one resting bid, the same bytes again"
    if not first.accepted:
        return done, f"not accepted: {first.status} {first.text}", Verdict.UNDETERMINED
    again = await desk.send(signed)
    rows = [row for row in await desk.client.open_orders() if row.get("id") == signed.order_id]
    whole = sum(float(row.get("original_size", 0)) for row in rows) * MICRO
    once = len(rows) == 1 and whole <= desk.info.min_size_micro
    refused = not again.accepted and "duplicated" in again.text.lower()
    observed = f"second answer {again.status} {again.text or again.entry.get('status')!r}; {len(rows)} open"
    return done, observed, verdict_of(once and refused)


@probe("duplicate-after-cancel", "is a signed order dead for good once we have cancelled it?")
async def duplicate_after_cancel(desk: Desk) -> tuple[str, str, Verdict]:
    """The same bytes after the cancel was acknowledged."""
    signed = desk.sign()
    first = await desk.send(signed)
    done = "one resting bid, cancelled, the same bytes again"
    if not first.accepted or not await desk.end(signed.order_id):
        return done, f"not placed and cancelled: {first.status} {first.text}", Verdict.UNDETERMINED
    again = await desk.send(signed)
    await desk.sleep(2)
    alive = await desk.is_open(signed.order_id)
    observed = f"answer {again.status} {again.text or again.entry.get('status')!r}; open again: {alive}"
    return done, observed, verdict_of(not again.accepted and not alive)


@probe("gtd-lead", "is a dated order refused when less than the lead is left?")
async def gtd_lead(desk: Desk) -> tuple[str, str, Verdict]:
    """What the arrival fence of an unknown order rests on."""
    lead_s = desk.client.profile.limits.gtd_lead_s
    expiration = int(desk.now_s) + lead_s - 30
    placed = await desk.send(desk.sign(order_type="GTD", expiration=expiration))
    alive = await desk.is_open(placed.signed.order_id)
    observed = f"answer {placed.status} {placed.text or placed.entry.get('status')!r}; open: {alive}"
    return f"a bid dated {lead_s - 30} s ahead", observed, verdict_of(not placed.accepted and not alive)


@probe("gtd-early", "does a dated order end 60 s before its date?")
async def gtd_early(desk: Desk) -> tuple[str, str, Verdict]:
    """What the expiry fence of an unknown order rests on. Takes about two minutes."""
    lead_s = desk.client.profile.limits.gtd_lead_s
    expiration = int(desk.now_s) + lead_s + 5
    signed = desk.sign(order_type="GTD", expiration=expiration)
    placed = await desk.send(signed)
    done = f"a bid dated {lead_s + 5} s ahead, looked at every second"
    if not placed.accepted:
        return done, f"not accepted: {placed.status} {placed.text}", Verdict.UNDETERMINED
    while await desk.is_open(signed.order_id):
        if desk.now_s > expiration + 10:
            return done, "open 10 s after its date", Verdict.VIOLATED
        await desk.sleep(1)
    early_s = expiration - desk.now_s
    slack_s = 5 + 2 * desk.clock.scale * 0.1  # listings take real time
    observed = f"gone {early_s:.1f} s before its date"
    return done, observed, verdict_of(abs(early_s - EARLY_S) <= slack_s)


@probe("cancel-final", "is a cancel acknowledgement final?")
async def cancel_final(desk: Desk) -> tuple[str, str, Verdict]:
    """As far as an order far from the market can show: nothing of it comes back in five seconds."""
    signed = desk.sign()
    placed = await desk.send(signed)
    done = "one resting bid, cancelled, looked for during five seconds"
    if not placed.accepted:
        return done, f"not accepted: {placed.status} {placed.text}", Verdict.UNDETERMINED
    answer = await desk.client.cancel(signed.order_id)
    if signed.order_id.lower() not in (each.lower() for each in answer["canceled"]):
        return done, f"not acknowledged: {answer['not_canceled']}", Verdict.UNDETERMINED
    for _ in range(5):
        if await desk.is_open(signed.order_id):
            return done, "open although its cancel was acknowledged", Verdict.VIOLATED
        await desk.sleep(1)
    filled = await desk._filled_micro(signed.order_id)
    return done, f"stayed gone, {filled / MICRO:g} dollars traded", verdict_of(not filled)


@probe("refusals", "do 425, 429 and 503 mean that the order was not taken?")
async def refusals(desk: Desk) -> tuple[str, str, Verdict]:
    """Sends one order and looks for every order of this session that was answered so."""
    await desk.send(desk.sign())
    done = "one resting bid"
    if not desk.refused:
        return done, "no such answer came: ask again while the venue restarts", Verdict.UNDETERMINED
    await desk.sleep(5)
    taken = [status for status, each in desk.refused if await desk.client.order(each) is not None]
    observed = f"{len(desk.refused)} such answers, {len(taken)} of their orders exist"
    return done, observed, verdict_of(not taken)


@probe("order-age", "is an order taken whose timestamp is a minute old?")
async def order_age(desk: Desk) -> tuple[str, str, Verdict]:
    """What orders that are signed ahead rest on."""
    ages = (1, 10, 60, 600, 3600)
    taken, words = [], []
    for age_s in ages:
        signed = desk.sign(age_s=age_s)
        placed = await desk.send(signed)
        if placed.accepted:
            taken.append(age_s)
        else:
            words.append(f"{age_s} s: {placed.status} {placed.text}")
        await desk.clear()
    if not taken and words:
        return f"bids {ages} s old", "; ".join(words)[:300], Verdict.VIOLATED
    observed = f"oldest taken: {max(taken)} s" + (f"; {'; '.join(words)}" if words else "")
    return f"bids {ages} s old", observed[:300], verdict_of(60 in taken)


# ---- the session -------------------------------------------------------------------------------------------


@probe("request-age", "is an old request refused, and how old may it be?")
async def request_age(desk: Desk) -> tuple[str, str, Verdict]:
    """Signed listings whose timestamp lies in the past; costs nothing."""
    client, path = desk.client, "/data/orders"
    assert client.credentials is not None
    ages, taken = (0, 5, 10, 30, 60, 300, 3600, 86_400), []
    for age_s in ages:
        stamp = int(time.time()) - age_s
        headers = l2_headers(client.credentials, desk.signer.address, "GET", path, b"", stamp)
        answer = await client.transport.send("GET", path, headers=headers)
        if answer.status == 200:
            taken.append(age_s)
    done = f"GET {path} signed {ages} s ago"
    if 0 not in taken:
        return done, "not even a fresh one was taken", Verdict.UNDETERMINED
    return done, f"taken up to {max(taken)} s old", verdict_of(86_400 not in taken)


@probe("heartbeat", "are all orders cancelled 10 to 15 s after the last heartbeat?")
async def heartbeat(desk: Desk) -> tuple[str, str, Verdict]:
    """Arms the dead man's switch and lets it fire. Only for an account whose orders are all the probe's."""
    signed = desk.sign()
    placed = await desk.send(signed)
    done = "a heartbeat, a resting bid, then silence"
    if not placed.accepted:
        return done, f"not accepted: {placed.status} {placed.text}", Verdict.UNDETERMINED
    await desk.client.heartbeat("")
    began_s = desk.now_s
    longest_s = 3 * (BEAT_LIMIT_S + BEAT_CHECK_S)
    while await desk.is_open(signed.order_id):
        if desk.now_s > began_s + longest_s:
            return done, f"still open {longest_s} s after the last heartbeat", Verdict.VIOLATED
        await desk.sleep(0.5)
    passed_s = desk.now_s - began_s
    slack_s = 2 + 2 * desk.clock.scale * 0.1
    holds = BEAT_LIMIT_S - 1 <= passed_s <= BEAT_LIMIT_S + BEAT_CHECK_S + slack_s
    return done, f"cancelled {passed_s:.1f} s after the last heartbeat", verdict_of(holds)


@probe("clock", "is the venue's clock within a second of ours?")
async def clock(desk: Desk) -> tuple[str, str, Verdict]:
    """Compared with the machine's clock."""
    offset_ms = await desk.client.time_offset_ms()
    return "GET /time", f"{offset_ms:+.0f} ms", verdict_of(abs(offset_ms) <= 1000)


@probe("trades", "does the trades listing name each own maker leg?")
async def maker_legs(desk: Desk) -> tuple[str, str, Verdict]:
    """Reads the account's trades of the last week; makes none."""
    trades = await desk.client.trades(after=int(desk.now_s) - 7 * 86_400)
    as_maker = [trade for trade in trades if str(trade.get("trader_side", "")).upper() == "MAKER"]
    done = f"read {len(trades)} trades"
    if not as_maker:
        return done, "none of them has us as maker", Verdict.UNDETERMINED
    own = desk.signer.address.lower(), desk.signer.maker.lower()
    bad = [
        trade
        for trade in as_maker
        if not any(str(leg.get("maker_address", "")).lower() in own for leg in trade.get("maker_orders", []))
    ]
    observed = f"{len(as_maker)} as maker, {len(bad)} of them without a leg of ours"
    return done, observed, verdict_of(not bad)


@probe("version", "is the market of a generation that we can sign for, with the taker delay switched on?")
async def version(desk: Desk) -> tuple[str, str, Verdict]:
    """Costs nothing."""
    number = await desk.client.version()
    market = await desk.client.market(desk.info.condition_id)
    observed = f"/version {number}, market {market.version!r}, taker delay {market.taker_delay}"
    return "GET /version, /clob-markets", observed, verdict_of(number == 2 and market.version in ("v1", "v2"))


@probe("balance-gate", "is an order beyond the balance refused?")
async def balance_gate(desk: Desk) -> tuple[str, str, Verdict]:
    """Only where the cap covers such an order: if the gate is not there, it rests."""
    told = await desk.client.balance_allowance()
    need_micro = int(told["balance"]) + desk.worst_micro
    done = f"read a balance of {int(told['balance']) / MICRO:g} dollars"
    if need_micro > desk.purse.cap_micro - desk.purse.spent_micro:
        return done, "an order beyond it would go beyond the spending cap", Verdict.UNDETERMINED
    size_micro = -(-need_micro * PRICE_ONE_E4 // desk.info.tick_e4)
    size_micro += -size_micro % 10_000
    signed = desk.signer.sign(
        *(desk.info.up_token_id, Side.BUY, desk.info.tick_e4, max(size_micro, desk.info.min_size_micro)),
        tick_e4=desk.info.tick_e4,
        post_only=True,
        exchange=desk.info.exchange,
    )
    placed = await desk.send(signed, max(need_micro, desk.worst_micro))
    observed = f"answer {placed.status} {placed.text or placed.entry.get('status')!r}"
    return done + ", one bid beyond it", observed, verdict_of(not placed.accepted)


NOT_ASKED: Final = (
    ("queue", "are native and mirrored orders of one level one queue?", "needs fills at a busy level"),
    ("taker-delay", "how long is a marketable order held?", "needs a marketable order of a dollar or more"),
    ("close", "when exactly does trading stop around the end?", "needs an order that rests over the end"),
    ("resolution", "which price decides hourly markets?", "read the rules text of the market"),
    ("user-times", "which unit do user-channel times have?", "both are read, by magnitude"),
    ("rate-limits", "are per-signer limits enforced?", "would need a storm of orders"),
)
"""Open questions that this programme does not settle, and why."""
