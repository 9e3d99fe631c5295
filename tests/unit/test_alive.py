"""The executor's own table of orders that may be alive."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from invmm.execution.alive import PossiblyAlive, cancel_all
from invmm.types import COMMAND_DTYPE, CommandFlag, CommandKind

SECOND = 1_000_000_000
NOW_S = 1_790_000_000


def identity(key: int) -> bytes:
    return hashlib.sha256(key.to_bytes(8, "little")).digest()


def legs(*keys: int, date_s: int = 0) -> npt.NDArray[np.void]:
    made = np.zeros(len(keys), COMMAND_DTYPE)
    made["kind"], made["key"], made["flags"] = CommandKind.PLACE, keys, CommandFlag.LAST
    made["expiration_s"] = date_s
    made["order_id"] = [np.void(identity(key)) for key in keys]
    return made


def keys_of(alive: PossiblyAlive, now_s: int = NOW_S) -> list[int]:
    return [int(key) for key in alive.cancels(now_s * SECOND)["key"]]


def test_what_was_sent_and_not_ended_is_cancelled_newest_first() -> None:
    alive = PossiblyAlive()
    assert keys_of(alive) == []
    alive.sent(legs(1, 2), NOW_S * SECOND)
    alive.sent(legs(3, date_s=NOW_S + 184), NOW_S * SECOND)
    alive.ended(identity(2))
    cancels = alive.cancels(NOW_S * SECOND)
    assert cancels["key"].tolist() == [3, 1]
    assert set(cancels["kind"]) == {CommandKind.CANCEL}
    assert [each.tobytes() for each in cancels["order_id"]] == [identity(3), identity(1)]
    assert not cancels["flags"].any()


def test_an_order_that_was_sent_twice_is_cancelled_until_both_copies_are_refused() -> None:
    alive = PossiblyAlive()
    alive.sent(legs(1, 2, 3, date_s=NOW_S + 184), NOW_S * SECOND)
    alive.refused(identity(1))
    assert keys_of(alive) == [3, 2]
    alive.sent_again(identity(1))
    alive.sent_again(identity(2))
    alive.sent_again(identity(3))
    alive.refused(identity(2))
    assert keys_of(alive) == [3, 2, 1]
    alive.refused(identity(2))
    assert keys_of(alive) == [3, 1]
    alive.ended(identity(3))
    assert keys_of(alive) == [1]
    alive.sent(legs(4), (NOW_S + 200) * SECOND)
    assert keys_of(alive, NOW_S + 200) == [4]


def test_an_order_with_a_date_is_forgotten_after_it_and_one_without_is_not() -> None:
    alive = PossiblyAlive()
    alive.sent(legs(1, date_s=NOW_S + 184), NOW_S * SECOND)
    alive.sent(legs(2), NOW_S * SECOND)
    assert keys_of(alive, NOW_S + 184) == [2, 1]
    assert keys_of(alive, NOW_S + 185) == [2]
    alive.ended(identity(1))
    alive.sent(legs(3), (NOW_S + 200) * SECOND)
    assert len(alive) == 2
    assert keys_of(alive, NOW_S + 10**6) == [3, 2]


def test_only_what_came_last_is_kept_when_there_are_too_many() -> None:
    alive = PossiblyAlive()
    for first in range(0, 40_000, 1_000):
        alive.sent(legs(*range(first, first + 1_000)), NOW_S * SECOND)
    assert len(alive) == 32_000
    assert keys_of(alive)[0] == 39_999
    assert min(keys_of(alive)) == 8_000


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("sent"), st.integers(1, 4), st.integers(1, 300)),
            st.tuples(st.just("ended"), st.integers(0, 200), st.just(0)),
            st.tuples(st.just("wait"), st.integers(0, 200), st.just(0)),
        ),
        max_size=60,
    )
)
def test_the_table_names_every_order_that_may_be_alive(steps: list[tuple[str, int, int]]) -> None:
    alive, now_s, key = PossiblyAlive(), NOW_S, 0
    dates: dict[int, int] = {}
    for what, number, lifetime_s in steps:
        if what == "sent":
            sent = range(key, key + number)
            key += number
            alive.sent(legs(*sent, date_s=now_s + lifetime_s), now_s * SECOND)
            dates |= dict.fromkeys(sent, now_s + lifetime_s)
        elif what == "ended":
            alive.ended(identity(number))
            if number in dates:
                del dates[number]
        else:
            now_s += number
        wanted = {each for each, date_s in dates.items() if date_s >= now_s}
        assert wanted == set(keys_of(alive, now_s)) & dates.keys()


def test_an_order_that_never_was_sent_may_end() -> None:
    alive = PossiblyAlive()
    alive.ended(identity(1))
    alive.sent(legs(1), NOW_S * SECOND)
    assert keys_of(alive) == [1], "that word was about an earlier one"


def test_cancel_all_is_one_command() -> None:
    assert [int(kind) for kind in cancel_all()["kind"]] == [CommandKind.CANCEL_ALL]
