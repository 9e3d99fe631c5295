"""The chain in this process: matches settle, tokens are named as listed, nothing moves unapproved."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from invmm.sim.chain import Condition, LocalChain, Match, Part, WalletCall
from invmm.sim.chain.node import Reverted
from invmm.sim.identity import identify
from invmm.types import Outcome, Side
from invmm.venue.profile import CONTRACTS, POLYGON, ExchangeName

AT = CONTRACTS[POLYGON]
GENERATIONS = (ExchangeName.V2, ExchangeName.V2_NEG_RISK, ExchangeName.V3)
DOLLARS = 1_000_000
WALLET = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain(wallets=[WALLET]) as chain:
        for name in ("maker", "taker"):
            account = chain.account(name)
            chain.fund(account.address, 1_000 * DOLLARS, 10**18)
            chain.approve_all(account.key)
        yield chain


def market(chain: LocalChain, exchange: ExchangeName, name: str) -> Condition:
    version = "v2" if exchange == ExchangeName.V3 else "v1"
    return chain.prepare(keccak(text=f"{exchange} {name}"), version)


def holdings(chain: LocalChain, name: str, condition: Condition) -> tuple[int, int, int]:
    address = chain.account(name).address
    return (
        chain.collateral_micro(address),
        chain.shares_micro(address, condition.up_token),
        chain.shares_micro(address, condition.down_token),
    )


def moved(before: tuple[int, int, int], after: tuple[int, int, int]) -> tuple[int, ...]:
    return tuple(new - old for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize("exchange", GENERATIONS)
def test_a_match_mints_transfers_or_merges_as_its_parts_ask(
    chain: LocalChain, exchange: ExchangeName
) -> None:
    condition = market(chain, exchange, "match")
    maker, taker = chain.account("maker").address, chain.account("taker").address
    up, down, buy, sell = Outcome.UP, Outcome.DOWN, Side.BUY, Side.SELL
    steps = [
        # both buy: a pair is minted, each pays its price, the taker its fee
        (
            (
                Part(maker, up, buy, 10_000_000, 4_200_000),
                Part(taker, down, buy, 10_000_000, 5_800_000, 70_000),
            ),
            (-4_200_000, 10_000_000, 0),
            (-5_870_000, 0, 10_000_000),
        ),
        # the maker sells Up to the taker
        (
            (Part(maker, up, sell, 6_000_000, 2_400_000), Part(taker, up, buy, 6_000_000, 2_400_000, 10_000)),
            (2_400_000, -6_000_000, 0),
            (-2_410_000, 6_000_000, 0),
        ),
        # both sell: a pair is merged, the fee comes out of the taker's cash
        (
            (Part(maker, up, sell, 1_000_000, 300_000), Part(taker, down, sell, 1_000_000, 700_000, 20_000)),
            (300_000, -1_000_000, 0),
            (680_000, 0, -1_000_000),
        ),
    ]
    for parts, of_maker, of_taker in steps:
        before = holdings(chain, "maker", condition), holdings(chain, "taker", condition)
        mined = chain.mined(chain.settle(Match(condition, parts, exchange)))
        assert mined is not None
        assert mined.success
        assert moved(before[0], holdings(chain, "maker", condition)) == of_maker
        assert moved(before[1], holdings(chain, "taker", condition)) == of_taker


def test_one_match_transfers_from_one_maker_and_mints_with_another(chain: LocalChain) -> None:
    condition = market(chain, ExchangeName.V2, "sweep")
    maker, taker = chain.account("maker").address, chain.account("taker").address
    opening = (
        Part(maker, Outcome.UP, Side.BUY, 4_000_000, 2_000_000),
        Part(taker, Outcome.DOWN, Side.BUY, 4_000_000, 2_000_000),
    )
    chain.settle(Match(condition, opening))
    before = holdings(chain, "maker", condition), holdings(chain, "taker", condition)
    sweep = (
        Part(taker, Outcome.UP, Side.BUY, 10_000_000, 1_600_000 + 2_400_000, 90_000),
        Part(maker, Outcome.UP, Side.SELL, 4_000_000, 1_600_000),
        Part(maker, Outcome.DOWN, Side.BUY, 6_000_000, 3_600_000),
    )
    mined = chain.mined(chain.settle(Match(condition, sweep)))
    assert mined is not None
    assert mined.success
    assert moved(before[0], holdings(chain, "maker", condition)) == (-2_000_000, -4_000_000, 6_000_000)
    assert moved(before[1], holdings(chain, "taker", condition)) == (-4_090_000, 10_000_000, 0)


def test_a_match_that_does_not_add_up_or_is_not_approved_moves_nothing(chain: LocalChain) -> None:
    condition = market(chain, ExchangeName.V2, "refused")
    maker, taker = chain.account("maker").address, chain.account("taker").address
    stranger = chain.account("stranger").address
    chain.fund(stranger, 10 * DOLLARS)
    before = holdings(chain, "maker", condition)
    for other, cash in ((taker, 5_800_001), (stranger, 5_800_000)):
        parts = (
            Part(maker, Outcome.UP, Side.BUY, 10_000_000, 4_200_000),
            Part(other, Outcome.DOWN, Side.BUY, 10_000_000, cash),
        )
        mined = chain.mined(chain.settle(Match(condition, parts)))
        assert mined is not None
        assert not mined.success
        assert holdings(chain, "maker", condition) == before


def test_tokens_have_the_ids_that_generated_markets_name(chain: LocalChain) -> None:
    for generation in ("v1", "v2"):
        named = identify("btc-updown-5m-1", generation)
        made = chain.prepare(bytes.fromhex(named.question_id[2:]), generation)
        assert made == Condition(named.condition_id, named.up_token_id, named.down_token_id)


def test_a_smart_wallet_splits_and_merges_by_its_relayer(chain: LocalChain) -> None:
    condition = market(chain, ExchangeName.V2, "wallet")
    chain.fund(WALLET, 30 * DOLLARS)
    chain.approve_wallet(WALLET)
    call = ["address", "bytes32", "bytes32", "uint256[]", "uint256"]
    for name, amount in (("splitPosition", 30 * DOLLARS), ("mergePositions", 25 * DOLLARS)):
        data = keccak(text=f"{name}({','.join(call)})")[:4] + encode(
            call, [AT.collateral, bytes(32), bytes.fromhex(condition.condition_id[2:]), [1, 2], amount]
        )
        mined = chain.mined(chain.execute(WALLET, [WalletCall(AT.collateral_adapter, data)]))
        assert mined is not None
        assert mined.success
    assert chain.collateral_micro(WALLET) == 25 * DOLLARS
    assert chain.shares_micro(WALLET, condition.up_token) == 5 * DOLLARS
    assert chain.shares_micro(WALLET, condition.down_token) == 5 * DOLLARS


def test_a_refused_call_says_why(chain: LocalChain) -> None:
    data = keccak(text="mint(address,uint256)")[:4] + encode(["address", "uint256"], [WALLET, 1])
    with pytest.raises(Reverted, match="execution reverted: dollar: not a minter"):
        chain.call(AT.collateral, data, sender=WALLET)


def test_the_neg_risk_adapter_redeems_the_amounts_that_it_is_told(chain: LocalChain) -> None:
    condition = market(chain, ExchangeName.V2_NEG_RISK, "redeem")
    chain.fund(WALLET, 10 * DOLLARS)
    chain.approve_wallet(WALLET)
    split = "splitPosition(address,bytes32,bytes32,uint256[],uint256)"
    adapter, name = AT.collateral_adapter_neg_risk, bytes.fromhex(condition.condition_id[2:])
    arguments = [AT.collateral, bytes(32), name, [1, 2], 10 * DOLLARS]
    data = keccak(text=split)[:4] + encode(
        ["address", "bytes32", "bytes32", "uint256[]", "uint256"], arguments
    )
    chain.finish([chain.execute(WALLET, [WalletCall(adapter, data)])])
    chain.resolve(condition.condition_id, (0, 1))
    before = chain.collateral_micro(WALLET)
    data = bytes.fromhex("dbeccb23") + encode(["bytes32", "uint256[]"], [name, [1 * DOLLARS, 4 * DOLLARS]])
    with pytest.raises(Reverted, match="adapter: no such function"):
        chain.call(AT.collateral_adapter, data, sender=WALLET)
    chain.finish([chain.execute(WALLET, [WalletCall(adapter, data)])])
    assert chain.collateral_micro(WALLET) - before == 4 * DOLLARS
    assert chain.shares_micro(WALLET, condition.up_token) == 9 * DOLLARS
    assert chain.shares_micro(WALLET, condition.down_token) == 6 * DOLLARS


def test_the_newer_generation_pays_by_outcome_and_only_after_the_result(chain: LocalChain) -> None:
    condition = market(chain, ExchangeName.V3, "payout")
    up, down = int(condition.up_token), int(condition.down_token)
    name = bytes.fromhex(condition.condition_id[2:])[:31]

    def payout(token: int) -> int:
        data = keccak(text="getPayout(uint256,uint256)")[:4] + encode(["uint256", "uint256"], [token, 7])
        return int.from_bytes(chain.call(AT.position_manager, data), "big")

    chain.fund(WALLET, 3 * DOLLARS)
    chain.approve_wallet(WALLET)
    split = keccak(text="split(bytes31,uint256)")[:4] + encode(["bytes31", "uint256"], [name, 3 * DOLLARS])
    chain.finish([chain.execute(WALLET, [WalletCall(AT.router, split)])])
    redeem = [
        keccak(text="redeem(bytes31,uint256,uint256)")[:4]
        + encode(["bytes31", "uint256", "uint256"], [name, outcome, 2 * DOLLARS])
        for outcome in (0, 1)
    ]
    for call in (lambda: payout(up), lambda: chain.call(AT.router, redeem[0], sender=WALLET)):
        with pytest.raises(Reverted, match="positions: not reported yet"):
            call()
    chain.resolve(condition.condition_id, (0, 1))
    assert (payout(up), payout(down)) == (0, 7)
    before = chain.collateral_micro(WALLET)
    chain.finish([chain.execute(WALLET, [WalletCall(AT.router, data) for data in redeem])])
    assert chain.collateral_micro(WALLET) - before == 2 * DOLLARS
    assert chain.shares_micro(WALLET, up) == chain.shares_micro(WALLET, down) == 1 * DOLLARS


def test_every_dollar_is_backed_and_every_pair_is_a_dollar(chain: LocalChain) -> None:
    """After all the tests above: nothing was made or lost on the way."""

    def asked(to: str, signature: str, *values: object) -> int:
        types = signature[signature.index("(") + 1 : -1]
        data = keccak(text=signature)[:4] + encode(types.split(",") if types else [], values)
        return int.from_bytes(chain.call(to, data), "big")

    supply, of = "totalSupply()", "balanceOf(address)"
    backing = asked(AT.bridged_collateral, of, AT.collateral)
    assert asked(AT.collateral, supply) == backing
    inside = asked(AT.bridged_collateral, of, AT.conditional_tokens)
    assert asked(AT.bridged_collateral, supply) == backing + inside
    for contract in (AT.collateral_adapter, AT.collateral_adapter_neg_risk, AT.exchange_v2, AT.exchange_v3):
        assert asked(AT.collateral, of, contract) == asked(AT.bridged_collateral, of, contract) == 0


def test_the_same_seed_and_clock_make_the_same_chain() -> None:
    heads = []
    for seed in (1, 1, 2):
        chain = LocalChain(seed=seed, seconds=lambda: 1_700_000_000)
        chain.fund(chain.account("someone").address, 5, 7)
        heads.append(chain.node.blocks[-1].header.hash)
    assert heads[0] == heads[1] != heads[2]
