"""Questions to a node over a real loopback socket: asked once, answered in time or not at all."""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from invmm.errors import ConfigError, TransportError
from invmm.settings import SettlementSettings
from invmm.settlement.rpc import RpcEndpoint, RpcError, endpoints_of, number, reason_in
from invmm.venue.profile import LIVE, loopback

SECRET = "k3yOfTheProvider"
Answer = Callable[[socket.socket, dict[str, Any]], None]


def http(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


def says(**fields: Any) -> Answer:
    """A well-formed answer with these fields."""

    def answer(wire: socket.socket, question: dict[str, Any]) -> None:
        wire.sendall(http(json.dumps({"jsonrpc": "2.0", "id": question["id"], **fields}).encode()))

    return answer


def sends(raw: bytes) -> Answer:
    return lambda wire, _: wire.sendall(raw)


@contextmanager
def node(
    answer: Answer, timeout_s: float = 30.0, questions: int = 1
) -> Iterator[tuple[RpcEndpoint, list[bytes]]]:
    """An endpoint, and the requests that arrived at it; a connection takes so many of them."""
    heard: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                wire, _ = listener.accept()
            except OSError:
                return
            with wire:
                for _ in range(questions):
                    request = b""
                    while not request.endswith(b"}") and (piece := wire.recv(65_536)):
                        request += piece
                    if not request:
                        break
                    heard.append(request)
                    try:
                        answer(wire, json.loads(request.partition(b"\r\n\r\n")[2]))
                    except OSError:
                        break

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    port = listener.getsockname()[1]
    try:
        yield RpcEndpoint(f"http://127.0.0.1:{port}/v2/{SECRET}?token={SECRET}", timeout_s=timeout_s), heard
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(30)


def test_a_question_is_asked_as_json_rpc_and_its_result_given() -> None:
    with node(says(result="0x89")) as (endpoint, heard):
        assert endpoint.call("eth_chainId") == "0x89"
        assert endpoint.call("eth_getCode", "0xab", "latest") == "0x89"
    head, _, body = heard[1].partition(b"\r\n\r\n")
    assert head.startswith(f"POST /v2/{SECRET}?token={SECRET} HTTP/1.1\r\nHost: 127.0.0.1:".encode())
    assert json.loads(body) == {
        "jsonrpc": "2.0",
        "id": 2,
        "method": "eth_getCode",
        "params": ["0xab", "latest"],
    }


def test_a_connection_is_kept_for_the_next_question_and_replaced_when_the_node_has_ended_it() -> None:
    ports = []

    def answer(wire: socket.socket, question: dict[str, Any]) -> None:
        ports.append(wire.getpeername()[1])
        says(result=len(ports))(wire, question)

    with node(answer, questions=3) as (endpoint, _):
        for count in range(1, 8):
            assert endpoint.call("x") == count
            if count % 3 == 0:
                assert endpoint._kept is not None
                assert select.select([endpoint._kept], [], [], 30)[0]  # the end of it has arrived
        endpoint.close()
    assert len(set(ports[:3])) == len(set(ports[3:6])) == 1
    assert len(set(ports)) == 3


def test_an_answer_in_chunks_is_whole_when_its_last_one_is() -> None:
    body = b'{"jsonrpc":"2.0","id":1,"result":[1,2]}'
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:9], body[9:])) + b"0\r\n\r\n"
    with node(sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)) as (endpoint, _):
        assert endpoint.call("x") == [1, 2]


@pytest.mark.parametrize(
    "raw",
    [
        http(b'{"jsonrpc":"2.0","id":1,"result":1}', "302 Found", "Location: http://127.0.0.1:1/\r\n"),
        http(b"<html>blocked</html>", "403 Forbidden"),
        http(b'{"jsonrpc":"2.0","id":1,"result":1}', "500 Internal Server Error"),
        http(b'{"jsonrpc":"2.0","id":7,"result":1}'),
        http(b'{"jsonrpc":"2.0","id":1}'),
        http(b"[]"),
        http(b"not json"),
        http(b'{"id":1,"result":"\xff"}'),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}",
        b"nonsense\r\n\r\n",
        b"",
    ],
)
def test_whatever_is_no_answer_leaves_the_fate_of_the_question_open(raw: bytes) -> None:
    with node(sends(raw)) as (endpoint, heard), pytest.raises(TransportError) as error:
        endpoint.call("eth_sendRawTransaction", "0x02")
    assert SECRET not in str(error.value)
    assert len(heard) == 1  # asked once


