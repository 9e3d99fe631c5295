"""The warm paths whose allocations are counted, and the program that counts them (run by
test_allocations.py).

`python -m tests.e2e.allocation_paths PATH [--frames N] [--allocate malloc|object]` feeds N frames through one
path under the preloaded counter and prints one JSON object: frames, calls of the allocator, growth of the
interpreter's blocks.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import itertools
import json
import sys
from array import array
from collections.abc import Callable

from bench import recorded

Feed = Callable[[], None]
"""Feeds one pass of the frames; warm after the first."""


def market_books(source: recorded.Frames) -> Feed:
    """Frames through the books as Python calls them. Small integers are cached, so the loop itself allocates
    nothing.
    """
    from invmm._ext.decode import MarketBooks

    books = MarketBooks(source.up_token_id, source.down_token_id)
    apply_frame = books.apply_frame
    frames = source.stream

    def feed() -> None:
        for frame in frames:
            if apply_frame(frame, 0) < 0:
                raise ValueError(books.last_error)

    return feed


PATHS: dict[str, Callable[[recorded.Frames], Feed]] = {
    "market_books": market_books,
    # The engine's step goes here: a Feed that runs every frame from the callback's entry to the ring's
    # publish.
}


def counted(feed: Feed, passes: int, allocate: str | None) -> tuple[int, int]:
    """Calls of the allocator and growth of the interpreter's live blocks over `passes` runs of `feed`."""
    library = ctypes.CDLL(None)
    armed = ctypes.c_int.in_dll(library, "malloc_counter_armed")
    calls = ctypes.c_uint64.in_dll(library, "malloc_counter_calls")
    blocks = array("q", [0, 0])  # not names: an integer kept in a variable would be a block more
    kept: list[object] = [None, None]
    repeat = itertools.repeat(None, passes)
    calls.value = 0
    gc.collect()
    gc.disable()
    blocks[0] = sys.getallocatedblocks()
    armed.value = 1
    for _ in repeat:
        feed()
    if allocate == "malloc":
        kept[0] = bytearray(4096)
    elif allocate == "object":
        kept[0] = object()
    armed.value = 0
    blocks[1] = sys.getallocatedblocks()
    gc.enable()
    return calls.value, blocks[1] - blocks[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", choices=PATHS)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument(
        "--allocate", choices=("malloc", "object"), help="allocate once on purpose, inside the count"
    )
    options = parser.parse_args()

    source = recorded.generated(1_000)
    feed = PATHS[options.path](source)
    passes = -(-options.frames // len(source.stream))
    for _ in range(3):
        feed()
    counted(feed, 1, None)  # a rehearsal: whatever the counting itself needs for the first time, it has now
    calls, growth = counted(feed, passes, options.allocate)
    frames = passes * len(source.stream)
    print(json.dumps({"path": options.path, "frames": frames, "calls": calls, "block_growth": growth}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
