"""Every tunable, with its unit, default and allowed range; frozen once loaded.

A TOML file has one table per class below: `[engine]`, `[risk]`, `[state]`, `[strategy]`, `[model]`,
`[pairs]`, `[price]`, `[executor]`, `[feed]`, `[market]`, `[settlement]`, `[sim]`, `[wallet]`, `[alarms]`,
`[metrics]`. Unknown tables or keys, wrong types and values out of range are errors that name the file, the
line and what was expected. Secrets have no place in the file; what looks like one is an error too.

>>> Settings().engine.book_max_age_ms
3000
>>> Settings.parse('[strategy]\\nnum_levels = 2\\n').strategy.num_levels
2
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from invmm import profiles
from invmm.errors import ConfigError
from invmm.price_settings import PriceSettings
from invmm.setting_rules import PRIVATE_KEY as PRIVATE_KEY  # by this path, too
from invmm.setting_rules import SECRET_NAME, SECRETS_BELONG, line_of, parameter_problem, shown, value_problem
from invmm.setting_rules import choice as _choice
from invmm.setting_rules import flag as _flag
from invmm.setting_rules import number as _number
from invmm.setting_rules import text as _text
from invmm.venue.profile import LIVE

POLICIES = (
    "inventory_mm",
    "inventory_mm_compatible",
    "pairs",
    "avellaneda_stoikov",
    "simple",
    "glft",
    "model",
    "join_touch",
    "do_nothing",
)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """When to solve, when to pull quotes."""

    size_change_ppm: int = _number(250_000, 0, 1_000_000, "ppm", "best size change that triggers a solve")
    queue_change_ppm: int = _number(
        250_000, 0, 1_000_000, "ppm", "change of shares ahead that triggers a solve, of those at the start"
    )
    queue_model: str = _choice(
        "conservative", ("conservative", "proportional", "power2", "power3"), "queue position model"
    )
    book_max_age_ms: int = _number(
        3_000, 100, 600_000, "ms", "silence of a token after which its quotes are pulled"
    )
    quiet_cap_ms: int = _number(
        15_000, 100, 600_000, "ms", "the same although a witness still has the same book (quiet market)"
    )
    resync_after_ms: int = _number(
        250, 10, 60_000, "ms", "a book that is crossed or contradicted for longer is fetched anew"
    )
    stop_before_end_ms: int = _number(
        15_000, 0, 3_600_000, "ms", "quotes are pulled this long before the window ends"
    )
    command_deadline_ms: int = _number(250, 1, 60_000, "ms", "a command not sent within this time is dropped")
    quote_lifetime_s: int = _number(
        184, 0, 86_400, "s", "GTD expiration after sending (0: GTC); the venue asks for at least 180"
    )
    timer_ms: int = _number(50, 1, 10_000, "ms", "period of the engine's own timer")
    cancel_retry_ms: int = _number(
        1_000, 50, 60_000, "ms", "a cancel without proof is repeated after this time"
    )
    cpu: int = _number(-1, -1, 4_095, "core", "the engine thread runs on this core only (-1: any)")
    switch_interval_us: int = _number(
        500, 5, 100_000, "µs", "how long one busy Python thread may keep the others from running"
    )


@dataclass(frozen=True, slots=True)
class RiskSettings:
    """Hard limits, checked before a command is handed over. Sums run over every order that may be alive."""

    max_cash_dollars: float = _number(
        5_000.0, 1.0, 1_000_000.0, "dollars", "cash in positions and possibly-live bids of one market"
    )
    max_direction_shares: float = _number(
        5_000.0, 5.0, 1_000_000.0, "shares", "Up over Down, or Down over Up, if every order filled at worst"
    )
    max_gross_shares: float = _number(
        10_000.0, 5.0, 1_000_000.0, "shares", "possibly-live orders of one market, both tokens together"
    )
    max_order_shares: float = _number(200.0, 5.0, 100_000.0, "shares", "size of one order")
    max_order_dollars: float = _number(200.0, 1.0, 100_000.0, "dollars", "price × size of one order")
    max_open_orders: int = _number(24, 1, 64, "orders", "possibly-live orders of one market")
    max_children: int = _number(20, 1, 64, "orders", "placements and cancels that one target may lead to")
    price_collar: float = _number(0.2, 0.01, 1.0, "dollars", "a bid is at most this far above the mid")
    max_total_dollars: float = _number(
        10_000.0, 1.0, 10_000_000.0, "dollars", "cash committed in all markets, pairs awaiting merge included"
    )
    max_total_orders: int = _number(256, 1, 4_096, "orders", "possibly-live orders of all markets")
    reserve_dollars: float = _number(0.0, 0.0, 10_000_000.0, "dollars", "cash that is never committed")
    max_loss_market_dollars: float = _number(
        1_000.0, 0.5, 1_000_000.0, "dollars", "loss of one market at worst that ends its quoting"
    )
    max_loss_day_dollars: float = _number(
        2_000.0, 0.5, 1_000_000.0, "dollars", "loss of one UTC day at worst that ends all quoting"
    )
    orders_per_second: int = _number(40, 1, 600, "1/s", "placements; the venue's standard tier")
    orders_burst: int = _number(60, 1, 900, "orders", "placements at once")
    orders_per_minute: int = _number(2_400, 1, 36_000, "orders", "placements of all markets in any minute")
    max_messages_minute: int = _number(
        6_000, 10, 100_000, "1/min", "orders and cancels, beyond which nothing is placed any more"
    )
    max_rejects: int = _number(
        100, 3, 10_000, "orders", "refused by the venue within 10 s, beyond which nothing is placed any more"
    )
    max_failed_percent: int = _number(
        25, 1, 100, "%", "of the last 50 settled fills that may fail before nothing is placed any more"
    )
    max_ack_ms: int = _number(
        3_000, 100, 60_000, "ms", "real time in which 99 % of the orders must be answered"
    )


@dataclass(frozen=True, slots=True)
class StateSettings:
    """What outlives the process: lock, journal, risk figures, kill switch."""

    folder: str = _text("", "where it lies; empty: a folder of its own under the user's state directory")
    journal_records: int = _number(
        65_536, 1_024, 16_777_216, "records", "of one journal file before the next one is begun"
    )
    journal_files: int = _number(8, 2, 4_096, "files", "kept of each kind, the oldest ones are removed")
    journal_frames: bool = _flag(False, "keep the bytes of every market message in the journal, too")
    sync_ms: int = _number(50, 1, 10_000, "ms", "how often the journal is synced to disk, in the background")


@dataclass(frozen=True, slots=True)
class StrategySettings:
    """The policy, in the terms of the original (dollars and shares)."""

    policy: str = _choice("pairs", POLICIES, "which policy decides")
    num_levels: int = _number(3, 1, 10, "levels", "bids per token")
    base_offset: float = _number(
        0.01, 0.0, 0.5, "dollars", "distance of the first bid from the best ask when balanced"
    )
    min_profit_margin: float = _number(0.01, 0.0, 0.5, "dollars", "least profit of a pair")
    max_imbalance: float = _number(0.8, 0.01, 1.0, "", "imbalance at which the heavy side stops quoting")
    order_size: float = _number(100.0, 5.0, 100_000.0, "shares", "size of one bid")
    spread_per_level: float = _number(1.0, 0.0, 50.0, "cents", "distance between levels")
    update_interval_ms: int = _number(100, 1, 60_000, "ms", "longest time between two solves")
    min_merge_size: float = _number(10.0, 0.0, 1_000_000.0, "pairs", "merges smaller than this are not made")
    max_merge_imbalance: float = _number(0.3, 0.0, 1.0, "", "no merge above this imbalance")
    max_combined_cost: float = _number(0.99, 0.0, 2.0, "dollars", "no merge of pairs that cost more")


@dataclass(frozen=True, slots=True)
class PairsSettings:
    """The policy `pairs`; sizes and levels are those of `[strategy]`."""

    dollars_at_risk: float = _number(
        2_500.0, 1.0, 1e9, "dollars", "1/γ, a part of the bankroll: the lead that is felt as much as the odds"
    )
    fill_decay: float = _number(
        200.0, 1.0, 1e5, "1/dollars", "fills become rarer as e^(-this × distance), before own tell"
    )
    min_edge: float = _number(
        0.01, 1e-4, 0.5, "dollars", "least distance of a bid from what it is worth to us"
    )
    adverse: float = _number(0.003, 0.0, 0.1, "dollars", "adverse selection per share, before own fills tell")
    adverse_spread: float = _number(0.005, 1e-5, 1.0, "dollars", "how unsure that is (standard deviation)")
    adverse_slope: float = _number(
        2.5, 0.0, 3.0, "$/$", "by how much it grows with a bid's distance behind the best"
    )
    adverse_slope_spread: float = _number(0.2, 1e-3, 10.0, "$/$", "how unsure that is (standard deviation)")
    follow: float = _number(1.0, 0.0, 2.0, "", "of a rise of the books, the part to come, before they tell")
    message: float = _number(0.01, 0.0, 10.0, "dollars", "what a message to the venue is worth")
    max_lead_shares: float = _number(
        400.0, 0.0, 1_000_000.0, "shares", "by which one token may lead if every bid for it fills"
    )
    max_pair_cost: float = _number(0.0, 0.0, 2.0, "dollars", "no pair is completed at more (0: off)")
    taker_delay_ms: float = _number(250.0, 0.0, 5_000.0, "ms", "for which the venue holds what takes")
    patience_s: float = _number(150.0, 0.0, 86_400.0, "s", "before the end, waiting begins to lose worth")
    narrow_s: float = _number(60.0, 0.0, 86_400.0, "s", "before the end, nothing widens a lead any more")
    fair_max_age_ms: float = _number(2_000.0, 0.0, 600_000.0, "ms", "an older fair value does not count")
    overshoot: bool = _flag(False, "complete a lead below the minimum size with the minimum size")
    sells: bool = _flag(True, "complete a lead by selling it, too")
    offers: bool = _flag(False, "offer what leads instead of bidding for the other token")


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Inventory models (`invmm models`), for the policies that quote as one says."""

    sample_ms: int = _number(1_000, 100, 600_000, "ms", "between two samples of the history that models see")
    params: dict[str, Any] = field(
        default_factory=dict,
        hash=False,
        metadata={"longest": 200, "what": "by NAME, in [model.params]; .env and the environment go first"},
    )


