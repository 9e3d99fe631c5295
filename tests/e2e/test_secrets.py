"""No secret is shown: real processes, failing in many ways with the marker secrets in hand.

`shown_by` searches all that a process printed; the watch of `tests/conftest.py` searches the rest of the run.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from invmm import BlockingVenueClient, loopback
from invmm.errors import VenueError
from invmm.venue.auth import ApiCredentials, OrderSigner
from tests import markers
from tests.e2e.executor_bench import Start, begin_benches, told
from tests.e2e.scripted_venue import Reply, ScriptedVenue, Seen, http

ROOT = Path(__file__).resolve().parents[2]
FINDER = markers.SecretFinder()
ADDRESS = OrderSigner(markers.PRIVATE_KEY).address
PASSWORD = "a password of the tests"
CREDENTIALS_JSON = json.dumps(
    {"apiKey": markers.API_KEY, "secret": markers.API_SECRET, "passphrase": markers.PASSPHRASE}
)


def python(*arguments: str, stdin: str = "", cwd: Path | None = None, **environment: str) -> tuple[int, str]:
    """Exit code and all output of a process with the marker secrets in its environment; none may be in it."""
    done = subprocess.run(
        [sys.executable, *arguments],
        input=stdin,
        cwd=cwd,
        env={**os.environ, **markers.ENVIRONMENT, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert FINDER.find(done.stdout + done.stderr) == []
    return done.returncode, done.stdout + done.stderr


def keys(home: Path, *arguments: str, stdin: str = "", **environment: str) -> tuple[int, str]:
    return python(
        "-m", "invmm.ops.cli", "keys", *arguments, stdin=stdin, XDG_CONFIG_HOME=str(home), **environment
    )


@pytest.fixture
def password(tmp_path: Path) -> str:
    """A password file."""
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n")
    path.chmod(0o600)
    return f"--password-file={path}"


# invmm keys


def test_a_key_is_imported_shown_and_checked_without_being_printed(tmp_path: Path, password: str) -> None:
    code, out = keys(tmp_path, "import", "--from", "stdin", password, stdin="0x" + markers.PRIVATE_KEY + "\n")
    assert (code, ADDRESS in out) == (0, True), out
    path = tmp_path / "invmm" / "keystore.json"
    code, out = keys(tmp_path, "show")
    assert (code, ADDRESS in out, str(path) in out, "0600" in out) == (0, True, True, True), out
    code, out = keys(tmp_path, "show", "--check", "--json", password)
    facts = json.loads(out)
    assert (code, facts["address"], facts["decrypted"]) == (0, ADDRESS, True)
    assert facts["sources"]["private key"] == f"keystore {path}"
    code, out = keys(tmp_path, "import", "--from", "environment", password)
    assert (code, "exists already; it is not replaced" in out) == (2, True), out


def test_credentials_are_imported_beside_the_key(tmp_path: Path, password: str) -> None:
    assert keys(tmp_path, "import", "--from", "environment", password)[0] == 0
    code, out = keys(
        tmp_path, "import", "--api-credentials", "--from", "stdin", password, stdin=CREDENTIALS_JSON
    )
    assert (code, markers.API_KEY in out) == (0, True), out
    code, out = keys(
        tmp_path,
        *("show", "--check", password),
        *("--keystore", str(tmp_path / "invmm" / "keystore.json")),
        *("--credentials", str(tmp_path / "invmm" / "credentials.json")),
    )
    assert (code, "API credentials: keystore" in out) == (0, True), out


def test_a_created_key_is_new_and_its_own(tmp_path: Path, password: str) -> None:
    made = set()
    for name in ("a", "b"):
        code, out = keys(tmp_path, "create", "--json", password, "--keystore", str(tmp_path / name))
        assert code == 0, out
        made.add(json.loads(out)["address"])
    assert len(made) == 2


KEY = markers.PRIVATE_KEY
FAILURES = {
    "key given as an argument": (["import", "0x" + KEY], "", "unrecognized arguments: (64 hex digits)"),
    "key given as a file": (["show", "--keystore", KEY], "", "never give one as an argument"),
    "key given as a password file": (["show", "--password-file", KEY], "", "never give one as an argument"),
    "key given as a funder": (["show", "--env", "--funder", KEY], "", "never give one as an argument"),
    "key given as a signature type": (["show", "--signature-type", KEY], "", "invalid int value"),
    "key given as a command": (["0x" + KEY], "", "invalid choice"),
    "half a key": (["import", "--from", "stdin"], KEY[:32], "standard input: private key: expected 32 bytes"),
    "two keys": (["import", "--from", "stdin"], KEY * 2, "standard input: private key: expected 32 bytes"),
    "no terminal": (["import"], KEY, "there is no terminal"),
    "no terminal for the password": (["import", "--from", "stdin"], KEY, "give --password-file"),
    "credentials that are no JSON": (
        ["import", "--api-credentials", "--from", "stdin"],
        CREDENTIALS_JSON[:-1],
        "standard input: expected a JSON object",
    ),
    "credentials without an owner": (
        ["import", "--api-credentials", "--from", "environment"],
        "",
        "--address: expected the account",
    ),
    "no keystore": (["show"], "", "cannot be read"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_command_that_fails_says_why_and_shows_nothing(tmp_path: Path, name: str) -> None:
    arguments, stdin, words = FAILURES[name]
    code, out = keys(tmp_path, *arguments, stdin=stdin)
    assert (code, words in out) == (2, True), out
    assert "Traceback" not in out
    assert KEY[:8] not in out


def test_a_wrong_password_shows_neither_password_nor_key(tmp_path: Path, password: str) -> None:
    assert keys(tmp_path, "import", "--from", "environment", password)[0] == 0
    wrong = tmp_path / "wrong"
    wrong.write_text(markers.PASSPHRASE + "\n")
    wrong.chmod(0o600)
    code, out = keys(tmp_path, "show", "--check", f"--password-file={wrong}")
    wrong.unlink()
    assert (code, "the password is wrong" in out) == (2, True), out


# The main job and its settings


def test_settings_that_hold_a_secret_are_refused_by_the_main_job(tmp_path: Path) -> None:
    read, write = os.pipe()  # the file is not on a disk that is searched
    os.write(write, f'[wallet]\nprivate_key = "{KEY}"\n'.encode())
    os.close(write)
    done = subprocess.run(
        [sys.executable, "-m", "invmm.run", "--headless", "--config", f"/dev/fd/{read}"],
        cwd=tmp_path,
        env={**os.environ, **markers.ENVIRONMENT, "PYTHONPATH": str(ROOT)},
        pass_fds=(read,),
        capture_output=True,
        text=True,
        timeout=60,
    )
    os.close(read)
    assert done.returncode == 2
    assert "[wallet] private_key: secrets are not kept in settings" in done.stderr
    assert FINDER.find(done.stdout + done.stderr) == []


# Programs that die with secrets in their hands

DYING = """
import copy, faulthandler, logging, os, pickle, sys, traceback
from invmm.ops.hardening import harden
from invmm.settings import WalletSettings
from invmm.venue.auth import l1_headers, l2_headers
from invmm.venue.identity import find_identity
logging.basicConfig(level=logging.DEBUG)
faulthandler.enable()
harden()
found = find_identity(WalletSettings(environment=True), os.environ, needs_credentials=True)
signer, credentials = found.signer, found.credentials
logging.debug("%s %r %s", found, signer, credentials)
print([found, signer, credentials, found.sources, credentials.signer(found.address)])
for holder in (found, signer, credentials, credentials.signer(found.address)):
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        try:
            attempt(holder)
        except TypeError:
            traceback.print_exc()
        else:
            sys.exit("copied " + repr(holder))
    print(dir(holder), repr(holder), str(holder), format(holder))
