"""One order in the cancel/replace protocol, as a model: at the venue, in the engine's record, on the wire.

`statespace.py` puts two or three of these next to each other and tries every sequence. A step of one order is
a `Move`; which moves there are depends on the order itself and on what its surroundings allow (`Around`). The
engine's moves are over-approximated: whatever the protocol permits may happen at any moment, in any order.

| here                                 | the shipped rule                                                    |
|--------------------------------------|---------------------------------------------------------------------|
| `state`                              | `evidence_state_c` of `_ext/evidence`: the first line that holds    |
| `take`, `Said`                       | `evidence_join_c`: bits are only ever set                           |
| `claimed`                            | exposure: shares held, and what possibly-live orders may still fill |
| "journals", then "sends"             | PREPARE of the transaction; the journal before the first byte       |
| "cancels" not before an answer came  | a cancel never overtakes its order                                  |
| "sends the same bytes again"         | `evidence_resend_due_c`                                             |
| "is past its fence"                  | `evidence_fence_c`: expired at the venue; orders, trades are clean  |
| crash, then the trades are listed    | start: open journaled ids UNKNOWN; trades before the first quote    |

Where the model is coarser: a question and its answer are one step, because an answer is true for ever
or makes the order count as alive; a pass over the trades tells all that has traded; the clocks of venue
and engine are one, the bound between them being part of the fence; an order is one or two lots, and each fill
stands. Where it is stricter: a cancelled order of two lots counts until the trades were listed after its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import NamedTuple


class Book(IntEnum):
    """Where an order is at the venue. REFUSED: its first sending was, and copies of that are as well."""

    ABSENT = 0
    RESTING = 1
    OVER = 2
    REFUSED = 3


class State(IntEnum):
    """What the engine makes of its record. FORGOTTEN exists under shortcuts only."""

    NONE = 0
    PREPARED = 1
    SENT = 2
    LIVE = 3
    UNKNOWN = 4
    DEAD = 5
    FILLED = 6
    FORGOTTEN = 7


POSSIBLY_LIVE = (State.PREPARED, State.SENT, State.LIVE, State.UNKNOWN)


class Said(IntFlag):
    """The evidence, named as the bits of `_ext/evidence`. LANDED: accepted, or a query knew it."""

    SENT = 1
    LANDED = 2
    DUPLICATED = 4
    UNANSWERED = 8
    ABSENT = 16
    CANCELED = 32
    REJECTED = 64
    FENCED = 128
    RESENT = 256
    COPY_REFUSED = 512


class Wire(IntFlag):
    """Messages under way, to the venue and from it. A set: any of them may be the next to arrive."""

    PLACE = 1
    AGAIN = 2
    CANCEL = 4
    ACCEPTED = 8
    REJECTED = 16
    DUPLICATED = 32
    CANCELED = 64
    NOT_CANCELED = 128
    FILL_1 = 256
    FILL_2 = 512
    COPY_REFUSED = 1024


FILLS = (Wire.FILL_1, Wire.FILL_2)
TO_ENGINE = (
    Wire.ACCEPTED,
    Wire.REJECTED,
    Wire.COPY_REFUSED,
    Wire.DUPLICATED,
    Wire.CANCELED,
    Wire.NOT_CANCELED,
    *FILLS,
)
LOST_WITH_THE_PROCESS = Wire(sum(TO_ENGINE))
ANSWERS = LOST_WITH_THE_PROCESS & ~Wire(sum(FILLS))
NOTHING_SAID = Said(0)
EMPTY = Wire(0)


class Order(NamedTuple):
    """One order. `matched`: lots traded at the venue; `legs`: bit n for lot n that the engine was told of.

    `listed`: the trades were listed after the order's proven end, so nothing about it is still to be told.
    `again_refused`: its second sending was refused, and copies of that are as well.
    """

    book: Book = Book.ABSENT
    matched: int = 0
    expired: bool = False
    prepared: bool = False
    journaled: bool = False
    said: Said = NOTHING_SAID
    legs: int = 0
    cancel_sent: bool = False
    listed: bool = False
    forgotten: bool = False
    again_refused: bool = False
    wire: Wire = EMPTY


class Around(NamedTuple):
    """What the other orders and the adversary's means allow this one."""

    wanted: bool  # the newest target is this order
    fits: bool  # the limits hold for the union of all that may be alive and this order
    replaceable: bool  # its successor is proven, or cannot come before it is gone
    recovering: bool  # just restarted: the trades are not listed yet
    can_drop: bool
    can_copy: bool
    can_advance: bool  # there is a next order