@dataclass(frozen=True, slots=True)
class ExecutorSettings:
    """The thread that talks to the venue."""

    ring_capacity: int = _number(1_024, 16, 65_536, "records", "command ring, a power of two")
    connections: int = _number(5, 2, 32, "connections", "warm connections, those for cancels included")
    cancel_connections: int = _number(
        2, 1, 16, "connections", "of these, carry cancels only; at least one stays for placements"
    )
    wait: str = _choice("spin-park", ("spin", "spin-park", "park"), "how it waits for commands")
    spin_us: int = _number(50, 0, 1_000_000, "µs", "time spent spinning before it parks")
    rehearse_ms: int = _number(
        5, 0, 1_000, "ms", "while idle, how often signing and sending are rehearsed (0: never)"
    )
    sign_ahead: int = _number(
        0,
        0,
        4_096,
        "orders",
        "held ready, signed, around the last quotes, in sixteens (0: none, since nobody knows yet how old a "
        "signed time the venue takes; let `invmm probe` ask before this is switched on)",
    )
    sign_ahead_age_ms: int = _number(
        LIVE.limits.signed_age_ms, 100, 600_000, "ms", "an order signed longer ago is not sent"
    )
    connect_timeout_ms: int = _number(3_000, 10, 60_000, "ms", "deadline for a connection")
    unknown_after_ms: int = _number(
        1_500, 10, 60_000, "ms", "an order without an answer is UNKNOWN after this time"
    )
    hard_deadline_ms: int = _number(5_000, 10, 120_000, "ms", "a request is given up after this time")
    cpu: int = _number(-1, -1, 4_095, "core", "the executor thread runs on this core only (-1: any)")
    heartbeat: str = _choice(
        "live", ("live", "on", "off"), "the venue's dead man's switch (live: at public hosts only)"
    )


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """Sockets of the market and user channels."""

    ping_interval_ms: int = _number(5_000, 100, 60_000, "ms", "text PING period")
    pong_deadline_ms: int = _number(5_000, 100, 60_000, "ms", "time allowed for PONG")
    first_event_ms: int = _number(5_000, 100, 60_000, "ms", "time allowed for a token's first event")
    sockets: int = _number(1, 1, 2, "sockets", "of each market; of two the first copy of a message wins")
    renew_s: float = _number(
        900.0, 0.0, 86_400.0, "s", "with two sockets: one of them is replaced by plan this often (0: never)"
    )
    reconnect_budget: int = _number(
        20, 1, 10_000, "1", "connects allowed at once over all sockets; in the long run 1/100 of it a second"
    )


