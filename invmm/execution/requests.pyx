"""Signed HTTP requests: the head goes right before the body, so that a request is one piece of memory."""

cimport cython
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, strlen
from posix.unistd cimport write

from invmm._ext.l2 cimport L2Signer
from invmm._ext.records cimport command_t
from invmm._ext.wire cimport put, put_hex, put_number

cdef int64_t NANO = 1_000_000_000


@cython.final
cdef class RequestWriter:
    """Writes whole requests. One thread.

    Parameters
    ----------
    signer : L2Signer
        Of the API credentials.
    host : str
        Of the `Host` header, with port unless it is the scheme's own.
    clock : LiveClock
        Tells the time that `write` signs.
    """

    def __cinit__(self, L2Signer signer not None, host, clock):
        if (not isinstance(host, str) or not host.isascii() or not host.isprintable()
                or not 0 < len(host) < 256):
            raise ValueError(f"host: expected printable ASCII of 1 to 255 characters, got {host!r}")
        if HEAD_ROOM < signer.capacity + 512 + len(host):
            raise ValueError("credentials: longer than a request's head allows")
        self.signer = signer
        self.clock = clock
        self.host_lines = (
            f" HTTP/1.1\r\nHost: {host}\r\nUser-Agent: invmm\r\nAccept: application/json\r\n"
            "Content-Type: application/json\r\nContent-Length: ".encode()
        )
        self.host_text = self.host_lines
        self.buffer = <char*>calloc(1, HEAD_ROOM + BODY_ROOM)
        if self.buffer == NULL:
            raise MemoryError
        self.body = self.buffer + HEAD_ROOM

    def __dealloc__(self):
        free(self.buffer)

    def __reduce__(self):
        raise TypeError("RequestWriter holds credentials: it cannot be pickled or copied")

    def write(self, str method not None, str path not None, bytes body not None):
        """Head and body; what is signed is what is sent.

        ValueError for a body of more than 128 KiB.
        """
        if len(body) > BODY_ROOM or len(method) + len(path) > 256:
            raise ValueError(f"request: expected a body of at most {BODY_ROOM} bytes, got {len(body)}")
        memcpy(self.body, <const char*>body, len(body))
        self.compose_c(method.encode(), path.encode(), len(body), self.clock.now_ns() // NANO)
        return self.rest(0)

    def rest(self, size_t sent):
        """A copy of the request in the buffer, without its first `sent` bytes."""
        return <bytes>self.buffer[self.start + sent:self.start + self.size]

    def whole_body(self):
        """A copy of its body."""
        return <bytes>self.body[:self.start + self.size - HEAD_ROOM]

    cdef int64_t send_c(self, int fd) noexcept nogil:
        """Writes the request to a plain socket: how many bytes it took, or -errno."""
        cdef ssize_t written

        while True:
            # The descriptor is non-blocking, and the interpreter has SIGPIPE ignored: a dead peer is an
            # EPIPE.
            written = write(fd, self.buffer + self.start, self.size)
            if written >= 0 or errno != EINTR:
                break
        return written if written >= 0 else (0 if errno == EAGAIN else -errno)

    cdef bint compose_c(
        self, const char* method, const char* path, size_t body_size, int64_t unix_s
    ) noexcept nogil:
        """Puts the head before the `body_size` bytes in `body`."""
        cdef:
            char[HEAD_ROOM] head
            char* at = head
            int size

        at = put_text(at, method)
        at = put(at, b" ", 1)
        at = put_text(at, path)
        at = put_text(at, self.host_text)
        at = put_number(at, body_size)
        at = put(at, b"\r\n", 2)
        size = self.signer.headers_c(
            method, path, self.body, body_size, unix_s, at, HEAD_ROOM - (at - head) - 2
        )
        if size < 0:        # impossible: room was checked by the constructor, and the time is positive
            return False
        at = put(at + size, b"\r\n", 2)
        self.start = HEAD_ROOM - (at - head)
        self.size = (at - head) + body_size
        memcpy(self.buffer + self.start, head, at - head)
        return True

    cdef bint cancels_c(self, const command_t* legs, size_t count, int64_t unix_s) noexcept nogil:
        """DELETE /orders for the ids of 1 to CANCELS_MAX legs."""
        cdef:
            char* at = self.body + 1
            size_t i

        self.body[0] = b"["
        for i in range(count):
            at = put(at, b'"0x', 3)
            at = put_hex(at, legs[i].order_id, 32)
            at = put(at, b'",', 2)
        (at - 1)[0] = b"]"
        return self.compose_c(b"DELETE", b"/orders", at - self.body, unix_s)

    cdef void rehearse_c(self, size_t body_size) noexcept nogil:
        """Signs headers that nobody sees, of a time long ago."""
        self.signer.headers_c(b"POST", b"/orders", self.body, body_size, 1, self.buffer, HEAD_ROOM)


cdef inline char* put_text(char* at, const char* text) noexcept nogil:
    return put(at, text, strlen(text))
