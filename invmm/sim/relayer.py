"""A gasless relayer for tests: takes signed calls of wallets, has them executed, and tells how far they are.

It checks what the venue's own checks (API key, signature, nonce, one action of a wallet at a time, quota)
and goes wrong on demand. `FakeRelayer` is the relayer without a network or a clock; `serve` puts it behind
HTTP on this machine.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, urlsplit

from invmm.sim.envelopes import DEPOSIT_FACTORY, BadEnvelopeError, Opened, open_envelope

RELAY: Final = "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65"
"""The relay that proxies' envelopes name."""
MINUTE_S: Final = 60.0
DAY_S: Final = 86_400.0


class Mishap(StrEnum):
    """What goes wrong with one submit."""

    NONE = "none"
    DROPPED = "dropped"  # the connection ends before it is taken
    LOST = "lost"  # taken, then the connection ends
    ERROR = "error"  # taken, answered 500
    REFUSED = "refused"  # 503, not taken
    BUSY = "busy"  # 400, the wallet has an active action
    LIMITED = "limited"  # 429
    FAILED = "failed"  # taken, ends FAILED without effect
    SILENT = "silent"  # taken, answered, executed; the relayer never says so
    LATE = "late"  # taken, answered, executed long after
    LOST_LATE = "lost late"  # taken, then the connection ends; executed long after
    REVIVED = "revived"  # taken, said to be FAILED, executed long after all the same
    OVERTAKEN = "overtaken"  # another action of the wallet uses the nonce first


class RevertedError(Exception):
    """The contract refused; nothing was changed."""


class Executor(Protocol):
    """Where calls take effect: wallets' contracts on a chain."""

    def execute(self, opened: Opened, now_s: float) -> str:
        """Makes the calls from the wallet, all of them; the transaction's hash.

        Raises
        ------
        RevertedError
            The wallet's contract or a called one refused: another nonce, the deadline, a balance.
        """

    def next_nonce(self, kind: str, account: str, wallet: str) -> int:
        """The nonce that the wallet's contract takes next."""

    def overtake(self, opened: Opened, now_s: float) -> None:
        """Uses up the nonce by an action that moves nothing."""

    def block_of(self, transaction: str) -> int | None:
        """The block that holds a transaction."""

    def final_block(self) -> int:
        """The last finalized block."""


