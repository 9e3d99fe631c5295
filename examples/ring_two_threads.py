"""The command ring between two threads: one pushes, the other waits without the interpreter lock."""

import threading

import numpy as np

from invmm import COMMAND_DTYPE, CommandRing

COUNT = 10_000
ring = CommandRing(1024)
seen: list[int] = []


def consume() -> None:
    while len(seen) < COUNT:
        record = ring.pop(timeout_ns=1_000_000_000)
        if record is None:
            raise SystemExit("nothing came for a second")
        seen.append(int(record["sequence"]))


consumer = threading.Thread(target=consume)
consumer.start()
command = np.zeros(1, dtype=COMMAND_DTYPE)
refused = 0
for sequence in range(1, COUNT + 1):
    command["sequence"] = sequence
    while not ring.try_push(command[0]):  # full is an answer: a published record is never overwritten
        refused += 1
        threading.Event().wait(0.0001)
consumer.join()
print("in order", seen == list(range(1, COUNT + 1)))
print("refused while full", refused == ring.refused)