class Cost(IntEnum):
    """What a move takes from the adversary's means, or does to the target."""

    NONE = 0
    DROP = 1
    COPY = 2
    ADVANCE = 3


class Move(NamedTuple):
    """One step. `calm`: it needs neither a fault nor an unkind choice, and so may be waited for."""

    text: str
    order: Order
    calm: bool = True
    cost: Cost = Cost.NONE


@dataclass(frozen=True)
class Rules:
    """The protocol, and for each shortcut a switch that breaks it (false in the protocol)."""

    lots: int = 1
    retry: bool = False
    timeout_is_failure: bool = False
    absent_is_dead: bool = False
    cancel_refusal_is_dead: bool = False
    no_journal: bool = False
    no_wait: bool = False
    unknown_uncounted: bool = False
    fence_early: bool = False
    new_salt: bool = False
    journal_late: bool = False
    copy_refusal_is_dead: bool = False
    trades_unlisted: bool = False
    untold_uncounted: bool = False

    # ---- what the engine believes --------------------------------------------------------------------------

    def state(self, order: Order) -> State:
        """The state of a record: the lines of `evidence_state_c`, in their order."""
        said = order.said
        landed = said & (Said.LANDED | Said.DUPLICATED) or order.legs
        if order.forgotten:
            return State.FORGOTTEN
        if not order.prepared:
            return State.NONE
        if order.legs == (1 << self.lots) - 1:
            return State.FILLED
        if said & (Said.CANCELED | Said.FENCED):
            return State.DEAD
        refused = said & Said.REJECTED and (not said & Said.RESENT or said & Said.COPY_REFUSED)
        if self.copy_refusal_is_dead:
            refused = said & (Said.REJECTED | Said.COPY_REFUSED)
        if refused and not landed:
            return State.DEAD
        if landed:
            if said & Said.ABSENT:
                return State.UNKNOWN
            if not order.legs and not said & Said.LANDED:
                return State.UNKNOWN  # only DUPLICATED says so
            if said & (Said.LANDED | Said.DUPLICATED):
                return State.LIVE
        if said & (Said.UNANSWERED | Said.ABSENT | Said.RESENT | Said.REJECTED):
            return State.UNKNOWN
        return State.SENT if said & Said.SENT else State.PREPARED

    def claimed(self, order: Order) -> int:
        """Lots that count in the limits: told ones, and all that may still be told or traded."""
        state, told = self.state(order), order.legs.bit_count()
        if state == State.FORGOTTEN:
            return 0
        counts = state in POSSIBLY_LIVE
        if state == State.UNKNOWN and self.unknown_uncounted:
            counts = False
        if order.cancel_sent and self.no_wait:
            counts = False
        if state == State.DEAD and order.said & Said.CANCELED and not order.listed:
            counts = not self.untold_uncounted  # fills that precede the cancel may not be told yet
        return self.lots if counts else told

    def take(self, order: Order, evidence: Said) -> Order:
        """Joins evidence. A sign of life takes back an absence, which then was asked for earlier."""
        said = order.said | evidence
        if evidence & Said.LANDED:
            said &= ~Said.ABSENT
        # One lot that is cancelled has not traded: then nothing is still to be told.
        listed = order.listed or (self.lots == 1 and bool(evidence & Said.CANCELED))
        return self.tidy(order._replace(said=said, listed=listed))

    def tidy(self, order: Order) -> Order:
        """Drops what cannot matter any more, so that equal situations are equal states."""
        state, said, wire = self.state(order), order.said, order.wire
        if state == State.FORGOTTEN:
            return order._replace(said=NOTHING_SAID, wire=wire & (Wire.PLACE | Wire.AGAIN | Wire.CANCEL))
        if order.legs & 1:
            wire &= ~Wire.FILL_1
        if order.legs & 2:
            wire &= ~Wire.FILL_2
        if state == State.FILLED or said & (Said.CANCELED | Said.FENCED):
            said = Said.SENT | (said & (Said.CANCELED | Said.FENCED) if state == State.DEAD else NOTHING_SAID)
            wire &= ~ANSWERS
            if order.book == Book.OVER or order.expired:
                order = order._replace(expired=True, cancel_sent=False)
                wire &= ~(Wire.PLACE | Wire.AGAIN | Wire.CANCEL)
        elif said & Said.LANDED:
            said &= ~(Said.UNANSWERED | Said.DUPLICATED | Said.REJECTED | Said.COPY_REFUSED)
            wire &= ~(Wire.REJECTED | Wire.COPY_REFUSED | Wire.DUPLICATED)
            if not said & Said.ABSENT:
                wire &= ~Wire.ACCEPTED
        if order.book == Book.OVER and not self.cancel_refusal_is_dead:
            wire &= ~Wire.CANCEL
        if not wire & Wire.AGAIN:
            order = order._replace(again_refused=False)
        if not (self.retry or self.no_wait):
            order = order._replace(cancel_sent=False)
        if said & Said.FENCED or said & Said.REJECTED:
            order = order._replace(listed=True)
        listed = state == State.FILLED or (state == State.DEAD and order.listed)
        return order._replace(said=said, wire=wire, listed=listed)

    def forget(self, order: Order) -> Order:
        """What a shortcut does with an order that it takes for failed."""
        return self.tidy(order._replace(forgotten=True))

    def told_all(self, order: Order) -> Order:
        """The trades have been listed."""
        if order.forgotten or not order.prepared:
            return order
        order = order._replace(legs=(1 << order.matched) - 1)
        return self.tidy(order._replace(listed=self.state(order) == State.DEAD))

    def restarted(self, order: Order) -> Order:
        """The process died: its memory and what was on its way to it are gone, what it sent is not."""
        order = order._replace(wire=order.wire & ~LOST_WITH_THE_PROCESS)
        if not order.prepared or order.forgotten:
            return order
        if self.no_journal:  # what the venue lists as open is all that there is to know
            if order.book != Book.RESTING:
                return self.forget(order)
            return self.tidy(order._replace(said=Said.SENT | Said.LANDED, legs=0, cancel_sent=False))
        if not order.journaled:
            return Order(*order)._replace(prepared=False) if not order.said else self.forget(order)
        if self.state(order) in (State.DEAD, State.FILLED):  # its end is journaled; its fills are listed anew
            ended = Said.SENT | Said.CANCELED
            return self.tidy(order._replace(said=ended, legs=0, listed=self.trades_unlisted))
        # Whether a copy or a cancel went out is not known any more: no refusal proves anything from here on,
        # and no further copy goes out.
        said = Said.SENT | Said.UNANSWERED | Said.RESENT
        return self.tidy(order._replace(said=said, legs=0, cancel_sent=True, listed=False))

    # ---- moves ---------------------------------------------------------------------------------------------

    def moves(self, order: Order, around: Around) -> list[Move]:
        """Every step that this order can make next."""
        found = [*self.engine_moves(order, around), *self.venue_moves(order)]
        for message in Wire:
            if not order.wire & message:
                continue
            name = message.name.lower().replace("_", " ") if message.name else ""
            rest = order._replace(wire=order.wire & ~message)
            for move in self.arrivals(rest, message):
                found.append(move._replace(order=self.tidy(move.order)))
                if around.can_copy:
                    copied = move.order._replace(wire=move.order.wire | message)
                    text = f"{move.text}, and a copy of that message is still under way"
                    found.append(Move(text, self.tidy(copied), False, Cost.COPY))
            if around.can_drop:
                found.append(
                    Move(f"network: the message “{name}” is lost", self.tidy(rest), False, Cost.DROP)
                )
        return [move for move in found if move.order != order or move.cost == Cost.ADVANCE]

    def engine_moves(self, order: Order, around: Around) -> list[Move]:
        """What the protocol permits the engine."""
        state, said = self.state(order), order.said
        found: list[Move] = []

        def add(text: str, new: Order, calm: bool = True, cost: Cost = Cost.NONE) -> None:
            found.append(Move("engine: " + text, self.tidy(new), calm, cost))

        if state == State.NONE and around.wanted and around.fits and not around.recovering:
            add("prepares and journals", order._replace(prepared=True, journaled=not self.journal_late))
        if state == State.PREPARED:
            sent = order._replace(said=Said.SENT, wire=order.wire | Wire.PLACE)
            add("sends", sent)
            if not around.wanted:
                add("refuses to send what nobody wants any more", self.take(order, Said.REJECTED))
        if said and not order.journaled and not order.forgotten:
            add("journals what it has sent", order._replace(journaled=True))
        if state == State.SENT:
            if self.timeout_is_failure:
                add("has no answer in time and takes the order for failed", self.forget(order))
            elif self.new_salt and around.can_advance:
                add(
                    "has no answer in time and signs the order again with a new salt",
                    self.forget(order),
                    cost=Cost.ADVANCE,
                )
            else:
                add("has no answer in time", self.take(order, Said.UNANSWERED))
        if state in (State.LIVE, State.UNKNOWN):
            if self.cancels(order, around):
                add("cancels", order._replace(cancel_sent=True, wire=order.wire | Wire.CANCEL))
            found += self.questions(order)
        if self.resends(order, around):
            again = order._replace(said=said | Said.RESENT, wire=order.wire | Wire.AGAIN)
            add("sends the same bytes again", again)
        if state in (State.LIVE, State.UNKNOWN) and (order.expired or self.fence_early):
            clean = self.told_all(order)
            if self.state(clean) != State.FILLED and (order.expired or order.book != Book.RESTING):
                clean = self.take(clean, Said.FENCED)
            add("is past its fence, and orders and trades are clean", clean)
        return found

    def cancels(self, order: Order, around: Around) -> bool:
        """Whether the order of messages permits a cancel: old ones when their successor is proven (place,
        acknowledge, cancel) or must wait for them (cancel, proof, place); unknown ones at any time.
        """
        if order.wire & Wire.CANCEL:
            return False
        if order.book == Book.OVER and not self.cancel_refusal_is_dead:
            return False  # its answer would change nothing
        if self.state(order) == State.UNKNOWN:
            return True
        return not around.wanted and (around.replaceable or around.recovering)

    def resends(self, order: Order, around: Around) -> bool:
        """Whether the same bytes may go out once more."""
        never = Said.LANDED | Said.DUPLICATED | Said.RESENT | Said.REJECTED
        return bool(
            self.retry
            and around.wanted
            and not order.cancel_sent
            and not order.expired
            and self.state(order) == State.UNKNOWN
            and order.said & Said.UNANSWERED
            and order.said & Said.ABSENT
            and not order.said & never
            and not order.legs
        )

    def questions(self, order: Order) -> list[Move]:
        """The engine asks for the order by its id. One that is over may be listed as such or not at all."""
        found: list[Move] = []
        if order.book == Book.RESTING:
            found.append(Move("engine: asks, and finds it open", self.take(order, Said.LANDED)))
        elif order.book == Book.OVER and order.matched == self.lots:
            found.append(Move("engine: asks, and hears that it is matched", self.take(order, Said.LANDED)))
        elif order.book == Book.OVER:
            found.append(
                Move("engine: asks, and hears that it is cancelled", self.take(order, Said.CANCELED))
            )
        if order.book != Book.RESTING:
            text, calm = "engine: asks, and the venue does not know it", order.book != Book.OVER
            absent = self.forget(order) if self.absent_is_dead else self.take(order, Said.ABSENT)
            found.append(Move(text, absent, calm))
        return found

    def venue_moves(self, order: Order) -> list[Move]:
        """What happens at the venue by itself."""
        found: list[Move] = []
        if order.book == Book.RESTING:
            matched = order.matched + 1
            full = order._replace(
                book=Book.OVER if matched == self.lots else Book.RESTING,
                matched=matched,
                wire=order.wire | FILLS[order.matched],
            )
            found.append(
                Move("venue: fills it" if matched == self.lots else "venue: fills half", full, False)
            )
        if order.prepared and not order.expired:
            over = Book.OVER if order.book == Book.RESTING else order.book
            found.append(Move("venue: its expiry passes", order._replace(book=over, expired=True)))
        return [move._replace(order=self.tidy(move.order)) for move in found]

    def arrivals(self, order: Order, message: Wire) -> list[Move]:
        """A message arrives, which is no longer in `order.wire`."""
        if message in (Wire.PLACE, Wire.AGAIN):
            return self.placements(order, message)
        if message == Wire.CANCEL:
            if order.book == Book.RESTING:
                over = order._replace(book=Book.OVER, wire=order.wire | Wire.CANCELED)
                return [Move("venue: gets the cancel and takes it off the book", over)]
            answered = order.wire | (Wire.NOT_CANCELED if self.cancel_refusal_is_dead else EMPTY)
            return [Move("venue: gets the cancel of what is not on its book", order._replace(wire=answered))]
        if message == Wire.NOT_CANCELED:
            return [Move("engine: hears “not cancelled” and takes it for dead", self.forget(order))]
        if message in FILLS:
            if order.forgotten:
                return [Move("engine: hears of a fill of an order that it does not know", order)]
            told = order._replace(legs=order.legs | 1 << FILLS.index(message))
            return [Move("engine: hears of its fill", told)]
        evidence, text = {
            Wire.ACCEPTED: (Said.LANDED, "hears that it rests"),
            Wire.REJECTED: (Said.REJECTED, "hears that it is refused"),
            Wire.COPY_REFUSED: (Said.COPY_REFUSED, "hears that its copy is refused"),
            Wire.DUPLICATED: (Said.DUPLICATED, "hears that an earlier copy landed"),
            Wire.CANCELED: (Said.CANCELED, "hears that it is cancelled"),
        }[message]
        return [Move("engine: " + text, self.take(order, evidence))]

    def placements(self, order: Order, message: Wire) -> list[Move]:
        """The order's bytes reach the venue: the first sending or the same bytes again."""
        what = "the order" if message == Wire.PLACE else "the same bytes"
        if order.book in (Book.RESTING, Book.OVER):
            answered = order._replace(wire=order.wire | Wire.DUPLICATED)
            return [Move(f"venue: gets {what}, which it has already", answered)]
        first = message == Wire.PLACE
        if first:
            refused = order._replace(wire=order.wire | Wire.REJECTED, book=Book.REFUSED)
        else:
            refused = order._replace(wire=order.wire | Wire.COPY_REFUSED, again_refused=True)
        if order.expired or (order.book == Book.REFUSED if first else order.again_refused):
            return [Move(f"venue: gets {what} and refuses it", refused)]
        rests = order._replace(book=Book.RESTING, wire=order.wire | Wire.ACCEPTED)
        return [
            Move(f"venue: gets {what}, which rests", rests),
            Move(f"venue: gets {what} and refuses it", refused, False),
        ]