"""


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("raise RuntimeError(f'{found} {signer!r} {credentials}')", f"OrderSigner({ADDRESS})"),
        ("signer.sign('1', 'BUY', 4805, 5_000_000, tick_e4=100)", "price must be a multiple of the tick"),
        ("signer.close(); signer.sign_auth(1)", "the signer is closed"),
        ("l2_headers(credentials, found.address, 'GET', '/x' * 500, None, 1)", "path of 1000 characters"),
        ("type(signer)(signer)", "private key: expected str or bytes, found OrderSigner"),
        ("os.abort()", "Fatal Python error: Aborted"),
        (
            "import threading; t = threading.Thread(target=lambda: signer.x); t.start(); t.join(); 1/0",
            "no attribute",
        ),
        ("faulthandler.dump_traceback(); sys.exit(3)", "most recent call first"),
    ],
)
def test_a_program_that_dies_shows_no_secret_and_leaves_no_core(tmp_path: Path, end: str, words: str) -> None:
    code, out = python("-X", "faulthandler", "-c", DYING + end + "\n", cwd=tmp_path)
    assert code != 0
    assert words in out, out
    assert f"Identity({ADDRESS})" in out
    assert list(tmp_path.iterdir()) == []


def test_a_hardened_process_gives_no_core_and_no_view_of_itself() -> None:
    body = (
        "import resource, sys\nfrom invmm.ops.hardening import harden\n"
        "sys.excepthook = lambda *a: print('replaced')\n"
        "print(harden(), resource.getrlimit(resource.RLIMIT_CORE))\n"
        "print(sys.excepthook is sys.__excepthook__)\n"
        "print([line for line in open('/proc/self/stat')][0].split()[0].isdigit())\n"
    )
    code, out = python("-c", body)
    assert code == 0, out
    if sys.platform == "linux":
        assert "Hardening(no_core_dumps=True, not_dumpable=True) (0, 0)" in out
    assert out.split()[-2:] == ["True", "True"]


def test_the_memory_of_a_closed_signer_holds_no_key() -> None:
    body = """
