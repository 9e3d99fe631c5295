"""REST of the embedded venue about API keys and modes of an account, and whether a wallet is deployed."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from aiohttp import web

from invmm.sim.access import ApiKey
from invmm.sim.rest_shapes import KEY, error
from invmm.sim.rules import Refusal

if TYPE_CHECKING:
    from invmm.sim.server import VenueServer


class Login:
    """Handlers over a server's accounts."""

    def __init__(self, server: VenueServer) -> None:
        self._access = server.access

    async def create(self, request: web.Request) -> web.Response:
        """A new API key, for L1 headers."""
        return _triple(self._access.create(request.headers))

    async def derive(self, request: web.Request) -> web.Response:
        """The API key that exists for the account and nonce of the L1 headers."""
        return _triple(self._access.derive(request.headers))

    async def list(self, _: bytes, request: web.Request) -> web.Response:
        """API keys of the account."""
        return web.json_response({"apiKeys": self._access.keys_of(request[KEY].address)})

    async def revoke(self, _: bytes, request: web.Request) -> web.Response:
        """Ends the key that asks."""
        self._access.revoke(request[KEY])
        return web.json_response("OK")

    async def closed_only(self, _: bytes, request: web.Request) -> web.Response:
        """Whether the account may only close what it has."""
        return web.json_response({"closed_only": self._access.member(request[KEY].address).is_closed_only})

    async def deployed(self, request: web.Request) -> web.Response:
        """The relayer's view of a wallet: deployed, unless an account says that its own is not."""
        wallet = request.query.get("address", "")
        return web.json_response({"deployed": self._access.is_deployed(wallet)})

    async def change(self, request: web.Request) -> web.Response:
        """Control face, not the venue's protocol: sets flags and wallets of the account `address`."""
        return web.json_response(asdict(self._access.change(await request.json())))


def _triple(made: ApiKey | Refusal) -> web.Response:
    if isinstance(made, Refusal):
        return error(made.status, made.text)
    return web.json_response({"apiKey": made.api_key, "secret": made.secret, "passphrase": made.passphrase})
