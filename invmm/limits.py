"""The settings in the terms of those that obey them: the compiled step and the sockets."""

from __future__ import annotations

from invmm.feed.backoff import ReconnectBudget
from invmm.feed.connection import FeedSettings as SocketSettings
from invmm.replay.tape import MarketInfo
from invmm.settings import Settings
from invmm.settlement.ledger import E10_PER_MICRO_DOLLAR
from invmm.types import MICRO, PRICE_ONE_E4

MS = 1_000_000
SECOND = 1_000_000_000
SILENCE_FLOOR_S = 0.5  # real seconds
CONFIRM_S = 5.0  # a snapshot that does not come, or has no second source, is asked for again after this time
QUEUE_EXPONENT = {"conservative": 0, "proportional": 1, "power2": 2, "power3": 3}


def step_limits(settings: Settings, info: MarketInfo, scale: float = 1.0) -> dict[str, int]:
    """The fields of the step's `limits_t` for one market. `scale`: engine seconds per second."""
    engine, risk = settings.engine, settings.risk
    return {
        # Silence is seen by the timer, one period late at worst; the cancels are to be out in time.
        "book_max_age_ns": max(engine.book_max_age_ms - engine.timer_ms, engine.book_max_age_ms // 2) * MS,
        "quiet_cap_ns": max(engine.quiet_cap_ms, engine.book_max_age_ms) * MS,
        "late_ns": max(engine.book_max_age_ms * MS, round(SILENCE_FLOOR_S * scale * SECOND)),
        "lasting_ns": engine.resync_after_ms * MS,
        "confirm_ns": round(max(CONFIRM_S, SILENCE_FLOOR_S * scale) * SECOND),
        "clock_ns": SECOND,
        "stop_before_end_ms": engine.stop_before_end_ms,
        "command_deadline_ns": engine.command_deadline_ms * MS,
        "quote_lifetime_s": engine.quote_lifetime_s,
        "cancel_retry_ns": engine.cancel_retry_ms * MS,
        "update_interval_ns": settings.strategy.update_interval_ms * MS,
        "max_cash_e10": round(risk.max_cash_dollars * MICRO) * E10_PER_MICRO_DOLLAR,
        "max_direction_micro": round(risk.max_direction_shares * MICRO),
        "max_gross_micro": round(risk.max_gross_shares * MICRO),
        "max_order_micro": round(risk.max_order_shares * MICRO),
        "max_order_e10": round(risk.max_order_dollars * MICRO) * E10_PER_MICRO_DOLLAR,
        "max_open_orders": risk.max_open_orders,
        "max_children": risk.max_children,
        "price_collar_e4": round(risk.price_collar * PRICE_ONE_E4),
        "orders_per_second": risk.orders_per_second,
        "orders_burst": risk.orders_burst,
        "size_change_ppm": engine.size_change_ppm,
        "queue_change_ppm": engine.queue_change_ppm,
        "fee_rate_ppm": round(info.fee_rate * MICRO),
        "queue_exponent": QUEUE_EXPONENT[engine.queue_model],
        "book_shows_own": 0,
    }


def reconnect_budget_of(settings: Settings) -> ReconnectBudget:
    """What all sockets of one engine share."""
    burst = settings.feed.reconnect_budget
    return ReconnectBudget(burst, burst / 100)


def feed_settings_of(settings: Settings, scale: float = 1.0) -> SocketSettings:
    """The feed table of the settings in the terms of the sockets.

    `scale`: engine seconds per second. Silence shorter than a real half second is no reason for a new
    connection: on a fast clock a slow machine would cause it. Quotes are pulled after `book_max_age_ms` of
    engine time anyway.
    """
    feed = settings.feed
    silence_s = max(settings.engine.book_max_age_ms / 1000, SILENCE_FLOOR_S * scale)
    return SocketSettings(
        keep_alive_s=feed.ping_interval_ms / 1000,
        pong_deadline_s=feed.pong_deadline_ms / 1000,
        first_event_s=max(feed.first_event_ms / 1000, SILENCE_FLOOR_S * scale),
        silence_s=silence_s,
        silence_cap_s=max(settings.engine.quiet_cap_ms / 1000, silence_s),
    )