def test_neither_silence_nor_a_trickle_outlasts_the_deadline() -> None:
    ended = threading.Event()

    def trickle(wire: socket.socket, _: dict[str, Any]) -> None:
        wire.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not ended.wait(0.02):
            wire.sendall(b" ")

    for answer in (trickle, lambda wire, _: ended.wait(30)):
        with node(answer, timeout_s=0.2) as (endpoint, _):
            with pytest.raises(TransportError, match=r"no answer in 0\.2 s"):
                endpoint.call("x")
            ended.set()
        ended.clear()


def test_a_port_that_nobody_listens_at_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TransportError, match="ConnectionRefusedError"):
        RpcEndpoint(f"http://127.0.0.1:{port}").call("x")


def test_a_look_up_that_hangs_does_not_outlast_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    def hang(*_: object, flags: int, **__: object) -> None:
        if not flags:
            ended.wait(30)
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with pytest.raises(TransportError, match=r"no answer in 0\.1 s"):
        RpcEndpoint("https://node.invalid/", timeout_s=0.1).call("x")
    ended.set()


def test_an_error_of_the_node_is_told_with_the_contracts_words() -> None:
    data = "0x08c379a0" + f"{32:064x}" + f"{5:064x}" + b"never".hex().ljust(64, "0")
    error = {"code": 3, "message": "execution reverted: never", "data": data}
    with (
        node(says(error=error)) as (endpoint, _),
        pytest.raises(RpcError, match="execution reverted") as found,
    ):
        endpoint.call("eth_call")
    assert (found.value.code, found.value.is_revert, found.value.reason) == (3, True, "never")


def test_a_providers_complaint_does_not_show_the_key() -> None:
    error = {"code": -32000, "message": f"invalid key {SECRET}"}
    with node(says(error=error)) as (endpoint, _), pytest.raises(RpcError, match="invalid key …") as found:
        endpoint.call("x")
    assert SECRET not in str(found.value) + found.value.message
    assert not found.value.is_revert
    assert SECRET not in repr(endpoint)


@pytest.mark.parametrize(
    "url",
    ["http://example.com", "ftp://127.0.0.1", "https://", "https://user:word@example.com", "example", ""],
)
def test_an_address_that_is_none_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(ConfigError, match="address of"):
        RpcEndpoint(url)


def test_the_nodes_are_those_of_the_settings_after_the_secret_one_else_the_profiles() -> None:
    assert [one.name for one in endpoints_of(SettlementSettings(), LIVE)] == ["polygon.drpc.org"]
    settings = SettlementSettings(rpc_urls="https://a.example/x https://b.example")
    found = endpoints_of(settings, LIVE, f"https://c.example/{SECRET}")
    assert [one.name for one in found] == ["c.example", "a.example", "b.example"]


def test_a_live_venue_has_no_node_on_this_machine_and_the_reverse() -> None:
    with pytest.raises(ConfigError, match="expected a node on a public host, found 127"):
        endpoints_of(SettlementSettings(rpc_urls="http://127.0.0.1:8545"), LIVE)
    with pytest.raises(ConfigError, match="expected a node on this machine, found a"):
        endpoints_of(SettlementSettings(rpc_urls="https://a.example"), loopback(1234))
    with pytest.raises(ConfigError, match="found none"):
        endpoints_of(SettlementSettings(), loopback(1234))
    with pytest.raises(ConfigError, match="one of them twice"):
        endpoints_of(SettlementSettings(rpc_urls="https://a.example https://a.example"), LIVE)


def test_what_a_contract_returns_when_it_refuses_becomes_words() -> None:
    assert reason_in("0x") == ""
    assert reason_in("0x4e487b71" + f"{0x11:064x}") == "panic 0x11"
    assert reason_in("0xdeadbeef") == "error deadbeef"
    assert reason_in("0xzz") == ""
    assert reason_in("0x08c379a0") == "error 08c379a0"


@pytest.mark.parametrize("value", [None, 5, "5", "0xzz", True, [], "-0x1"])
def test_a_quantity_that_is_none_is_no_answer(value: Any) -> None:
    with pytest.raises(TransportError, match="expected a hexadecimal number"):
        number(value, "nonce")
