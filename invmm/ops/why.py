"""`invmm why`: the binding reason of a quote or of a non-quote, from the journal alone."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from invmm.errors import DataError
from invmm.journal_types import QUOTE_DTYPE, JournalKind, Stream
from invmm.ops.journal import ReadJournal, journal_folder
from invmm.ops.reason_words import MEANINGS, binding
from invmm.ops.record_words import NS, Row, Speaker, key_words, time_words
from invmm.types import Outcome, Reason

EXIT_DONE: Final = 0
CLOCK = re.compile(r"(?:(\d{4}-\d\d-\d\d)[T ])?(\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?)Z?")


def parser() -> argparse.ArgumentParser:
    """The command line, complete with help."""
    p = argparse.ArgumentParser(
        prog="invmm why",
        description="Says why an order was placed and what became of it, or why each token was quoted or not "
        "at a time: the reason that decided, since when, and the values that bound it.",
        epilog="Exit codes: 0 answered, 2 usage, or the journal does not name it.",
    )
    p.add_argument(
        "what",
        help="an order: its id (0x…, or the beginning) or key (market.serial.count); or a time, UTC of the "
        "engine's clock: [YYYY-MM-DD ]HH:MM[:SS], unix seconds, or 'now' for the end of the journal",
    )
    p.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="state folder or journal (default: the state folder used last)",
    )
    p.add_argument("--json", action="store_true", help="one JSON object")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code."""
    options = parser().parse_args(arguments)
    journal = ReadJournal(journal_folder(options.state))
    if not journal.files:
        raise DataError(f"{journal.path}: expected journal files, found none")
    time_ns = time_of(options.what, journal)
    if time_ns is None:
        story = order_story(journal, options.what)
        print(json.dumps(asdict(story)) if options.json else "\n".join(story.lines()))
    else:
        answers = at_time(journal, time_ns)
        if options.json:
            print(json.dumps({"time": time_words(time_ns), "tokens": [asdict(each) for each in answers]}))
        else:
            print("\n".join([f"at {time_words(time_ns)} UTC", *(each.line() for each in answers)]))
    return EXIT_DONE


def time_of(text: str, journal: ReadJournal) -> int | None:
    """Engine time that a text means; None if it means an order.

    A clock without a date is the last such time within the journal.
    """
    if text == "now":
        return _end_ns(journal)
    if re.fullmatch(r"\d{9,10}(\.\d+)?", text):
        seconds, _, rest = text.partition(".")
        return int(seconds) * NS + int(rest[:9].ljust(9, "0") or 0)
    found = CLOCK.fullmatch(text.strip())
    if found is None:
        return None
    day, clock = found.groups()
    clock = clock if clock.count(":") == 2 else clock + ":00"
    end = datetime.fromtimestamp(_end_ns(journal) / NS, UTC)
    date = datetime.fromisoformat(day).date() if day else end.date()
    hour, minute, second = clock.split(":")
    try:
        moment = datetime(date.year, date.month, date.day, int(hour), int(minute), tzinfo=UTC)
    except ValueError as error:
        raise DataError(f"{text}: expected a time: {error}") from None
    moment += timedelta(seconds=float(second))
    if not day and moment > end + timedelta(seconds=1):
        moment -= timedelta(days=1)
    return round(moment.timestamp() * 1e6) * 1000


def _end_ns(journal: ReadJournal) -> int:
    return max((row.time_ns for row in journal.rows(session=journal.sessions[-1])), default=0)


@dataclass(frozen=True)
class TokenAnswer:
    """Why one token was quoted or not; `since_s` before the time asked about."""

    market: str
    token: str
    is_quoted: bool
    reason: str
    words: str
    since: str
    since_s: float
    live_orders: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """For people."""
        said = "quoted" if self.is_quoted else f"not quoted: {self.reason}"
        orders = "".join(f"\n      {each}" for each in self.live_orders)
        return f"  {self.market} {self.token}: {said} for {self.since_s:.3f} s — {self.words}{orders}"


