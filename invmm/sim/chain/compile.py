"""`python -m invmm.sim.chain.compile`: compiles `contracts/` and writes the artifacts beside the sources.

Needs the Vyper compiler of `VYPER`, which is no dependency of this package: `INVMM_VYPER` names its command,
else it is looked for beside the interpreter and on the path. An artifact (`NAME.json`) has the ABI, the
runtime code, the storage slot of each variable that genesis sets, and the digest of the sources it was made
from.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from invmm.errors import ConfigError

VYPER: Final = "0.4.3"
FOLDER: Final = Path(__file__).parent / "contracts"
MODULES: Final = ("erc1155", "holder")
"""Sources that others import: no contracts of their own."""


def contracts() -> list[str]:
    """Names of the contracts that have a source, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.vy") if path.stem not in MODULES)


def source_digest(name: str) -> str:
    """SHA-256, in hexadecimal digits, of a contract's source and of the modules that it imports."""
    digest = hashlib.sha256()
    source = (FOLDER / f"{name}.vy").read_bytes()
    digest.update(source)
    for module in MODULES:
        if f"import {module}\n".encode() in source:
            digest.update((FOLDER / f"{module}.vy").read_bytes())
    return digest.hexdigest()


def compiler() -> str | None:
    """The command of the Vyper compiler, or None where there is none."""
    beside = Path(sys.executable).with_name("vyper")
    return os.environ.get("INVMM_VYPER") or (str(beside) if beside.exists() else shutil.which("vyper"))


def artifacts(command: str) -> dict[str, dict[str, Any]]:
    """Compiles every contract. ConfigError for another version of the compiler, or with its words."""
    version = _run(command, "--version").split("+")[0].strip()
    if version != VYPER:
        raise ConfigError(f"vyper: expected version {VYPER}, found {version} ({command})")
    names = contracts()
    sources = [f"{name}.vy" for name in names]
    answer = _run(command, "--evm-version", "cancun", "-f", "abi,bytecode_runtime,layout", *sources)
    lines = answer.strip().splitlines()
    return {name: _artifact(name, *lines[3 * index : 3 * index + 3]) for index, name in enumerate(names)}


def _artifact(name: str, abi: str, runtime: str, layout: str) -> dict[str, Any]:
    places = json.loads(layout).get("storage_layout", {})
    return {
        "compiler": f"vyper {VYPER}",
        "source_sha256": source_digest(name),
        "slots": {variable: place["slot"] for variable, place in places.items() if "slot" in place},
        "abi": _renamed(json.loads(abi)),
        "runtime": runtime,
    }


def text(made: dict[str, Any]) -> str:
    """An artifact as its file has it."""
    return json.dumps(made, indent=1) + "\n"


def _renamed(abi: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`_from` is `from` in the standard's ABI, a word that Vyper keeps to itself."""
    for entry in abi:
        for one in entry.get("inputs", ()):
            one["name"] = one["name"].removeprefix("_")
    return abi


def _run(command: str, *arguments: str) -> str:
    done = subprocess.run([command, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"vyper: expected it to compile, it said: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def main(arguments: list[str] | None = None) -> int:
    """The command: 0 done, 1 an artifact is not what its source gives (`--check`), 2 no compiler."""
    parser = argparse.ArgumentParser(prog="python -m invmm.sim.chain.compile", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, compare with what is there")
    parsed = parser.parse_args(arguments)
    command = compiler()
    if command is None:
        print(f"vyper: expected version {VYPER} on the path or in INVMM_VYPER, found none", file=sys.stderr)
        return 2
    differing = []
    for name, made in artifacts(command).items():
        path = FOLDER / f"{name}.json"
        if not path.exists() or path.read_text() != text(made):
            differing.append(name)
            if not parsed.check:
                path.write_text(text(made))
    print(("differ: " if parsed.check else "written: ") + (", ".join(differing) or "none"))
    return 1 if parsed.check and differing else 0


if __name__ == "__main__":
    raise SystemExit(main())
