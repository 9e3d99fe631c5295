"""The inventory strategy as a component: configuration with builders, and the loop body that solves and
hands on.

For programs that run their own loop. The engine does not pass through here: it calls the compiled policy.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from invmm.settlement.merger import MergeDecision, Merger, MergerConfig
from invmm.strategy.commands import CancelAll, ExecuteBatch, ExecutorResult
from invmm.strategy.solver import solve
from invmm.strategy.vocabulary import SolverConfig, SolverInput, SolverOutput, check_number

if TYPE_CHECKING:
    from invmm.execution.handle import ExecutorHandle, TradingClient


@dataclass(frozen=True, slots=True)
class InventoryMMConfig:
    """Names of one market and everything the strategy is tuned with; every `with_*` returns a changed copy.

    Parameters
    ----------
    up_token_id, down_token_id : str
        The venue's ids of the two tokens.
    condition_id : str
        The venue's id of the market.
    solver_config, merger_config
        Numbers of the solver and of the merge decision.
    update_interval_ms : int
        Longest time between two solves, 1 to 60 000 ms.
    min_size : float
        The venue's minimum order size, shares.
    fee_rate : float
        Taker fee per share is `fee_rate * p * (1 - p)` dollars.

    Examples
    --------
    >>> config = InventoryMMConfig("1", "2", "0xc").with_num_levels(2).with_base_offset(0.02)
    >>> config.solver_config.num_levels, config.solver_config.base_offset, config.update_interval_ms
    (2, 0.02, 100)
    >>> config.with_max_imbalance(1.5)
    Traceback (most recent call last):
    ValueError: max_imbalance: expected 0 to 1 of the inventory, got 1.5
    """

    up_token_id: str
    down_token_id: str
    condition_id: str
    solver_config: SolverConfig = field(default_factory=SolverConfig)
    merger_config: MergerConfig = field(default_factory=MergerConfig)
    update_interval_ms: int = 100
    min_size: float = 5.0
    fee_rate: float = 0.07

    def __post_init__(self) -> None:
        for name in ("up_token_id", "down_token_id", "condition_id"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise ValueError(f"{name}: expected a non-empty string, got {value!r}")
        if self.up_token_id == self.down_token_id:
            raise ValueError(f"down_token_id: expected another token than Up's, got {self.down_token_id!r}")
        check_number("update_interval_ms", self.update_interval_ms, 1, 60_000, "ms")
        check_number("min_size", self.min_size, 0.0, 1e5, "shares")
        check_number("fee_rate", self.fee_rate, 0.0, 1.0, "of p(1-p)")

    def _with_solver(self, **values: float) -> InventoryMMConfig:
        return replace(self, solver_config=replace(self.solver_config, **values))  # type: ignore[arg-type]

    def _with_merger(self, **values: float) -> InventoryMMConfig:
        return replace(self, merger_config=replace(self.merger_config, **values))

    def with_num_levels(self, num_levels: int) -> InventoryMMConfig:
        """Set the bids per token, 0 to 31."""
        return self._with_solver(num_levels=num_levels)

    def with_tick_size(self, tick_size: float) -> InventoryMMConfig:
        """Set the price increment, dollars."""
        return self._with_solver(tick_size=tick_size)

    def with_base_offset(self, base_offset: float) -> InventoryMMConfig:
        """Set the distance of the first bid from the best ask when balanced, dollars."""
        return self._with_solver(base_offset=base_offset)

    def with_min_profit_margin(self, min_profit_margin: float) -> InventoryMMConfig:
        """Set the least profit per pair, dollars."""
        return self._with_solver(min_profit_margin=min_profit_margin)

    def with_max_imbalance(self, max_imbalance: float) -> InventoryMMConfig:
        """Set the imbalance at which the heavy token is no longer quoted, 0 to 1."""
        return self._with_solver(max_imbalance=max_imbalance)

    def with_order_size(self, order_size: float) -> InventoryMMConfig:
        """Set the shares per bid."""
        return self._with_solver(order_size=order_size)

    def with_spread_per_level(self, spread_per_level: float) -> InventoryMMConfig:
        """Set the distance between levels, in cents."""
        return self._with_solver(spread_per_level=spread_per_level)

    def with_min_merge_size(self, min_merge_size: float) -> InventoryMMConfig:
        """Set the least number of pairs that is merged."""
        return self._with_merger(min_merge_size=min_merge_size)

    def with_max_merge_imbalance(self, max_merge_imbalance: float) -> InventoryMMConfig:
        """Set the |imbalance| above which nothing is merged, above 0 and at most 1."""
        return self._with_merger(max_merge_imbalance=max_merge_imbalance)

    def with_max_combined_cost(self, max_combined_cost: float) -> InventoryMMConfig:
        """Set the cost that a merged pair must stay below, dollars."""
        return self._with_merger(max_combined_cost=max_combined_cost)

    def with_update_interval_ms(self, update_interval_ms: int) -> InventoryMMConfig:
        """Set the longest time between two solves, ms."""
        return replace(self, update_interval_ms=update_interval_ms)

    def with_min_size(self, min_size: float) -> InventoryMMConfig:
        """Set the venue's minimum order size, shares."""
        return replace(self, min_size=min_size)

    def with_fee_rate(self, fee_rate: float) -> InventoryMMConfig:
        """Set the market's taker fee rate."""
        return replace(self, fee_rate=fee_rate)