@dataclass(frozen=True, slots=True)
class MarketSettings:
    """Which markets are traded, and when one is opened and given up."""

    series: str = _text("btc-updown-5m", "a series (btc-updown-5m) or the slug of one market")
    open_before_s: float = _number(30.0, 1.0, 3_600.0, "s", "a window is opened this long before it starts")
    quote_before_s: float = _number(0.0, 0.0, 3_600.0, "s", "and quoted this long before it starts")
    search_every_s: float = _number(5.0, 0.5, 600.0, "s", "how often a window that is missing is looked for")
    settle_wait_s: float = _number(
        300.0, 0.0, 86_400.0, "s", "fills are awaited this long after a window's end before it is handed over"
    )


@dataclass(frozen=True, slots=True)
class SettlementSettings:
    """Transactions of the account on the chain: which nodes to ask, what to pay, what counts as final."""

    rpc_urls: str = _text(
        "",
        "nodes, separated by blanks; two agree on what is final (empty: the profile's). An address that "
        "holds its provider's key belongs into the environment variable POLYGON_RPC_URL",
    )
    rpc_timeout_ms: int = _number(5_000, 50, 60_000, "ms", "deadline of one question to a node")
    poll_ms: int = _number(1_000, 1, 60_000, "ms", "how often the nodes are asked")
    max_fee_gwei: int = _number(
        1_000, 1, 100_000, "gwei", "most that a transaction pays per gas, tip included"
    )
    tip_floor_gwei: int = _number(
        30, 0, 10_000, "gwei", "least tip; Polygon's nodes pass on nothing below 25"
    )
    tip_cap_gwei: int = _number(300, 1, 10_000, "gwei", "most tip per gas")
    gas_limit_max: int = _number(3_000_000, 21_000, 30_000_000, "gas", "a call that needs more is not sent")
    gas_margin_percent: int = _number(30, 0, 200, "%", "gas limit above the node's estimate")
    stuck_after_s: float = _number(
        45.0, 0.1, 3_600.0, "s", "a transaction that is not mined in this time is replaced at a higher fee"
    )
    repeat_after_s: float = _number(10.0, 0.1, 600.0, "s", "and its bytes are sent again this often")
    final_depth_blocks: int = _number(
        256, 1, 10_000, "blocks", "final below the head, at a node that knows no finalized block"
    )
    head_max_age_s: float = _number(
        30.0, 0.0, 3_600.0, "s", "with an older latest block nothing new is sent (0: not asked)"
    )
    head_max_lag_blocks: int = _number(
        15, 0, 1_000, "blocks", "nor with two nodes whose latest blocks are further apart"
    )
    relayer_submits_per_minute: int = _number(
        20, 1, 25, "submits", "most that the relayer is given in a minute; it takes 25"
    )
    relayer_submits_per_day: int = _number(
        100, 1, 100_000, "submits", "and in 24 hours; past half of them they are spread evenly"
    )
    relayer_calls_per_submit: int = _number(10, 1, 50, "calls", "most that share one submit")
    relayer_patience_s: float = _number(
        1_800.0, 1.0, 86_400.0, "s", "a job that could not be submitted for so long is refused"
    )
    min_balance_pol: float = _number(1.0, 0.0, 1_000_000.0, "POL", "less for gas than this is an alarm")
    merge_rule: str = _choice(
        "worth", ("worth", "original", "off"), "when pairs are merged before their market is resolved"
    )
    merge_least_pairs: float = _number(1.0, 0.0, 1_000_000.0, "pairs", "fewer are not merged")
    merge_return_percent: float = _number(5.0, 0.0, 1_000.0, "%", "what a free dollar earns in a day")
    merge_gas: int = _number(250_000, 21_000, 3_000_000, "gas", "of a merge, until one was made")
    pol_dollars: float = _number(0.25, 0.0, 1_000.0, "dollars", "what a POL costs, of which gas is paid")
    submit_dollars: float = _number(0.002, 0.0, 100.0, "dollars", "what a submit of the relayer is worth")
    split_dollars: float = _number(0.0, 0.0, 1_000_000.0, "dollars", "split into pairs when a market opens")


