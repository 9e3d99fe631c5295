"""The committed contracts are what their sources say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from invmm.sim.chain import LocalChain, published
from invmm.sim.chain import compile as compiling
from invmm.sim.chain.deployment import ADDRESSES, artifact, placed
from invmm.sim.identity import ORACLE
from tests.chain.packages import PINS, need_published


@pytest.mark.parametrize("name", compiling.contracts())
def test_each_artifact_was_made_from_the_source_beside_it(name: str) -> None:
    made = json.loads((compiling.FOLDER / f"{name}.json").read_text())
    assert made["source_sha256"] == compiling.source_digest(name)
    assert made["compiler"] == f"vyper {compiling.VYPER}"


def test_the_compiler_gives_what_is_committed() -> None:
    command = compiling.compiler()
    if command is None:
        pytest.skip(f"needs vyper {compiling.VYPER} on the path or in INVMM_VYPER")
    assert compiling.main(["--check"]) == 0


def test_what_the_compiler_gives_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "vyper"
    other.write_text("#!/bin/sh\necho 0.3.10+commit.91361694\n")
    other.chmod(0o755)
    monkeypatch.setenv("INVMM_VYPER", str(other))
    with pytest.raises(compiling.ConfigError, match=r"expected version 0\.4\.3, found 0\.3\.10"):
        compiling.main(["--check"])


def test_the_published_contract_is_the_one_that_tests_pin() -> None:
    assert json.loads(PINS.read_text())["dependencies"][published.PACKAGE] == published.VERSION


def test_our_conditional_tokens_have_the_published_abi() -> None:
    """Names, types, mutability and what is indexed; not the names of arguments."""

    def shape(entry: dict[str, Any]) -> tuple[Any, ...]:
        types = tuple((one["type"], one.get("indexed", False)) for one in entry["inputs"])
        returned = tuple(one["type"] for one in entry.get("outputs", ()))
        return entry["type"], entry["name"], types, returned, entry.get("stateMutability")

    theirs = {shape(entry) for entry in json.loads(need_published().read_text())["abi"]}
    ours = {shape(entry) for entry in artifact("conditional_tokens").abi}
    never_emitted = ("event", "URI", (("string", False), ("uint256", True)), (), None)
    assert theirs - ours <= {never_emitted}
    assert ours <= theirs


def test_without_its_package_the_published_contract_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVMM_NODE_MODULES", str(tmp_path / "node_modules"))
    with pytest.raises(
        compiling.ConfigError, match=r"npm install .* @gnosis.pm/conditional-tokens-contracts"
    ):
        LocalChain(contracts="published")


def test_every_production_address_that_settlement_calls_has_code() -> None:
    there = {place.address for place in placed("0x" + "11" * 20)}
    assert there == {
        ADDRESSES.collateral,
        ADDRESSES.bridged_collateral,
        ADDRESSES.conditional_tokens,
        ADDRESSES.collateral_adapter,
        ADDRESSES.collateral_adapter_neg_risk,
        ADDRESSES.exchange_v2,
        ADDRESSES.exchange_v2_neg_risk,
        ADDRESSES.exchange_v3,
        ADDRESSES.position_manager,
        ADDRESSES.router,
        ORACLE,
    }
