"""The engine one step at a time: events in, command records out. Live and replay call the same."""

from types import SimpleNamespace

import numpy as np

from invmm import COMMAND_DTYPE, EVENT_DTYPE, Engine, Settings, Side

FRAME, BUFFER_END, START_S = 1, 2, 1_700_000_100
UP, DOWN, MARKET = "1" * 77, "2" * 77, "0x" + "ab" * 32


def book(token: str, bid: str, ask: str) -> str:
    return (
        f'{{"market":"{MARKET}","asset_id":"{token}","timestamp":"{START_S * 1000}","hash":"{"0" * 40}",'
        f'"bids":[{{"price":"{bid}","size":"300"}}],"asks":[{{"price":"{ask}","size":"300"}}],'
        '"event_type":"book"}'
    )


engine = Engine(Settings(), seed=1)  # without a venue the commands are only returned
engine.add_market(
    SimpleNamespace(
        slug="an-example",
        condition_id=MARKET,
        up_token_id=UP,
        down_token_id=DOWN,
        start_s=START_S,
        end_s=START_S + 300,
        tick_e4=100,
        min_size_micro=5_000_000,
        fee_rate=0.07,
        rebate_share=0.2,
    )
)
frame = f"[{book(UP, '0.47', '0.51')},{book(DOWN, '0.49', '0.53')}]".encode()
now_ns = START_S * 1_000_000_000

event = np.zeros(1, dtype=EVENT_DTYPE)
event["kind"], event["length"] = FRAME, len(frame)
assert not len(engine.step(event, now_ns, frame))  # a frame only updates the books …
event["kind"] = BUFFER_END
commands = engine.step(event, now_ns)  # … the end of what arrived together decides
assert commands.dtype == COMMAND_DTYPE
for command in commands:
    side, token = Side(int(command["side"])).name, ("Up", "Down")[command["token"]]
    print(side, token, command["size_micro"] / 1e6, "at", command["price_e4"] / 1e4)