@dataclass
class Action:
    """A submit that was taken."""

    identifier: str
    opened: Opened
    mishap: Mishap
    due_s: float
    state: str = "STATE_NEW"
    hash: str = ""
    error: str = ""

    @property
    def is_active(self) -> bool:
        """Whether the wallet must wait for it. What is not told is done all the same."""
        is_done = self.mishap is Mishap.SILENT and self.hash
        return self.state in ("STATE_NEW", "STATE_EXECUTED") and not is_done


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; `body` None: the connection ends without one."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class FakeRelayer:
    """One relayer.

    Parameters
    ----------
    executor : Executor
    key, secret, passphrase : str
        The builder's API key, of which every request must be signed.
    mishap : callable
        From the number of a submit (0, 1, …) to what goes wrong with it.
    delay_s : float
        From taking a submit to executing it.
    late_s : float
        The same for what happens long after.
    per_minute, per_day : int
        Quota; beyond it 429.
    missing : set of str
        Wallets, in lower case, that are not on the chain before one is created.
    """

    executor: Executor
    key: str = "builder"
    secret: str = base64.urlsafe_b64encode(b"secret of a builder").decode()
    passphrase: str = "passphrase"
    mishap: Callable[[int], Mishap] = lambda number: Mishap.NONE
    delay_s: float = 2.0
    late_s: float = 300.0
    per_minute: int = 25
    per_day: int = 1_000
    missing: set[str] = field(default_factory=set)
    actions: dict[str, Action] = field(default_factory=dict)
    created: dict[str, str] = field(default_factory=dict)
    submits: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def advance(self, now_s: float) -> None:
        """Executes what is due and follows it on the chain."""
        for action in self.actions.values():
            if action.state == "STATE_NEW" and now_s >= action.due_s:
                self._execute(action, now_s)
            is_back = action.mishap is Mishap.REVIVED and now_s >= action.due_s + self.late_s
            if is_back and not action.hash:
                with suppress(RevertedError):
                    action.hash = self.executor.execute(action.opened, now_s)
            if action.mishap is Mishap.SILENT or not action.hash:
                continue
            block = self.executor.block_of(action.hash)
            if block is not None and action.state in ("STATE_EXECUTED", "STATE_MINED"):
                is_final = block <= self.executor.final_block()
                action.state = "STATE_CONFIRMED" if is_final else "STATE_MINED"

    def handle(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, now_s: float
    ) -> Answer:
        """Answers one request; `headers` have lower-case names."""
        self.advance(now_s)
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if (method, url.path) == ("GET", "/deployed"):  # anybody may ask
            return Answer(200, {"deployed": query.get("address", "").lower() not in self.missing})
        if not self._is_signed(method, url.path, headers, body):
            return Answer(401, {"error": "invalid authorization"})
        if (method, url.path) in (("GET", "/v1/account/transactions/params"), ("GET", "/relay-payload")):
            return self._params(query)
        if method == "GET" and url.path.startswith("/v1/account/transactions/"):
            return self._transaction(url.path.rsplit("/", 1)[1])
        if (method, url.path) == ("POST", "/submit"):
            return self._submit(body, now_s)
        return Answer(404, {"error": "not found"})

    def _params(self, query: Mapping[str, str]) -> Answer:
        kind, account = query.get("type", ""), query.get("address", "")
        if kind not in ("WALLET", "SAFE", "PROXY") or not account:
            return Answer(400, {"error": "invalid address or type"})
        nonce = self.executor.next_nonce(kind, account, "")
        return Answer(200, {"address": RELAY, "nonce": str(nonce)})

    def _transaction(self, identifier: str) -> Answer:
        if identifier in self.created:
            done = {"state": "STATE_CONFIRMED", "transaction_hash": "0x" + "c0" * 32, "error_msg": None}
            return Answer(200, {"transaction_id": identifier, **done})
        action = self.actions.get(identifier)
        if action is None:
            return Answer(404, {"error": "transaction not found"})
        row = {"transaction_id": identifier, "state": action.state, "transaction_hash": action.hash}
        return Answer(200, {**row, "error_msg": action.error or None})

    def _submit(self, body: bytes, now_s: float) -> Answer:
        mishap = self.mishap(len(self.submits))
        self.submits.append(now_s)
        if mishap is Mishap.DROPPED:
            return Answer(0, None)
        if mishap is Mishap.REFUSED:
            return Answer(503, {"error": "service unavailable"})
        minute = sum(at_s > now_s - MINUTE_S for at_s in self.submits)
        day = sum(at_s > now_s - DAY_S for at_s in self.submits)
        if mishap is Mishap.LIMITED or minute > self.per_minute or day > self.per_day:
            return Answer(429, {"error": "quota exceeded"}, {"Retry-After": "30"})
        try:
            content = json.loads(body)
            if content.get("type") == "WALLET-CREATE":
                return self._create(content)
            opened = open_envelope(content)
            if mishap is Mishap.OVERTAKEN:
                self.executor.overtake(opened, now_s)
            self._admit(opened, mishap)
        except ValueError as error:
            self.refused.append(str(error))
            return Answer(400, {"error": str(error)})
        identifier = f"019a-{len(self.actions):04d}"
        is_late = mishap in (Mishap.LATE, Mishap.LOST_LATE)
        due_s = now_s + (self.late_s if is_late else self.delay_s)
        self.actions[identifier] = action = Action(identifier, opened, mishap, due_s)
        if mishap is Mishap.ERROR:
            self._execute(action, now_s)
            return Answer(500, {"error": "internal error"})
        if mishap in (Mishap.LOST, Mishap.LOST_LATE):
            return Answer(0, None)
        return Answer(200, {"transactionID": identifier, "state": action.state, "transactionHash": ""})

    def _create(self, content: Mapping[str, Any]) -> Answer:
        """Puts the account's deposit wallet on the chain; which address that is, the account knows."""
        if set(content) != {"type", "from", "to", "metadata"} or content["to"] != DEPOSIT_FACTORY:
            raise BadEnvelopeError("invalid payload")
        self.missing.clear()
        identifier = f"019b-{len(self.created):04d}"
        self.created[identifier] = str(content["from"])
        return Answer(200, {"transactionID": identifier, "state": "STATE_NEW", "transactionHash": ""})

    def _admit(self, opened: Opened, mishap: Mishap) -> None:
        """Raises BadEnvelopeError with the relayer's words for what it does not take."""
        wallet = opened.wallet.lower()
        active = [
            action
            for action in self.actions.values()
            if action.opened.wallet.lower() == wallet and action.is_active
        ]
        if active or mishap is Mishap.BUSY:
            raise BadEnvelopeError(f"wallet busy: {len(active) or 1} active action(s)")
        nonce = self.executor.next_nonce(opened.kind, opened.account, opened.wallet)
        if opened.nonce != nonce:
            raise BadEnvelopeError(f"batch nonce {opened.nonce} does not match on-chain nonce {nonce}")

    def _execute(self, action: Action, now_s: float) -> None:
        if action.mishap in (Mishap.FAILED, Mishap.REVIVED):
            action.state, action.error = "STATE_FAILED", "execution reverted"
            return
        try:
            action.hash = self.executor.execute(action.opened, now_s)
        except RevertedError as error:
            action.state, action.error = "STATE_FAILED", str(error)
        else:
            action.state = "STATE_EXECUTED"

    def _is_signed(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bool:
        if headers.get("relayer_api_key"):
            return hmac.compare_digest(headers["relayer_api_key"], self.key)
        text = f"{headers.get('poly_builder_timestamp', '')}{method}{path}".encode() + body
        mac = hmac.new(base64.urlsafe_b64decode(self.secret), text, hashlib.sha256).digest()
        return (
            headers.get("poly_builder_api_key") == self.key
            and headers.get("poly_builder_passphrase") == self.passphrase
            and headers.get("poly_builder_signature") == base64.urlsafe_b64encode(mac).decode()
        )


@contextmanager
def serve(relayer: FakeRelayer, clock: Callable[[], float]) -> Iterator[str]:
    """The relayer behind HTTP on this machine, in a thread of its own; gives its URL.

    Parameters
    ----------
    relayer : FakeRelayer
        Asked by one request at a time.
    clock : callable
        Unix seconds.
    """
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

        def _answer(self, body: bytes) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            with lock:
                answer = relayer.handle(self.command, self.path, headers, body, clock())
            if answer.body is None:
                self.close_connection = True
                return
            content = json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing: a request line may hold an address."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="fake-relayer", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
