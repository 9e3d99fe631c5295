# pragma version ==0.4.3
"""
@title Conditional tokens: collateral split into outcome tokens, merged back, and paid out by the oracle's report
@notice Answers the published contract's ABI with its rules; at most 16 outcomes where that one takes 256.
        Ids are the published ones: a collection is a point of alt_bn128, a position its hash with the collateral.
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

interface Collateral:
    def transfer(to: address, amount: uint256) -> bool: nonpayable
    def transferFrom(sender: address, to: address, amount: uint256) -> bool: nonpayable

event ConditionPreparation:
    conditionId: indexed(bytes32)
    oracle: indexed(address)
    questionId: indexed(bytes32)
    outcomeSlotCount: uint256

event ConditionResolution:
    conditionId: indexed(bytes32)
    oracle: indexed(address)
    questionId: indexed(bytes32)
    outcomeSlotCount: uint256
    payoutNumerators: DynArray[uint256, 16]

event PositionSplit:
    stakeholder: indexed(address)
    collateralToken: address
    parentCollectionId: indexed(bytes32)
    conditionId: indexed(bytes32)
    partition: DynArray[uint256, 16]
    amount: uint256

event PositionsMerge:
    stakeholder: indexed(address)
    collateralToken: address
    parentCollectionId: indexed(bytes32)
    conditionId: indexed(bytes32)
    partition: DynArray[uint256, 16]
    amount: uint256

event PayoutRedemption:
    redeemer: indexed(address)
    collateralToken: indexed(address)
    parentCollectionId: indexed(bytes32)
    conditionId: bytes32
    indexSets: DynArray[uint256, 16]
    payout: uint256

P: constant(uint256) = 21888242871839275222246405745257275088696311157297823662689037894645226208583
ODD: constant(uint256) = 1 << 254
MODEXP: constant(address) = 0x0000000000000000000000000000000000000005

payoutNumerators: public(HashMap[bytes32, DynArray[uint256, 16]])
payoutDenominator: public(HashMap[bytes32, uint256])


@internal
@view
def _root(square: uint256) -> uint256:
    """A root of `square` in the field, where there is one: its power (P + 1) / 4."""
    answer: Bytes[32] = raw_call(
        MODEXP,
        abi_encode(convert(32, uint256), convert(32, uint256), convert(32, uint256), square, (P + 1) // 4, P),
        max_outsize=32,
        is_static_call=True,
    )
    return convert(answer, uint256)


@internal
@pure
def _curve(x: uint256) -> uint256:
    return uint256_addmod(uint256_mulmod(x, uint256_mulmod(x, x, P), P), 3, P)


@internal
@pure
def _with_parity(y: uint256, odd: bool) -> uint256:
    if (y & 1 == 1) == odd:
        return y
    return P - y


@internal
@view
def _collection(parent: bytes32, condition: bytes32, index_set: uint256) -> bytes32:
    seed: uint256 = convert(keccak256(concat(condition, convert(index_set, bytes32))), uint256)
    x: uint256 = seed
    y: uint256 = 0
    for _: uint256 in range(256):
        x = uint256_addmod(x, 1, P)
        square: uint256 = self._curve(x)
        y = self._root(square)
        if uint256_mulmod(y, y, P) == square:
            break
    y = self._with_parity(y, seed >> 255 != 0)
    if parent != empty(bytes32):
        packed: uint256 = convert(parent, uint256)
        parent_x: uint256 = packed & (ODD - 1)
        square: uint256 = self._curve(parent_x)
        parent_y: uint256 = self._root(square)
        assert uint256_mulmod(parent_y, parent_y, P) == square, "conditional tokens: no such parent collection"
        total: uint256[2] = ecadd([x, y], [parent_x, self._with_parity(parent_y, packed >> 254 != 0)])
        x = total[0]
        y = total[1]
    if y & 1 == 1:
        x ^= ODD
    return convert(x, bytes32)


@internal
@pure
def _position(collateral: address, collection: bytes32) -> uint256:
    return convert(keccak256(concat(convert(collateral, bytes20), collection)), uint256)


@internal
@pure
def _condition(oracle: address, question: bytes32, slots: uint256) -> bytes32:
    return keccak256(concat(convert(oracle, bytes20), question, convert(slots, bytes32)))


@external
@view
def getOutcomeSlotCount(conditionId: bytes32) -> uint256:
    return len(self.payoutNumerators[conditionId])


@external
@pure
def getConditionId(oracle: address, questionId: bytes32, outcomeSlotCount: uint256) -> bytes32:
    return self._condition(oracle, questionId, outcomeSlotCount)


@external
@view
def getCollectionId(parentCollectionId: bytes32, conditionId: bytes32, indexSet: uint256) -> bytes32:
    return self._collection(parentCollectionId, conditionId, indexSet)


@external
@pure
def getPositionId(collateralToken: address, collectionId: bytes32) -> uint256:
    return self._position(collateralToken, collectionId)


@external
def prepareCondition(oracle: address, questionId: bytes32, outcomeSlotCount: uint256):
    assert outcomeSlotCount > 1 and outcomeSlotCount <= 16, "conditional tokens: 2 to 16 outcomes"
    condition: bytes32 = self._condition(oracle, questionId, outcomeSlotCount)
    assert len(self.payoutNumerators[condition]) == 0, "conditional tokens: prepared before"
    for _: uint256 in range(outcomeSlotCount, bound=16):
        self.payoutNumerators[condition].append(0)
    log ConditionPreparation(
        conditionId=condition, oracle=oracle, questionId=questionId, outcomeSlotCount=outcomeSlotCount
    )


@external
def reportPayouts(questionId: bytes32, payouts: DynArray[uint256, 16]):
    slots: uint256 = len(payouts)
    assert slots > 1, "conditional tokens: 2 to 16 outcomes"
    condition: bytes32 = self._condition(msg.sender, questionId, slots)
    assert len(self.payoutNumerators[condition]) == slots, "conditional tokens: not prepared for this oracle"
    assert self.payoutDenominator[condition] == 0, "conditional tokens: reported before"
    total: uint256 = 0
    for payout: uint256 in payouts:
        total += payout
    assert total > 0, "conditional tokens: a report that pays nobody"
    self.payoutNumerators[condition] = payouts
    self.payoutDenominator[condition] = total
    log ConditionResolution(
        conditionId=condition,
        oracle=msg.sender,
        questionId=questionId,
        outcomeSlotCount=slots,
        payoutNumerators=payouts,
    )


@internal
@view
def _parts(
    collateral: address, parent: bytes32, condition: bytes32, partition: DynArray[uint256, 16]
) -> (uint256, DynArray[uint256, 32]):
    """What the partition leaves out of the full set, and its position ids."""
    slots: uint256 = len(self.payoutNumerators[condition])
    assert len(partition) > 1, "conditional tokens: a partition has two parts or more"
    assert slots > 0, "conditional tokens: not prepared"
    full: uint256 = (1 << slots) - 1
    free: uint256 = full
    ids: DynArray[uint256, 32] = []
    for index_set: uint256 in partition:
        assert index_set > 0 and index_set < full, "conditional tokens: no such index set"
        assert index_set & free == index_set, "conditional tokens: parts overlap"
        free ^= index_set
        ids.append(self._position(collateral, self._collection(parent, condition, index_set)))
    return free, ids


@internal
@view
def _whole(collateral: address, parent: bytes32, condition: bytes32, free: uint256) -> uint256:
    """The position that a partition which leaves out `free` is split from and merged into; 0: collateral itself."""
    if free != 0:
        full: uint256 = (1 << len(self.payoutNumerators[condition])) - 1
        return self._position(collateral, self._collection(parent, condition, full ^ free))
    if parent != empty(bytes32):
        return self._position(collateral, parent)
    return 0


@internal
@pure
def _each(amount: uint256, count: uint256) -> DynArray[uint256, 32]:
    amounts: DynArray[uint256, 32] = []
    for _: uint256 in range(count, bound=32):
        amounts.append(amount)
    return amounts


@external
def splitPosition(
    collateralToken: address,
    parentCollectionId: bytes32,
    conditionId: bytes32,
    partition: DynArray[uint256, 16],
    amount: uint256,
):
    free: uint256 = 0
    ids: DynArray[uint256, 32] = []
    free, ids = self._parts(collateralToken, parentCollectionId, conditionId, partition)
    whole: uint256 = self._whole(collateralToken, parentCollectionId, conditionId, free)
    if whole == 0:
        assert extcall Collateral(collateralToken).transferFrom(msg.sender, self, amount)
    else:
        erc1155.burn_one(msg.sender, whole, amount)
    erc1155.mint_batch(msg.sender, ids, self._each(amount, len(ids)), True)
    log PositionSplit(
        stakeholder=msg.sender,
        collateralToken=collateralToken,
        parentCollectionId=parentCollectionId,
        conditionId=conditionId,
        partition=partition,
        amount=amount,
    )


@external
def mergePositions(
    collateralToken: address,
    parentCollectionId: bytes32,
    conditionId: bytes32,
    partition: DynArray[uint256, 16],
    amount: uint256,
):
    free: uint256 = 0
    ids: DynArray[uint256, 32] = []
    free, ids = self._parts(collateralToken, parentCollectionId, conditionId, partition)
    erc1155.burn_batch(msg.sender, ids, self._each(amount, len(ids)))
    whole: uint256 = self._whole(collateralToken, parentCollectionId, conditionId, free)
    if whole == 0:
        assert extcall Collateral(collateralToken).transfer(msg.sender, amount)
    else:
        erc1155.mint_one(msg.sender, whole, amount)
    log PositionsMerge(
        stakeholder=msg.sender,
        collateralToken=collateralToken,
        parentCollectionId=parentCollectionId,
        conditionId=conditionId,
        partition=partition,
        amount=amount,
    )


@external
def redeemPositions(
    collateralToken: address, parentCollectionId: bytes32, conditionId: bytes32, indexSets: DynArray[uint256, 16]
):
    denominator: uint256 = self.payoutDenominator[conditionId]
    assert denominator > 0, "conditional tokens: not reported yet"
    slots: uint256 = len(self.payoutNumerators[conditionId])
    full: uint256 = (1 << slots) - 1
    payout: uint256 = 0
    for index_set: uint256 in indexSets:
        assert index_set > 0 and index_set < full, "conditional tokens: no such index set"
        numerator: uint256 = 0
        for slot: uint256 in range(slots, bound=16):
            if index_set & (1 << slot) != 0:
                numerator += self.payoutNumerators[conditionId][slot]
        id: uint256 = self._position(
            collateralToken, self._collection(parentCollectionId, conditionId, index_set)
        )
        held: uint256 = erc1155.amounts_of[id][msg.sender]
        if held > 0:
            payout += held * numerator // denominator
            erc1155.burn_one(msg.sender, id, held)
    if payout > 0:
        if parentCollectionId == empty(bytes32):
            assert extcall Collateral(collateralToken).transfer(msg.sender, payout)
        else:
            erc1155.mint_one(msg.sender, self._position(collateralToken, parentCollectionId), payout)
    log PayoutRedemption(
        redeemer=msg.sender,
        collateralToken=collateralToken,
        parentCollectionId=parentCollectionId,
        conditionId=conditionId,
        indexSets=indexSets,
        payout=payout,
    )