class InventoryMMStrategy:
    """Solves, hands the actions to its executor and asks the merger; one market, one calling thread.

    Parameters
    ----------
    config : InventoryMMConfig
        The market and the numbers.
    client : TradingClient, optional
        What the executor trades with. Without one every command is answered by an error, never by a
        pretended success.
    executor : ExecutorHandle, optional
        An executor to use instead of one made for `client`.
    compatible : bool
        Solve as the original does.

    Examples
    --------
    >>> from invmm.strategy.extraction import extract_solver_input
    >>> config = InventoryMMConfig("1", "2", "0xc")
    >>> strategy = InventoryMMStrategy(config)
    >>> strategy.initialize()
    >>> strategy.tick(extract_solver_input(config)).is_empty
    True
    >>> strategy.shutdown()
    True
    """

    def __init__(
        self,
        config: InventoryMMConfig,
        client: TradingClient | None = None,
        *,
        executor: ExecutorHandle | None = None,
        compatible: bool = False,
    ) -> None:
        self.config = config
        self.compatible = compatible
        self.merger: Merger | None = None
        self.merge_decision = MergeDecision(False, reason="not asked yet")
        self.results: list[ExecutorResult] = []
        self._client = client
        self._executor = executor
        self._takers_out: set[int] = set()

    @property
    def executor(self) -> ExecutorHandle:
        """The executor; RuntimeError before `initialize`."""
        if self._executor is None or self.merger is None:
            raise RuntimeError("the strategy is not initialized: call initialize() first")
        return self._executor

    def initialize(self) -> None:
        """Start the executor's thread and create the merger; does nothing the second time."""
        if self.merger is not None:
            return
        if self._executor is None:
            # Not at the top: this package stays free of threads, and only a strategy that runs needs one.
            from invmm.execution.handle import ExecutorHandle

            self._executor = ExecutorHandle(self._client)
        self._executor.start()
        self.merger = Merger(self.config.merger_config)

    def tick(self, view: SolverInput) -> SolverOutput:
        """Solve one input, queue its actions, ask the merger.

        `results` afterwards holds what the executor has answered since the last tick, `merge_decision` the
        merger's answer. While a taker order has no answer, no other is asked for. A refused batch is not
        retried: the next tick solves anew.

        Returns
        -------
        SolverOutput
            What was asked for.

        Raises
        ------
        RuntimeError
            `initialize` was not called.
        """
        executor = self.executor
        assert self.merger is not None
        self.results = executor.results()
        self._takers_out -= {result.sequence for result in self.results}
        if self._takers_out:
            view = replace(view, taker_in_flight=True)
        output = solve(view, self.compatible)
        if not output.is_empty:
            sequence = executor.send(
                ExecuteBatch(output.cancellations, output.limit_orders, output.taker_orders)
            )
            if output.taker_orders and sequence:
                self._takers_out.add(sequence)
        self.merge_decision = self.merger.check_merge(view.inventory)
        return output

    def shutdown(self, timeout_s: float = 5.0) -> bool:
        """Cancel everything and end the executor's thread; True if it ended within `timeout_s` seconds."""
        executor = self.executor
        executor.send(CancelAll())
        return executor.shutdown(timeout_s)
