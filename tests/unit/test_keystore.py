"""Secrets at rest: the keystore file, passwords, the OS keyring."""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keyring
import keyring.errors
import pytest
from eth_account import Account
from keyring.backend import KeyringBackend

from invmm.errors import ConfigError
from invmm.venue.auth import ApiCredentials, OrderSigner
from invmm.venue.keystore import (
    address_in,
    from_keyring,
    keyring_place,
    password_source,
    read_credentials,
    read_key,
    to_keyring,
    write_credentials,
    write_key,
)

WORK = 1 << 10  # scrypt's cost in these tests
PASSWORD = "correct horse ü"
OTHER_KEY = "7c" * 32


def right(prompt: str) -> str:
    return PASSWORD


@pytest.fixture
def stored(tmp_path: Path, marker_key: str) -> Path:
    path = tmp_path / "sub" / "key.json"
    write_key(path, bytes.fromhex(marker_key), PASSWORD, work=WORK)
    return path


def test_a_key_comes_back_as_it_was_and_the_file_is_the_owners_alone(stored: Path, marker_key: str) -> None:
    assert read_key(stored, right).hex() == marker_key
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    assert stat.S_IMODE(stored.parent.stat().st_mode) == 0o700
    assert [path.name for path in stored.parent.iterdir()] == ["key.json"]
    assert address_in(stored) == OrderSigner(marker_key).address


def test_the_official_package_reads_our_file(stored: Path, marker_key: str) -> None:
    assert bytes(Account.decrypt(stored.read_text(), PASSWORD)).hex() == marker_key


@pytest.mark.parametrize("kdf", ["scrypt", "pbkdf2"])
def test_we_read_the_official_packages_file(tmp_path: Path, marker_key: str, kdf: str) -> None:
    path = tmp_path / "theirs.json"
    theirs = Account.encrypt(marker_key, PASSWORD, kdf=kdf, iterations=WORK)  # type: ignore[arg-type]
    path.write_text(json.dumps(theirs))
    path.chmod(0o600)
    assert read_key(path, right).hex() == marker_key


def test_two_files_of_one_key_share_nothing(tmp_path: Path, marker_key: str) -> None:
    made = []
    for name in ("a", "b"):
        write_key(tmp_path / name, bytes.fromhex(marker_key), PASSWORD, work=WORK)
        made.append(json.loads((tmp_path / name).read_text())["crypto"])
    assert made[0]["ciphertext"] != made[1]["ciphertext"]
    assert made[0]["kdfparams"]["salt"] != made[1]["kdfparams"]["salt"]


def test_what_exists_is_never_replaced(stored: Path) -> None:
    before = stored.read_bytes()
    with pytest.raises(ConfigError, match="exists already"):
        write_key(stored, bytes.fromhex(OTHER_KEY), PASSWORD, work=WORK)
    assert stored.read_bytes() == before
    assert len(list(stored.parent.iterdir())) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_file_that_others_may_use_is_refused_with_the_remedy(stored: Path, mode: int) -> None:
    stored.chmod(mode)
    with pytest.raises(ConfigError, match=rf"mode {mode:04o}.*chmod 600"):
        read_key(stored, right)


def test_a_wrong_password_is_said_to_be_wrong_and_not_repeated(stored: Path) -> None:
    with pytest.raises(ConfigError, match="the password is wrong") as caught:
        read_key(stored, lambda prompt: "battery staple")
    assert "battery" not in str(caught.value)


def test_an_empty_password_protects_nothing(tmp_path: Path, marker_key: str) -> None:
    with pytest.raises(ConfigError, match="at least one character"):
        write_key(tmp_path / "k", bytes.fromhex(marker_key), "", work=WORK)


