"""What a feed can be in and why a connection ended: words shared by live view, alerts and tests."""

from __future__ import annotations

from enum import IntEnum


class FeedState(IntEnum):
    """State of one feed. Only LIVE may be traded on."""

    IDLE = 0  # not started, or nothing to subscribe to
    CONNECTING = 1
    SUBSCRIBING = (
        2  # connected; a token still owes its first book (market) or the venue its first answer (user)
    )
    LIVE = 3
    SILENT = 4  # connected and answering PING, but a token has no data: the connection is being replaced
    BACKING_OFF = 5  # waiting before the next attempt
    REFUSED = 6  # the upgrade was answered with 401 or 403: stopped, needs a person
    FAILED = 7  # an error of our own ended the feed: stopped
    CLOSED = 8  # closed by us


class TokenState(IntEnum):
    """State of one subscribed token on the current connection."""

    WAITING = 0  # subscribed, no book yet
    LIVE = 1
    SILENT = 2  # had data, has none for longer than the limit
    MISSING = 3  # never had a book, after all redrives


class EndCause(IntEnum):
    """Why a connection, or an attempt at one, ended. The compiled listener uses the first six by number."""

    NONE = 0
    PEER = 1  # the other side or the network
    CLOSED = 2  # we closed
    FAULT = 3  # the consumer failed on a message
    OVERSIZE = 4  # a message split over frames outgrew its buffer
    PROTOCOL = 5  # not a valid sequence of frames
    PONG_TIMEOUT = 6
    SILENT = 7
    FIRST_EVENT = 8  # a token never had a first book
    CONNECT = 9  # no connection came about
    REFUSED = 10  # 401 or 403 on upgrade
    RESYNC = 11  # fresh books were asked for: those of this connection contradict themselves or a witness
    RENEWED = 12  # replaced by plan, while another connection carries the data
