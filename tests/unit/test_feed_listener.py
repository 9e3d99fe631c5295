"""The compiled listener, one frame at a time, without a socket.

Frames are made by picows's own test constructor. `memory` gives bytes that nothing else shares, since a
poisoning listener overwrites them.
"""

import gc
import itertools
import sys

import pytest
from picows import WSMsgType
from picows.picows import _make_test_ws_frame

from invmm._ext.sink import CallbackSink, FrameSink
from invmm.clock import LiveClock
from invmm.feed.listener import FeedListener
from invmm.feed.states import EndCause

UP = "40113202025193181740822500498877260546965498642740503547096491847887927548587"
DOWN = "58726851105893121441976415044785550794620582864839872973127370351200548678811"
NEAR_UP = "9" + UP[1:]  # same length, same last digits


def memory(text: str) -> bytes:
    return bytes(bytearray(text.encode()))


def feed(listener: FeedListener, text: str, kind: WSMsgType = WSMsgType.TEXT, fin: bool = True) -> bytes:
    data = memory(text)
    listener.on_ws_frame(None, _make_test_ws_frame(kind, data, fin, False))  # type: ignore[arg-type]
    return data


def connected(sink: FrameSink, clock: LiveClock | None = None, **options: object) -> FeedListener:
    listener = FeedListener(sink, clock or LiveClock(), **options)  # type: ignore[arg-type]
    listener.on_ws_connected(None)  # type: ignore[arg-type]
    return listener


def book(*token_ids: str) -> str:
    return "[" + ",".join(f'{{"asset_id":"{t}","bids":[],"asks":[]}}' for t in token_ids) + "]\n"


def change(*token_ids: str) -> str:
    return '{"price_changes":[' + ", ".join(f'{{"asset_id":"{t}", "price":"0.4"}}' for t in token_ids) + "]}"


def test_message_is_stamped_with_engine_time_and_monotonic_entry() -> None:
    told: list[tuple[bytes, int, bool]] = []
    clock = LiveClock(5.0, origin_ns=10**18)
    sink = CallbackSink(lambda data, now_ns, last: told.append((data, now_ns, last)))
    listener = connected(sink, clock)
    before_ns = clock.now_ns()
    feed(listener, '{"a":1}')
    ((data, now_ns, last),) = told
    assert data == b'{"a":1}'
    assert last
    assert before_ns <= now_ns <= clock.now_ns()
    assert clock.at_ns(sink.entered_ns) == now_ns
    assert listener.last_message_ns == now_ns
    assert (listener.frames, listener.bytes, listener.messages) == (1, 7, 1)


def test_nothing_is_handed_over_before_the_connection_stands() -> None:
    told: list[bytes] = []
    listener = FeedListener(CallbackSink(lambda data, now_ns, last: told.append(data)), LiveClock())
    feed(listener, "{}")
    assert told == []
    assert listener.late == 1


@pytest.mark.parametrize("poison", [True, False])
def test_memory_of_a_message_is_overwritten_after_the_sink_only_when_poisoning(poison: bool) -> None:
    seen: list[bytes] = []
    kept: list[memoryview] = []

    def on_frame(data: memoryview, now_ns: int, last: bool) -> None:
        seen.append(bytes(data))
        kept.append(data)

    listener = connected(CallbackSink(on_frame, copy=False), poison=poison)
    data = feed(listener, "0123456789")
    assert seen == [b"0123456789"]
    assert data == (b"\xdd" * 10 if poison else b"0123456789")
    assert bytes(kept[0]) == data


def test_base_sink_takes_everything_and_does_nothing() -> None:
    sink = FrameSink()
    sink.on_frame(b"{}", 1)
    sink.on_buffer_end(2)
    sink.on_disconnect(3)
    assert (sink.fault, sink.entered_ns) == (0, 0)


def test_sink_can_be_driven_without_a_socket() -> None:
    told: list[object] = []
    sink = CallbackSink(lambda *a: told.append(a), lambda *a: told.append(a), lambda *a: told.append(a))
    sink.on_frame(bytearray(b"abc"), 1, False)
    sink.on_frame(memoryview(b"abcd"), 2)
    sink.on_buffer_end(3)
    sink.on_disconnect(4)
    assert told == [(b"abc", 1, False), (b"abcd", 2, True), (3,), (4,)]


def test_failing_callback_sets_the_fault_and_keeps_the_error() -> None:
    def fail(data: bytes, now_ns: int, last: bool) -> None:
        raise KeyError("x")

    sink = CallbackSink(fail)
    sink.on_frame(b"{}", 1)
    assert sink.fault
    assert isinstance(sink.last_error, KeyError)


def test_first_books_are_awaited_per_token_and_the_last_one_notifies() -> None:
    calls: list[int] = []
    listener = connected(FrameSink(), notify=lambda: calls.append(listener.waiting))
    listener.follow([UP, DOWN])
    assert listener.waiting == 2
    feed(listener, change(UP, DOWN))
    assert listener.waiting == 2  # data, but no book
    assert listener.heard(UP)[0] > 0
    feed(listener, book(UP))
    assert (listener.waiting, calls) == (1, [])
    assert listener.heard(UP)[1]
    assert not listener.heard(DOWN)[1]
    feed(listener, book(UP, DOWN))
    assert (listener.waiting, calls) == (0, [0])


@pytest.mark.parametrize(
    "text", ['{"asset_id":"ID"}', '{"asset_id" : "ID", "x":1}', '[{"a":{"asset_id":  "ID"}}]']
)
def test_token_is_heard_whatever_the_blanks(text: str) -> None:
    listener = connected(FrameSink())
    listener.follow([UP])
    feed(listener, text.replace("ID", UP))
    assert listener.heard(UP)[0] == listener.last_message_ns