def at_time(journal: ReadJournal, time_ns: int) -> list[TokenAnswer]:
    """Both tokens of each market that was open at a time.

    Raises
    ------
    DataError
        The journal says nothing about that time.
    """
    session = next(
        (each for each in reversed(journal.sessions) if _begins(journal, each) <= time_ns),
        journal.sessions[0],
    )
    rows = [row for row in journal.rows(session=session, stream=Stream.INPUTS) if row.time_ns <= time_ns]
    speaker = Speaker([row for row in rows if row.kind is JournalKind.MARKET])
    settings = _settings(rows)
    last: dict[tuple[int, int], Row] = {}
    for row in rows:
        if row.kind is JournalKind.QUOTE:
            words = row.words(QUOTE_DTYPE)
            last[int(words["market"]), int(words["token"])] = row
        elif row.kind is JournalKind.MARKET and (row.link >> 40) - 1 not in {number for number, _ in last}:
            number = (row.link >> 40) - 1
            last.setdefault((number, 0), row)
            last.setdefault((number, 1), row)
    if not last:
        raise DataError(
            f"{time_words(time_ns)}: the journal in {journal.path} begins later or names no market"
        )
    living = _living(rows, speaker)
    answers = []
    for (number, token), row in sorted(last.items()):
        market, side = speaker.market(row, number), Outcome(token).name
        orders = [words for each, words in living if each == (market, side)]
        values: dict[str, Any] = {}
        if row.kind is JournalKind.MARKET:
            reason, said = Reason.NO_SNAPSHOT, "nothing was decided about it yet"
        else:
            facts = speaker.fact(row)
            reason = _reason(facts["reason"])
            said, values = binding(reason, facts, settings)
            said += _cause(rows, row, reason)
        answers.append(
            TokenAnswer(
                market=market,
                token=side,
                is_quoted=reason is Reason.NONE,
                reason=reason.name,
                words=said,
                since=time_words(row.time_ns),
                since_s=(time_ns - row.time_ns) / NS,
                live_orders=orders,
                values=values,
            )
        )
    return answers


def _begins(journal: ReadJournal, session: int) -> int:
    rows = journal.rows(session=session)
    return rows[0].time_ns if rows else 2**62


