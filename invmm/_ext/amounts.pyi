from invmm.errors import InvmmError
from invmm.types import OrderType, Side

class OrderRuleError(InvmmError, ValueError):
    rule: int
    def __init__(self, rule: int, found: object) -> None: ...

def rule_text(status: int) -> str: ...
def order_amounts(
    side: Side | int | str,
    price_e4: int,
    size_micro: int,
    *,
    tick_e4: int,
    order_type: OrderType | int | str = "GTC",
) -> tuple[int, int]: ...
def market_amounts(
    side: Side | int | str, amount_micro: int, price_e4: int, *, tick_e4: int
) -> tuple[int, int]: ...
