def merge(
    *,
    base: str,
    now: str,
    same_price: bool = True,
    expiring: bool = False,
    remaining_micro: int = 0,
    wanted_micro: int = 0,
    filled_since_micro: int = 0,
    min_size_micro: int = 0,
    running: bool = True,
    within_limits: bool = True,
) -> str: ...
