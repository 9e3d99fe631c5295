# pragma version ==0.4.3
"""
@title Balances of many tokens: ERC-1155 with receiver hooks
@notice A module of the two ledgers of outcome tokens.
"""

interface Receiver:
    def onERC1155Received(
        operator: address, sender: address, id: uint256, amount: uint256, data: Bytes[1024]
    ) -> bytes4: nonpayable
    def onERC1155BatchReceived(
        operator: address, sender: address, ids: DynArray[uint256, 32], amounts: DynArray[uint256, 32], data: Bytes[1024]
    ) -> bytes4: nonpayable

event TransferSingle:
    operator: indexed(address)
    _from: indexed(address)
    to: indexed(address)
    id: uint256
    value: uint256

event TransferBatch:
    operator: indexed(address)
    _from: indexed(address)
    to: indexed(address)
    ids: DynArray[uint256, 32]
    values: DynArray[uint256, 32]

event ApprovalForAll:
    owner: indexed(address)
    operator: indexed(address)
    approved: bool

event URI:
    value: String[256]
    id: indexed(uint256)

ERC165: constant(bytes4) = 0x01ffc9a7
ERC1155: constant(bytes4) = 0xd9b67a26

amounts_of: HashMap[uint256, HashMap[address, uint256]]
approved: HashMap[address, HashMap[address, bool]]


@external
@view
def supportsInterface(interfaceId: bytes4) -> bool:
    return interfaceId in [ERC165, ERC1155]


@external
@view
def balanceOf(owner: address, id: uint256) -> uint256:
    assert owner != empty(address), "erc1155: balance of nobody"
    return self.amounts_of[id][owner]


@external
@view
def balanceOfBatch(owners: DynArray[address, 32], ids: DynArray[uint256, 32]) -> DynArray[uint256, 32]:
    assert len(owners) == len(ids), "erc1155: lengths differ"
    held: DynArray[uint256, 32] = []
    for i: uint256 in range(len(ids), bound=32):
        assert owners[i] != empty(address), "erc1155: balance of nobody"
        held.append(self.amounts_of[ids[i]][owners[i]])
    return held


@external
def setApprovalForAll(operator: address, approved: bool):
    self.approved[msg.sender][operator] = approved
    log ApprovalForAll(owner=msg.sender, operator=operator, approved=approved)


@external
@view
def isApprovedForAll(owner: address, operator: address) -> bool:
    return self.approved[owner][operator]


@internal
@view
def _check_operator(sender: address):
    assert sender == msg.sender or self.approved[sender][msg.sender], "erc1155: not owner, not approved"


@internal
def _take(owner: address, id: uint256, amount: uint256):
    held: uint256 = self.amounts_of[id][owner]
    assert held >= amount, "erc1155: balance too small"
    self.amounts_of[id][owner] = held - amount


@internal
def _accept_one(sender: address, to: address, id: uint256, amount: uint256, data: Bytes[1024]):
    if to.is_contract:
        answer: bytes4 = extcall Receiver(to).onERC1155Received(msg.sender, sender, id, amount, data)
        assert answer == 0xf23a6e61, "erc1155: receiver refused"


@internal
def _accept_batch(
    sender: address, to: address, ids: DynArray[uint256, 32], amounts: DynArray[uint256, 32], data: Bytes[1024]
):
    if to.is_contract:
        answer: bytes4 = extcall Receiver(to).onERC1155BatchReceived(msg.sender, sender, ids, amounts, data)
        assert answer == 0xbc197c81, "erc1155: receiver refused"


@external
def safeTransferFrom(_from: address, to: address, id: uint256, amount: uint256, data: Bytes[1024]):
    assert to != empty(address), "erc1155: to nobody"
    self._check_operator(_from)
    self._take(_from, id, amount)
    self.amounts_of[id][to] += amount
    log TransferSingle(operator=msg.sender, _from=_from, to=to, id=id, value=amount)
    self._accept_one(_from, to, id, amount, data)


@external
def safeBatchTransferFrom(
    _from: address, to: address, ids: DynArray[uint256, 32], amounts: DynArray[uint256, 32], data: Bytes[1024]
):
    assert len(ids) == len(amounts), "erc1155: lengths differ"
    assert to != empty(address), "erc1155: to nobody"
    self._check_operator(_from)
    for i: uint256 in range(len(ids), bound=32):
        self._take(_from, ids[i], amounts[i])
        self.amounts_of[ids[i]][to] += amounts[i]
    log TransferBatch(operator=msg.sender, _from=_from, to=to, ids=ids, values=amounts)
    self._accept_batch(_from, to, ids, amounts, data)


@internal
def mint_one(to: address, id: uint256, amount: uint256):
    self.amounts_of[id][to] += amount
    log TransferSingle(operator=msg.sender, _from=empty(address), to=to, id=id, value=amount)
    self._accept_one(empty(address), to, id, amount, b"")


@internal
def mint_batch(to: address, ids: DynArray[uint256, 32], amounts: DynArray[uint256, 32], hook: bool):
    for i: uint256 in range(len(ids), bound=32):
        self.amounts_of[ids[i]][to] += amounts[i]
    log TransferBatch(operator=msg.sender, _from=empty(address), to=to, ids=ids, values=amounts)
    if hook:
        self._accept_batch(empty(address), to, ids, amounts, b"")


@internal
def burn_one(owner: address, id: uint256, amount: uint256):
    self._take(owner, id, amount)
    log TransferSingle(operator=msg.sender, _from=owner, to=empty(address), id=id, value=amount)


@internal
def burn_batch(owner: address, ids: DynArray[uint256, 32], amounts: DynArray[uint256, 32]):
    for i: uint256 in range(len(ids), bound=32):
        self._take(owner, ids[i], amounts[i])
    log TransferBatch(operator=msg.sender, _from=owner, to=empty(address), ids=ids, values=amounts)
