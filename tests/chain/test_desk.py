"""The venue's operator on a local chain: what it makes of matches, and that nothing is lost or made."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from invmm.settlement.calls import route_of
from invmm.sim.chain import LocalChain, WalletCall
from invmm.sim.chain.deployment import ADDRESSES
from invmm.sim.chain.desk import FLOW_MICRO, Desk
from invmm.sim.chain.stage import calldata
from invmm.sim.identity import Identity, identify
from invmm.types import Outcome

SHARE = 1_000_000
CASH = 1_000 * SHARE
UP, DOWN = Outcome.UP, Outcome.DOWN


class Office:
    """A desk with one wallet, asked in order and at once."""

    def __init__(self, chain: LocalChain) -> None:
        self.chain = chain
        self.answers: list[dict[str, Any]] = []
        self.desk = Desk(chain, self.answers.append)
        self._number = count(1)
        self._wallet = count(1)

    def ask(self, *requests: tuple[Any, ...]) -> list[dict[str, Any]]:
        """Answers by number of the request, whatever their order."""
        first = len(self.answers)
        for kind, *told in requests:
            self.desk.put([kind, next(self._number), *told])
        self.desk._ended = True  # it returns when nothing waits
        self.desk.work()
        return sorted(self.answers[first:], key=lambda answer: answer["n"])

    def wallet(self) -> str:
        address = self.chain.account(f"wallet {next(self._wallet)}").address
        assert self.ask(("wallet", address, CASH))[0]["ok"]
        return address

    def market(self, name: str, exchange: str = "v2", *, is_known: bool = True) -> Identity:
        made = identify(name, "v2" if exchange == "v3" else "v1")
        question = made.question_id if is_known else ""
        ids = (made.condition_id, question, exchange, made.up_token_id, made.down_token_id)
        assert self.ask(("market", *ids)) == [{"n": self.answers[-1]["n"], "ok": True}]
        return made

    def held(self, address: str, market: Identity) -> tuple[int, int, int]:
        """Collateral, Up and Down, micro."""
        tokens = (market.up_token_id, market.down_token_id)
        return (
            self.chain.collateral_micro(address),
            *(self.chain.shares_micro(address, one) for one in tokens),
        )  # type: ignore[return-value]


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    with LocalChain() as chain:
        yield Office(chain)


def supply(chain: LocalChain) -> int:
    return int.from_bytes(chain.call(ADDRESSES.collateral, calldata("totalSupply()")), "big")


@pytest.mark.parametrize(
    ("exchange", "is_known"), [("v2", True), ("v2", False), ("v2-neg-risk", True), ("v3", True)]
)
def test_transfers_mints_and_merges_leave_each_wallet_what_its_fills_say_and_lose_nothing(
    office: Office, exchange: str, is_known: bool
) -> None:
    chain, wallet = office.chain, office.wallet()
    market = office.market(f"{exchange} {is_known}", exchange, is_known=is_known)
    flow_before = office.held(office.desk.flow, market)[0]
    name = market.condition_id
    fills = [  # outcome, buys, shares, cash, fee
        (UP, True, 20_000_000, 9_400_001, 0),  # a mint: the flow has nothing yet
        (DOWN, True, 8_000_000, 4_159_999, 139_776),  # a transfer of what the flow got in the mint
        (UP, False, 5_500_000, 2_500_000, 96_250),  # a merge with the flow's Down
        (DOWN, False, 1, 0, 0),
    ]
    asked = [("settle", name, [[wallet, *fill]], False) for fill in fills]
    for request in asked:  # one at a time: each in a transaction of its own
        (answer,) = office.ask(request)
        assert answer["ok"], answer
    cash = CASH - 9_400_001 - 4_159_999 - 139_776 + 2_500_000 - 96_250
    assert office.held(wallet, market) == (cash, 14_500_000, 7_999_999)
    assert office.ask(("look", wallet, [name]))[0] == {"n": office.answers[-1]["n"], "cash": 0, "tokens": {}}

    flow = office.held(office.desk.flow, market)
    pairs = 14_500_000 + flow[1]
    assert pairs == 7_999_999 + flow[2]
    fees = 139_776 + 96_250
    assert (CASH - cash) + (flow_before - flow[0]) == pairs + fees
    everybody = [wallet, office.desk.flow, chain.owner.address]
    everybody += [getattr(ADDRESSES, field) for field in ADDRESSES.__dataclass_fields__]
    everybody += [chain.account(f"wallet {known}").address for known in range(1, 40)]
    assert sum(map(chain.collateral_micro, set(everybody))) == supply(chain)

    assert office.ask(("resolve", name, int(DOWN)))[0]["ok"]
    version = "v2" if exchange == "v3" else "v1"
    route = route_of(version, exchange == "v2-neg-risk")
    calls = [WalletCall(one.to, one.data) for one in route.redeem(name, 14_500_000, 7_999_999)]
    chain.act(wallet, calls)
    assert office.held(wallet, market) == (cash + 7_999_999, 0, 0)
    (moved,) = office.ask(("look", wallet, [name]))
    assert (moved["cash"], moved["tokens"]) == (7_999_999, {name: [-14_500_000, -7_999_999]})


def test_matches_that_wait_together_go_in_one_transaction(office: Office) -> None:
    wallet, market = office.wallet(), office.market("together")
    buys = [(UP, 3_000_000, 1_200_001), (DOWN, 2_000_000, 1_100_000), (UP, 1_000_000, 399_999)]
    answers = office.ask(
        *[
            ("settle", market.condition_id, [[wallet, o, True, size, cash, 7]], False)
            for o, size, cash in buys
        ]
    )
    assert len(answers) == 3
    assert {answer["ok"] for answer in answers} == {True}
    assert len({answer["tx"] for answer in answers}) == 1
    assert office.held(wallet, market) == (CASH - 2_700_000 - 21, 4_000_000, 2_000_000)


def test_both_sides_of_a_match_may_be_the_venues_own_and_its_rounding_is_the_flows(
    office: Office,
) -> None:
    first, second, market = office.wallet(), office.wallet(), office.market("between two")
    parts = [[first, UP, True, 3_000_000, 1_000_001, 0], [second, DOWN, True, 3_000_000, 2_000_000, 5]]
    (answer,) = office.ask(("settle", market.condition_id, parts, False))
    assert answer["ok"]
    assert office.held(first, market) == (CASH - 1_000_001, 3_000_000, 0)
    assert office.held(second, market) == (CASH - 2_000_005, 0, 3_000_000)


def test_of_a_batch_that_fails_each_match_is_tried_alone(office: Office) -> None:
    wallet, market = office.wallet(), office.market("one bad")
    good = [wallet, UP, True, 2_000_000, 900_000, 0]
    bad = [wallet, DOWN, False, 50_000_000, 20_000_000, 0]  # there is nothing to sell
    answers = office.ask(
        *[("settle", market.condition_id, [part], False) for part in (good, bad, good)],
    )
    assert [answer["ok"] for answer in answers] == [True, False, True]
    for answer in answers:
        ended = office.chain.mined(answer["tx"])
        assert ended is not None
        assert ended.success == answer["ok"]
    assert office.held(wallet, market) == (CASH - 1_800_000, 4_000_000, 0)


def test_a_doomed_match_is_a_transaction_that_moves_nothing(office: Office) -> None:
    wallet, market = office.wallet(), office.market("doomed")
    part = [wallet, UP, True, 2_000_000, 900_000, 0]
    (answer,) = office.ask(("settle", market.condition_id, [part], True))
    ended = office.chain.mined(answer["tx"])
    assert ended is not None
    assert (answer["ok"], ended.success) == (False, False)
    assert office.held(wallet, market) == (CASH, 0, 0)


def test_what_a_wallet_does_itself_is_seen_once(office: Office) -> None:
    wallet, market = office.wallet(), office.market("own merge")
    name = market.condition_id
    office.ask(("settle", name, [[wallet, UP, True, 9_000_000, 4_000_000, 0]], False))
    office.ask(("settle", name, [[wallet, DOWN, True, 9_000_000, 4_900_000, 0]], False))
    merge = route_of("v1", False).merge(name, 6_000_000)
    office.chain.act(wallet, [WalletCall(merge.to, merge.data)])
    moved, paid, again = office.ask(
        ("look", wallet, [name]), ("pay", wallet, -1_000_000), ("look", wallet, [name, "0x" + "ab" * 32])
    )
    assert (moved["cash"], moved["tokens"]) == (6_000_000, {name: [-6_000_000, -6_000_000]})
    assert paid["ok"]
    assert (again["cash"], again["tokens"]) == (0, {})
    assert office.held(wallet, market) == (CASH - 3_900_000, 3_000_000, 3_000_000)


def test_what_makes_no_sense_is_answered_in_words(office: Office) -> None:
    ids = identify("some").condition_id, identify("other").question_id
    tokens = identify("some").up_token_id, identify("some").down_token_id
    wrong, unknown = office.ask(("market", *ids, "v2", *tokens), ("settle", "0x" + "cd" * 32, [], False))
    assert not wrong["ok"]
    assert "expected its question" in wrong["error"]
    assert not unknown["ok"]
    assert office.chain.collateral_micro(office.desk.flow) <= FLOW_MICRO
