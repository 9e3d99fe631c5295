"""A market that is being traded: its compiled step, and the ledger of what its fills mean in dollars."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from invmm._ext.decode import MarketBooks
from invmm._ext.step import MarketStep
from invmm.feed.integrity import HashCheck
from invmm.replay.tape import MarketInfo
from invmm.settlement.ledger import Ledger
from invmm.types import MICRO, EventFlag, EventKind, OrderStatus, Outcome, Side

if TYPE_CHECKING:
    from invmm.feed.pair import MarketStream

HASH_DOUBT = 2  # a second source is asked
HASH_ALARM = 3  # a single mismatch is usual: the frame was not the last one of its timestamp
KEY_BITS = 24  # of an order key, below what is common to all keys of a market


@dataclass
class Market:
    """One market that the engine trades: its compiled step and the ledger of its fills."""

    info: MarketInfo
    number: int
    step: MarketStep
    ledger: Ledger = field(default_factory=Ledger)
    hashes: HashCheck = field(init=False)
    winner: Outcome | None = None
    refused: int = 0  # frames refused that people have been told of
    say: Callable[[str], object] = field(default=lambda _: None, repr=False)  # what people should know
    on_hash_doubt: Callable[[], object] = field(default=lambda: None, repr=False)
    feed: MarketStream | None = None
    held: bool = False  # connected and followed, but not quoted (yet)
    serial: int = 0  # how many markets had this number before

    def __post_init__(self) -> None:
        self.hashes = HashCheck(
            self.info.up_token_id, self.info.down_token_id, f"{self.info.min_size_micro / MICRO:g}"
        )

    def owns(self, key: int) -> bool:
        """Whether an order key is one of this market's."""
        return key >> KEY_BITS == ((self.number + 1) << (40 - KEY_BITS)) + self.serial

    def up_mid(self) -> float | None:
        """Mid price of Up in dollars; None while a side is empty."""
        bid, ask = self.step.books.up.best_bid(), self.step.books.up.best_ask()
        return None if bid is None or ask is None else (bid[0] + ask[0]) / 2e4

    def tell_refused(self) -> None:
        """Says once that frames were refused, with the reason of the last one."""
        refused = sum(self.step.books.stats["decode_failures"].values())
        if refused > self.refused:
            self.say(
                f"{refused - self.refused} frames refused, books unchanged: {self.step.books.last_error}"
            )
            self.refused = refused

    def compare_hash(self, books: MarketBooks, frame: bytes) -> None:
        """A frame that the step was asked to show: are the books what the venue's checksum says?"""
        if self.hashes.compare(books, frame) is None:
            self.step.wants_frame = True  # it carried no checksum: the next one
            return
        if self.hashes.in_a_row >= HASH_DOUBT:
            self.on_hash_doubt()
        if self.hashes.in_a_row == HASH_ALARM:
            self.say(f"{self.info.slug}: book checksum differs {HASH_ALARM} times in a row")

    def take(self, event: Any) -> None:
        """Books what a USER_EVENT or SETTLEMENT means in dollars.

        Token and side of a fill are those of our own order, and so is the price unless it took.
        """
        kind = int(event["kind"])
        if kind == EventKind.SETTLEMENT:
            self.winner = Outcome(int(event["token"]))
        elif kind == EventKind.USER_EVENT and int(event["status"]) >= OrderStatus.TRADE_MATCHED:
            trade, key = int(event["trade"]), int(event["key"])
            known = self.ledger.legs.get((trade, key))
            order = self.step.registry.order(key)
            if known is None and order is None:
                return  # not ours: counted by the registry
            own_price_e4 = (
                known.price_e4 if order is None and known else int(str(order and order["price_e4"]))
            )
            taker = bool(int(event["flags"]) & EventFlag.TAKER)
            self.ledger.fill(
                trade=trade,
                key=key,
                outcome=known.outcome if known else Outcome(int(str(order and order["token"]))),
                side=known.side if known else Side(int(str(order and order["side"]))),
                price_e4=(int(event["price_e4"]) if taker else 0) or own_price_e4,
                size_micro=int(event["size_micro"]),
                taker=taker,
                status=OrderStatus(int(event["status"])),
                time_ns=int(event["time_ns"]),
            )
