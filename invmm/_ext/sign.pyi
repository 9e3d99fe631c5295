from typing_extensions import disjoint_base

from invmm._ext.caps import SignerCaps
from invmm._ext.order import SignedOrder
from invmm._ext.wallet import Wallet
from invmm.types import OrderType, Side

@disjoint_base
class OrderSigner(Wallet):
    @property
    def caps(self) -> SignerCaps | None: ...
    @caps.setter
    def caps(self, caps: SignerCaps) -> None: ...
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