@dataclass(frozen=True, slots=True)
class SimSettings:
    """The embedded venue."""

    queue_model: str = _choice(
        "proportional", ("conservative", "proportional", "power"), "how cancels ahead of us are modelled"
    )
    feed_latency_ms: float = _number(10.0, 0.0, 5_000.0, "ms", "venue to engine")
    order_latency_ms: float = _number(5.0, 0.0, 5_000.0, "ms", "engine to venue")
    ack_latency_ms: float = _number(
        10.0, 0.0, 5_000.0, "ms", "venue's answer to engine, down the same wire as the feed"
    )
    taker_delay_ms: float = _number(150.0, 0.0, 5_000.0, "ms", "hold of orders that would match on entry")
    collateral_dollars: float = _number(10_000.0, 0.0, 1e9, "dollars", "starting balance")
    settlement_lag_s: float = _number(5.0, 0.0, 600.0, "s", "window end to resolution (the venue: 53…152 s)")
    speed: float = _number(7.0, 0.01, 1_000.0, "×", "venue seconds per second in the demo")
    chain: bool = _flag(True, "matches over sockets are settled on a chain, some 50 KB of memory for each")


@dataclass(frozen=True, slots=True)
class AlarmSettings:
    """Who is told when something needs a person."""

    command: str = _text(
        "", "program and arguments, started for each alarm with it as JSON on standard input"
    )
    webhook: str = _text(
        "", "https:// address that each alarm is posted to as JSON (http:// on loopback only)"
    )
    timeout_s: float = _number(10.0, 0.1, 120.0, "s", "deadline of one delivery")


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Figures for Prometheus, served on loopback."""

    port: int = _number(0, 0, 65_535, "port", "on 127.0.0.1, path /metrics; 0: not served")


@dataclass(frozen=True, slots=True)
class WalletSettings:
    """Where the private key and the API credentials come from, and who pays. No secret is written here."""

    keystore: str = _text("", "path of the encrypted keystore file that holds the private key")
    credentials: str = _text("", "path of the encrypted file that holds the API credentials")
    keyring: str = _text("", "entry of the OS keyring that holds both: NAME, or SERVICE/NAME")
    environment: bool = _flag(False, "take what is missing from environment variables")
    signature_type: int = _number(
        -1, -1, 3, "", "0: the key's account pays, 1: proxy, 2: Safe, 3: deposit wallet; -1: not said here"
    )
    funder: str = _text("", "address of the wallet that pays, for signature types 1 to 3")


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. `Settings()` are the defaults; `Settings.load(path)` reads a TOML file over them."""

    engine: EngineSettings = field(default_factory=EngineSettings)
    risk: RiskSettings = field(default_factory=RiskSettings)
    state: StateSettings = field(default_factory=StateSettings)
    strategy: StrategySettings = field(default_factory=StrategySettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    pairs: PairsSettings = field(default_factory=PairsSettings)
    price: PriceSettings = field(default_factory=PriceSettings)
    executor: ExecutorSettings = field(default_factory=ExecutorSettings)
    feed: FeedSettings = field(default_factory=FeedSettings)
    market: MarketSettings = field(default_factory=MarketSettings)
    settlement: SettlementSettings = field(default_factory=SettlementSettings)
    sim: SimSettings = field(default_factory=SimSettings)
    wallet: WalletSettings = field(default_factory=WalletSettings)
    alarms: AlarmSettings = field(default_factory=AlarmSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)

    def __post_init__(self) -> None:
        for table in dataclasses.fields(self):
            values = getattr(self, table.name)
            for key in dataclasses.fields(values):
                problem = value_problem(key, getattr(values, key.name))
                if problem:
                    raise ConfigError(f"[{table.name}] {key.name}: {problem}")
        capacity = self.executor.ring_capacity
        if capacity & (capacity - 1):
            raise ConfigError(f"[executor] ring_capacity: expected a power of two, found {capacity}")

    @classmethod
    def load(cls, path: str | Path) -> Settings:
        """Settings from a TOML file, or from one that ships, by its name (`first-1000`; a file goes first).

        Raises
        ------
        ConfigError
            The file cannot be read, is not TOML, or a key is unknown, of the wrong type or out of range.
        """
        try:
            shipped = None if Path(path).exists() else profiles.path_of(str(path))
            text = (shipped or Path(path)).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read: {error}") from error
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, name: str = "<settings>") -> Settings:
        """Settings from TOML text; `name` stands for the file in messages."""
        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{name}: not TOML: {error}") from error
        known = {table.name: table for table in dataclasses.fields(cls)}
        values: dict[str, Any] = {}
        for table, content in tables.items():
            if table not in known or not isinstance(content, dict):
                if SECRET_NAME.search(table) and table not in known:
                    raise ConfigError(f"{name}:{line_of(text, None, table)}: {table}: {SECRETS_BELONG}")
                tables_known = ", ".join(f"[{t}]" for t in known)
                raise ConfigError(
                    f"{name}:{line_of(text, None, table)}: expected one of the tables {tables_known}, "
                    f"found {table!r}"
                )
            values[table] = _table(cls, table, content, text, name)
        try:
            return cls(**values)
        except ConfigError as error:  # about several values: the line of the one it names
            named = re.match(r"\[(\w+)\] (\w+): ", str(error))
            line = line_of(text, named.group(1), named.group(2)) if named else 1
            raise ConfigError(f"{name}:{line}: {error}") from None


def _table(cls: type[Settings], table: str, content: dict[str, Any], text: str, name: str) -> Any:
    kind = {t.name: t.default_factory for t in dataclasses.fields(cls)}[table]
    assert callable(kind)
    keys = {key.name: key for key in dataclasses.fields(kind())}
    values: dict[str, Any] = {}
    for key, value in content.items():
        where = f"{name}:{line_of(text, table, key)}: [{table}] {key}"
        if key not in keys and SECRET_NAME.search(key):
            raise ConfigError(f"{where}: {SECRETS_BELONG}")
        if key not in keys:
            raise ConfigError(f"{where}: unknown key, expected one of {', '.join(keys)}")
        default = getattr(kind(), key)
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not type(default):
            raise ConfigError(
                f"{where}: expected {type(default).__name__}, found {shown(value)} ({type(value).__name__})"
            )
        if isinstance(value, dict):
            for inner, given in value.items():
                if problem := parameter_problem(inner, given):
                    at = line_of(text, f"{table}.{key}", inner)
                    raise ConfigError(f"{name}:{at}: [{table}.{key}] {inner}: {problem}")
        elif problem := value_problem(keys[key], value):
            raise ConfigError(f"{where}: {problem}")
        values[key] = value
    return kind(**values)
