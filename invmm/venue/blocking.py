"""`BlockingVenueClient`: the methods of `VenueClient` as plain calls, for scripts and threads."""

from __future__ import annotations

import asyncio
import functools
import threading
import weakref
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

from invmm.venue.auth import ApiCredentials, OrderSigner
from invmm.venue.client import VenueClient
from invmm.venue.profile import Profile
from invmm.venue.rest import READ_ATTEMPTS

P = ParamSpec("P")
R = TypeVar("R")


def _blocking(
    method: Callable[Concatenate[VenueClient, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[BlockingVenueClient, P], R]:
    """The same method for callers that wait."""

    def call(self: BlockingVenueClient, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._wait(method(self.client, *args, **kwargs))

    functools.update_wrapper(call, method)
    return call


def _end(client: VenueClient, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    async def finish() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await client.close()
        loop.stop()

    asyncio.run_coroutine_threadsafe(finish(), loop)
    if threading.current_thread() is not thread:  # the collector runs in any
        thread.join()
        loop.close()


class BlockingVenueClient:
    """A `VenueClient` that waits; a context manager, usable from any thread.

    The requests run on an event loop of the client's own, in a daemon thread that starts with the first one.
    Parameters, results and errors are those of `VenueClient`.

    Examples
    --------
    >>> from invmm import LIVE, BlockingVenueClient
    >>> with BlockingVenueClient(LIVE) as client:
    ...     client.version()  # doctest: +SKIP
    2
    """

    def __init__(
        self,
        profile: Profile,
        signer: OrderSigner | None = None,
        credentials: ApiCredentials | None = None,
        *,
        address: str = "",
        signature_type: int | None = None,
        timeout_s: float = 5.0,
        read_attempts: int = READ_ATTEMPTS,
    ) -> None:
        self.client = VenueClient(
            profile,
            signer,
            credentials,
            address=address,
            signature_type=signature_type,
            timeout_s=timeout_s,
            read_attempts=read_attempts,
        )
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: Callable[[], object] = lambda: None

    @property
    def credentials(self) -> ApiCredentials | None:
        """In use for private requests; may be set."""
        return self.client.credentials

    @credentials.setter
    def credentials(self, credentials: ApiCredentials | None) -> None:
        self.client.credentials = credentials

    @property
    def signer(self) -> OrderSigner | None:
        """As given."""
        return self.client.signer

    @property
    def profile(self) -> Profile:
        """As given."""
        return self.client.profile

    @property
    def address(self) -> str:
        """The account of the private key."""
        return self.client.address

    def __enter__(self) -> BlockingVenueClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Blocking{self.client!r}"

    def close(self) -> None:
        """Closes the connections and ends the thread; a later call starts anew.

        Calls that wait in other threads are cancelled. A client that nobody holds any more, or that is still
        open when Python ends, is closed by itself.
        """
        with self._lock:
            self._loop = None
            self._end()

    def _wait(self, work: Coroutine[Any, Any, R]) -> R:
        with self._lock:
            if self._loop is None:
                self._loop = loop = asyncio.new_event_loop()
                thread = threading.Thread(target=loop.run_forever, name="invmm-venue-client", daemon=True)
                self._end = weakref.finalize(self, _end, self.client, loop, thread)
                thread.start()
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:  # Ctrl-C while waiting, too
            future.cancel()
            raise

    version = _blocking(VenueClient.version)
    clock_offset = _blocking(VenueClient.clock_offset)
    time_offset_ms = _blocking(VenueClient.time_offset_ms)
    book = _blocking(VenueClient.book)
    books = _blocking(VenueClient.books)
    tick_size = _blocking(VenueClient.tick_size)
    neg_risk = _blocking(VenueClient.neg_risk)
    fee_schedule = _blocking(VenueClient.fee_schedule)
    market = _blocking(VenueClient.market)
    market_of = _blocking(VenueClient.market_of)
    post_orders = _blocking(VenueClient.post_orders)
    cancel = _blocking(VenueClient.cancel)
    cancel_all = _blocking(VenueClient.cancel_all)
    cancel_market_orders = _blocking(VenueClient.cancel_market_orders)
    heartbeat = _blocking(VenueClient.heartbeat)
    open_orders = _blocking(VenueClient.open_orders)
    order = _blocking(VenueClient.order)
    trades = _blocking(VenueClient.trades)
    balance_allowance = _blocking(VenueClient.balance_allowance)
    update_balance_allowance = _blocking(VenueClient.update_balance_allowance)
    rate_limit_tier = _blocking(VenueClient.rate_limit_tier)
    create_api_key = _blocking(VenueClient.create_api_key)
    derive_api_key = _blocking(VenueClient.derive_api_key)
    create_or_derive = _blocking(VenueClient.create_or_derive)
    api_keys = _blocking(VenueClient.api_keys)
    delete_api_key = _blocking(VenueClient.delete_api_key)
    closed_only = _blocking(VenueClient.closed_only)
    pages = _blocking(VenueClient.pages)
    ask = _blocking(VenueClient.ask)
