# pragma version ==0.4.3
"""
@title An ERC-20 of six decimals, for USDC.e and for pUSD
@notice pUSD is backed by USDC.e one for one: `wrap` takes the backing and mints, `unwrap` burns and gives it back.
        USDC.e has no backing. Whoever owns the chain, or the token that this one backs, mints out of nothing.
"""

interface Dollar:
    def mint(to: address, amount: uint256): nonpayable
    def transfer(to: address, amount: uint256) -> bool: nonpayable
    def transferFrom(sender: address, to: address, amount: uint256) -> bool: nonpayable

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    amount: uint256

event Approval:
    owner: indexed(address)
    spender: indexed(address)
    amount: uint256

decimals: public(constant(uint8)) = 6

owner: public(address)
minter: public(address)
backing: public(address)
title: String[31]
totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])


@external
@view
def name() -> String[31]:
    return self.title


@external
@view
def symbol() -> String[31]:
    return self.title


@internal
def _move(sender: address, to: address, amount: uint256):
    assert to != empty(address), "dollar: to nobody"
    assert self.balanceOf[sender] >= amount, "dollar: balance too small"
    self.balanceOf[sender] -= amount
    self.balanceOf[to] += amount
    log Transfer(sender=sender, receiver=to, amount=amount)


@internal
def _mint(to: address, amount: uint256):
    assert to != empty(address), "dollar: to nobody"
    self.totalSupply += amount
    self.balanceOf[to] += amount
    log Transfer(sender=empty(address), receiver=to, amount=amount)


@external
def transfer(to: address, amount: uint256) -> bool:
    self._move(msg.sender, to, amount)
    return True


@external
def transferFrom(sender: address, to: address, amount: uint256) -> bool:
    allowed: uint256 = self.allowance[sender][msg.sender]
    assert allowed >= amount, "dollar: allowance too small"
    if allowed != max_value(uint256):
        self.allowance[sender][msg.sender] = allowed - amount
    self._move(sender, to, amount)
    return True


@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    log Approval(owner=msg.sender, spender=spender, amount=amount)
    return True


@external
def mint(to: address, amount: uint256):
    assert msg.sender in [self.owner, self.minter], "dollar: not a minter"
    if self.backing != empty(address):
        extcall Dollar(self.backing).mint(self, amount)
    self._mint(to, amount)


@external
def wrap(to: address, amount: uint256):
    assert extcall Dollar(self.backing).transferFrom(msg.sender, self, amount)
    self._mint(to, amount)


@external
def unwrap(to: address, amount: uint256):
    assert self.balanceOf[msg.sender] >= amount, "dollar: balance too small"
    self.balanceOf[msg.sender] -= amount
    self.totalSupply -= amount
    log Transfer(sender=msg.sender, receiver=empty(address), amount=amount)
    assert extcall Dollar(self.backing).transfer(to, amount)