@pytest.mark.parametrize(
    "text",
    [
        f'{{"asset_id":"{NEAR_UP}"}}',
        f'{{"assets_ids":["{UP}"]}}',
        f'{{"asset_id":{UP}}}',
        f'{{"asset_id":"{UP[:-1]}',
        '{"asset_id":"',
        '{"asset_id"',
        '{"asset_id":""}',
        f'{{"asset_id":"{UP * 3}"}}',
        "",
    ],
)
def test_other_ids_and_half_messages_are_not_heard(text: str) -> None:
    listener = connected(FrameSink())
    listener.follow([UP])
    feed(listener, text)
    assert listener.heard(UP) == (0, False)


def test_short_ids_are_told_apart() -> None:
    listener = connected(FrameSink())
    listener.follow(["1", "11", "256"])
    feed(listener, book("11"))
    assert [listener.heard(token_id)[1] for token_id in ("1", "11", "256")] == [False, True, False]


def test_heard_tokens_are_not_searched_again_within_the_precision() -> None:
    listener = connected(FrameSink())
    listener.follow([UP])
    feed(listener, book(UP))
    heard_ns = listener.heard(UP)[0]
    feed(listener, change(UP))
    assert listener.heard(UP)[0] == heard_ns
    assert 0 <= listener.last_message_ns - heard_ns < 100_000_000


def test_gaps_are_counted_by_powers_of_two_of_a_millisecond() -> None:
    # Engine time runs 10 000 times as fast: a real millisecond is ten seconds.
    clock = LiveClock(10_000.0)
    listener = connected(FrameSink(), clock)
    listener.follow([UP])
    feed(listener, book(UP))
    first_ns = listener.heard(UP)[0]
    while listener.heard(UP)[0] == first_ns:
        feed(listener, change(UP))
    gap_ms = (listener.heard(UP)[0] - first_ns) // 1_000_000
    counts = listener.gap_counts()
    assert sum(counts) == 1
    assert counts.index(1) == min(gap_ms.bit_length(), len(counts) - 1)


def test_following_other_tokens_keeps_what_is_known_of_those_that_stay() -> None:
    listener = connected(FrameSink())
    listener.follow([UP, DOWN])
    feed(listener, book(UP, DOWN))
    known = listener.heard(DOWN)
    listener.follow([DOWN, "7"])
    assert listener.heard(DOWN) == known
    assert listener.heard("7") == (0, False)
    assert listener.waiting == 1
    with pytest.raises(KeyError):
        listener.heard(UP)
    feed(listener, book(UP, "7"))
    assert listener.waiting == 0
    listener.follow([])
    assert listener.waiting == 0


def test_tokens_beyond_the_capacity_or_repeated_are_refused() -> None:
    listener = FeedListener(FrameSink(), LiveClock(), max_tokens=2)
    for wanted in (["1", "2", "3"], ["1", "1"], [""], ["9" * 81]):
        with pytest.raises(ValueError, match="expected"):
            listener.follow(wanted)
    listener.follow(["1", "2"])
    listener.follow(["2", "3"])
    assert listener.waiting == 2


def test_ending_before_the_handshake_refuses_the_connection_later() -> None:
    told: list[int] = []
    listener = FeedListener(CallbackSink(None, None, told.append), LiveClock())
    listener.end(EndCause.CLOSED)
    assert not listener.is_open
    assert listener.end_cause == EndCause.CLOSED
    assert told == []
    assert not listener.send_text(b"{}")
    listener.ping()


def test_message_split_over_frames_is_joined_up_to_the_limit() -> None:
    told: list[bytes] = []
    listener = connected(CallbackSink(lambda data, now_ns, last: told.append(data)), join_bytes=10)
    feed(listener, "01234", fin=False)
    feed(listener, "", WSMsgType.CONTINUATION, fin=False)
    feed(listener, "56789", WSMsgType.CONTINUATION)
    feed(listener, "next")
    assert told == [b"0123456789", b"next"]
    assert (listener.joined, listener.messages) == (1, 2)


def test_pong_split_over_frames_is_a_pong() -> None:
    told: list[bytes] = []
    listener = connected(CallbackSink(lambda data, now_ns, last: told.append(data)))
    feed(listener, "PO", fin=False)
    feed(listener, "NG", WSMsgType.CONTINUATION)
    assert (told, listener.pongs) == ([], 1)


@pytest.mark.parametrize("silent", [False, True])
def test_messages_to_a_compiled_sink_leave_no_memory_behind(silent: bool) -> None:
    listener = connected(FrameSink(), poison=False)
    listener.follow([UP, DOWN, "1"] if silent else [UP, DOWN])  # a silent token: every message is searched
    listener.on_ws_frame(None, _make_test_ws_frame(WSMsgType.TEXT, memory(book(UP, DOWN)), True, False))  # type: ignore[arg-type]
    frame = _make_test_ws_frame(WSMsgType.TEXT, memory(change(UP, DOWN)), True, False)
    receive = listener.on_ws_frame
    collector = gc.isenabled()
    gc.disable()
    try:
        grown = []
        for _ in range(2):  # the first pass warms up
            before = sys.getallocatedblocks()
            for _ in itertools.repeat(None, 100_000):
                receive(None, frame)  # type: ignore[arg-type]
            grown.append(sys.getallocatedblocks() - before)
    finally:
        if collector:
            gc.enable()
    assert listener.messages == 200_001
    assert abs(grown[1]) <= 10  # counters in the loop itself; one block a message would be 100 000
