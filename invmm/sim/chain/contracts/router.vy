# pragma version ==0.4.3
"""
@title Stand-in for the router of the newer generation: split, merge and redeem for pUSD, which it keeps
"""

interface Dollar:
    def transfer(to: address, amount: uint256) -> bool: nonpayable
    def transferFrom(sender: address, to: address, amount: uint256) -> bool: nonpayable

interface Positions:
    def mintPair(to: address, condition: bytes31, amount: uint256): nonpayable
    def burnPair(owner: address, condition: bytes31, amount: uint256): nonpayable
    def burnRedeemed(owner: address, condition: bytes31, outcome: uint256, amount: uint256) -> uint256: nonpayable

collateral: public(address)
positions: public(address)


@external
def split(conditionId: bytes31, amount: uint256):
    extcall Dollar(self.collateral).transferFrom(msg.sender, self, amount)
    extcall Positions(self.positions).mintPair(msg.sender, conditionId, amount)


@external
def merge(conditionId: bytes31, amount: uint256):
    extcall Positions(self.positions).burnPair(msg.sender, conditionId, amount)
    extcall Dollar(self.collateral).transfer(msg.sender, amount)


@external
def redeem(conditionId: bytes31, outcomeIndex: uint256, amount: uint256):
    assert outcomeIndex < 2, "router: outcome is 0 or 1"
    payout: uint256 = extcall Positions(self.positions).burnRedeemed(msg.sender, conditionId, outcomeIndex, amount)
    if payout > 0:
        extcall Dollar(self.collateral).transfer(msg.sender, payout)
