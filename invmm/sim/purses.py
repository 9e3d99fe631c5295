"""Whose money pays at the embedded venue: balances for each owner, by the address of its key."""

from __future__ import annotations

from collections.abc import Iterator

from invmm.sim.account import Account, Trade
from invmm.sim.rules import Who


class Purses:
    """Accounts by owner. The first one belongs to the owner that the venue was started with, or else to the
    first that shows up, and to orders that name nobody; everybody else starts with the same collateral.

    Parameters
    ----------
    first : Account
        Balances of the first owner.
    owner : str
        Address of the first owner's key; empty: not known yet.
    """

    def __init__(self, first: Account, owner: str = "") -> None:
        self.first = first
        self.owner = owner
        self._others: dict[str, Account] = {}  # by address, lower case
        self._names: dict[str, str] = {}  # their addresses as they were first spelled
        self._owners: dict[str, str] = {}  # by wallet, lower case

    def __iter__(self) -> Iterator[Account]:
        yield self.first
        yield from self._others.values()

    def items(self) -> Iterator[tuple[str, Account]]:
        """Owner's address and balances, the first owner's first."""
        yield self.owner, self.first
        for address, account in self._others.items():
            yield self._names[address], account

    def named(self, owner: str) -> Account:
        """An owner's balances, made when they are not known yet; the first owner's for an empty name."""
        if not self.owner:
            self.owner = owner
        address = owner.lower()
        if not address or address == self.owner.lower():
            return self.first
        found = self._others.get(address)
        if found is None:
            found = self._others[address] = Account(self.first.start_micro)
            self._names[address] = owner
        return found

    def of(self, who: Who | None) -> Account:
        """The balances that pay for an order of this trader."""
        if who is None:
            return self.first
        self._owners.setdefault(who.address.lower(), who.account)
        return self.named(who.account)

    def at(self, address: str) -> Account:
        """What a public listing shows of an address: of an owner, or of a wallet that has traded. Nothing for
        one that is not known, unless there is but one account: it is that one's.
        """
        address = self._owners.get(address.lower(), address).lower()
        if not address or not self._others or address == self.owner.lower():
            return self.first
        return self._others.get(address) or Account(0)

    def parties(self, trade: Trade) -> list[Account]:
        """The accounts that a trade concerns."""
        return list({id(purse): purse for purse in (leg.purse or self.first for leg in trade.legs)}.values())

    def trades(self) -> list[Trade]:
        """Trades of all accounts by time, each once."""
        if not self._others:
            return self.first.trades
        every = {id(trade): trade for account in self for trade in account.trades}
        return sorted(every.values(), key=lambda trade: trade.time_ns)

    def unsettled(self, market: str) -> int:
        """How many trades of a market are matched and neither mined nor failed."""
        return sum(account.unsettled(market) for account in self)
