# pragma version ==0.4.3
"""
@title Reports results of conditions in the name of its own address, as its owner says
"""

interface Tokens:
    def reportPayouts(questionId: bytes32, payouts: DynArray[uint256, 2]): nonpayable

owner: public(address)
tokens: public(address)


@external
def report(questionId: bytes32, payouts: DynArray[uint256, 2]):
    assert msg.sender == self.owner, "oracle: not the owner"
    extcall Tokens(self.tokens).reportPayouts(questionId, payouts)