def _settings(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    for row in reversed(rows):
        if row.kind is JournalKind.SESSION:
            return dict(json.loads(row.text())["settings"])
    return {}


def _reason(text: str) -> Reason:
    return Reason[text] if text in Reason.__members__ else Reason.NONE


def _cause(rows: Sequence[Row], row: Row, reason: Reason) -> str:
    """For a mode: what the engine had said last before it."""
    if reason not in (Reason.MODE, Reason.USER_FEED, Reason.UNRECONCILED):
        return ""
    notes = [each for each in rows if each.kind is JournalKind.NOTE and each.time_ns <= row.time_ns]
    return f"; said before: {notes[-1].text()}" if notes else ""


def _living(rows: Sequence[Row], speaker: Speaker) -> list[tuple[tuple[str, str], str]]:
    """Orders placed and not ended so far: market and token of each, and the order in words."""
    placed: dict[int, Row] = {}
    for row in rows:
        facts = (
            speaker.fact(row)
            if row.kind in (JournalKind.COMMAND, JournalKind.ENDED, JournalKind.REVIVED)
            else {}
        )
        if row.kind is JournalKind.COMMAND and facts["command"] == "PLACE":
            placed[facts["key"]] = row
        elif row.kind is JournalKind.ENDED:
            placed.pop(facts["key"], None)
    found = []
    for row in placed.values():
        facts = speaker.fact(row)
        found.append(((facts["market"], facts["token"]), speaker.words(row)))
    return found


@dataclass(frozen=True)
class OrderStory:
    """What the journal says about one order."""

    key: str
    order_id: str
    market: str
    placed: str
    """Why it was wanted."""
    book: str
    """What was known of the market when it was decided."""
    events: list[str]
    """Its records, with the time since the decision."""
    verdict: str
    """What became of it, and why."""

    def lines(self) -> list[str]:
        """For people."""
        head = f"order {self.key} {self.order_id}".rstrip()
        return [
            head,
            f"  {self.placed}",
            f"  {self.book}",
            *(f"    {each}" for each in self.events),
            f"  {self.verdict}",
        ]


def order_story(journal: ReadJournal, text: str) -> OrderStory:
    """The story of one order.

    Raises
    ------
    DataError
        The journal does not name it, or a beginning of an id fits several.
    """
    session, key, order_id = journal.identities(text)
    rows = journal.rows(session=session, order=key)
    inputs = journal.rows(session=session, stream=Stream.INPUTS)
    speaker = Speaker([row for row in inputs if row.kind is JournalKind.MARKET])
    facts = [(row, speaker.fact(row)) for row in rows if row.kind is not JournalKind.ORDER]
    begun = next((each for each in facts if each[1].get("command") == "PLACE"), facts[0])
    settings = _settings(inputs)
    quote = _last_quote(inputs, begun[0], begun[1], speaker)
    placed = f"decided {time_words(begun[0].time_ns)} UTC: {speaker.words(begun[0])}"
    book = "nothing is known of the book at that time"
    if quote is not None:
        said = binding(_reason(quote["reason"]), quote, settings)[0]
        book = f"its token since {quote['time'][11:]}: {said}"
    return OrderStory(
        key=key_words(key),
        order_id="0x" + order_id.hex() if order_id.strip(b"\0") else "",
        market=str(begun[1].get("market", "")),
        placed=placed,
        book=book,
        events=[_event_line(row, begun[0], speaker) for row, _ in facts if row is not begun[0]],
        verdict=_verdict([each for _, each in facts]),
    )


def _last_quote(
    inputs: Sequence[Row], begun: Row, facts: dict[str, Any], speaker: Speaker
) -> dict[str, Any] | None:
    for row in reversed(inputs):
        if row.kind is JournalKind.QUOTE and row.time_ns <= begun.time_ns:
            found = speaker.fact(row)
            if found["market"] == facts.get("market") and found["token"] == facts.get("token"):
                return found
    return None


def _event_line(row: Row, begun: Row, speaker: Speaker) -> str:
    after_ms = (row.time_ns - begun.time_ns) / 1e6
    facts = speaker.fact(row)
    words = speaker.words(row).replace(f" {facts['market']}", "").removesuffix(facts["order_id"]).rstrip()
    mark = "in " if row.stream is Stream.INPUTS else "out"
    return f"+{after_ms:10.3f} ms {mark} {row.kind.name:<8} {words}"


def _verdict(facts: Sequence[dict[str, Any]]) -> str:
    ended = next((each for each in reversed(facts) if each["kind"] in ("ENDED", "REVIVED")), None)
    cancels = [each for each in facts if each.get("command") == "CANCEL" and each["stream"] == "inputs"]
    heard = [each for each in facts if each["kind"] in ("RESULT", "EVENT")]
    last = heard[-1] if heard else None
    asked = ""
    if cancels:
        reason = _reason(cancels[0]["reason"])
        asked = f"; its cancel was asked for {reason.name}: {MEANINGS.get(reason, 'see the reason')}"
    if ended is not None and ended["kind"] == "ENDED":
        filled = ended["filled_micro"] / 1e6
        if ended["state"] == "filled":
            return f"ended filled, {filled:g} shares{asked}"
        proof = next((each for each in reversed(heard) if each["time_ns"] <= ended["time_ns"]), None)
        by = "" if proof is None else f", proven by {proof['status']}"
        why = "" if proof is None or proof["reason"] == "NONE" else f" ({proof['reason']})"
        part = f" with {filled:g} shares filled" if filled else ""
        return f"ended dead{part}{by}{why}{asked}"
    if last is None:
        return f"may be alive: nothing was heard of it{asked}"
    return f"may be alive: last heard {last['status']} at {last['time']}{asked}"
