"""What travels between the timing server and a stack: frames that move the best ask and carry their number,
and the venue's answers.
"""

from __future__ import annotations

import json
import time

UP = "25070934348813416902477876984955073880416401960631253331845590271167412497744"
DOWN = "58726851105893121441976415044785550794620582864839872973127370351200548678811"
CONDITION = "0x2aaeb40ad2a1ad262d75d5c52bff1a9f801fb72e65774343729fe103ee9fa308"
TAGS = 9_000
FIRST_CENTISHARES = 700
"""Frame n puts (700 + n mod 9000) / 100 shares at the best ask of Up: at least the venue's smallest order."""

# A throwaway identity: the key of the first account of every local development chain, and invented
# credentials.
PRIVATE_KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
API_KEY = "9180014b-33c8-9240-a14b-bdca11c0a465"
API_SECRET = "4OHi4-Tl5ufo6err7O3u7_Dx8vP09fb3-Pn6-_z9_v8="
API_PASSPHRASE = "bench"

BEST_BID_CENTS = 48
FIRST_ASK_CENTS = 52
ASKS = 16
"""The best ask of Up takes sixteen prices in turn, so that each frame moves it and its price tells frames
apart that are less than sixteen gaps from each other.
"""
DISTANCE_CENTS = 30
"""Every bot bids so far below the best ask, and on the cents below that."""
DEPTH = 25


class Market:
    """One market: Up 0.48 bid with levels below, one moving best ask, levels above it; Down its mirror."""

    def tag(self, number: int) -> int:
        """The size in hundredths of a share that frame `number` puts at the best ask of Up."""
        return FIRST_CENTISHARES + number % TAGS

    def ask_cents(self, number: int) -> int:
        """Where the best ask of Up is after frame `number`; number -1 is the opening."""
        return FIRST_ASK_CENTS + number % ASKS

    def opening(self) -> bytes:
        """The snapshot of both tokens as the venue sends it on subscription."""
        still = FIRST_ASK_CENTS + ASKS
        bids = {BEST_BID_CENTS - i: 100 + i for i in range(DEPTH)}
        asks = {self.ask_cents(-1): 7} | {still + i: 100 + i for i in range(DEPTH)}
        mirror = ({100 - cents: size for cents, size in side.items()} for side in (asks, bids))
        books = [self._book(UP, bids, asks), self._book(DOWN, *mirror)]
        return json.dumps(books, separators=(",", ":")).encode() + b"\n"

    def _book(self, token: str, bids: dict[int, int], asks: dict[int, int]) -> dict[str, object]:
        return {
            "market": CONDITION,
            "asset_id": token,
            "timestamp": str(time.time_ns() // 1_000_000),
            "hash": "0" * 40,
            "bids": [{"price": price_text(cents), "size": str(bids[cents])} for cents in sorted(bids)],
            "asks": [
                {"price": price_text(cents), "size": str(asks[cents])} for cents in sorted(asks, reverse=True)
            ],
            "tick_size": "0.01",
            "event_type": "book",
            "last_trade_price": "",
        }


def price_text(cents: int) -> str:
    """A price as the venue writes it: no trailing zero."""
    return f"0.{cents:02d}".rstrip("0")


def size_text(centishares: int) -> str:
    """A size as the venue writes it."""
    return f"{centishares / 100:.2f}".rstrip("0").rstrip(".")


def sent_frame(market: Market, number: int) -> bytes:
    """Frame `number` with its WebSocket header: the best ask of Up, and the best bid of Down that mirrors it,
    moves to another price, with the size that names the frame.
    """
    size = size_text(market.tag(number))
    before, after = market.ask_cents(number - 1), market.ask_cents(number)
    bid, ask = price_text(BEST_BID_CENTS), price_text(after)
    mirror_bid, mirror_ask = price_text(100 - after), price_text(100 - BEST_BID_CENTS)

    def changes(cents: int, shares: str) -> str:
        return (
            f'{{"asset_id":"{UP}", "price":"{price_text(cents)}", "size":"{shares}", "side":"SELL", '
            f'"hash":"{number:040x}", "best_bid":"{bid}", "best_ask":"{ask}"}}, '
            f'{{"asset_id":"{DOWN}", "price":"{price_text(100 - cents)}", "size":"{shares}", "side":"BUY", '
            f'"hash":"{number:040x}", "best_bid":"{mirror_bid}", "best_ask":"{mirror_ask}"}}'
        )

    payload = (
        f'{{"market":"{CONDITION}", "price_changes":[{changes(before, "0")}, {changes(after, size)}], '
        f'"timestamp":"{time.time_ns() // 1_000_000}", "event_type":"price_change"}}'
    ).encode()
    return b"\x81\x7e" + len(payload).to_bytes(2, "big") + payload


def first_order(body: bytes) -> tuple[int, int] | None:
    """(hundredths of a share, cents) of the first order of a POST, a BUY; None without an order."""
    maker, taker = (_amount(body, name) for name in (b'"makerAmount"', b'"takerAmount"'))
    if maker is None or taker is None:
        return None
    return taker // 10_000, round(100 * maker / taker)


def _amount(body: bytes, name: bytes) -> int | None:
    at = body.find(name)
    return None if at < 0 else int(body[body.index(b":", at) + 1 : at + 64].split(b'"', 2)[1])


def answer_to(line: str, body: bytes) -> bytes:
    """The venue's HTTP answer to a request line and body."""
    method, path = line.split(" ", 2)[:2]
    path = path.split("?", 1)[0]
    if method == "POST" and path == "/orders":
        content = b"[" + b",".join([_LIVE] * body.count(b'"takerAmount"')) + b"]"
    elif method == "POST" and path == "/order":
        content = _LIVE
    elif method == "DELETE":
        content = b'{"canceled":[],"not_canceled":{}}'
    else:
        content = _ANSWERS.get(path, b'{"error":"not found"}')
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
        + str(len(content)).encode()
        + b"\r\n\r\n"
        + content
    )


# The id is made up; an executor that computed its own calls such an answer unknown, after the timed part.
_LIVE = (
    b'{"success":true,"errorMsg":"","orderID":"0x'
    + b"1" * 64
    + b'","status":"live","makingAmount":"","takingAmount":"",'
    b'"transactionsHashes":[],"tradeIDs":[]}'
)
_ANSWERS = {
    "/time": b"1790767298",
    "/version": b'{"version":2}',
    "/tick-size": b'{"minimum_tick_size":0.01}',
    "/neg-risk": b'{"neg_risk":false}',
    "/fee-rate": b'{"base_fee":0}',
    "/ok": b'"OK"',
}
