from typing_extensions import disjoint_base

from invmm._ext.desk import OrderDesk

@disjoint_base
class ReplaceDesk(OrderDesk):
    def set_funds(self, micro_dollars: int | None) -> None: ...
    def exposure(self) -> dict[str, object]: ...
