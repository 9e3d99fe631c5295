"""How well fair value foretells who wins, on generated markets: books alone, settlement model alone, fused.

    python bench/measure_fair.py [--markets 40] [--first 700000] [--strike-error 0] [--json]

Log loss and Brier score at 240, 120, 60 and 30 s before the end, and how much better (−) than the books, with
the standard error of that difference over markets. `makers` is what the generator's own makers believe, at
once and without noise: no listener of books can know more of them.

A generated market's makers doubt the settlement feed by 14 s of variance (`sim/path.py`), which its outcome
does not bear out: part of what the model is better by is that doubt. `--strike-error 3.4e-4` takes it back,
by a strike that is told that much wrong.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import replace

import numpy as np

from invmm._ext.pairs_policy import PairsPolicy
from invmm._ext.solver import POLICY_INPUT_DTYPE
from invmm.engine import Engine
from invmm.replay.player import frame_events, merged
from invmm.replay.tape import Tape
from invmm.settings import Settings
from invmm.sim.market import generate
from invmm.sim.path import AVERAGE_S, BASIS_FADES_S, BASIS_S, SIGMA_PER_S
from invmm.sim.price import FEEDS, FeedShape, price_events, rule_of
from invmm.strategy.fair_value import left
from invmm.types import Outcome

TAUS_S = (240, 120, 60, 30)
NAMES = ("books", "model", "fused", "makers")


def makers_belief(tape: Tape, tau_s: int) -> float:
    """Probability of Up as the generator has it, from the path itself."""
    path, meta = tape.meta["path_price"], tape.meta
    step_s = meta["path_step_ms"] / 1000
    window_s = tape.market.end_s - tape.market.start_s
    at = round((window_s - tau_s - meta["path_start_ms"] / 1000) / step_s)
    mean = price = float(path[at])
    if tau_s < AVERAGE_S:
        first = round((window_s - AVERAGE_S - meta["path_start_ms"] / 1000) / step_s)
        mean = (float(path[first:at].sum()) * step_s + tau_s * price) / AVERAGE_S
    variance = left("average", tau_s, AVERAGE_S) + BASIS_S * min(tau_s / BASIS_FADES_S, 1.0)
    z = (mean - meta["strike"]) / (SIGMA_PER_S * price * math.sqrt(variance))
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


def probabilities(seed: int, shape: FeedShape) -> tuple[list[dict[str, float]], bool]:
    """Of each way to know, at each of `TAUS_S`; and whether Up won."""
    tape = generate(seed)
    engine = Engine(Settings.parse('[strategy]\npolicy = "pairs"\n'))
    market = engine.add_market(rule_of(tape), number=0)
    step, policy = market.step, PairsPolicy()
    events = merged(frame_events(tape, 0), price_events(tape, 0, shape))
    raw, times = events.view(np.uint8).reshape(-1), events["time_ns"]
    rows, index = [], 0
    for tau_s in TAUS_S:
        now_ms = (tape.market.end_s - tau_s) * 1000
        stop = int(np.searchsorted(times, now_ms * 1_000_000))
        while index < stop:
            index, _ = step.run(raw, index, stop, tape.data)
        view = np.zeros((), POLICY_INPUT_DTYPE)
        view["tick_e4"], view["ms_to_end"] = step.books.state["tick_e4"], tau_s * 1000
        for token, book in enumerate((step.books.up, step.books.down)):
            bid, ask = book.best_bid() or (-1, 0), book.best_ask() or (-1, 0)
            view["top"][token] = (bid[0], ask[0], bid[1], ask[1], False, False)
        books = policy.fair(view)
        value = step.fair.at(now_ms)
        if "up" in value:
            view["fair_ppm"] = min(max(round(float(str(value["up"])) * 1e6), 1), 999_999)
            view["fair_age_ns"] = round(float(str(value["age_s"])) * 1e9)
            view["fair_variance"] = float(str(value["deviation"])) ** 2
        fused = policy.fair(view)
        if "up" not in value or fused is None:
            raise SystemExit(f"seed {seed}: nothing is known {tau_s} s before the end: {value}")
        if books is None:  # a side is empty: half way to the end that is left
            bid, ask = int(view["top"]["bid_e4"][0]), int(view["top"]["ask_e4"][0])
            books = (max(bid, 0) + (ask if ask > 0 else 10_000)) / 20_000
        found = (books, float(str(value["up"])), fused, makers_belief(tape, tau_s))
        rows.append(dict(zip(NAMES, found, strict=True)))
    return rows, tape.market.winner is Outcome.UP


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--markets", type=int, default=40, help="how many (40)")
    parser.add_argument("--first", type=int, default=700_000, help="seed of the first (700000)")
    parser.add_argument("--strike-error", type=float, default=0.0, help="deviation of what the strike is off")
    parser.add_argument("--json", action="store_true", help="every probability, as one JSON object")
    given = parser.parse_args()
    shape = replace(FEEDS, strike_error=given.strike_error)
    found = [probabilities(given.first + i, shape) for i in range(given.markets)]
    if given.json:
        print(json.dumps({"taus_s": TAUS_S, "markets": found}))
        return
    won = np.array([up for _, up in found])
    print(f"{'τ':>5} {'':8} {'log loss':>9} {'Brier':>7}   {'log loss − books':>17}")
    for k, tau_s in enumerate(TAUS_S):
        p = {name: np.clip([rows[k][name] for rows, _ in found], 1e-6, 1 - 1e-6) for name in NAMES}
        losses = {name: -np.log(np.where(won, p[name], 1 - p[name])) for name in NAMES}
        for name in NAMES:
            off = losses[name] - losses["books"]
            error = float(off.std(ddof=1)) / math.sqrt(len(off))
            brier = float(np.mean((p[name] - won) ** 2))
            better = f"{off.mean():+9.4f} ± {error:.4f}"
            print(f"{tau_s:4d}s {name:8} {losses[name].mean():9.4f} {brier:7.4f}   {better}")


if __name__ == "__main__":
    main()
