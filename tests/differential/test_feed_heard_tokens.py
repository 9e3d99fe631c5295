"""The listener's search for tokens against the regular expression, on whole, cut and mangled messages."""

from hypothesis import given
from hypothesis import strategies as st
from picows import WSMsgType
from picows.picows import _make_test_ws_frame

from invmm._ext.sink import FrameSink
from invmm.clock import LiveClock
from invmm.feed.listener import FeedListener
from tests.reference import heard_tokens

TOKENS = ["1", "11", "12345678", "112345678", "9" * 78, "8" + "9" * 77]
PIECES = [
    *(f'"{token}"' for token in TOKENS),
    *TOKENS,
    '"asset_id"',
    '"asset_id":',
    '"asset_id" : ',
    '"assets_ids":[',
    '"bids"',
    '"',
    "{",
    "}, ",
    " ",
    ":",
    "\\",
]


@given(st.lists(st.sampled_from(PIECES), max_size=30), st.integers(0, 400))
def test_search_agrees_with_its_twin_on_anything(pieces: list[str], cut: int) -> None:
    message = "".join(pieces).encode()[:cut]
    listener = FeedListener(FrameSink(), LiveClock(), poison=False)
    listener.on_ws_connected(None)  # type: ignore[arg-type]
    listener.follow(TOKENS)
    frame = _make_test_ws_frame(WSMsgType.TEXT, bytes(bytearray(message)), True, False)
    listener.on_ws_frame(None, frame)  # type: ignore[arg-type]
    named = heard_tokens.heard(message)
    for token in TOKENS:
        heard_ns, has_book = listener.heard(token)
        assert (heard_ns > 0) == (token.encode() in named), (token, message)
        assert has_book == (heard_ns > 0 and heard_tokens.has_book(message)), (token, message)
