from typing import NoReturn, final

import numpy as np
import numpy.typing as npt
from typing_extensions import disjoint_base

from invmm._ext.order import SignedOrder
from invmm._ext.wallet import Wallet
from invmm.types import OrderType, Side

@disjoint_base
class OrderSigner(Wallet):
    def sign(
        self,
        token_id: str,
        side: Side | int | str,
        price_e4: int,
        size_micro: int,
        *,
        tick_e4: int,
        order_type: OrderType | int | str = "GTC",
        expiration: int = 0,
        post_only: bool = False,
        exchange: str = "v2",
        timestamp_ms: int | None = None,
        salt: int | None = None,
        metadata: str | bytes | None = None,
        builder: str | bytes | None = None,
    ) -> SignedOrder: ...
    def sign_market(
        self,
        token_id: str,
        side: Side | int | str,
        amount_micro: int,
        price_e4: int,
        *,
        tick_e4: int,
        order_type: OrderType | int | str = "FOK",
        exchange: str = "v2",
        timestamp_ms: int | None = None,
        salt: int | None = None,
        metadata: str | bytes | None = None,
        builder: str | bytes | None = None,
    ) -> SignedOrder: ...
    def _now_ms(self) -> int: ...
    def _new_salt(self) -> int: ...

@final
class OrderTemplate:
    tick_e4: int
    min_size_micro: int
    min_notional_micro: int
    gtd_lead_s: int
    def __new__(
        cls,
        signer: OrderSigner,
        token_id: str,
        exchange: str = "v2",
        owner: str = "",
        *,
        tick_e4: int = 100,
        min_size_micro: int = 0,
        min_notional_micro: int = 0,
        gtd_lead_s: int = 0,
        metadata: str | bytes | None = None,
        builder: str | bytes | None = None,
    ) -> OrderTemplate: ...
    @property
    def token_id(self) -> str: ...
    @property
    def exchange(self) -> str: ...
    @property
    def serial(self) -> int: ...
    @property
    def body_capacity(self) -> int: ...
    def build(self, command: npt.NDArray[np.uint8] | bytes, timestamp_ms: int) -> tuple[bytes, bytes]: ...
    def __reduce__(self) -> NoReturn: ...
