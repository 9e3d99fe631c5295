"""A market that is being traded: its compiled step, and the ledger of what its fills mean in dollars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from invmm._ext.decode import MarketBooks
from invmm._ext.step import MarketStep
from invmm.errors import ConfigError
from invmm.feed.integrity import HashCheck
from invmm.replay.tape import MarketInfo
from invmm.settlement.ledger import Ledger
from invmm.types import MICRO, EventFlag, EventKind, Mode, OrderStatus, Outcome, Reason, SettlementFact, Side

if TYPE_CHECKING:
    from invmm._ext.words import SharedWords
    from invmm.clock import LiveClock
    from invmm.feed.backoff import ReconnectBudget
    from invmm.feed.connection import SupervisedSocket
    from invmm.feed.market import Witness
    from invmm.feed.pair import MarketStream
    from invmm.feed.states import EndCause, FeedState
    from invmm.settings import Settings

HASH_DOUBT = 2  # a second source is asked
NS = 1_000_000_000
LAST_WORD_NS = 10 * NS  # after a window's end; recordings go on for up to five seconds
MAX_MARKETS = 65_536  # where the venue does not say
HASH_ALARM = 3  # a single mismatch is usual: the frame was not the last one of its timestamp
KEY_BITS = 24  # of an order key, below what is common to all keys of a market


class Numbers:
    """Market numbers: they go round, so that each rests as long as possible before it is used again."""

    def __init__(self) -> None:
        self._given: Counter[int] = Counter()
        self._next = 0

    def take(
        self, used: Collection[int], words: SharedWords | None, number: int | None = None
    ) -> tuple[int, int]:
        """A number that is not in use (`number` itself, if it is given), and how often it was given before.

        ConfigError if there is none.
        """
        limit = MAX_MARKETS if words is None else words.markets
        if number is None:
            around = ((self._next + ahead) % limit for ahead in range(limit))
            number = next((each for each in around if each not in used), None)
            if number is None:
                raise ConfigError(f"expected at most {limit} markets at once, all are in use")
        elif number in used:
            raise ConfigError(f"market number {number}: expected one that is free, it is taken")
        serial = self._given[number]
        self._given[number] += 1
        self._next = number + 1
        return number, serial


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
    unlisted: bool = False  # of an earlier session, whose fills have not been asked for yet
    barred: Reason = Reason.NONE  # why it is not quoted any more
    changes: int = 0  # of its ledger
    serial: int = 0  # how many markets had this number before

    def __post_init__(self) -> None:
        self.hashes = HashCheck(
            self.info.up_token_id, self.info.down_token_id, f"{self.info.min_size_micro / MICRO:g}"
        )

    def owns(self, key: int) -> bool:
        """Whether an order key is one of this market's."""
        return key >> KEY_BITS == ((self.number + 1) << (40 - KEY_BITS)) + self.serial

    @property
    def mode(self) -> Mode:
        """What may be done in this market as far as it is concerned."""
        return Mode.PAUSED if self.held or self.barred else Mode.RUNNING

    def connect(
        self,
        url: str,
        clock: LiveClock,
        settings: Settings,
        budget: ReconnectBudget,
        on_state: Callable[[SupervisedSocket, FeedState, EndCause], None],
        witness: Witness | None = None,
    ) -> MarketStream:
        """Makes the market's channel; not started yet."""
        from invmm.feed.pair import market_stream
        from invmm.limits import feed_settings_of

        self.step.watcher = self.compare_hash
        self.feed = market_stream(
            settings.feed.sockets,
            settings.feed.renew_s,
            url,
            (self.info.up_token_id, self.info.down_token_id),
            self.step,
            clock,
            feed_settings_of(settings, clock.scale),
            budget=budget,
            on_state=on_state,
            witness=witness,
        )
        return self.feed

    @property
    def asks_prices(self) -> bool:
        """Whether its settlement is modelled: then it is told prices of its underlying."""
        return self.step.fair.is_modelled

    def has_had_last_word(self, now_ns: int) -> bool:
        """Whether nothing more is to be heard of it."""
        return now_ns >= self.info.end_s * NS + LAST_WORD_NS

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
            self.changes += 1
            if int(event["status"]) == SettlementFact.PAIRS:
                job, left_micro = f"{int(event['trade']):016x}", int(event["filled_micro"])
                self.ledger.promised_micro = int(event["size_micro"])
                self.ledger.pairs_left(job, left_micro, int(event["time_ns"]))
            else:
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
            self.changes += 1
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
