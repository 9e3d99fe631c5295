"""What travels between the timing server and a stack: frames whose best size is their number, and the venue's
answers.
"""

from __future__ import annotations

import json
import time

UP = "25070934348813416902477876984955073880416401960631253331845590271167412497744"
DOWN = "58726851105893121441976415044785550794620582864839872973127370351200548678811"
CONDITION = "0x2aaeb40ad2a1ad262d75d5c52bff1a9f801fb72e65774343729fe103ee9fa308"
TAGS = 9_000
FIRST_CENTISHARES = 700
"""Frame n has the size (700 + n mod 9000) / 100 shares at the best level: at least the venue's smallest
order.
"""

# A throwaway identity: the key of the first account of every local development chain, and invented
# credentials.
PRIVATE_KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
API_KEY = "9180014b-33c8-9240-a14b-bdca11c0a465"
API_SECRET = "4OHi4-Tl5ufo6err7O3u7_Dx8vP09fb3-Pn6-_z9_v8="
API_PASSPHRASE = "bench"

BEST_BID_CENTS = 48
BEST_ASK_CENTS = 52
DEPTH = 40


class Market:
    """One market: Up 0.48 / 0.52 with forty levels a side, Down its mirror."""

    def tag(self, number: int) -> int:
        """The size in hundredths of a share that frame `number` puts at the best level."""
        return FIRST_CENTISHARES + number % TAGS

    def opening(self) -> bytes:
        """The snapshot of both tokens as the venue sends it on subscription."""
        books = [
            self._book(UP, BEST_BID_CENTS, BEST_ASK_CENTS),
            self._book(DOWN, 100 - BEST_ASK_CENTS, 100 - BEST_BID_CENTS),
        ]
        return json.dumps(books, separators=(",", ":")).encode() + b"\n"

    def _book(self, token: str, bid: int, ask: int) -> dict[str, object]:
        return {
            "market": CONDITION,
            "asset_id": token,
            "timestamp": str(time.time_ns() // 1_000_000),
            "hash": "0" * 40,
            "bids": [{"price": price_text(bid - i), "size": str(100 + i)} for i in range(DEPTH, -1, -1)],
            "asks": [{"price": price_text(ask + i), "size": str(100 + i)} for i in range(DEPTH, -1, -1)],
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
    """Frame `number` with its WebSocket header: the best bid of Up and its mirror take the size that names
    it.
    """
    size = size_text(market.tag(number))
    bid, mirror = price_text(BEST_BID_CENTS), price_text(100 - BEST_BID_CENTS)
    ask, mirror_bid = price_text(BEST_ASK_CENTS), price_text(100 - BEST_ASK_CENTS)
    payload = (
        f'{{"market":"{CONDITION}", "price_changes":['
        f'{{"asset_id":"{UP}", "price":"{bid}", "size":"{size}", "side":"BUY", "hash":"{number:040x}", '
        f'"best_bid":"{bid}", "best_ask":"{ask}"}}, '
        f'{{"asset_id":"{DOWN}", "price":"{mirror}", "size":"{size}", "side":"SELL", "hash":"{number:040x}", '
        f'"best_bid":"{mirror_bid}", "best_ask":"{mirror}"}}], '
        f'"timestamp":"{time.time_ns() // 1_000_000}", "event_type":"price_change"}}'
    ).encode()
    return b"\x81\x7e" + len(payload).to_bytes(2, "big") + payload


def tag_of_body(body: bytes) -> int | None:
    """The size in hundredths of a share that the first order of a POST buys; None when there is no order in
    it.
    """
    at = body.find(b'"takerAmount"')
    if at < 0:
        return None
    return int(body[body.index(b":", at) + 1 : at + 64].split(b'"', 2)[1]) // 10_000


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
