"""The account against its slow twin, and its limits whatever is asked of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from invmm._ext.account import Account
from invmm.types import Reason
from tests.reference.account import MINUTE_NS, SlowAccount

E10 = 10**10
AMOUNTS = st.integers(0, 40).map(lambda dollars: dollars * E10)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), st.integers(0, 2), st.integers(0, 1), AMOUNTS, st.integers(0, 25)),
        st.tuples(st.just("commit"), st.integers(0, 2), AMOUNTS, AMOUNTS, st.integers(0, 3)),
        st.tuples(st.just("cash"), AMOUNTS),
        st.tuples(st.just("park"), st.integers(0, 2)),
        st.tuples(st.just("release"), AMOUNTS),
        st.tuples(st.just("bar"), st.integers(0, 2), st.booleans()),
        st.tuples(st.just("stop"), st.booleans()),
    ),
    max_size=60,
)


@given(STEPS, AMOUNTS, st.integers(0, 8).map(lambda d: d * E10), st.integers(0, 6), st.integers(1, 5))
def test_the_account_is_its_slow_twin(
    steps: list[tuple[object, ...]], total: int, reserve: int, orders: int, minute: int
) -> None:
    account, twin = Account(total, reserve, orders, minute, 3), SlowAccount(total, reserve, orders, minute)
    now_ns = 10**18
    for kind, *given_ in steps:
        match kind, given_:
            case "admit", [int(market), int(side), int(cash), int(seconds)]:
                now_ns += seconds * 10**9
                assert account.admit(market, side, cash, now_ns) == twin.admit(market, side, cash, now_ns)
            case "commit", [int(market), int(committed), int(open_), int(live)]:
                account.commit(market, committed, open_, live)
                twin.shares[market] = (committed, open_, live)
            case "cash", [int(cash)]:
                settled = account.figures()["settled_e10"]
                assert settled == twin.settled_e10()
                account.set_cash(cash, settled)
                twin.cash = (cash, settled)
            case "park", [int(market)]:
                account.park(market)
                twin.park(market)
            case "release", [int(amount)]:
                account.release(amount)
                twin.release(amount)
            case "bar", [int(market), bool(on)]:
                account.bar(market, Reason.LOSS_MARKET if on else Reason.NONE)
                twin.barred[market] = Reason.LOSS_MARKET if on else Reason.NONE
            case "stop", [bool(on)]:
                account.bar_all(Reason.KILLED if on else Reason.NONE)
                twin.stop = Reason.KILLED if on else Reason.NONE
        figures = account.figures()
        assert figures["committed_e10"] == twin.committed_e10()
        assert (figures["open_e10"], figures["placed"]) == (twin.open_e10(), len(twin.placed))
    counted = sum(count for _, count in account.recent())
    newest = max(twin.placed, default=0)
    assert counted == min(minute, sum(newest - at_ns < MINUTE_NS for at_ns in twin.placed))


@given(st.lists(st.integers(0, 20_000), min_size=1, max_size=80), st.integers(1, 6))
def test_no_minute_ever_holds_more_placements_than_allowed(gaps_ms: list[int], limit: int) -> None:
    account, now_ns, placed = Account(10**18, 0, 10**6, limit, 1), 10**18, []
    for gap_ms in gaps_ms:
        now_ns += gap_ms * 10**6
        if account.admit(0, 0, 1, now_ns) is Reason.NONE:
            placed.append(now_ns)
    assert placed
    for first in placed:
        assert sum(first <= at_ns < first + MINUTE_NS for at_ns in placed) <= limit


@given(st.lists(st.integers(0, 100), max_size=12), st.integers(1, 6))
def test_what_a_restart_remembers_gives_no_placement_back(gaps_s: list[int], limit: int) -> None:
    before, now_ns = Account(10**18, 0, 10**6, limit, 1), 10**18 + 123_456_789
    for gap_s in gaps_s:
        now_ns += gap_s * 10**9
        before.admit(0, 0, 1, now_ns)
    after = Account(10**18, 0, 10**6, limit, 1)
    after.remember(sorted((second + 1) * 10**9 for second, count in before.recent() for _ in range(count)))
    if before.admit(0, 0, 1, now_ns) is Reason.MINUTE_RATE:
        assert after.admit(0, 0, 1, now_ns) is Reason.MINUTE_RATE
