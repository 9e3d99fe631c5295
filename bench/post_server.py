"""The other end of `bench_post`: takes POSTs over TLS, answers with the time of their last byte.

HTTP/1.1 by hand, HTTP/2 by the h2 package where a client asks for it; a thread for each connection.
Run as `python -m bench.post_server CERTIFICATE KEY`: prints its port, serves until its input ends.
"""

from __future__ import annotations

import socket
import ssl
import sys
import threading
import time


def serve(listener: socket.socket, context: ssl.SSLContext) -> None:
    """Accepts for ever."""
    while True:
        raw, _ = listener.accept()
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=one, args=(raw, context), daemon=True).start()


def one(raw: socket.socket, context: ssl.SSLContext) -> None:
    """One connection, until the client goes away."""
    try:
        with context.wrap_socket(raw, server_side=True) as connection:
            (answer_h2 if connection.selected_alpn_protocol() == "h2" else answer_h1)(connection)
    except OSError:
        return


def answer_h1(connection: ssl.SSLSocket) -> None:
    data = b""
    while True:
        head, found, body = data.partition(b"\r\n\r\n")
        if found:
            size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            if len(body) >= size:
                text = str(time.monotonic_ns()).encode()
                data = body[size:]
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n%s" % (len(text), text)
                )
                continue
        more = connection.recv(65_536)
        if not more:
            return
        data += more


def answer_h2(connection: ssl.SSLSocket) -> None:
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.events import DataReceived, StreamEnded

    state = H2Connection(H2Configuration(client_side=False))
    state.initiate_connection()
    connection.sendall(state.data_to_send())
    while data := connection.recv(65_536):
        for event in state.receive_data(data):
            if isinstance(event, DataReceived):
                state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded):
                text = str(time.monotonic_ns()).encode()
                state.send_headers(
                    event.stream_id, [(":status", "200"), ("content-type", "application/json")]
                )
                state.send_data(event.stream_id, text, end_stream=True)
        connection.sendall(state.data_to_send())


def main() -> int:
    certificate, key = sys.argv[1:3]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=serve, args=(listener, context), daemon=True).start()
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
