"""Who trades: every accepted name, what was used is said, disagreement is an error, and no value is shown."""

from __future__ import annotations

import copy
import pickle
import traceback
from pathlib import Path
from typing import Any

import keyring
import pytest

from invmm.errors import ConfigError
from invmm.settings import Settings, WalletSettings
from invmm.venue.auth import ApiCredentials, OrderSigner
from invmm.venue.identity import Identity, Variables, find_identity, forget_secrets
from invmm.venue.keystore import credentials_text, to_keyring, write_credentials, write_key
from tests import markers
from tests.unit.test_keystore import MemoryRing

ADDRESS = OrderSigner(markers.PRIVATE_KEY).address
OTHER_KEY = "7c" * 32
OTHER = OrderSigner(OTHER_KEY).address
KEY_NAMES = ["POLYMARKET_PRIVATE_KEY", "PK", "POLYMARKET_PK", "PRIVATE_KEY"]
FUNDER_NAMES = ["POLYMARKET_FUNDER", "FUNDER", "BROWSER_ADDRESS", "PROXY_WALLET"]
TRIPLES = [
    ("CLOB_API_KEY", "CLOB_SECRET", "CLOB_PASS_PHRASE"),
    ("CLOB_API_KEY", "CLOB_API_SECRET", "CLOB_API_PASSPHRASE"),
    ("POLYMARKET_API_KEY", "POLYMARKET_API_SECRET", "POLYMARKET_API_PASSPHRASE"),
]
TRIPLE = (markers.API_KEY, markers.API_SECRET, markers.PASSPHRASE)
ON = WalletSettings(environment=True)
PASSWORD = "pw"
WORK = 1 << 10


def find(wallet: WalletSettings = ON, environ: dict[str, str] | None = None, **named: Any) -> Identity:
    return find_identity(wallet, environ or {}, password=lambda prompt: PASSWORD, **named)


def refused(
    match: str, wallet: WalletSettings = ON, environ: dict[str, str] | None = None, **named: Any
) -> None:
    """The error names what it should; the traceback, which the watch over this run reads, shows no value."""
    with pytest.raises(ConfigError, match=match) as caught:
        find(wallet, environ, **named)
    print("".join(traceback.format_exception(caught.value)))
    for value in (environ or {}).values():
        assert len(value) < 8 or value not in str(caught.value)


@pytest.mark.parametrize("name", KEY_NAMES)
@pytest.mark.parametrize("spelled", ["{}", "0x{}", "0X{}", " 0x{}\n"])
def test_each_name_and_spelling_of_the_key_is_taken(name: str, spelled: str) -> None:
    found = find(environ={name: spelled.format(markers.PRIVATE_KEY)})
    assert found.signer is not None
    assert (found.address, found.signer.address, found.funder) == (ADDRESS, ADDRESS, ADDRESS)
    assert found.sources["private key"] == f"environment {name}"
    assert (found.signature_type, found.credentials, found.rpc_url) == (0, None, None)


@pytest.mark.parametrize("names", TRIPLES)
def test_each_set_of_names_of_the_credentials_is_taken(names: tuple[str, str, str]) -> None:
    environ = {"PK": markers.PRIVATE_KEY, **dict(zip(names, TRIPLE, strict=True))}
    found = find(environ=environ, needs_credentials=True)
    assert found.credentials == ApiCredentials(*TRIPLE)
    assert found.sources["API credentials"] == "environment " + ", ".join(names)


@pytest.mark.parametrize("name", FUNDER_NAMES)
def test_each_name_of_the_funder_is_taken_with_the_signature_type(name: str) -> None:
    environ = {"PK": markers.PRIVATE_KEY, name: OTHER.lower(), "POLYMARKET_SIGNATURE_TYPE": "2"}
    found = find(environ=environ)
    assert found.signer is not None
    assert (found.funder, found.signer.maker, found.signature_type) == (OTHER, OTHER, 2)
    assert found.sources["funder"] == f"environment {name}"
    assert found.sources["signature type"] == "environment POLYMARKET_SIGNATURE_TYPE"


def test_node_address_is_kept_and_not_shown() -> None:
    found = find(environ={"PK": markers.PRIVATE_KEY, "POLYGON_RPC_URL": "https://node/key"})
    assert found.rpc_url == "https://node/key"
    assert "https" not in repr(found) + str(found.sources)


