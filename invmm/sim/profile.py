"""Settings of the embedded venue: latencies, delays, settlement, queue model. Units end the names."""

from __future__ import annotations

from dataclasses import dataclass, fields

from invmm.errors import ConfigError

MS = 1_000_000
SECOND = 1_000_000_000


@dataclass(frozen=True)
class VenueProfile:
    """How the embedded venue behaves. Times are nanoseconds of the venue's clock, money micro-dollars.

    `ack_latency_ns` is by default the feed's latency: both come down the same wire, so an answer never
    overtakes the frames that the venue sent before it.
    """

    # Venue event to our receipt; recorded frames happened this much before `recv_ns`.
    feed_latency_ns: int = 10 * MS
    order_latency_ns: int = 5 * MS  # our send to the venue's engine
    order_jitter_ns: int = 1 * MS  # uniform from 0, per request, seeded
    ack_latency_ns: int = 10 * MS  # the engine's answer back to us
    user_latency_ns: int = 10 * MS  # the engine's event to our receipt on the user channel
    taker_delay_ns: int = 150 * MS  # on crypto markets since 2026-09-04 (the changelog)
    answer_delayed: bool = False  # True: a held order is answered `delayed` at once, not after the hold
    # `last_trade_price` follows the trade's `book` frames by 33-39 ms (captured).
    late_print_ns: int = 250 * MS
    mined_delay_ns: int = 2 * SECOND
    confirmed_delay_ns: int = 4 * SECOND  # after MINED
    settlement_jitter_ns: int = 1 * SECOND  # uniform from 0, seeded, on each of the two
    retry_rate: float = 0.01  # share of trades that pass through RETRYING
    failure_rate: float | None = (
        None  # share of trades that end FAILED; None: 0 for recorded, 0.002 for generated
    )
    settlement_lag_ns: int = 5 * SECOND  # market end to resolution
    collateral_micro: int = 10_000 * 1_000_000
    gtd_min_ahead_s: int = 180  # the rule of 2026: expiration at least now + 180 s
    gtd_early_s: int = 60  # and the engine expires it 60 s earlier than stated
    queue_model: str = "conservative"
    domain: str = ""  # "1": orders of the dead first generation, and no others; "": each market's own
    endpoint_limit_share: float = 1.0  # of the published limits per endpoint; 0: none
    signer_limits: str = "enforce"  # per-signer buckets: "enforce", "warn" (a header, nothing refused), "off"
    tier: str = "standard"  # which buckets the signer has
    # Other values violate what is assumed of the venue (`invmm.venue.probes`).
    refuses_duplicates: bool = True  # a signed order is booked once
    renames_orders: bool = False  # the id in the answer is not the order's hash
    forgets_cancels: bool = False  # a cancel is acknowledged and nothing happens
    order_age_limit_s: int = 0  # an order whose timestamp is older is refused; 0: none is
    heartbeat_limit_s: int = 10  # everything is cancelled so long after the last heartbeat; 0: never
    record_truth: bool = False  # keep (time, shares ahead) of every own order

    def __post_init__(self) -> None:
        if self.domain not in ("", "1"):
            raise ConfigError(f"domain: expected '' or '1', got {self.domain!r}")
        if self.signer_limits not in ("enforce", "warn", "off"):
            raise ConfigError(f"signer_limits: expected enforce, warn or off, got {self.signer_limits!r}")
        if not self.endpoint_limit_share >= 0:
            raise ConfigError(f"endpoint_limit_share: expected at least 0, got {self.endpoint_limit_share!r}")
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name.endswith(("_ns", "_micro", "_s")) and (not isinstance(value, int) or value < 0):
                raise ConfigError(f"{item.name}: expected an integer of at least 0, got {value!r}")
            if item.name.endswith("_rate") and value is not None and not 0 <= value <= 1:
                raise ConfigError(f"{item.name}: expected a share from 0 to 1, got {value!r}")

    def failure_share(self, origin: str) -> float:
        """Share of trades that fail for a tape of this origin: none on recordings, where no chain was
        recorded.
        """
        if self.failure_rate is not None:
            return self.failure_rate
        return 0.002 if origin == "GENERATED" else 0.0