import sys
from invmm.venue.auth import OrderSigner
raw = bytearray(sys.stdin.buffer.read(32))
signer = OrderSigner(raw)
signer.sign('1', 'BUY', 4800, 5_000_000, tick_e4=100)

def held():
    # The first half only, turned round: what is searched for must not be what is found.
    wanted = bytes(byte ^ 255 for byte in mask[:16])
    # Read into one page that is wiped at once: copies of what was read would be found as well.
    count, page = 0, bytearray(4096)
    with open('/proc/self/maps') as maps, open('/proc/self/mem', 'rb', 0) as memory:
        for line in list(maps):
            span, rights = line.split()[:2]
            if not rights.startswith('rw') or '[vvar' in line:
                continue
            start, end = (int(place, 16) for place in span.split('-'))
            for place in range(start, end, 4096 - 15):
                memory.seek(place)
                try:
                    size = memory.readinto(memoryview(page)[: end - place])
                except OSError:
                    break
                count += page.count(wanted, 0, size)
                page[:] = bytes(4096)
    return count - 1  # `wanted` itself

mask = bytes(byte ^ 255 for byte in raw)
raw[:] = bytes(32)
before = held()
signer.close()
print('before', before, 'after', held())
"""
    done = subprocess.run(
        [sys.executable, "-c", body],
        input=bytes.fromhex(KEY),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    words = done.stdout.decode().split()
    assert int(words[1]) > int(words[3]), words


# A venue that sends back what it was sent


def echo(seen: Seen) -> Reply:
    headers = " ".join(f"{name}: {value}" for name, value in seen.headers.items())
    return Reply(http(401, json.dumps({"error": f"unauthorized: {headers}"}).encode()))


@pytest.fixture
def start() -> Iterator[Start]:
    yield from begin_benches()


def test_a_venue_that_echoes_the_headers_is_not_repeated_by_the_executor(start: Start) -> None:
    bench = start(echo)
    bench.submit(bench.place(1))
    results = bench.expect(2)
    shown = f"{results} {told(results)} {bench.executor.error!r} {bench.executor!r} {vars(bench.executor)}"
    assert FINDER.find(shown) == []
    assert FINDER.find(b"".join(result.tobytes() for result in results)) == []


def test_a_venue_that_echoes_the_headers_is_not_repeated_by_the_client(
    marker_signer: OrderSigner, marker_credentials: ApiCredentials, caplog: pytest.LogCaptureFixture
) -> None:
    venue = ScriptedVenue(echo)
    caplog.set_level("DEBUG")
    try:
        with (
            BlockingVenueClient(loopback(venue.port), marker_signer, marker_credentials) as client,
            pytest.raises(VenueError, match="401") as caught,
        ):
            client.open_orders()
    finally:
        venue.close()
    assert venue.seen[0].headers["poly_passphrase"] == markers.PASSPHRASE
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + caught.value.text
    assert "unauthorized" in shown
    assert FINDER.find(shown + caplog.text + repr(client) + repr(vars(caught.value))) == []


# At a terminal


def at_a_terminal(home: Path, answers: list[tuple[str, str]], *arguments: str) -> tuple[int, str]:
    """Runs `invmm keys` on a pseudo-terminal, typing each answer when its question has come."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "invmm.ops.cli", "keys", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(home)},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    shown, seen = "", 0
    try:
        for question, typed in answers:
            while question not in shown[seen:]:
                assert select.select([controller], [], [], 30)[0], shown
                shown += os.read(controller, 4096).decode()
            seen = len(shown)
            os.write(controller, typed.encode() + b"\n")
        with contextlib.suppress(OSError):  # EIO: the other side is closed
            while more := os.read(controller, 4096):
                shown += more.decode()
        return process.wait(30), shown
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(controller)


def test_what_is_typed_at_the_terminal_is_not_shown(tmp_path: Path, password: str) -> None:
    answers = [
        ("Private key (not shown): ", markers.PRIVATE_KEY),
        ("New password of ", PASSWORD),
        ("The same again: ", PASSWORD),
    ]
    code, shown = at_a_terminal(tmp_path, answers, "import")
    assert (code, ADDRESS in shown) == (0, True), shown
    assert FINDER.find(shown) == []
    assert PASSWORD not in shown
    assert keys(tmp_path, "show", "--check", password)[0] == 0
    code, shown = at_a_terminal(tmp_path, [("Password of ", PASSWORD)], "show", "--check")
    assert (code, ADDRESS in shown, PASSWORD in shown) == (0, True, False), shown


def test_a_password_that_is_mistyped_the_second_time_writes_nothing(tmp_path: Path) -> None:
    answers = [("New password of ", PASSWORD), ("The same again: ", PASSWORD[:-1])]
    code, shown = at_a_terminal(tmp_path, answers, "create")
    assert (code, "the two are not the same" in shown) == (2, True), shown
    assert list(tmp_path.iterdir()) == []
