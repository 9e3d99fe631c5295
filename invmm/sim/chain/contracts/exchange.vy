# pragma version ==0.4.3
"""
@title Minimal exchange: its owner settles a match between traders who have approved it
@notice Takes what each part gives, mints pairs where more of both outcomes is bought than sold, merges pairs where less,
        and delivers. Whether a match is a mint, a merge or a transfer follows from its parts. Orders and signatures
        are checked by the venue, not here; fees are what the operator says.
"""

import holder

exports: (holder.onERC1155Received, holder.onERC1155BatchReceived, holder.supportsInterface)

interface Dollar:
    def approve(spender: address, amount: uint256) -> bool: nonpayable
    def transfer(to: address, amount: uint256) -> bool: nonpayable
    def transferFrom(sender: address, to: address, amount: uint256) -> bool: nonpayable

interface Ledger:
    def setApprovalForAll(operator: address, approved: bool): nonpayable
    def isApprovedForAll(owner: address, operator: address) -> bool: view
    def safeTransferFrom(sender: address, to: address, id: uint256, amount: uint256, data: Bytes[32]): nonpayable

interface Adapter:
    def splitPosition(
        collateral: address, parent: bytes32, condition: bytes32, partition: DynArray[uint256, 2], amount: uint256
    ): nonpayable
    def mergePositions(
        collateral: address, parent: bytes32, condition: bytes32, partition: DynArray[uint256, 2], amount: uint256
    ): nonpayable

interface Router:
    def split(condition: bytes31, amount: uint256): nonpayable
    def merge(condition: bytes31, amount: uint256): nonpayable

struct Part:
    trader: address
    outcome: uint256  # 0 Up, 1 Down
    buys: bool
    shares: uint256
    cash: uint256  # price of the shares, without fee
    fee: uint256  # on top for a buyer, out of the cash for a seller

event Settled:
    condition: indexed(bytes32)
    pairs: int256  # minted, or merged where negative
    fees: uint256

owner: public(address)
collateral: public(address)
ledger: public(address)  # of outcome tokens
converter: public(address)  # collateral adapter, or router of the newer generation
newer: public(bool)
treasury: public(address)


@internal
def _convert(condition: bytes32, pairs: int256):
    if pairs > 0:
        amount: uint256 = convert(pairs, uint256)
        extcall Dollar(self.collateral).approve(self.converter, amount)
        if self.newer:
            extcall Router(self.converter).split(convert(condition, bytes31), amount)
        else:
            extcall Adapter(self.converter).splitPosition(
                self.collateral, empty(bytes32), condition, [1, 2], amount
            )
    elif pairs < 0:
        amount: uint256 = convert(-pairs, uint256)
        if not staticcall Ledger(self.ledger).isApprovedForAll(self, self.converter):
            extcall Ledger(self.ledger).setApprovalForAll(self.converter, True)
        if self.newer:
            extcall Router(self.converter).merge(convert(condition, bytes31), amount)
        else:
            extcall Adapter(self.converter).mergePositions(
                self.collateral, empty(bytes32), condition, [1, 2], amount
            )


@external
def settle(condition: bytes32, ids: uint256[2], parts: DynArray[Part, 32]):
    assert msg.sender == self.owner, "exchange: not the operator"
    wanted: int256[2] = [0, 0]
    cash: int256 = 0
    fees: uint256 = 0
    for part: Part in parts:
        assert part.outcome < 2, "exchange: outcome is 0 or 1"
        if part.buys:
            extcall Dollar(self.collateral).transferFrom(part.trader, self, part.cash + part.fee)
            wanted[part.outcome] += convert(part.shares, int256)
            cash += convert(part.cash, int256)
        else:
            extcall Ledger(self.ledger).safeTransferFrom(part.trader, self, ids[part.outcome], part.shares, b"")
            wanted[part.outcome] -= convert(part.shares, int256)
            cash -= convert(part.cash, int256)
        fees += part.fee
    assert wanted[0] == wanted[1], "exchange: shares do not add up"
    assert cash == wanted[0], "exchange: cash does not add up"
    self._convert(condition, wanted[0])
    for part: Part in parts:
        if part.buys:
            extcall Ledger(self.ledger).safeTransferFrom(self, part.trader, ids[part.outcome], part.shares, b"")
        else:
            extcall Dollar(self.collateral).transfer(part.trader, part.cash - part.fee)
    if fees > 0:
        extcall Dollar(self.collateral).transfer(self.treasury, fees)
    log Settled(condition=condition, pairs=wanted[0], fees=fees)
