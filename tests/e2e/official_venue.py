"""An embedded venue for the venue's own clients: anybody may log in, one market runs in real time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from invmm.replay.tape import Tape
from invmm.sim.access import AccessRules
from invmm.sim.child import VenueChild
from invmm.venue.profile import Profile, loopback
from tests import markers
from tests.e2e.sim_client import CREDENTIALS, QUICK, a_tape
from tests.reference.frames import DOWN, UP

KEY = "0x" + markers.PRIVATE_KEY
ADDRESS = CREDENTIALS.address
WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
OTHER_KEY = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
# Ids of the third generation are recognised by their zeros above the lowest forty bits.
POSITION_UP, POSITION_DOWN = (str((int("9" * 45) << 104) + low) for low in (1 << 8, 1 << 8 | 1))


def market(exchange: str = "v2") -> Tape:
    """The short market under an exchange's rules: its book stands at 0.5 to 0.53 when it opens."""
    served = a_tape()
    up, down, data = UP, DOWN, served.data
    if exchange == "v3":
        assert len(POSITION_UP) == len(POSITION_DOWN) == len(UP)
        up, down = POSITION_UP, POSITION_DOWN
        data = data.replace(UP.encode(), up.encode()).replace(DOWN.encode(), down.encode())
    told = replace(served.market, exchange=exchange, up_token_id=up, down_token_id=down)
    return replace(served, market=told, data=data)


@contextmanager
def venue(
    exchange: str = "v2", *, access: AccessRules | None = None, page_limit: int = 100, **profile: Any
) -> Iterator[tuple[VenueChild, Profile]]:
    """A running venue and the profile that leads to it; nothing may be left on its standard error."""
    rules = access or AccessRules()
    quick = replace(QUICK, taker_delay_ns=20_000_000, mined_delay_ns=100_000_000, **profile)
    with VenueChild([market(exchange)], profile=quick, access=rules, seed=5, page_limit=page_limit) as child:
        child.begin(speed=1.0)
        yield child, loopback(child.port)
        assert child.errors == ""
