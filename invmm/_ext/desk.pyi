from typing_extensions import disjoint_base

from invmm._ext.account import Account
from invmm._ext.decode import MarketBooks
from invmm._ext.registry import Registry
from invmm._ext.ring import CommandRing
from invmm._ext.sink import FrameSink
from invmm._ext.words import SharedWords

@disjoint_base
class OrderDesk(FrameSink):
    @property
    def books(self) -> MarketBooks: ...
    @property
    def registry(self) -> Registry: ...
    @property
    def ring(self) -> CommandRing | None: ...
    @property
    def account(self) -> Account | None: ...
    @property
    def words(self) -> SharedWords | None: ...
    @property
    def market(self) -> int: ...
    @property
    def version(self) -> int: ...
