"""All connections to the venue, and which of them may carry what."""

from __future__ import annotations

import select
from collections.abc import Callable

from invmm.execution.connections import Connection, Endpoint, Finished, Lane, State
from invmm.execution.resolver import Resolver


class Pool:
    """All connections of one executor: `connections`, `cancel_lanes` of them for cancels alone.

    `heartbeat` adds one that carries nothing else: a heartbeat that hangs is in nobody's way. `make` makes
    one.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        connections: int,
        finished: Finished,
        *,
        cancel_lanes: int = 1,
        connect_ns: int,
        heartbeat: bool = False,
        make: Callable[..., Connection] = Connection,
    ) -> None:
        if not 0 < cancel_lanes < connections:
            raise ValueError(f"cancel_lanes: expected 1 to {connections - 1}, got {cancel_lanes}")
        self.epoll = select.epoll()
        self.is_encrypted = endpoint.tls is not None
        lanes = [Lane.CANCEL] * cancel_lanes + [Lane.PLACE] * (connections - cancel_lanes)
        lanes += [Lane.HEARTBEAT] * heartbeat
        resolver = Resolver(endpoint.host, endpoint.port)
        self.connections = [
            make(endpoint, lane, self.epoll, finished, connect_ns, resolver) for lane in lanes
        ]
        self._is_open = True

    def idle(self, lane: Lane) -> Connection | None:
        """An idle one: cancels prefer their own lane and take those of placements, nothing else is shared."""
        for connection in self.connections:
            if connection.state is State.IDLE and (
                connection.lane is lane or (lane is Lane.CANCEL and connection.lane is Lane.PLACE)
            ):
                return connection
        return None

    def warm(self) -> int:
        """Connections that are open."""
        return sum(connection.state in (State.IDLE, State.BUSY) for connection in self.connections)

    def busy(self) -> int:
        """Requests in flight."""
        return sum(connection.state is State.BUSY for connection in self.connections)

    def poll(self, now_ns: int) -> int:
        """Handles what the sockets have, without waiting; returns how many had something."""
        by_fd = {connection.fd: connection for connection in self.connections}
        ready = self.epoll.poll(0)
        for fd, mask in ready:
            if fd in by_fd:
                by_fd[fd].on_ready(mask, now_ns)
        return len(ready)

    def keep(self, now_ns: int) -> None:
        """Connects what is down and due, gives up what is over its deadline."""
        for connection in self.connections:
            if connection.deadline_ns and now_ns >= connection.deadline_ns:
                connection.fail(now_ns, f"no end of {connection.state.value} within its deadline")
            if connection.state is State.DOWN and now_ns >= connection.retry_ns:
                connection.connect(now_ns)

    def next_ns(self) -> int | None:
        """When `keep` has something to do at the earliest."""
        times = [c.deadline_ns for c in self.connections if c.deadline_ns]
        times += [c.retry_ns for c in self.connections if c.state is State.DOWN]
        return min(times, default=None)

    def close(self, now_ns: int) -> None:
        """Closes everything; requests in flight end without an answer."""
        if self._is_open:
            for connection in self.connections:
                connection.fail(now_ns, "closed")
            self.epoll.close()
            self._is_open = False
