"""One stream out of two connections: each message once, in order, whatever one of them does."""

from __future__ import annotations

from random import Random

import pytest

from invmm._ext.sink import CallbackSink, FrameSink
from invmm.feed.merge import FrameMerge

UP, DOWN = "1" * 77, "2" * 77


def book(ms: int, *tokens: str) -> bytes:
    books = (f'{{"asset_id":"{t}","timestamp":"{ms}","bids":[],"asks":[]}}' for t in tokens)
    return f"[{','.join(books)}]".encode()


def change(ms: int, what: int = 0) -> bytes:
    return (
        f'{{"price_changes":[{{"asset_id":"{UP}","size":"{what}"}}], "timestamp":"{ms}", '
        '"event_type":"price_change"}'
    ).encode()


class Rig:
    def __init__(self) -> None:
        self.told: list[bytes | str] = []
        self.sink = CallbackSink(
            lambda data, _, last: self.told.append(data),
            lambda _: self.told.append("end"),
            lambda _: self.told.append("lost"),
        )
        self.merge = FrameMerge(self.sink)
        self.one, self.two = self.merge.lanes

    def join(self, lane: FrameSink, ms: int) -> None:
        lane.on_frame(book(ms, UP, DOWN), 0)

    @property
    def changes(self) -> list[bytes]:
        return [told for told in self.told if isinstance(told, bytes) and b"price_changes" in told]


@pytest.fixture
def rig() -> Rig:
    made = Rig()
    made.join(made.one, 10)
    made.join(made.two, 12)
    assert made.told == [book(10, UP, DOWN)]
    assert made.merge.carrying == (True, True)
    return made


def test_the_first_copy_wins_and_the_second_is_passed_over(rig: Rig) -> None:
    for ms in (20, 21, 22):
        rig.one.on_frame(change(ms), 0)
    for ms in (20, 21, 22, 23):
        rig.two.on_frame(change(ms), 0)
    rig.one.on_frame(change(23), 0)
    assert rig.changes == [change(ms) for ms in (20, 21, 22, 23)]
    assert (rig.merge.old, rig.merge.duplicates) == (2, 3)  # copies: the second dump, 22 and 23


def test_messages_of_one_timestamp_are_matched_one_for_one(rig: Rig) -> None:
    said = [change(30, 5), change(30, 7), change(30, 5)]  # the venue repeats the first
    rig.one.on_frame(said[0], 0)
    for frame in said:
        rig.two.on_frame(frame, 0)
    for frame in said[1:]:
        rig.one.on_frame(frame, 0)
    assert rig.changes == said


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_lead_the_merged_stream_is_the_stream(seed: int) -> None:
    random, rig = Random(seed), Rig()
    rig.join(rig.one, 1)
    rig.join(rig.two, 1)
    ms, stream = 1, []
    for number in range(200):
        ms += random.choice((0, 0, 1, 3))
        stream.append(change(ms + 1, number if random.random() < 0.8 else 7))
    at = [0, 0]
    while min(at) < len(stream):
        lane = random.randrange(2)
        for _ in range(random.choice((1, 1, 2, 10))):
            if at[lane] < len(stream):
                rig.merge.lanes[lane].on_frame(stream[at[lane]], 0)
                at[lane] += 1
    assert rig.changes == stream


def test_a_lost_connection_is_told_only_when_the_other_does_not_carry_on(rig: Rig) -> None:
    rig.one.on_frame(change(20), 0)
    rig.one.on_disconnect(0)
    rig.two.on_frame(change(20), 0)
    rig.two.on_frame(change(21), 0)
    assert rig.changes == [change(20), change(21)]
    assert "lost" not in rig.told
    assert rig.merge.switches == 1
    rig.two.on_disconnect(0)
    assert rig.told[-1] == "lost"


def test_a_connection_that_still_owes_a_book_carries_nothing() -> None:
    rig = Rig()
    rig.join(rig.one, 10)
    rig.two.on_frame(book(10, UP), 0)
    assert rig.merge.carrying == (True, False)
    rig.one.on_disconnect(0)
    assert rig.told[-1] == "lost"


def test_a_ghost_with_which_a_connection_begins_never_reaches_the_book(rig: Rig) -> None:
    rig.two.on_disconnect(0)
    before = list(rig.told)
    rig.join(rig.two, 99)  # whatever its stamp
    assert rig.told == before


def test_after_both_are_lost_the_stream_begins_anew_with_any_stamp(rig: Rig) -> None:
    rig.one.on_frame(change(5_000), 0)
    rig.one.on_disconnect(0)
    rig.two.on_disconnect(0)
    rig.join(rig.two, 4_000)
    rig.two.on_frame(change(4_001), 0)
    assert rig.told[-2:] == [book(4_000, UP, DOWN), change(4_001)]


def test_a_buffer_whose_last_message_is_a_copy_still_ends(rig: Rig) -> None:
    rig.one.on_frame(change(20, 1), 0)
    rig.two.on_frame(change(20, 2), 0, False)
    rig.told.clear()
    rig.two.on_frame(change(20, 1), 0, True)
    assert rig.told == ["end"]
    rig.one.on_frame(change(20, 2), 0, True)
    assert rig.told == ["end"]


def test_messages_without_timestamp_are_passed_on(rig: Rig) -> None:
    rig.told.clear()
    rig.one.on_frame(b'{"event_type":"new"}', 0)
    assert rig.told == [b'{"event_type":"new"}']


def test_a_failing_sink_is_a_fault_of_the_connection_that_brought_the_message() -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no")

    merge = FrameMerge(CallbackSink(fail))
    one, two = merge.lanes
    one.on_frame(change(1), 0)
    assert (one.fault, two.fault) == (1, 0)


def test_a_merge_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        FrameMerge(FrameSink(), 0)
