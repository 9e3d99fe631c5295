"""The queue estimate against a queue that knows everybody's place."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from invmm._ext.queue import QueueEstimate
from tests.reference.queue import TrueQueue

SIZES = st.integers(1, 500)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("join"), SIZES),
        st.tuples(st.just("trade"), SIZES),
        st.tuples(st.just("cancel"), st.integers(0, 50)),
    ),
    max_size=60,
)


def play(
    estimate: QueueEstimate, queue: TrueQueue, action: tuple[str, int], trade_first: bool, ms: int = 1
) -> None:
    """One event at the level, told as the feed tells it: a trade and its decrease in either order."""
    before = queue.level
    kind, number = action
    if kind == "join":
        queue.join(number)
        estimate.on_level(before, queue.level, ms)
    elif kind == "cancel" and before:
        queue.cancel(number)
        estimate.on_level(before, queue.level, ms)
    elif kind == "trade":
        taken = queue.trade(number)
        if taken and trade_first:
            estimate.on_trade(taken, ms)
        if taken:
            estimate.on_level(before, queue.level, ms)
        if taken and not trade_first:
            estimate.on_trade(taken, ms)


@example(ahead=[100], actions=[("join", 50), ("cancel", 1), ("trade", 30)], trade_first=False)
@given(st.lists(SIZES, max_size=8), ACTIONS, st.booleans())
@settings(deadline=None, max_examples=300)
def test_conservative_estimate_never_claims_a_better_place_than_the_true_one(ahead, actions, trade_first):
    queue = TrueQueue(list(ahead))
    estimate = QueueEstimate(queue.level)
    for ms, action in enumerate(actions, 1):
        play(estimate, queue, action, trade_first, ms)
        assert estimate.ahead_micro >= queue.ahead_micro
        assert estimate.ahead_micro <= max(queue.level, 0)


@given(st.lists(SIZES, max_size=8), ACTIONS, st.booleans(), st.integers(0, 4))
@settings(deadline=None)
def test_every_model_stays_between_zero_and_the_level(ahead, actions, trade_first, model):
    queue = TrueQueue(list(ahead))
    estimate = QueueEstimate(queue.level, 0, model)
    for ms, action in enumerate(actions, 1):
        play(estimate, queue, action, trade_first, ms)
        assert 0 <= estimate.ahead_micro <= queue.level


@given(
    st.lists(SIZES, min_size=1, max_size=8),
    st.lists(st.tuples(st.sampled_from(["join", "trade"]), SIZES), max_size=40),
    st.booleans(),
)
@settings(deadline=None)
def test_without_cancels_every_model_is_exact(ahead, actions, trade_first):
    for model in range(5):
        queue = TrueQueue(list(ahead))
        estimate = QueueEstimate(queue.level, 0, model)
        for ms, action in enumerate(actions, 1):
            play(estimate, queue, action, trade_first, ms)
        assert estimate.ahead_micro == queue.ahead_micro
