"""WebSockets between an imagined process and the embedded venue's channels, and the listener at their end.

`VirtualListener` takes the place of the compiled listener, which reads picows' receive buffer: the same
counters, data clocks and ends, over messages that are handed to it. Sinks and supervision are the real ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextvars import Context
from typing import Any

from invmm._ext.sink import FrameSink
from invmm.clock import LiveClock
from invmm.feed.dial import Call, UpgradeError
from invmm.feed.states import EndCause
from invmm.sim.campaign.machine import Process
from invmm.sim.campaign.network import CONNECT_NS, ONE_WAY_NS, Network
from invmm.sim.channels import Channel, Connection, text_frame

GAP_BUCKETS = 24


class VirtualListener:
    """What `FeedListener` is to a feed, told messages instead of bytes.

    Parameters
    ----------
    sink : FrameSink
    clock : LiveClock
    notify : callable
        As of `FeedListener`.
    told_ns : dict, optional
        Is kept: when each token was last heard of, over all connections.
    """

    def __init__(
        self,
        sink: FrameSink,
        clock: LiveClock,
        notify: Callable[[], object],
        told_ns: dict[str, int] | None = None,
    ) -> None:
        self._told_ns = {} if told_ns is None else told_ns
        self._sink = sink
        self._clock = clock
        self._notify = notify
        self.peer: VirtualPeer | None = None
        self.frames = self.bytes = self.messages = self.joined = self.binary = 0
        self.pings = self.pongs = self.late = 0
        self.last_message_ns = self.round_trip_ns = self.ping_ns = 0
        self.end_cause = 0
        self.last_error: BaseException | None = None
        self.awaiting_data = False
        self._tokens: dict[str, list[int]] = {}  # heard_ns, has_book
        self._gaps = [0] * GAP_BUCKETS

    @property
    def is_open(self) -> bool:
        """Connected and not given up."""
        return self.peer is not None and not self.end_cause

    @property
    def waiting(self) -> int:
        """Tokens without a book."""
        return sum(not known[1] for known in self._tokens.values())

    def ping(self) -> None:
        """Sends the text PING."""
        if self.send_text(b"PING") and not self.ping_ns:
            self.ping_ns = self._clock.now_ns()

    def send_text(self, message: bytes) -> bool:
        """Sends one message; False when the connection has ended."""
        if not self.is_open or self.peer is None:
            return False
        self.peer.take(message)
        return True

    def end(self, cause: int = EndCause.CLOSED) -> None:
        """Gives the connection up; the sink is told before this returns."""
        if self.end_cause:
            return
        self.end_cause = int(cause)
        if self.peer is not None:
            self.peer.hang_up()
            self._sink.on_disconnect(self._clock.now_ns())
        self._notify()

    def follow(self, token_ids: Iterable[str]) -> None:
        """Sets the tokens whose data clock is kept."""
        self._tokens = {token: self._tokens.get(token, [0, 0]) for token in token_ids}

    def heard(self, token_id: str) -> tuple[int, bool]:
        """Engine time of a token's last data (0: none), whether a book came."""
        heard_ns, has_book = self._tokens[token_id]
        return heard_ns, bool(has_book)

    def gap_counts(self) -> list[int]:
        """Gaps in the tokens' data by power of two milliseconds."""
        return list(self._gaps)

    def deliver(self, messages: list[bytes]) -> None:
        """What one read of the socket would have brought."""
        for index, message in enumerate(messages):
            if self.end_cause:
                self.late += 1
                return
            self.frames += 1
            self.bytes += len(message)
            self._take(message, index == len(messages) - 1)

    def _take(self, message: bytes, last: bool) -> None:
        now_ns = self._clock.now_ns()
        if message == b"PONG":
            self.pongs += 1
            if self.ping_ns:
                self.round_trip_ns, self.ping_ns = now_ns - self.ping_ns, 0
                if self.pongs == 1:
                    self._notify()
            if last and self.messages:
                self._sink.on_buffer_end(now_ns)
            return
        self.messages += 1
        self.last_message_ns = now_ns
        self._sink.on_frame(message, now_ns, last)
        if self._sink.fault:
            self._sink.fault = 0
            self.end(EndCause.FAULT)
            return
        before = self.waiting
        has_book = b'"bids"' in message
        for token, known in self._tokens.items():
            if token.encode() in message:
                if known[0]:
                    self._gaps[min(GAP_BUCKETS - 1, ((now_ns - known[0]) // 1_000_000).bit_length())] += 1
                known[0] = self._told_ns[token] = now_ns
                known[1] |= has_book
        if (before and not self.waiting) or self.awaiting_data:
            self.awaiting_data = False
            self._notify()


class VirtualPeer(Connection):
    """The venue's end of one imagined WebSocket."""

    def __init__(
        self, channel: Channel, network: Network, listener: VirtualListener, context: Context
    ) -> None:
        end: Any = self
        super().__init__(end, end)
        self._channel = channel
        self._network = network
        self._listener = listener
        self._context = context
        self._is_cut = False
        channel.connections.append(self)

    # What the venue calls.

    def write(self, data: bytes) -> None:
        """Frames of one moment."""
        if not self._is_cut and not self._network.is_silent:
            self._network.loop.call_in_ns(
                ONE_WAY_NS, self._listener.deliver, messages_of(data), context=self._context
            )

    def abort(self) -> None:
        """Cuts it."""
        if self._leave():
            self._network.loop.call_in_ns(
                ONE_WAY_NS, self._listener.end, int(EndCause.PEER), context=self._context
            )

    # What the process does.

    def take(self, message: bytes) -> None:
        """A message of the client."""
        self._network.sent(message)
        if not self._is_cut and not self._network.is_silent:
            self._network.loop.call_in_ns(ONE_WAY_NS, self._taken, message)

    def _taken(self, message: bytes) -> None:
        if self._is_cut:
            return
        if message == b"PING":
            self.write(text_frame(b"PONG"))
        elif not self._channel._handle(self, message.decode()):
            self.abort()

    def hang_up(self) -> None:
        """The client has closed."""
        self._leave()

    def _leave(self) -> bool:
        if self._is_cut:
            return False
        self._is_cut = True
        self._channel.connections.remove(self)
        return True


def messages_of(data: bytes) -> list[bytes]:
    """The text messages in the frames of `channels.text_frame`."""
    out: list[bytes] = []
    at, part = 0, b""
    while at < len(data):
        size, begin = data[at + 1], at + 2
        if size == 126:
            size, begin = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
        elif size == 127:
            size, begin = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
        part += data[begin : begin + size]
        if data[at] & 0x80:
            out.append(part)
            part = b""
        at = begin + size
    return out


class Upgrades:
    """Opens imagined WebSockets for the feeds of a process: a `feed.dial.Connect`."""

    def __init__(self, network: Network, process: Process) -> None:
        self.network = network
        self.process = process
        self.told_ns: dict[str, int] = {}  # engine time of the last data by token
        self.refuse_left = 0  # upgrades that are answered with 429

    async def connect(self, call: Call) -> VirtualListener:
        """Opens a connection, or raises as the real one does."""
        network = self.network
        listener = VirtualListener(call.sink, call.clock, call.notify, self.told_ns)
        await asyncio.sleep(CONNECT_NS / 1e9)
        if network.is_silent:
            await asyncio.sleep(call.deadline_s)
            raise TimeoutError("the upgrade was not answered")
        if network.is_down:
            raise ConnectionRefusedError("connection refused")
        if self.refuse_left:
            self.refuse_left -= 1
            raise UpgradeError(429, "upgrade answered with 429", 1_000_000_000)
        server = network.server
        channel = server.user_channel if call.url.endswith("/user") else server.market_channel
        listener.peer = VirtualPeer(channel, network, listener, self.process.context)
        return listener