def test_the_environment_is_read_on_request_only() -> None:
    refused(r"none found.*POLYMARKET_PK is set, but .*--env", WalletSettings(), {"POLYMARKET_PK": OTHER_KEY})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"PK": markers.PRIVATE_KEY}, {"PRIVATE_KEY": OTHER_KEY}),
        ({"FUNDER": ADDRESS}, {"PROXY_WALLET": OTHER}),
        ({"CLOB_API_KEY": markers.API_KEY}, {"POLYMARKET_API_KEY": "other"}),
        ({"CLOB_SECRET": markers.API_SECRET}, {"POLYMARKET_API_SECRET": "b3RoZXI="}),
        ({"CLOB_PASS_PHRASE": markers.PASSPHRASE}, {"CLOB_API_PASSPHRASE": "other"}),
    ],
)
def test_two_names_that_disagree_are_both_named(first: dict[str, str], second: dict[str, str]) -> None:
    environ = {"PK": markers.PRIVATE_KEY, **first, **second}
    refused(f"{next(iter(first))} and {next(iter(second))} are both set, and they differ", environ=environ)


def test_names_that_agree_are_no_error() -> None:
    environ = {
        "PK": "0x" + markers.PRIVATE_KEY.upper(),
        "PRIVATE_KEY": markers.PRIVATE_KEY,
        "POLYMARKET_PK": "",
    }
    assert find(environ=environ).sources["private key"] == "environment PK"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"PK": markers.PRIVATE_KEY[:-1]}, "environment PK: private key: expected 32 bytes or 64 hex digits"),
        ({"PK": "ff" * 32}, "environment PK: private key: expected a number of the curve"),
        ({"FUNDER": markers.PRIVATE_KEY}, "FUNDER: expected an address"),
        ({"FUNDER": OTHER[:-1]}, "FUNDER: expected an address"),
        ({"FUNDER": OTHER}, "environment FUNDER: with signature type 0 .not stated.*needs type 1, 2 or 3"),
        ({"POLYMARKET_SIGNATURE_TYPE": "1"}, "needs the wallet that pays.*POLYMARKET_FUNDER"),
        ({"POLYMARKET_SIGNATURE_TYPE": "7"}, "POLYMARKET_SIGNATURE_TYPE: expected 0, 1, 2 or 3"),
        ({"POLYMARKET_SIGNATURE_TYPE": markers.PRIVATE_KEY}, "POLYMARKET_SIGNATURE_TYPE: expected 0, 1"),
        (
            {"POLYMARKET_ADDRESS": OTHER},
            "environment POLYMARKET_ADDRESS is not that of the key of environment PK",
        ),
        ({"POLYMARKET_ADDRESS": markers.PRIVATE_KEY}, "POLYMARKET_ADDRESS: expected an address"),
        ({"CLOB_API_KEY": "k"}, "CLOB_API_KEY set, CLOB_SECRET, CLOB_PASS_PHRASE missing"),
        ({"CLOB_SECRET": markers.API_SECRET}, "CLOB_SECRET set, CLOB_API_KEY, CLOB_PASS_PHRASE missing"),
        (
            {"CLOB_API_KEY": "k", "CLOB_SECRET": markers.API_SECRET[1:] + "!", "CLOB_PASS_PHRASE": "p"},
            "environment CLOB_API_KEY, CLOB_SECRET, CLOB_PASS_PHRASE: API secret: expected base64 text",
        ),
    ],
)
def test_a_wrong_value_names_its_variable_and_what_was_expected(change: dict[str, str], match: str) -> None:
    refused(match, environ={"PK": markers.PRIVATE_KEY, **change})


def test_nothing_found_says_where_it_was_looked_for() -> None:
    refused(r"private key: none found.*keystore or keyring.*POLYMARKET_PRIVATE_KEY")
    refused(r"API credentials: none found.*CLOB_API_KEY", environ={"PK": OTHER_KEY}, needs_credentials=True)
    refused(r"address: none found.*POLYMARKET_ADDRESS", needs_key=False)


# Cancelling needs no key


def test_credentials_and_an_address_suffice_where_no_key_is_needed() -> None:
    environ = {**dict(zip(TRIPLES[0], TRIPLE, strict=True)), "POLYMARKET_ADDRESS": OTHER.lower()}
    found = find(environ=environ, needs_key=False, needs_credentials=True)
    assert (found.signer, found.address) == (None, OTHER)
    assert found.credentials == ApiCredentials(*TRIPLE)
    assert found.sources["address"] == "environment POLYMARKET_ADDRESS"


