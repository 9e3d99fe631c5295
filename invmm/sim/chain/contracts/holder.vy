# pragma version ==0.4.3
"""
@title What a contract answers so that ERC-1155 tokens may be sent to it
"""


@external
@pure
def onERC1155Received(
    operator: address, sender: address, id: uint256, amount: uint256, data: Bytes[1024]
) -> bytes4:
    return 0xf23a6e61


@external
@pure
def onERC1155BatchReceived(
    operator: address, sender: address, ids: DynArray[uint256, 32], amounts: DynArray[uint256, 32], data: Bytes[1024]
) -> bytes4:
    return 0xbc197c81


@external
@pure
def supportsInterface(interfaceId: bytes4) -> bool:
    return interfaceId in [0x01ffc9a7, 0x4e2312e0]
