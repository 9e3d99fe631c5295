"""Stretches of a tape in which nothing happens to own orders: gone over in one compiled call.

What the embedded venue does batch by batch is the truth; this only finds the batches in which that would
change nothing, and applies their frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from invmm._ext.decode import MarketBooks
from invmm._ext.stretch import pass_over
from invmm.replay.tape import Tape
from invmm.sim.batches import Batch, cut
from invmm.sim.matching import Overlay


@dataclass(frozen=True)
class CutTape:
    """A tape with its batches, as arrays too; made once for a tape that is played often."""

    tape: Tape
    feed_latency_ns: int
    batches: list[Batch]
    times_ns: list[int]
    offsets: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    firsts: npt.NDArray[np.int64]
    happens_ns: npt.NDArray[np.int64]
    is_plain: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, tape: Tape, feed_latency_ns: int) -> CutTape:
        """`feed_latency_ns`: that of the venue's profile."""
        batches = cut(tape, feed_latency_ns)
        times = [batch.time_ns for batch in batches]
        offsets = tape.rows["offset"].astype(np.int64)
        plain = [not (batch.has_trade_evidence or batch.tick_e4) for batch in batches]
        return cls(
            tape=tape,
            feed_latency_ns=feed_latency_ns,
            batches=batches,
            times_ns=times,
            offsets=offsets,
            ends=offsets + tape.rows["length"].astype(np.int64),
            firsts=np.array([batch.first for batch in batches] + [len(tape.rows)], dtype=np.int64),
            happens_ns=np.array(times, dtype=np.int64),
            is_plain=np.array(plain, dtype=np.uint8),
        )

    def pass_over(self, books: MarketBooks, overlay: Overlay, batch: int, until_ns: int) -> tuple[int, int]:
        """Applies what concerns nobody, from `batch` on and up to `until_ns`: the batch that is next and the
        first of its frames that is not applied yet.
        """
        levels = overlay.still_levels()
        if levels is None:
            return batch, int(self.firsts[batch])
        best = overlay.best_known() if levels else None
        return pass_over(
            books,
            self.tape.data,
            self.offsets,
            self.ends,
            self.firsts,
            self.happens_ns,
            self.is_plain,
            batch,
            until_ns,
            levels,
            best,
        )
