"""Only the signer, in a bot with its own HTTP: signed orders and request headers out, nothing else.

The bytes of `body` are what the headers sign: send them as they are. `TestVenue` stands for the venue; at the
real one the host is https://clob.polymarket.com, the key and the credentials are your own.
"""

import json
import time
import urllib.request

from invmm import ApiCredentials, OrderSigner, l2_headers
from invmm.testing import TestVenue

SHARE = 1_000_000  # sizes are micro-shares, prices 1e-4 dollars


def send(host: str, method: str, path: str, body: bytes, who: OrderSigner, key: ApiCredentials) -> object:
    """The bot's own HTTP."""
    headers = l2_headers(key, who.address, method, path, body, int(time.time()))
    headers["Content-Type"] = "application/json"
    request = urllib.request.Request(host + path, body, headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def trade(host: str, token_id: str, signer: OrderSigner, key: ApiCredentials) -> None:
    order = signer.sign(token_id, "BUY", 100, 20 * SHARE, tick_e4=100, post_only=True)
    print("id known before it is sent", order.order_id[:10], "costs", order.maker_amount / 1e6)
    answer = send(host, "POST", "/order", order.body(key.api_key), signer, key)
    print("placed", answer["status"], "same id", answer["orderID"] == order.order_id)
    body = json.dumps({"orderID": order.order_id}).encode()
    print("cancelled", len(send(host, "DELETE", "/order", body, signer, key)["canceled"]))
    spend = signer.sign_market(token_id, "BUY", 5 * SHARE, 9900, tick_e4=100, order_type="FAK")
    answer = send(host, "POST", "/order", spend.body(key.api_key), signer, key)
    print("bought", answer["status"], "for", answer["makingAmount"])


if __name__ == "__main__":
    with TestVenue("btc-updown-5m", light=True, start_s=1_800_000_030) as venue:
        trade(venue.url, venue.market().up_token_id, OrderSigner(venue.private_key), venue.credentials)
