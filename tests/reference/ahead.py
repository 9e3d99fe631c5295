"""Orders signed ahead, in plain Python: which are held, and which a command is given."""

from __future__ import annotations

from dataclasses import dataclass, field

WIDTH = 16
LANE_MS = 60_000


@dataclass(frozen=True)
class Prepared:
    """One order that is ready: whose template and tick made it, at which price, when."""

    template: int
    tick_e4: int
    price_e4: int
    made_ms: int


@dataclass
class Lane:
    """One token, side and size, the prices of the last quotes and what is ready around it."""

    place: int
    side: int
    size_micro: int
    prices: list[int] = field(default_factory=list)
    noted_ms: int = 0
    turn: int = 0
    slots: dict[int, Prepared] = field(default_factory=dict)


class AheadTwin:
    """What `SignedAhead` promises, by the book: a list of lanes and a dictionary in each."""

    def __init__(self, limit: int, max_age_ms: int) -> None:
        self.width = min(limit, WIDTH)
        self.lanes: list[Lane] = []
        self.room = limit // self.width
        self.max_age_ms = max_age_ms
        self.turn = 0

    def lane(self, place: int, side: int, size_micro: int) -> Lane | None:
        found = [
            lane
            for lane in self.lanes
            if (lane.place, lane.side, lane.size_micro) == (place, side, size_micro)
        ]
        return found[0] if found else None

    def note(self, place: int, side: int, size_micro: int, price_e4: int, resting: bool, now_ms: int) -> None:
        if not resting:
            return
        lane = self.lane(place, side, size_micro)
        if lane is None:
            lane = Lane(place, side, size_micro)
            if len(self.lanes) < self.room:
                self.lanes.append(lane)
            else:  # in the place of the one that was quoted longest ago
                oldest = min(self.lanes, key=lambda other: other.turn)
                self.lanes[self.lanes.index(oldest)] = lane
        self.turn += 1
        together = lane.prices if lane.noted_ms == now_ms else []
        lane.turn, lane.prices, lane.noted_ms = self.turn, [*together, price_e4], now_ms

    def fill(self, templates: dict[int, tuple[int, int]], now_ms: int) -> bool:
        """`templates`: (which, tick_e4) of each place that has one. Prepares at most one order."""
        early_ms = self.max_age_ms - self.max_age_ms // 4
        for step in range(self.width):
            away = -(step + 1) // 2 if step % 2 else step // 2
            for lane in self.lanes:
                if lane.place not in templates or not 0 <= now_ms - lane.noted_ms < LANE_MS:
                    continue
                template, tick_e4 = templates[lane.place]
                centre = (min(lane.prices) + max(lane.prices)) // 2
                number = centre // tick_e4 + away
                price_e4 = number * tick_e4
                if not 0 < price_e4 < 10_000:
                    continue
                held = lane.slots.get(number % self.width)
                if self.usable(held, template, tick_e4, price_e4, now_ms, early_ms):
                    continue
                lane.slots[number % self.width] = Prepared(template, tick_e4, price_e4, now_ms)
                return True
        return False

    def take(
        self, place: int, side: int, size_micro: int, price_e4: int, template: int, tick_e4: int, now_ms: int
    ) -> Prepared | None:
        lane = self.lane(place, side, size_micro)
        if lane is None:
            return None
        slot = price_e4 // tick_e4 % self.width
        held = lane.slots.get(slot)
        if not self.usable(held, template, tick_e4, price_e4, now_ms, self.max_age_ms):
            return None
        return lane.slots.pop(slot)

    def drop(self) -> None:
        self.lanes, self.turn = [], 0

    def held(self) -> list[tuple[int, int, int, int, int]]:
        return sorted(
            (lane.place, lane.side, order.price_e4, lane.size_micro, order.made_ms)
            for lane in self.lanes
            for order in lane.slots.values()
        )

    @staticmethod
    def usable(
        held: Prepared | None, template: int, tick_e4: int, price_e4: int, now_ms: int, age_ms: int
    ) -> bool:
        return (
            held is not None
            and (held.template, held.tick_e4, held.price_e4) == (template, tick_e4, price_e4)
            and 0 <= now_ms - held.made_ms <= age_ms
        )
