"""Building and signing orders and request headers, against the venue's own client where it is installed.

    python -m pytest bench/bench_sign.py --benchmark-enable
    python -m bench.bench_sign          medians and 99th percentiles of ours, one line each

A batch is what one request carries: 1, 6 or 15 orders. Release builds only.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from invmm._ext.l2 import L2Signer
from invmm._ext.template import OrderTemplate
from invmm.types import COMMAND_DTYPE, CommandKind
from invmm.venue.auth import OrderSigner

KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
ACCOUNT = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
TOKEN = "25070934348813416902477876984955073880416401960631253331845590271167412497744"
OWNER = "9180014b-33c8-9240-a14b-bdca11c0a465"
SECRET = "4OHi4-Tl5ufo6err7O3u7_Dx8vP09fb3-Pn6-_z9_v8="
NOW_MS = 1_790_767_298_635
BATCHES = (1, 6, 15)


def build_batch(count: int, kind: int = 0) -> Callable[[], bytes]:
    """Signs `count` commands and joins them to the body of one request."""
    template = OrderTemplate(OrderSigner(KEY, kind, WALLET if kind else None), TOKEN, "v2", OWNER)
    records = np.zeros(count, COMMAND_DTYPE)
    records["kind"] = CommandKind.PLACE
    records["price_e4"] = 4800
    records["size_micro"] = 100_000_000
    records["salt"] = np.arange(1, count + 1, dtype="u8") << 40
    views = [records[i : i + 1].view("u1") for i in range(count)]

    def run() -> bytes:
        return b"[" + b",".join([template.build(view, NOW_MS)[1] for view in views]) + b"]"

    return run


def sign_headers(count: int, portable: bool = False) -> Callable[[], bytes]:
    body = build_batch(count)()
    signer = L2Signer(OWNER, SECRET, "p" * 64, ACCOUNT, portable=portable)
    return lambda: signer.headers("POST", "/orders", body, 1_790_767_298)


def official_batch(count: int) -> Callable[[], list[Any]]:
    pytest.importorskip("py_clob_client_v2", reason="peer py-clob-client-v2 is not installed")
    from py_clob_client_v2.clob_types import CreateOrderOptions, OrderArgsV2
    from py_clob_client_v2.order_builder.builder import OrderBuilder
    from py_clob_client_v2.signer import Signer

    builder = OrderBuilder(Signer(KEY, 137))
    arguments = OrderArgsV2(token_id=TOKEN, price=0.48, size=100, side="BUY")
    options = CreateOrderOptions("0.01", False)
    return lambda: [builder.build_order(arguments, options) for _ in range(count)]


@pytest.mark.parametrize("count", BATCHES)
def test_build_and_sign(benchmark: Any, count: int) -> None:
    benchmark.group = f"build + sign {count}"
    assert benchmark(build_batch(count)).startswith(b"[{")


@pytest.mark.parametrize("count", BATCHES)
def test_build_and_sign_for_a_deposit_wallet(benchmark: Any, count: int) -> None:
    benchmark.group = f"build + sign {count}"
    assert benchmark(build_batch(count, 3)).startswith(b"[{")


@pytest.mark.parametrize("count", BATCHES)
def test_official_client(benchmark: Any, count: int) -> None:
    benchmark.group = f"build + sign {count}"
    assert len(benchmark.pedantic(official_batch(count), rounds=20)) == count


@pytest.mark.parametrize("count", BATCHES)
def test_request_headers(benchmark: Any, count: int) -> None:
    benchmark.group = f"headers {count}"
    assert b"POLY_SIGNATURE" in benchmark(sign_headers(count))


@pytest.mark.parametrize("count", BATCHES)
def test_request_headers_without_sha_instructions(benchmark: Any, count: int) -> None:
    benchmark.group = f"headers {count}"
    assert b"POLY_SIGNATURE" in benchmark(sign_headers(count, True))


def percentiles_us(run: Callable[[], Any], rounds: int) -> tuple[float, float]:
    times = np.empty(rounds)
    for i in range(rounds):
        start = time.perf_counter_ns()
        run()
        times[i] = time.perf_counter_ns() - start
    return float(np.percentile(times, 50)) / 1000, float(np.percentile(times, 99)) / 1000


def main() -> None:
    rows = [(f"build + sign {count}", build_batch(count)) for count in BATCHES]
    rows += [(f"build + sign {count}, deposit wallet", build_batch(count, 3)) for count in BATCHES]
    rows += [(f"headers {count}", sign_headers(count)) for count in BATCHES]
    rows += [(f"headers {count}, portable", sign_headers(count, True)) for count in BATCHES]
    for name, run in rows:
        run()
        p50, p99 = percentiles_us(run, 500)
        print(f"{name:34} p50 {p50:8.2f} us   p99 {p99:8.2f} us", file=sys.stdout)


if __name__ == "__main__":
    main()