def test_a_credentials_file_suffices_and_tells_its_address(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    write_credentials(path, ApiCredentials(*TRIPLE), OTHER, PASSWORD, work=WORK)
    found = find(WalletSettings(credentials=str(path)), needs_key=False, needs_credentials=True)
    assert (found.signer, found.address, found.credentials) == (None, OTHER, ApiCredentials(*TRIPLE))


def test_where_only_the_key_tells_the_address_it_is_not_kept() -> None:
    found = find(environ={"PK": markers.PRIVATE_KEY}, needs_key=False)
    assert (found.signer, found.address) == (None, ADDRESS)


def test_the_address_of_a_keystore_needs_no_password(tmp_path: Path) -> None:
    write_key(tmp_path / "k", bytes.fromhex(markers.PRIVATE_KEY), PASSWORD, work=WORK)

    def never(prompt: str) -> str:
        raise AssertionError(prompt)

    wallet = WalletSettings(keystore=str(tmp_path / "k"))
    assert find_identity(wallet, {}, password=never, needs_key=False).address == ADDRESS


# Keystore, keyring, settings


def test_keystore_is_used_and_named(tmp_path: Path) -> None:
    write_key(tmp_path / "k", bytes.fromhex(markers.PRIVATE_KEY), PASSWORD, work=WORK)
    settings = Settings.parse(
        f'[wallet]\nkeystore = "{tmp_path / "k"}"\nsignature_type = 3\nfunder = "{OTHER}"\n'
    )
    found = find(settings.wallet)
    assert found.signer is not None
    assert (found.signer.signature_type, found.signer.maker) == (3, OTHER)
    assert found.sources["private key"] == f"keystore {tmp_path / 'k'}"
    assert found.sources["funder"] == "settings [wallet] funder"
    assert found.sources["signature type"] == "settings [wallet] signature_type"


def test_a_keystore_and_a_variable_with_another_key_are_both_named(tmp_path: Path) -> None:
    write_key(tmp_path / "k", bytes.fromhex(markers.PRIVATE_KEY), PASSWORD, work=WORK)
    wallet = WalletSettings(keystore=str(tmp_path / "k"), environment=True)
    refused("keystore .* and environment PK hold different private keys", wallet, {"PK": OTHER_KEY})
    assert find(wallet, {"PK": markers.PRIVATE_KEY}).address == ADDRESS


def test_settings_and_variables_that_disagree_are_both_named() -> None:
    wallet = WalletSettings(environment=True, funder=ADDRESS, signature_type=1)
    refused(r"\[wallet\] funder and FUNDER differ", wallet, {"PK": OTHER_KEY, "FUNDER": OTHER})
    environ = {"PK": OTHER_KEY, "POLYMARKET_SIGNATURE_TYPE": "2"}
    refused(r"\[wallet\] signature_type and POLYMARKET_SIGNATURE_TYPE differ", wallet, environ)


def test_keyring_holds_key_and_credentials() -> None:
    before = keyring.get_keyring()
    keyring.set_keyring(MemoryRing())
    try:
        wallet = WalletSettings(keyring="bots/main")
        refused("private key: none found", wallet)
        to_keyring("bots/main", markers.PRIVATE_KEY)
        to_keyring("bots/main", credentials_text(ApiCredentials(*TRIPLE)), credentials=True)
        found = find(wallet, needs_credentials=True)
        assert (found.address, found.credentials) == (ADDRESS, ApiCredentials(*TRIPLE))
        assert found.sources["private key"] == found.sources["API credentials"] == "OS keyring bots/main"
    finally:
        keyring.set_keyring(before)


# What is shown


def test_an_identity_shows_its_address_and_cannot_be_copied() -> None:
    found = find(environ={"PK": markers.PRIVATE_KEY, **dict(zip(TRIPLES[0], TRIPLE, strict=True))})
    assert repr(found) == str(found) == f"{found}" == f"Identity({ADDRESS})"
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            attempt(found)
    with pytest.raises(TypeError):
        vars(found)
    print(found, found.sources, found.signer, found.credentials, Variables({"PK": markers.PRIVATE_KEY}))


def test_secrets_can_be_taken_out_of_the_environment_that_children_inherit() -> None:
    environ = dict.fromkeys((*KEY_NAMES, *(n for names in TRIPLES for n in names), "POLYGON_RPC_URL"), "x")
    environ |= {"HOME": "/", "POLYMARKET_FUNDER": OTHER}
    forget_secrets(environ)
    assert environ == {"HOME": "/", "POLYMARKET_FUNDER": OTHER}
