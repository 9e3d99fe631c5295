"""The original strategy in plain floats, written for reading: the specification of compatible mode."""

from __future__ import annotations

import math
from typing import Any

TOKENS = ("up", "down")


def imbalance(up: float, down: float) -> float:
    total = abs(up) + abs(down)
    return 0.0 if total < 1e-9 else (abs(up) - abs(down)) / total


def ladder(record: dict[str, Any], token: int) -> list[float]:
    """Prices of one token's bids, best first."""
    config, inventory = record["config"], record["inventory"]
    books = [record[f"{name}_orderbook"] for name in TOKENS]
    averages = [inventory[f"{name}_avg_price"] for name in TOKENS]
    delta = imbalance(inventory["up_size"], inventory["down_size"])
    heavy = delta if token == 0 else -delta
    ask, other_ask = books[token]["best_ask"], books[1 - token]["best_ask"]
    if not heavy < config["max_imbalance"] or ask is None:
        return []
    if averages[1 - token] > 0:
        cap = 1.0 - averages[1 - token] - config["min_profit_margin"]
    elif other_ask is not None:
        cap = 1.0 - other_ask[0] - config["min_profit_margin"]
    else:
        cap = 0.5 - config["min_profit_margin"]
    offset = config["base_offset"] * (1.0 + max(heavy, 0.0))
    prices = []
    for level in range(config["num_levels"]):
        price = min(ask[0] - offset - level * config["spread_per_level"] / 100.0, cap)
        price = math.floor(price / config["tick_size"]) * config["tick_size"]
        if price >= 0.01:
            prices.append(price)
    return prices


def gate(record: dict[str, Any], ladders: list[list[float]]) -> bool:
    """Whether the pair stays profitable once the first level of each ladder fills."""
    projected = 0.0
    order_size = record["config"]["order_size"]
    for name, prices in zip(TOKENS, ladders, strict=True):
        size, average = record["inventory"][f"{name}_size"], record["inventory"][f"{name}_avg_price"]
        if not prices:
            if average <= 0:
                return False
            projected += average
        elif size > 0 and average > 0:
            projected += (size * average + order_size * prices[0]) / (size + order_size)
        else:
            projected += prices[0]
    return projected < 1.0 - record["config"]["min_profit_margin"]


def taker(record: dict[str, Any], delta: float) -> list[dict[str, Any]]:
    if abs(delta) < 0.1:
        return []
    heavy, light = TOKENS if delta > 0 else TOKENS[::-1]
    config, inventory, book = record["config"], record["inventory"], record[f"{light}_orderbook"]
    if book["best_ask"] is None or book["best_ask_is_ours"]:
        return []
    if inventory[f"{heavy}_size"] <= 0 or inventory[f"{heavy}_avg_price"] <= 0:
        return []
    price, available = book["best_ask"]
    size = min(available, config["order_size"])
    if size <= 0:
        return []
    held, average = inventory[f"{light}_size"], inventory[f"{light}_avg_price"]
    new_average = (held * average + size * price) / (held + size) if held > 0 else price
    combined = inventory[f"{heavy}_avg_price"] + new_average
    if combined > 1.0 - config["min_profit_margin"]:
        return []
    return [{"token": light, "price": price, "size": size, "score": 100.0 * (1.0 - combined)}]


def solve(record: dict[str, Any]) -> dict[str, Any]:
    """Solve one record of the form that the recorded rows have."""
    size = record["config"]["order_size"]
    bids = [record[f"{name}_bids"] for name in TOKENS]
    delta = imbalance(record["inventory"]["up_size"], record["inventory"]["down_size"])
    ladders = [ladder(record, 0), ladder(record, 1)]
    result: dict[str, Any] = {"imbalance": delta, "cancellations": [], "limit_orders": [], "taker_orders": []}
    if any(ladders) and not gate(record, ladders):
        result["cancellations"] = [bid["order_id"] for side in bids for bid in side]
        return result

    def same(bid: dict[str, Any], price: float) -> bool:
        near = abs(bid["remaining_size"] - size) < max(size * 0.01, 0.1)
        return abs(bid["price"] - price) < 1e-4 and near

    for name, live, prices in zip(TOKENS, bids, ladders, strict=True):
        result["cancellations"] += [
            bid["order_id"] for bid in live if not any(same(bid, price) for price in prices)
        ]
        result["limit_orders"] += [
            {"token": name, "price": price, "size": size}
            for price in prices
            if not any(same(bid, price) for bid in live)
        ]
    result["taker_orders"] = taker(record, delta)
    return result
