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
import json
import sys
from array import array
from collections.abc import Callable

from bench import recorded

Take = Callable[[bytes], object]
"""Takes one frame. Returns small integers or what exists already: the loop around it allocates nothing."""


def market_books(source: recorded.Frames) -> Take:
    """Frames through both books as Python calls them."""
    from invmm._ext.decode import MarketBooks

    books = MarketBooks(source.up_token_id, source.down_token_id)
    apply_frame = books.apply_frame

    def take(frame: bytes) -> None:
        if apply_frame(frame, 0) < 0:
            raise ValueError(books.last_error)

    return take


PATHS: dict[str, Callable[[recorded.Frames], Take]] = {
    "market_books": market_books,
    # The engine's step goes here: a Take that runs a frame from the callback's entry to the ring's publish.
}


def counted(take: Take, frames: list[bytes], allocate: str | None) -> tuple[int, int]:
    """Calls of the allocator, and growth of the interpreter's live blocks, while `take` takes the frames."""
    library = ctypes.CDLL(None)
    armed = ctypes.c_int.in_dll(library, "malloc_counter_armed")
    calls = ctypes.c_uint64.in_dll(library, "malloc_counter_calls")
    blocks = array("q", [0, 0])  # not names: an integer kept in a variable would be a block more
    kept: list[object] = [None]
    arrivals = iter(frames)
    calls.value = 0
    gc.collect()
    gc.disable()
    blocks[0] = sys.getallocatedblocks()
    armed.value = 1
    for frame in arrivals:
        take(frame)
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
    take = PATHS[options.path](source)
    warm = source.stream * 2
    frames = source.stream * -(-options.frames // len(source.stream))
    counted(take, warm, None)  # warms the path, and what the counting itself needs for the first time
    calls, growth = counted(take, frames, options.allocate)
    print(json.dumps({"path": options.path, "frames": len(frames), "calls": calls, "block_growth": growth}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