def damaged(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        damaged(lambda c: c["crypto"].update(mac="00" * 32)),
        damaged(lambda c: c["crypto"].update(ciphertext="zz")),
        damaged(lambda c: c["crypto"].update(kdf="md5")),
        damaged(lambda c: c["crypto"].pop("kdfparams")),
        damaged(lambda c: c.update(crypto=[])),
        damaged(lambda c: c.update(address="11" * 20)),
        damaged(lambda c: c.update(version=1)),
        damaged(lambda c: c.clear()),
        lambda path: path.write_text("{"),
        lambda path: path.write_bytes(b"\xff\x00"),
        lambda path: path.write_text("[]"),
        lambda path: path.unlink(),
    ],
)
def test_a_damaged_file_is_named_and_nothing_else(stored: Path, damage: Callable[[Path], Any]) -> None:
    damage(stored)
    with pytest.raises(ConfigError, match=r"key\.json: "):
        read_key(stored, right)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_key(tmp_path / "file" / "k", bytes.fromhex(OTHER_KEY), PASSWORD, work=WORK)


def test_credentials_have_a_file_of_their_own_that_needs_no_key(
    tmp_path: Path, marker_credentials: ApiCredentials, stored: Path
) -> None:
    path = tmp_path / "credentials.json"
    address = OrderSigner(OTHER_KEY).address
    write_credentials(path, marker_credentials, address, PASSWORD, work=WORK)
    assert read_credentials(path, right) == (marker_credentials, address)
    with pytest.raises(ConfigError, match="found one of API credentials"):
        read_key(path, right)
    with pytest.raises(ConfigError, match="found another one"):
        read_credentials(stored, right)


# Passwords


def test_password_is_the_first_line_of_a_file_that_only_its_owner_may_read(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\nsecond line\n")
    path.chmod(0o600)
    assert password_source({}, path)("") == PASSWORD
    assert password_source({"INVMM_KEYSTORE_PASSWORD_FILE": str(path)})("") == PASSWORD
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="others may read it"):
        password_source({}, path)("")
    path.chmod(0o600)
    path.write_text("\n")
    with pytest.raises(ConfigError, match="expected a password in its first line"):
        password_source({}, path)("")


def test_password_comes_from_a_descriptor_and_may_be_asked_for_twice() -> None:
    read, write = os.pipe()
    os.write(write, PASSWORD.encode())
    os.close(write)
    try:
        ask = password_source({}, f"/dev/fd/{read}")
        assert [ask("one"), ask("two")] == [PASSWORD, PASSWORD]
    finally:
        os.close(read)


def test_without_a_terminal_the_question_fails_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD))
    with pytest.raises(ConfigError, match=r"Password of k: .*--password-file"):
        password_source({})("Password of k: ")


def test_a_new_password_is_asked_for_twice_at_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    answers = iter([PASSWORD, PASSWORD, PASSWORD, "another"])
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(answers))
    assert password_source({}, confirm=True)("New: ") == PASSWORD
    with pytest.raises(ConfigError, match="not the same"):
        password_source({}, confirm=True)("New: ")


# The OS keyring


class MemoryRing(KeyringBackend):
    """A keyring that forgets when the test ends."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise keyring.errors.KeyringLocked("locked")
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.held[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.held[service, username]


@pytest.fixture
def ring() -> Iterator[MemoryRing]:
    before = keyring.get_keyring()
    made = MemoryRing()
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


def test_keyring_keeps_a_key_and_credentials_side_by_side(ring: MemoryRing, marker_key: str) -> None:
    assert from_keyring("main") is None
    to_keyring("main", marker_key)
    to_keyring("main", "{}", credentials=True)
    assert (from_keyring("main"), from_keyring("main", credentials=True)) == (marker_key, "{}")
    assert from_keyring("bots/main") is None
    with pytest.raises(ConfigError, match="invmm/main: exists already"):
        to_keyring("main", OTHER_KEY)
    assert from_keyring("main") == marker_key


def test_a_locked_or_missing_keyring_is_a_plain_error(ring: MemoryRing) -> None:
    ring.locked = True
    with pytest.raises(ConfigError, match="KeyringLocked"):
        from_keyring("main")
    from keyring.backends.fail import Keyring

    keyring.set_keyring(Keyring())
    with pytest.raises(ConfigError, match="this machine has none"):
        from_keyring("main")


def test_keyring_names_are_name_or_service_and_name() -> None:
    assert keyring_place("main") == ("invmm", "main")
    assert keyring_place("my/bots/main") == ("my/bots", "main")
    for bad in ("", "/", "a/", "/a"):
        with pytest.raises(ConfigError, match="SERVICE/NAME"):
            keyring_place(bad)
