# pragma version ==0.4.3
"""
@title Stand-in for a smart wallet: does what its owner, the relayer's account, sends
@notice The signature of the wallet's user is what the fake relayer checks, not this contract.
"""

import holder

exports: (holder.onERC1155Received, holder.onERC1155BatchReceived, holder.supportsInterface)

struct Call:
    target: address
    amount: uint256
    data: Bytes[4096]

owner: public(address)


@external
@payable
def __default__():
    pass


@external
def execute(calls: DynArray[Call, 16]):
    assert msg.sender == self.owner, "wallet: not the owner"
    for call: Call in calls:
        raw_call(call.target, call.data, value=call.amount)
