from typing_extensions import disjoint_base

from invmm._ext.desk import OrderDesk

@disjoint_base
class ReplaceDesk(OrderDesk): ...
