# pragma version ==0.4.3
"""
@title Stand-in for the ledger of the newer generation
@notice An id is its condition in the upper 31 bytes and the outcome in the last. The router mints and burns; mints call
        no receiver. The owner reports results, which on the real chain is the work of modules and oracles.
"""

import erc1155

initializes: erc1155
exports: (
    erc1155.supportsInterface,
    erc1155.balanceOf,
    erc1155.balanceOfBatch,
    erc1155.setApprovalForAll,
    erc1155.isApprovedForAll,
    erc1155.safeTransferFrom,
    erc1155.safeBatchTransferFrom,
)

event Prepared:
    condition: indexed(bytes31)

event Reported:
    condition: indexed(bytes31)
    payouts: uint256[2]

owner: public(address)
router: public(address)
prepared: public(HashMap[bytes31, bool])
payouts: public(HashMap[bytes31, uint256[2]])


@internal
@pure
def _id(condition: bytes31, outcome: uint256) -> uint256:
    return (convert(condition, uint256) << 8) | outcome


@internal
@view
def _payout(id: uint256, amount: uint256) -> uint256:
    condition: bytes31 = convert(convert(id >> 8, uint248), bytes31)
    outcome: uint256 = id & 255
    assert outcome < 2, "positions: outcome is 0 or 1"
    shares: uint256[2] = self.payouts[condition]
    assert shares[0] + shares[1] > 0, "positions: not reported yet"
    return amount * shares[outcome] // (shares[0] + shares[1])


@external
@view
def getPayout(positionId: uint256, amount: uint256) -> uint256:
    return self._payout(positionId, amount)


@external
def prepare(condition: bytes31):
    assert msg.sender == self.owner, "positions: not the owner"
    # Module 1 is the binary one; 64 reserved bits of an id are zero.
    number: uint256 = convert(condition, uint256)
    assert number >> 240 == 1 and (number >> 32) & (2**64 - 1) == 0, "positions: no binary condition"
    assert not self.prepared[condition], "positions: prepared before"
    self.prepared[condition] = True
    log Prepared(condition=condition)


@external
def report(condition: bytes31, payouts: uint256[2]):
    assert msg.sender == self.owner, "positions: not the owner"
    assert self.prepared[condition], "positions: not prepared"
    assert self.payouts[condition][0] + self.payouts[condition][1] == 0, "positions: reported before"
    assert payouts[0] + payouts[1] > 0, "positions: a report that pays nobody"
    self.payouts[condition] = payouts
    log Reported(condition=condition, payouts=payouts)


@external
def mintPair(to: address, condition: bytes31, amount: uint256):
    assert msg.sender == self.router, "positions: not the router"
    assert self.prepared[condition], "positions: not prepared"
    erc1155.mint_batch(to, [self._id(condition, 0), self._id(condition, 1)], [amount, amount], False)


@external
def burnPair(owner: address, condition: bytes31, amount: uint256):
    assert msg.sender == self.router, "positions: not the router"
    erc1155._check_operator(owner)
    erc1155.burn_batch(owner, [self._id(condition, 0), self._id(condition, 1)], [amount, amount])


@external
def burnRedeemed(owner: address, condition: bytes31, outcome: uint256, amount: uint256) -> uint256:
    """Burns `amount` of one outcome and says what it pays."""
    assert msg.sender == self.router, "positions: not the router"
    erc1155._check_operator(owner)
    id: uint256 = self._id(condition, outcome)
    erc1155.burn_one(owner, id, amount)
    return self._payout(id, amount)
