from typing import NoReturn, Self, final

from invmm._ext.journal import Journal
from invmm._ext.ring import ResultRing

@final
class Outbox:
    def __new__(cls, results: ResultRing) -> Self: ...
    journal: Journal | None
    def __reduce__(self) -> NoReturn: ...
