"""A venue reached over sockets: where it is, our proof of identity, the executor thread that talks to it.

The engine hands commands to the executor's ring and reads its results; what is rare and slow (listing open
orders, the last cancel-all of a shutdown) is asked here with an ordinary HTTP client, off the trading path.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from invmm._ext.caps import SignerCaps
from invmm._ext.ring import CommandRing, ResultRing
from invmm._ext.template import OrderTemplate
from invmm._ext.words import SharedWords
from invmm.clock import LiveClock
from invmm.errors import ConfigError
from invmm.execution.connections import Endpoint
from invmm.execution.executor import Executor
from invmm.execution.follow import Alarm
from invmm.execution.journal import SessionJournal
from invmm.feed.connection import FeedSettings as SocketSettings
from invmm.replay.tape import MarketInfo
from invmm.settings import RiskSettings, Settings
from invmm.types import MICRO, CommandArray, EventArray, Outcome
from invmm.venue.auth import ApiCredentials, OrderSigner
from invmm.venue.client import CancelAnswer, VenueClient
from invmm.venue.profile import Profile

TIMEOUT_S = 3.0
CLOCK_ROOM_S = 1.0
MS, SECOND = 1_000_000, 1_000_000_000
HEAD_ROOM = 2  # the desk counts when it decides, the signer when it signs: orders that wait come closer


def caps_of(risk: RiskSettings) -> SignerCaps:
    """The signer's caps that go with the engine's limits; a sound engine never meets them.

    No token is allowed yet: `RemoteVenue.open_market` allows those of its market.
    """
    return SignerCaps(
        [],
        max_size_micro=round(risk.max_order_shares * MICRO),
        max_notional_micro=round(risk.max_cash_dollars * MICRO),
        orders_per_second=HEAD_ROOM * risk.orders_per_second,
        burst=HEAD_ROOM * risk.orders_burst,
    )


def book_max_age_ns(settings: Settings) -> int:
    """The gate's bound on the age of a book, by the venue's time stamp.

    The engine's own limits are narrower; a quiet market may be silent up to the cap of the feed's learnt
    limit, and the venue's clock may be a second from ours.
    """
    silence_s = max(settings.engine.book_max_age_ms / 1000, SocketSettings.silence_cap_s)
    return int((silence_s + CLOCK_ROOM_S) * 1e9)


class RemoteVenue:
    """Implements `Venue` over HTTP and names the sockets of the feeds.

    Parameters
    ----------
    profile : Profile
        Its hosts, chain and limits.
    credentials : ApiCredentials
    signer : OrderSigner
        One without caps gets those of `caps_of(settings.risk)`.
    clock : LiveClock
    settings : Settings, optional
    executor : callable
        Makes the executor.
    armed : bool
        Real orders are meant: without it a profile that reaches public hosts is refused. The main job arms
        by `--live` and its environment variable (`invmm/live.py`); other programs say it here.
    journal : SessionJournal, optional
        Its intents are written by the executor; without one nothing is kept.
    """

    def __init__(
        self,
        profile: Profile,
        credentials: ApiCredentials,
        signer: OrderSigner,
        clock: LiveClock,
        settings: Settings | None = None,
        *,
        executor: Callable[..., Executor] = Executor,
        journal: SessionJournal | None = None,
        armed: bool = False,
    ) -> None:
        parts = urlsplit(profile.rest_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"profile {profile.name}: expected an http:// or https:// host, found {profile.rest_url!r}"
            )
        if not profile.loopback and not armed:
            raise ConfigError(
                f"profile {profile.name}: its orders are real; expected armed=True, which says so"
            )
        if signer.chain_id != profile.chain_id:
            raise ConfigError(
                f"signer: expected one for chain {profile.chain_id} of profile {profile.name}, found one for "
                f"{signer.chain_id}"
            )
        settings = settings or Settings()
        self.profile = profile
        self.market_url = profile.market_url
        self.user_url = profile.user_url
        self.price_url, self.rtds_url = profile.price_url, profile.rtds_url
        self.credentials = credentials
        self.signer = signer
        self.account = signer.address
        if signer.caps is None:
            signer.caps = caps_of(settings.risk)
        tls = None
        if parts.scheme == "https":
            import ssl

            tls = ssl.create_default_context()
        endpoint = Endpoint(parts.hostname, parts.port or (443 if tls else 80), tls)
        self.executor = executor(
            endpoint,
            credentials.signer(signer.address),
            clock,
            settings.executor,
            limits=profile.limits,
        )
        self.executor.intake.gate.book_max_age_ns = book_max_age_ns(settings)
        self._stop_before_end_ns = settings.engine.stop_before_end_ms * MS
        self.executor.intake.outbox.journal = None if journal is None else journal.intents
        self._templates: dict[int, list[OrderTemplate]] = {}

    @property
    def commands(self) -> CommandRing:
        """Where the engine publishes commands."""
        return self.executor.commands

    @property
    def results(self) -> ResultRing:
        """Where answers come from."""
        return self.executor.results

    @property
    def words(self) -> SharedWords:
        """Mode, heart-beat and market versions, as the executor's gate reads them."""
        return self.executor.words

    def open_market(self, number: int, info: MarketInfo) -> None:
        """Prepares signing for a market's two tokens, of its own generation; the caps allow them from now on.

        ConfigError if the caps are frozen and name other tokens.
        """
        for token in (info.up_token_id, info.down_token_id):
            self._allow(token)
        self.words.set_market_close(number, info.end_s * SECOND - self._stop_before_end_ns)
        templates = [
            OrderTemplate(self.signer, token, info.exchange, self.credentials.api_key, tick_e4=info.tick_e4)
            for token in (info.up_token_id, info.down_token_id)
        ]
        for outcome, template in zip(Outcome, templates, strict=True):
            self.executor.set_template(number, outcome, template)
        self._templates[number] = templates

    def _allow(self, token_id: str) -> None:
        caps = self.signer.caps
        if caps is not None and caps.tokens() is not None:
            try:
                caps.allow(token_id)
            except ValueError as error:
                raise ConfigError(f"signer caps: {error}") from None

    def _forbid(self, token_id: str) -> None:
        caps = self.signer.caps
        if caps is not None and caps.tokens() is not None and not caps.frozen:
            caps.forbid(token_id)

    def close_market(self, number: int) -> None:
        """Nothing is signed for this market any more; its number may be used again."""
        for outcome in Outcome:
            self.executor.set_template(number, outcome, None)
        for template in self._templates.pop(number, ()):
            self._forbid(template.token_id)
        self.words.set_market_version(number, 0)
        self.words.set_market_close(number, 0)

    def set_tick(self, number: int, tick_e4: int) -> None:
        """The market's tick changed: amounts follow its grid from now on."""
        for template in self._templates.get(number, ()):
            if template.tick_e4 != tick_e4:
                template.tick_e4 = tick_e4

    # ---- Venue ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the executor, which connects at once."""
        self.executor.start()

    def submit(self, commands: CommandArray, now_ns: int) -> int:
        """Hands commands over; how many were taken."""
        return self.executor.submit(commands, now_ns)

    def poll(self, now_ns: int, out: EventArray) -> int:
        """Results that have come; how many."""
        return self.executor.poll(now_ns, out)

    def news(self) -> list[Alarm]:
        """What a person should know, since the last call."""
        return self.executor.follow.take_news()

    def close(self, timeout_s: float = 5.0) -> None:
        """Stops the executor, which waits for answers at most so long."""
        self.executor.close(timeout_s)

    # ---- rare and slow -------------------------------------------------------------------------------------

    def client(self) -> VenueClient:
        """A client of the same venue and account for what is rare; close it after use.

        It asks once: the engine repeats by its own clock, and says so.
        """
        return VenueClient(self.profile, self.signer, self.credentials, timeout_s=TIMEOUT_S, read_attempts=1)

    async def open_order_count(self) -> int:
        """How many orders the venue says are open, over all pages."""
        async with self.client() as client:
            return len(await client.open_orders())

    async def cancel_all(self) -> CancelAnswer:
        """`DELETE /cancel-all`."""
        async with self.client() as client:
            return await client.cancel_all()
