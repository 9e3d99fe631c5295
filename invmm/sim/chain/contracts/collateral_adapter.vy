# pragma version ==0.4.3
"""
@title Stand-in for the adapter between pUSD and the conditional tokens, which know USDC.e only
@notice Takes and pays pUSD. Stricter than the real one about arguments which that one ignores: a call that names
        another collateral, a parent or another partition fails here.
"""

import holder

exports: (holder.onERC1155Received, holder.onERC1155BatchReceived, holder.supportsInterface)

interface Dollar:
    def approve(spender: address, amount: uint256) -> bool: nonpayable
    def transferFrom(sender: address, to: address, amount: uint256) -> bool: nonpayable
    def balanceOf(owner: address) -> uint256: view
    def wrap(to: address, amount: uint256): nonpayable
    def unwrap(to: address, amount: uint256): nonpayable

interface Tokens:
    def getCollectionId(parentCollectionId: bytes32, conditionId: bytes32, indexSet: uint256) -> bytes32: view
    def getPositionId(collateralToken: address, collectionId: bytes32) -> uint256: view
    def balanceOf(owner: address, id: uint256) -> uint256: view
    def safeBatchTransferFrom(
        sender: address, to: address, ids: DynArray[uint256, 2], amounts: DynArray[uint256, 2], data: Bytes[32]
    ): nonpayable
    def splitPosition(
        collateral: address, parent: bytes32, condition: bytes32, partition: DynArray[uint256, 2], amount: uint256
    ): nonpayable
    def mergePositions(
        collateral: address, parent: bytes32, condition: bytes32, partition: DynArray[uint256, 2], amount: uint256
    ): nonpayable
    def redeemPositions(
        collateral: address, parent: bytes32, condition: bytes32, sets: DynArray[uint256, 2]
    ): nonpayable

collateral: public(address)  # pUSD
bridged: public(address)  # USDC.e
tokens: public(address)  # conditional tokens
neg_risk: public(bool)


@internal
@view
def _check(collateral: address, parent: bytes32, partition: DynArray[uint256, 2]):
    assert collateral == self.collateral, "adapter: expected pUSD"
    assert parent == empty(bytes32), "adapter: expected no parent collection"
    assert len(partition) == 2 and partition[0] == 1 and partition[1] == 2, "adapter: expected index sets 1 and 2"


@internal
@view
def _ids(condition: bytes32) -> DynArray[uint256, 2]:
    ids: DynArray[uint256, 2] = []
    for index_set: uint256 in [1, 2]:
        collection: bytes32 = staticcall Tokens(self.tokens).getCollectionId(empty(bytes32), condition, index_set)
        ids.append(staticcall Tokens(self.tokens).getPositionId(self.bridged, collection))
    return ids


@internal
def _pay_out(to: address, amount: uint256):
    extcall Dollar(self.bridged).approve(self.collateral, amount)
    extcall Dollar(self.collateral).wrap(to, amount)


@external
def splitPosition(
    collateralToken: address,
    parentCollectionId: bytes32,
    conditionId: bytes32,
    partition: DynArray[uint256, 2],
    amount: uint256,
):
    self._check(collateralToken, parentCollectionId, partition)
    extcall Dollar(self.collateral).transferFrom(msg.sender, self, amount)
    extcall Dollar(self.collateral).unwrap(self, amount)
    extcall Dollar(self.bridged).approve(self.tokens, amount)
    extcall Tokens(self.tokens).splitPosition(self.bridged, empty(bytes32), conditionId, [1, 2], amount)
    extcall Tokens(self.tokens).safeBatchTransferFrom(
        self, msg.sender, self._ids(conditionId), [amount, amount], b""
    )


@external
def mergePositions(
    collateralToken: address,
    parentCollectionId: bytes32,
    conditionId: bytes32,
    partition: DynArray[uint256, 2],
    amount: uint256,
):
    self._check(collateralToken, parentCollectionId, partition)
    extcall Tokens(self.tokens).safeBatchTransferFrom(
        msg.sender, self, self._ids(conditionId), [amount, amount], b""
    )
    extcall Tokens(self.tokens).mergePositions(self.bridged, empty(bytes32), conditionId, [1, 2], amount)
    self._pay_out(msg.sender, amount)


@internal
def _redeem(owner: address, condition: bytes32, ids: DynArray[uint256, 2], amounts: DynArray[uint256, 2]):
    before: uint256 = staticcall Dollar(self.bridged).balanceOf(self)
    extcall Tokens(self.tokens).safeBatchTransferFrom(owner, self, ids, amounts, b"")
    extcall Tokens(self.tokens).redeemPositions(self.bridged, empty(bytes32), condition, [1, 2])
    self._pay_out(owner, staticcall Dollar(self.bridged).balanceOf(self) - before)


@external
def redeemPositions(
    collateralToken: address, parentCollectionId: bytes32, conditionId: bytes32, indexSets: DynArray[uint256, 2]
):
    """Redeems all that the caller holds of both outcomes."""
    self._check(collateralToken, parentCollectionId, indexSets)
    ids: DynArray[uint256, 2] = self._ids(conditionId)
    amounts: DynArray[uint256, 2] = []
    for id: uint256 in ids:
        amounts.append(staticcall Tokens(self.tokens).balanceOf(msg.sender, id))
    self._redeem(msg.sender, conditionId, ids, amounts)


@external
def __default__():
    """`redeemPositions(bytes32,uint256[])` of the neg-risk adapter: amounts per outcome. Vyper has no overloads."""
    assert self.neg_risk and convert(slice(msg.data, 0, 4), bytes4) == 0xdbeccb23, "adapter: no such function"
    condition: bytes32 = empty(bytes32)
    amounts: DynArray[uint256, 2] = []
    condition, amounts = abi_decode(slice(msg.data, 4, 160), (bytes32, DynArray[uint256, 2]))
    assert len(amounts) == 2, "adapter: expected two amounts"
    self._redeem(msg.sender, condition, self._ids(condition), amounts)
